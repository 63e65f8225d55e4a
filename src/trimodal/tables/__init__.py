"""Read a CSV, JSON Lines or Parquet file into a table, row by row accounted for: nothing dropped silently."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import DataError
from ..rejections import Rejections
from .delimited import read_csv
from .jsonl import read_jsonl

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
    if path.suffix == ".parquet":
        table = _read_parquet(path)
        records = table.height
        rows = np.arange(1, records + 1, dtype=np.uint32)
    elif path.suffix == ".csv":
        header = _header(path, encoding)
        table, rows, records = read_csv(path, header, rejections, required=required, encoding=encoding)
    else:
        _header(path, encoding)
        table, rows, records = read_jsonl(path, rejections, text=text, encoding=encoding)
    if ROW in table.columns:
        raise DataError(f"{path.name}: a column is named {ROW!r}, which is reserved; rename it.")
    require_columns(path.name, table.columns, required)
    return table.with_columns(pl.Series(ROW, rows)), records


def require_columns(file: str, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise `DataError` for a column that a file must have and has not."""
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{file} has no column {' and no column '.join(map(repr, missing))}; "
            f"it has {', '.join(repr(c) for c in columns if c != ROW) or 'none at all'}. Rename a column or add it."
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


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error
