"""Read a CSV, JSON Lines or Parquet file into a table, row by row accounted for: nothing dropped silently."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from .errors import DataError
from .rejections import Rejections

FORMATS = ("csv", "jsonl", "parquet")
ROW = "__row__"
"""Name of the column with the record number in the file, from 1."""


def find_table(folder: Path, stem: str) -> Path | None:
    """Find `stem`.csv, .jsonl or .parquet in a folder; None if there is none, `DataError` if several."""
    found = [path for path in (folder / f"{stem}.{suffix}" for suffix in FORMATS) if path.is_file()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds {names}; keep one of them.")
    return found[0] if found else None


def read_table(
    path: Path,
    rejections: Rejections,
    *,
    required: Sequence[str],
    text: Sequence[str] = (),
    encoding: str = "utf-8",
) -> tuple[pl.DataFrame, int]:
    """Read a table whole.

    CSV columns come as text; JSON Lines and Parquet keep numbers. Records that do not parse (too many or
    too few fields, broken JSON, bytes that are not in the encoding) are added to `rejections`.

    Parameters
    ----------
    required
        Columns that must be there.
    text
        Columns that must be text or whole numbers, where they are there.

    Returns
    -------
    table
        The records that parse, with their number in the file in the column `ROW` (uint32).
    records
        How many records the file has, good or bad.

    Raises
    ------
    DataError
        The file is missing, empty, of no known format, not in the encoding at all, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    if path.suffix not in (".csv", ".jsonl", ".parquet"):
        raise DataError(f"{path.name}: unknown format '{path.suffix}', must be one of .csv, .jsonl, .parquet.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty.")
    encoding = _known(encoding)
    if path.suffix == ".csv":
        table, records = _read_csv(path, rejections, encoding)
    elif path.suffix == ".jsonl":
        table, records = _read_jsonl(path, rejections, encoding, text)
    else:
        table, records = _read_parquet(path)
    require_columns(path.name, table.columns, required)
    return table, records


