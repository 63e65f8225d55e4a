"""JSON Lines files: fast where every line is as it should be, line by line where one is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.json
from numpy.typing import NDArray

from ..errors import DataError
from ..rejections import Rejections


def read_jsonl(
    path: Path, rejections: Rejections, *, text: Sequence[str], encoding: str
) -> tuple[pl.DataFrame, NDArray[np.uint32], int]:
    """Read a JSON Lines file: the good records, their numbers, and how many records the file has.

    Values of the columns `text` must be text or whole numbers; a line where one is not is rejected.
    """
    table = _fast(path, text) if encoding == "utf-8" else None
    if table is not None:
        return table, np.arange(1, table.height + 1, dtype=np.uint32), table.height
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
    return frame, np.array(rows, np.uint32), number


def _fast(path: Path, text: Sequence[str]) -> pl.DataFrame | None:
    """The whole file at once; None where a line is broken or a value is of another type than its column."""
    read = pa.json.ReadOptions(block_size=1 << 24)
    try:
        # Arrow, unlike Polars, refuses a column whose values are of several types rather than making them text.
        table = pa.json.read_json(path, read)
        dates = [f.name for f in table.schema if f.name in text and pa.types.is_timestamp(f.type)]
        if dates:  # text that looks like a time is text all the same
            schema = pa.schema([(name, pa.string()) for name in dates])
            table = pa.json.read_json(path, read, pa.json.ParseOptions(explicit_schema=schema))
    except (pa.ArrowException, OSError):
        return None
    for name in text:
        if name in table.column_names:
            kind = table.schema.field(name).type
            if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
                return None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _parse(line: str, encoding: str, text: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """One line as a record of text values, and what is wrong with it."""
    if any("\udc80" <= character <= "\udcff" for character in line):
        return {}, f"bytes that are not {encoding}; save the file as UTF-8, or give --encoding"
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError
    except (ValueError, RecursionError):
        return {}, "not a JSON object on one line"
    for name in text:
        value = record.get(name)
        if not (value is None or isinstance(value, str) or type(value) is int):
            return {}, f"{name} is a {type(value).__name__}, must be text or a whole number"
    values = {k: v if isinstance(v, str) or v is None else json.dumps(v) for k, v in record.items()}
    try:
        "".join(value for value in (*values, *values.values()) if value).encode()
    except UnicodeEncodeError:
        return {}, "a character that is half of a surrogate pair"
    return values, None
