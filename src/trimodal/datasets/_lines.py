"""Lines that are JSON objects or Python literals, from plain or gzipped files; no line is run as code."""

from __future__ import annotations

import ast
import gzip
import json
import warnings
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from ..errors import DataError

MAX_LINE = 1 << 22
"""Longest line in bytes: what is longer is rejected and never held in memory whole."""
MAX_LITERAL = 1 << 20
"""Longest Python literal in bytes: parsing one takes some hundred times its size in memory."""
_NEITHER = "neither a JSON object nor a Python literal on one line"


class BadLineError(ValueError):
    """A line that cannot be used; its message is the reason in the ledger."""


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadLineError]]:
    """Number, from 1, and record of each line that is not blank; a `BadLineError` where it is none.

    Raises
    ------
    DataError
        The file is missing, or damaged inside.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as stream:
            for number, line in enumerate(_limited(stream), 1):
                if line is None:
                    yield number, BadLineError(f"longer than {MAX_LINE:,} bytes")
                elif line.strip():
                    yield number, _parsed(line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is damaged or was not fetched to its end: {error}.") from error


def _limited(stream: BufferedIOBase) -> Iterator[bytes | None]:
    """Lines; None in place of one that is too long."""
    while line := stream.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE)
        yield None


def _parsed(line: bytes) -> dict[str, Any] | BadLineError:
    try:
        text = line.decode("utf-8").lstrip("\ufeff").strip()
    except UnicodeDecodeError:
        return BadLineError("bytes that are not UTF-8")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        if len(line) > MAX_LITERAL:
            return BadLineError(f"not JSON, and longer than {MAX_LITERAL:,} bytes")
        try:
            with warnings.catch_warnings():  # of backslashes that Python would write otherwise
                warnings.simplefilter("ignore")
                record = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return BadLineError(_NEITHER)
    return record if isinstance(record, dict) else BadLineError(_NEITHER)
