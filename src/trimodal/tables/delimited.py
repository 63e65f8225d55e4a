"""CSV files: every record is parsed or named, and a stray quote does not take rows with it unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from ..errors import DataError
from ..rejections import Rejections

_OPEN_QUOTE = "a quote is left open; it takes in the rows that follow"


@dataclass
class _Skipped:
    """Records that Arrow could not parse, by its own numbering (the header is 1): reason, and lines taken in."""

    reasons: dict[int, str] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)

    def __call__(self, row: pa.csv.InvalidRow) -> str:
        number = row.number - 1
        lines = row.text.rstrip("\r\n").count("\n") + 1
        counts = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        self.reasons[number] = counts if lines == 1 else _OPEN_QUOTE
        self.lines[number] = lines
        return "skip"


def read_csv(
    path: Path, header: str, rejections: Rejections, *, required: Sequence[str], encoding: str
) -> tuple[pl.DataFrame, NDArray[np.uint32], int]:
    """Read a CSV file as text: the good records, their numbers, and how many records the file has.

    The delimiter is `,`, `;` or tab: the one that makes the required columns out of the header. Where a stray quote
    takes in rows, they are counted as rejected records of their own.
    """
    delimiter = _delimiter(header, required)
    # Bytes first, text after: one wrong byte then costs a row and not the file. That needs an encoding in which
    # delimiters are the bytes they are in ASCII, and a header without other letters.
    raw = encoding == "utf-8" or (header.isascii() and '",;\t\n'.encode(encoding) == b'",;\t\n')
    skipped = _Skipped()
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skipped)
    # One thread: only then does Arrow number the rows that it skips.
    read = pa.csv.ReadOptions(use_threads=False, block_size=1 << 24, encoding="utf-8" if raw else encoding)
    try:
        with pa.csv.open_csv(path, read, parse) as probe:
            names = probe.schema.names
        kind = pa.large_binary() if raw else pa.large_string()
        types = dict.fromkeys(names, kind)
        convert = pa.csv.ConvertOptions(check_utf8=False, column_types=types, strings_can_be_null=False)
        skipped.reasons.clear()
        table = pa.csv.read_csv(path, read, parse, convert)
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(f"{path.name} cannot be read as CSV in {encoding}: {error}") from error
    if len(set(names)) != len(names):
        raise DataError(f"{path.name}: a column name occurs twice in the header: {', '.join(names)}.")

    count = table.num_rows + len(skipped.reasons)
    numbers = np.delete(np.arange(1, count + 1), np.array(sorted(skipped.reasons), np.int64) - 1)
    good = np.ones(table.num_rows, bool)
    columns = []
    for name in names:
        column, valid = _text(table.column(name), encoding)
        columns.append(column)
        good &= valid
    frame = pl.from_arrow(pa.table(dict(zip(names, columns, strict=True))))
    assert isinstance(frame, pl.DataFrame)

    reasons = dict(skipped.reasons)
    lines = {number: skipped.lines[number] for number in reasons}
    for index in np.flatnonzero(~good).tolist():
        reasons[int(numbers[index])] = f"bytes that are not {encoding}; save the file as UTF-8, or give --encoding"
    for index, taken in _swallowed(frame, delimiter).items():
        reasons[int(numbers[index])] = _OPEN_QUOTE
        lines[int(numbers[index])] = taken
        good[index] = False
    # A record that took in others stands for as many; those after it move on.
    extra = np.zeros(count + 1, np.int64)
    for number, taken in lines.items():
        extra[number] = taken - 1
    before = np.cumsum(extra) - extra
    for number, reason in sorted(reasons.items()):
        first = number + int(before[number])
        rejections.add(path.name, range(first, first + int(extra[number]) + 1), reason)
    rows = (numbers + before[numbers]).astype(np.uint32)
    return frame.filter(pl.Series(good)), rows[good], count + int(extra.sum())


def _delimiter(header: str, required: Sequence[str]) -> str:
    for delimiter in ",;\t":
        if set(required) <= {name.strip().strip('"') for name in header.split(delimiter)}:
            return delimiter
    return "," if "," in header else max(",;\t", key=header.count)


def _text(column: pa.ChunkedArray, encoding: str) -> tuple[pa.ChunkedArray | pa.Array, NDArray[np.bool_]]:
    """A column as text, and which of its values are that."""
    valid = np.ones(len(column), bool)
    if pa.types.is_large_string(column.type):
        return column, valid
    if encoding == "utf-8":
        try:
            return column.cast(pa.large_string()), valid
        except pa.ArrowInvalid:
            pass  # some value is not UTF-8: find it
    values: list[str | None] = []
    for i, value in enumerate(column.to_pylist()):
        try:
            values.append(value.decode(encoding))
        except UnicodeDecodeError:
            values.append(None)
            valid[i] = False
    return pa.array(values, pa.large_string()), valid


def _swallowed(frame: pl.DataFrame, delimiter: str) -> dict[int, int]:
    """Records with a field that took in rows through a stray quote: index to number of lines.

    A field may hold line breaks. But what a stray quote in column c of f takes in has the rest of its own row on the
    first line (f - 1 - c delimiters) and, on the last, another row up to its column c (c delimiters), or a whole row
    at the end of the file. Prose rarely has just that, and puts a space after its commas.
    """
    fields = len(frame.columns)
    found: dict[int, int] = {}
    for c, name in enumerate(frame.columns):
        breaks = frame[name].str.contains("\n", literal=True).fill_null(False).arg_true()
        for index, value in zip(breaks.to_list(), frame[name].gather(breaks).to_list(), strict=True):
            lines = value.rstrip("\r\n").split("\n")
            last = lines[-1].rstrip("\r")
            fits = lines[0].count(delimiter) == fields - 1 - c and last.count(delimiter) in (c, fields - 1)
            if len(lines) > 1 and fits and (c == 0 or _like_a_row(last, delimiter)):
                found[index] = max(found.get(index, 0), len(lines))
    return found


def _like_a_row(line: str, delimiter: str) -> bool:
    first = line.split(delimiter, 1)[0]
    return bool(first) and " " not in first.strip() and f"{delimiter} " not in line
