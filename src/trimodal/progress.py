"""How long work reports that it goes on: a callable that library code calls and the command line draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Tell a running task that `steps` more units are done."""

    def __call__(self, steps: int = 1) -> None:
        """Count `steps` units as done."""


class Progress(Protocol):
    """Open a task of `total` units (None: unknown) under a title; yields the task's `Advance`."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open the task."""


@contextmanager
def silent(title: str, total: int | None) -> Iterator[Advance]:
    """Report nothing: the default of every library call."""
    yield lambda steps=1: None
