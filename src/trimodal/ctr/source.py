"""VisitorEvents: a data folder's products and its events of known visitors, checked; what the recipes start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog import Catalog
from ..clicks import _EARLIEST, _LATEST, EVENTS, parse_timestamps
from ..errors import DataError, check_share
from ..files import sha256
from ..ids import ProductIds
from ..rejections import MAX_REJECTED, Rejections
from ..tables import ROW, as_text, find_table, read_table, require_columns

REQUIRED = ("product_id", "timestamp", "user_id")
_TEXT = ("product_id", "user_id", "event")
_NUMBERS = ("label", "rating")


@dataclass(frozen=True)
class VisitorEvents:
    """Events of known visitors over a catalogue, in the order of visitor, time and row of the file.

    Attributes
    ----------
    items
        Product ids of the whole catalogue.
    category
        int32 [items]: 0 where an item has none, else 1 + its position in `categories`.
    categories
        Names of the categories, sorted.
    users
        Ids of the visitors that have an event, sorted.
    user, item
        int32 [n]: positions in `users` and `items`.
    time
        int64 [n]: microseconds since 1970, UTC.
    label
        uint8 [n], 1 for a click; None where the input has no column `label`.
    rating
        float64 [n]; None where the input has no column `rating`.
    jumps
        Events left out because they lead to the shop (`event` is `jump`): they are not what was shown or clicked.
    records, rejections
        Rows of the events file; rows of both files kept out, with reasons.
    inputs
        SHA-256 by file name; empty for events that do not come from files.
    """

    items: ProductIds
    category: NDArray[np.int32]
    categories: tuple[str, ...]
    users: tuple[str, ...]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    label: NDArray[np.uint8] | None
    rating: NDArray[np.float64] | None
    jumps: int
    records: int
    rejections: Rejections
    inputs: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def read(cls, folder: str | Path, *, encoding: str = "utf-8", max_rejected: float = MAX_REJECTED) -> VisitorEvents:
        """Read `products.*` and `clicks.*` of a folder; the latter with a `user_id`, and optionally `label`, `rating`.

        Raises
        ------
        DataError
            A file or a column is missing, or more than the share `max_rejected` of a file's rows is bad.
        """
        folder = Path(folder)
        products, clicks = _found(folder, "products"), _found(folder, "clicks")
        catalog = Catalog.read(products, encoding=encoding, max_rejected=max_rejected)
        rejections = Rejections()
        table, records = read_table(clicks, rejections, required=REQUIRED, text=_TEXT, encoding=encoding)
        inputs = {path.name: sha256(path) for path in (products, clicks)}
        return cls._checked(catalog, table, rejections, records, clicks.name, max_rejected, inputs)

    @classmethod
    def from_frames(
        cls, catalog: Catalog, events: pl.DataFrame, *, max_rejected: float = MAX_REJECTED
    ) -> VisitorEvents:
        """Check events given as a Polars frame with the columns of the clicks file."""
        require_columns("clicks", events.columns, REQUIRED)
        table = events.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW))
        return cls._checked(catalog, table, Rejections(), events.height, "clicks", max_rejected, {})

    @classmethod
    def _checked(
        cls,
        catalog: Catalog,
        table: pl.DataFrame,
        rejections: Rejections,
        records: int,
        file: str,
        max_rejected: float,
        inputs: Mapping[str, str],
    ) -> VisitorEvents:
        check_share("max_rejected", max_rejected)
        given = [name for name in (*_TEXT, "timestamp", *_NUMBERS, ROW) if name in table.columns]
        table = as_text(table.select(given), file, _TEXT)
        numbers = [name for name in _NUMBERS if name in table.columns]
        for name in numbers:
            dtype = table.schema[name]
            if not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Null)):
                raise DataError(f"{file}: column {name!r} is of type {dtype}, must hold numbers.")
        ids = pl.DataFrame({"product_id": catalog.ids.array.tolist()}, schema={"product_id": pl.String})
        ids = ids.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("item"))
        table = table.with_columns(
            parse_timestamps(table["timestamp"]).alias("time"),
            *(pl.col(name).cast(pl.Float64, strict=False) for name in numbers),
        ).join(ids, on="product_id", how="left", maintain_order="left")

        def reject(condition: pl.Expr, reason: str) -> None:
            nonlocal table
            marked = table.select(pl.col(ROW), condition.fill_null(False).alias("bad"))
            rejections.add(file, marked.filter("bad")[ROW], reason)
            table = table.filter(~marked["bad"])

        reject(pl.col("user_id").is_null(), "user_id is empty")
        reject(pl.col("product_id").is_null(), "product_id is empty")
        reject(pl.col("item").is_null(), "product is not in the catalogue")
        reject(
            pl.col("time").is_null(),
            "timestamp does not parse; ISO 8601 or seconds, milliseconds or microseconds since 1970 are understood",
        )
        reject(~pl.col("time").is_between(_EARLIEST, _LATEST), "timestamp is before 1990 or after 2100")
        if "event" in table.columns:
            table = table.with_columns(pl.col("event").str.to_lowercase().fill_null("click"))
            reject(~pl.col("event").is_in(EVENTS), f"event is neither of {', '.join(EVENTS)}")
        if "label" in numbers:
            reject(pl.col("label").is_null() | ~pl.col("label").is_in([0.0, 1.0]), "label is neither 0 nor 1")
        if "rating" in numbers and "label" not in numbers:  # beside labels, ratings are not looked at
            reject(pl.col("rating").is_null() | ~pl.col("rating").is_finite(), "rating is not a number")
        rejections.enforce(file, records, max_rejected)
        jumps = 0
        if "event" in table.columns:
            jumps = int((table["event"] == "jump").sum())
            table = table.filter(pl.col("event") != "jump")
        if table.is_empty():
            raise DataError(f"{file} holds no usable event; rejected most often: {rejections.worst(file)}.")

        users = table["user_id"].unique().sort()
        place = pl.DataFrame({"user_id": users}).with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("user"))
        table = table.join(place, on="user_id").sort("user", "time", ROW)
        category, categories = _categories(catalog)
        rejections.extend(catalog.rejections)
        return cls(
            items=catalog.ids,
            category=category,
            categories=categories,
            users=tuple(users.to_list()),
            user=table["user"].to_numpy(),
            item=table["item"].to_numpy(),
            time=table["time"].to_numpy(),
            label=table["label"].to_numpy().astype(np.uint8) if "label" in numbers else None,
            rating=table["rating"].to_numpy() if "rating" in numbers else None,
            jumps=jumps,
            records=records,
            rejections=rejections,
            inputs=inputs,
        )


def _categories(catalog: Catalog) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    names = catalog.frame["category"].drop_nulls().unique().sort().to_list()
    place = {name: n for n, name in enumerate(names, 1)}
    return np.array([place.get(name, 0) for name in catalog.categories], np.int32), tuple(names)


def _found(folder: Path, stem: str) -> Path:
    path = find_table(folder, stem)
    if path is None:
        raise DataError(f"{folder} holds no {stem}.csv, {stem}.jsonl or {stem}.parquet.")
    return path
