"""Importance: how much each part of an item counts, by category or item, under several measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import check_choice

MEASURES = ("gate", "share", "removal", "loss", "auc")
"""`interpretation` says what they are."""
NO_CATEGORY = "(none)"
_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Importance:
    """Importance of p parts in r rows, categories or items. Prints as a table of `removal`.

    Attributes
    ----------
    parts
        Names of the parts: `id`, then the modalities.
    names
        Of the rows: categories, or product ids.
    category
        The category of each row; `NO_CATEGORY` where it has none.
    events
        int64 [r]: events of the row, at least one.
    values
        By measure, float64 [r, p]; which of `MEASURES` there are depends on the model and the rows. NaN where a
        measure cannot be had: `share` without any history, `auc` of events that are all clicks or all not.
    """

    parts: tuple[str, ...]
    names: tuple[str, ...]
    category: tuple[str, ...]
    events: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, by: str) -> NDArray[np.float64]:
        """The values [r, p] of one measure.

        Raises
        ------
        ParameterError
            The measure is not there: `gate` and `share` need a GMMF with a gate, `auc` needs categories.
        """
        return self.values[check_choice("by", by, tuple(self.values))]

    def take(self, rows: NDArray[Any]) -> Importance:
        """The rows at these positions, or where a mask is true."""
        index = np.arange(len(self))[rows]
        values = {name: value[index] for name, value in self.values.items()}
        return Importance(
            self.parts, tuple(self.names[i] for i in index), tuple(self.category[i] for i in index),
            self.events[index], values,
        )  # fmt: skip

    def table(self, by: str) -> str:
        """One measure as a table, at most 20 rows: those with the most events."""
        values = self.of(by)
        number = ".3f" if by in ("gate", "share", "removal") else "+.4f"
        lines = [f"{by:<32}{'events':>9}" + "".join(f"{part:>10}" for part in self.parts)]
        for row in np.sort(np.argsort(-self.events, kind="stable")[:_SHOWN]):
            cells = "".join(f"{'-' if math.isnan(v) else format(v, number):>10}" for v in values[row])
            lines.append(f"{self.names[row][:31]:<32}{self.events[row]:>9,}{cells}")
        if len(self) > _SHOWN:
            lines.append(f"and {len(self) - _SHOWN:,} more with fewer events")
        return "\n".join(lines)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary a row: `name`, `category`, `events`, and by measure the value of each part, None for NaN."""
        return [
            {"name": name, "category": category, "events": int(self.events[row])}
            | {by: _named(self.parts, value[row]) for by, value in self.values.items()}
            for row, (name, category) in enumerate(zip(self.names, self.category, strict=True))
        ]

    def frame(self) -> pl.DataFrame:
        """A row a name and part: `name`, `category`, `events`, `part`, and a column a measure."""
        p = len(self.parts)
        columns = {
            "name": np.repeat(np.array(self.names, object), p).tolist(),
            "category": np.repeat(np.array(self.category, object), p).tolist(),
            "events": np.repeat(self.events, p),
            "part": list(self.parts) * len(self),
        }
        empty = np.full((len(self), p), np.nan)
        measures = {by: self.values.get(by, empty).reshape(-1) for by in MEASURES}
        return pl.DataFrame(columns | measures).with_columns(pl.col(MEASURES).fill_nan(None))

    def __str__(self) -> str:
        return self.table("removal")


def _named(parts: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {part: None if math.isnan(value) else value for part, value in zip(parts, values.tolist(), strict=True)}
