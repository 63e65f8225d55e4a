"""Tables written a piece at a time, in the three formats of the input contract."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..errors import check_choice

FORMATS = ("csv", "jsonl", "parquet")


def iso(times: Any) -> Any:
    """Return datetime64[ms] values as ISO-8601 text in UTC, such as `2025-03-03T00:00:00.000Z`."""
    return pa.array(np.char.add(np.datetime_as_string(times, unit="ms"), "Z"), pa.string())


class TableWriter:
    """Writes Arrow tables of one schema, one after another, to one file; a context manager.

    Parameters
    ----------
    path
        The file without its extension, which is the format's name.
    schema
        Columns of every table. Timestamps are text in CSV and JSON Lines, and typed in Parquet.
    format
        One of `FORMATS`.
    """

    def __init__(self, path: Path, schema: Any, *, format: str) -> None:
        check_choice("format", format, FORMATS)
        self.path = path.with_name(f"{path.name}.{format}")
        self._schema = schema
        self._format = format
        self._text: Any = None
        self._arrow: Any = None

    def __enter__(self) -> Self:
        if self._format == "jsonl":
            self._text = self.path.open("w", encoding="utf-8", newline="\n")
        elif self._format == "csv":
            plain = [pa.field(f.name, pa.string()) if pa.types.is_timestamp(f.type) else f for f in self._schema]
            self._arrow = pyarrow.csv.CSVWriter(self.path, pa.schema(plain))
        else:
            self._arrow = pyarrow.parquet.ParquetWriter(self.path, self._schema, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in (self._text, self._arrow):
            if opened is not None:
                opened.close()

    def write(self, columns: dict[str, Any]) -> None:
        """Write rows, given as one array for each column of the schema."""
        columns = {field.name: columns[field.name] for field in self._schema}
        if self._format == "parquet":
            self._arrow.write_table(pa.table(columns, schema=self._schema))
            return
        for field in self._schema:
            if pa.types.is_timestamp(field.type):
                columns[field.name] = iso(columns[field.name])
        table = pa.table(columns)
        if self._format == "csv":
            self._arrow.write_table(table)
            return
        names = table.column_names
        for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
            row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            self._text.write(json.dumps(row, ensure_ascii=False) + "\n")
