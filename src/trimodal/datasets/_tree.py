"""The category tree of the simulated market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _nouns, _words


@dataclass(frozen=True)
class Tree:
    """Departments and categories.

    Attributes
    ----------
    departments, categories
        Names; categories are the leaves.
    department
        int64 [K]: each category's department.
    base
        int64 [K]: which noun of the department a category is named after.
    modifiers
        For each category the modifiers' numbers that make it differ from the base (usually none).
    """

    departments: tuple[str, ...]
    categories: tuple[str, ...]
    department: NDArray[np.int64]
    base: NDArray[np.int64]
    modifiers: tuple[tuple[int, ...], ...]


def tree(categories: int) -> Tree:
    """Return a tree with this many leaves, dealt round up to 15 departments: a few leaves differ most."""
    base_count = _nouns.CATEGORIES_PER_DEPARTMENT
    count = min(len(_nouns.DEPARTMENTS), categories, max(3, -(-categories // base_count)))
    department, slot = np.arange(categories) % count, np.arange(categories) // count
    names, modifiers = [], []
    for home, place in zip(department.tolist(), slot.tolist(), strict=True):
        name = _nouns.CATEGORIES[home][place % base_count]
        series, kinds = place // base_count, len(_words.MODIFIERS)
        chosen: list[int] = []
        while series > 0:
            series, digit = divmod(series - 1, kinds)
            chosen.append(digit)
        words = [_words.MODIFIERS[digit].pick(0, 0) for digit in chosen]
        names.append(f"{name} ({', '.join(words)})" if words else name)
        modifiers.append(tuple(chosen))
    return Tree(_nouns.DEPARTMENTS[:count], tuple(names), department, slot % base_count, tuple(modifiers))