def require_columns(file: str, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise `DataError` for a column that a file must have and has not."""
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{file} has no column {' and no column '.join(map(repr, missing))}; "
            f"it has {', '.join(repr(c) for c in columns if c != ROW)}. Rename a column or add it."
        )


def as_text(table: pl.DataFrame, file: str, columns: Sequence[str]) -> pl.DataFrame:
    """Make columns stripped text, null where empty. Whole numbers become text; any other type is refused."""
    casts = []
    for name in columns:
        if name not in table.columns:
            continue
        dtype = table.schema[name]
        if not _text_like(dtype):
            raise DataError(
                f"{file}: column {name!r} is of type {dtype}, must be text or whole numbers (12.0 is not 12); "
                "write it as text."
            )
        stripped = pl.col(name).cast(pl.String).str.strip_chars()
        casts.append(pl.when(stripped == "").then(None).otherwise(stripped).alias(name))
    return table.with_columns(casts)


def _text_like(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype == pl.Null or isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def _known(encoding: str) -> str:
    try:
        "a".encode(encoding)  # refuses codecs that are not of text
        return codecs.lookup(encoding).name
    except LookupError:
        raise DataError(f"unknown encoding {encoding!r}; utf-8, cp1254 and latin-1 are examples.") from None


def _header(path: Path, encoding: str) -> str:
    """The first line, decoded. Raises `DataError` where the file is plainly not text in this encoding."""
    with open(path, "rb") as stream:
        head = stream.read(65536)
    if encoding == "utf-8" and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in head):
        raise DataError(f"{path.name} is not UTF-8 text (it looks like UTF-16); save it as UTF-8, or give --encoding.")
    try:
        text = head.decode(encoding, errors="replace")
    except UnicodeError as error:
        raise DataError(f"{path.name} is not {encoding} text: {error}.") from error
    line = text.lstrip("\ufeff").lstrip("\r\n").split("\n", 1)[0].strip()
    if not line:
        raise DataError(f"{path.name} has no header line.")
    return line


# ---------------------------------------------------------------------- CSV


def _read_csv(path: Path, rejections: Rejections, encoding: str) -> tuple[pl.DataFrame, int]:
    header = _header(path, encoding)
    delimiter = "," if "," in header else max(",;\t", key=header.count)
    skipped: dict[str, list[int]] = {}

    def skip(row: pa.csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        skipped.setdefault(reason, []).append(row.number - 1)  # the header counts as row 1
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip)
    # One thread: only then does Arrow number the rows that it skips.
    read = pa.csv.ReadOptions(use_threads=False, block_size=1 << 24, encoding=encoding)
    try:
        with pa.csv.open_csv(path, read, parse) as probe:
            names = probe.schema.names
        # Bytes first, text after: one wrong byte then costs a row and not the file.
        kind = pa.large_binary() if encoding == "utf-8" else pa.large_string()
        convert = pa.csv.ConvertOptions(
            check_utf8=False, column_types=dict.fromkeys(names, kind), strings_can_be_null=False
        )
        skipped.clear()
        table = pa.csv.read_csv(path, read, parse, convert)
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(f"{path.name} cannot be read as CSV in {encoding}: {error}") from error
    if len(set(names)) != len(names):
        raise DataError(f"{path.name}: a column name occurs twice in the header: {', '.join(names)}.")
    lost = sorted(number for numbers in skipped.values() for number in numbers)
    rows = np.delete(np.arange(1, table.num_rows + len(lost) + 1, dtype=np.uint32), np.asarray(lost, np.int64) - 1)

    good = np.ones(table.num_rows, bool)
    columns = []
    for name in names:
        column = table.column(name)
        try:
            columns.append(column.cast(pa.large_string()))
        except pa.ArrowInvalid:
            text, valid = _decode(column, encoding)
            columns.append(text)
            good &= valid
    frame = pl.from_arrow(pa.table(dict(zip(names, columns, strict=True))))
    assert isinstance(frame, pl.DataFrame)
    swallowed = _swallowed(frame, delimiter)
    later = np.zeros(table.num_rows, np.uint32)  # lines that open quotes took from the rows before
    for index, lines in swallowed.items():
        later[index + 1 :] += lines - 1
    numbered = rows + later
    total = np.append(later, later[-1] + max(swallowed.get(table.num_rows - 1, 1) - 1, 0) if len(later) else 0)
    for reason, numbers in skipped.items():
        rejections.add(path.name, [number + int(total[np.searchsorted(rows, number)]) for number in numbers], reason)
    rejections.add(
        path.name, numbered[~good], f"bytes that are not {encoding}; save the file as UTF-8, or give --encoding"
    )
    for index, lines in swallowed.items():
        reason = "a quote is left open; it takes in the rows that follow"
        if good[index]:
            rejections.add(path.name, range(numbered[index], numbered[index] + lines), reason)
            good[index] = False
    records = table.num_rows + len(lost) + sum(lines - 1 for lines in swallowed.values())
    return frame.with_columns(pl.Series(ROW, numbered)).filter(pl.Series(good)), records


def _decode(column: pa.ChunkedArray, encoding: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    # Only a column that holds a wrong byte comes here.
    values: list[str | None] = []
    for value in column.to_pylist():
        try:
            values.append(value.decode(encoding))
        except UnicodeDecodeError:
            values.append(None)
    return pa.array(values, pa.large_string()), np.array([value is not None for value in values])


def _swallowed(frame: pl.DataFrame, delimiter: str) -> dict[int, int]:
    """Rows with a field that runs over lines which look like rows themselves: index to number of lines.

    A field may hold line breaks; but where every whole line inside it has as many fields as the header, it is
    far likelier that a stray quote took in the rows that follow.
    """
    fields = len(frame.columns)
    found: dict[int, int] = {}
    for name in frame.columns if fields > 1 else []:
        breaks = frame[name].str.contains("\n", literal=True).fill_null(False).arg_true()
        for index, value in zip(breaks.to_list(), frame[name].gather(breaks).to_list(), strict=True):
            lines = value.rstrip("\r\n").split("\n")
            inner = lines[1:-1] or lines[1:]
            if inner and all(line.count(delimiter) == fields - 1 for line in inner):
                found[index] = max(found.get(index, 0), len(lines))
    return dict(sorted(found.items()))


# ---------------------------------------------------------------------- JSON Lines


def _read_jsonl(path: Path, rejections: Rejections, encoding: str, text: Sequence[str]) -> tuple[pl.DataFrame, int]:
    _header(path, encoding)
    if encoding == "utf-8":
        try:
            frame = pl.read_ndjson(path, infer_schema_length=None)
            if all(_text_like(frame.schema[name]) for name in text if name in frame.columns):
                return _numbered(frame)
        except (pl.exceptions.PolarsError, UnicodeError):
            pass
    # Some line is broken, or some value is of a wrong type: go line by line and say which.
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    bad: dict[str, list[int]] = {}
    number = 0
    with open(path, encoding=encoding, errors="surrogateescape", newline="\n") as stream:
        for line in stream:
            if not line.strip("\ufeff \t\r\n"):
                continue
            number += 1
            record, problem = _parse(line.lstrip("\ufeff"), encoding, text)
            if problem:
                bad.setdefault(problem, []).append(number)
            else:
                rows.append(number)
                records.append(record)
    for reason, numbers in bad.items():
        rejections.add(path.name, numbers, reason)
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise DataError(f'{path.name} holds no usable JSON object; each line must be one, {{"product_id": "1", ...}}.')
    frame = pl.DataFrame({name: pl.Series([r.get(name) for r in records], dtype=pl.String) for name in names})
    return frame.with_columns(pl.Series(ROW, rows, dtype=pl.UInt32)), number


def _parse(line: str, encoding: str, text: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """One line as a record of text values, and what is wrong with it."""
    if any("\udc80" <= character <= "\udcff" for character in line):
        return {}, f"bytes that are not {encoding}; save the file as UTF-8, or give --encoding"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}, "not a JSON object on one line"
    if not isinstance(record, dict):
        return {}, "not a JSON object on one line"
    for name in text:
        value = record.get(name)
        if not (value is None or isinstance(value, str) or type(value) is int):
            return {}, f"{name} is a {type(value).__name__}, must be text or a whole number"
    return {k: v if isinstance(v, str) or v is None else json.dumps(v) for k, v in record.items()}, None


# ---------------------------------------------------------------------- Parquet


def _read_parquet(path: Path) -> tuple[pl.DataFrame, int]:
    try:
        return _numbered(pl.read_parquet(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error


def _numbered(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW)), frame.height
