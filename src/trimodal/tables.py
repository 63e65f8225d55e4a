"""Read a CSV, JSON Lines or Parquet file into a table, row by row accounted for: nothing dropped silently."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from .errors import DataError
from .rejections import Rejections

FORMATS = ("csv", "jsonl", "parquet")
ROW = "row"
"""Name of the column with the record number in the file, from 1."""


def find_table(folder: Path, stem: str) -> Path | None:
    """Find `stem`.csv, .jsonl or .parquet in a folder; None if there is none, `DataError` if several."""
    found = [path for path in (folder / f"{stem}.{suffix}" for suffix in FORMATS) if path.is_file()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds {names}; keep one of them.")
    return found[0] if found else None


def read_table(
    path: Path, rejections: Rejections, *, required: Sequence[str], encoding: str = "utf-8"
) -> tuple[pl.DataFrame, int]:
    """Read a table whole.

    CSV columns come as text; JSON Lines and Parquet keep numbers. Records that do not parse (too many or
    too few fields, broken JSON, bytes that are not in the encoding) are added to `rejections`.

    Returns
    -------
    table
        The records that parse, with their number in the file in the column `row` (uint32).
    records
        How many records the file has, good or bad.

    Raises
    ------
    DataError
        The file is missing, empty, of no known format, not in the encoding at all, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path.name}: unknown format '{path.suffix}', must be one of {', '.join(readers)}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty.")
    try:
        encoding = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(f"unknown encoding {encoding!r}; utf-8, cp1254 and latin-1 are examples.") from None
    table, records = readers[path.suffix](path, rejections, encoding)
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
    """Make columns stripped text, null where empty. Numbers become text; a float id is refused."""
    casts = []
    for name in columns:
        if name not in table.columns:
            continue
        dtype = table.schema[name]
        if dtype.is_float() and name.endswith("_id"):
            raise DataError(
                f"{file}: column {name!r} holds decimal numbers; ids are text, and 12.0 is not 12. "
                "Write the column as text or whole numbers."
            )
        if dtype.is_nested() or dtype == pl.Binary:
            raise DataError(f"{file}: column {name!r} is of type {dtype}, must be text.")
        text = pl.col(name).cast(pl.String).str.strip_chars()
        casts.append(pl.when(text == "").then(None).otherwise(text).alias(name))
    return table.with_columns(casts)


def _looks_wrong(path: Path, encoding: str) -> None:
    with open(path, "rb") as stream:
        head = stream.read(4096)
    if encoding == "utf-8" and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in head):
        raise DataError(f"{path.name} is not UTF-8 text (it looks like UTF-16); save it as UTF-8, or give --encoding.")


def _delimiter(path: Path, encoding: str) -> str:
    with open(path, encoding=encoding, errors="replace") as stream:
        header = stream.readline(65536)
    return max(",;\t", key=header.count) if "," not in header else ","


def _read_csv(path: Path, rejections: Rejections, encoding: str) -> tuple[pl.DataFrame, int]:
    _looks_wrong(path, encoding)
    skipped: dict[str, list[int]] = {}

    def skip(row: pa.csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        skipped.setdefault(reason, []).append(row.number - 1)  # the header counts as row 1
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=_delimiter(path, encoding), newlines_in_values=True, invalid_row_handler=skip)
    # One thread: only then does Arrow number the rows that it skips.
    read = pa.csv.ReadOptions(use_threads=False, block_size=1 << 24, encoding=encoding)
    try:
        with pa.csv.open_csv(path, pa.csv.ReadOptions(use_threads=False, encoding=encoding), parse) as probe:
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
    records = table.num_rows + len(lost)
    for reason, numbers in skipped.items():
        rejections.add(path.name, numbers, reason)
    rows = np.delete(np.arange(1, records + 1, dtype=np.uint32), np.asarray(lost, np.int64) - 1)

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
    rejections.add(path.name, rows[~good], f"bytes that are not {encoding}; save the file as UTF-8, or give --encoding")
    frame = pl.from_arrow(pa.table(dict(zip(names, columns, strict=True))))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.Series(ROW, rows)).filter(pl.Series(good)), records


def _decode(column: pa.ChunkedArray, encoding: str) -> tuple[pa.Array, np.ndarray]:
    # Only a column that holds a wrong byte comes here.
    values: list[str | None] = []
    for value in column.to_pylist():
        try:
            values.append(value.decode(encoding))
        except UnicodeDecodeError:
            values.append(None)
    return pa.array(values, pa.large_string()), np.array([value is not None for value in values])


def _read_jsonl(path: Path, rejections: Rejections, encoding: str) -> tuple[pl.DataFrame, int]:
    _looks_wrong(path, encoding)
    if encoding == "utf-8":
        try:
            frame = pl.read_ndjson(path, infer_schema_length=None)
            return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW)), frame.height
        except (pl.exceptions.PolarsError, UnicodeError):
            pass  # some line is broken: go line by line and say which
    records: list[dict[str, object]] = []
    rows: list[int] = []
    bad: dict[str, list[int]] = {}
    number = 0
    with open(path, "rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            number += 1
            try:
                record = json.loads(line.decode(encoding))
            except UnicodeDecodeError:
                bad.setdefault(f"bytes that are not {encoding}", []).append(number)
                continue
            except ValueError:
                bad.setdefault("not a JSON object on one line", []).append(number)
                continue
            if not isinstance(record, dict):
                bad.setdefault("not a JSON object on one line", []).append(number)
                continue
            rows.append(number)
            records.append({k: v if isinstance(v, str) or v is None else json.dumps(v) for k, v in record.items()})
    for reason, numbers in bad.items():
        rejections.add(path.name, numbers, reason)
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise DataError(f'{path.name} holds no JSON object; each line must be one, such as {{"product_id": "1"}}.')
    frame = pl.DataFrame({name: pl.Series([r.get(name) for r in records], dtype=pl.String) for name in names})
    return frame.with_columns(pl.Series(ROW, rows, dtype=pl.UInt32)), number


def _read_parquet(path: Path, rejections: Rejections, encoding: str) -> tuple[pl.DataFrame, int]:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW)), frame.height
