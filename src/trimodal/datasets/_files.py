"""The files of the simulated market, written in blocks of products or of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ..progress import Progress
from . import _drawings, _sessions, _words
from ._market import PICTURE_KINDS, TITLE_KINDS, Market
from ._tables import TableWriter
from ._titles import titles

_BLOCK = 8_192  # products written at once; changes nothing in the files' rows
_PER_FOLDER = 1_000  # pictures in one folder


def _picture_name(product_id: str, position: int) -> str:
    return f"images/{position // _PER_FOLDER:04d}/{product_id}.jpg"


def write_products(folder: Path, market: Market, ids: Any, *, pictures: bool, format: str, progress: Progress) -> None:
    """Write the products table, its columns in the order of the contract."""
    text = (
        "product_id",
        "title",
        "category",
        "image",
        "price",
        "url",
        "brand",
        "group_id",
        "department",
        "shop",
    )
    schema = pa.schema([(name, pa.float64() if name == "price" else pa.string()) for name in text])
    leaves = np.array(market.tree.categories, dtype=object)
    departments = np.array(market.tree.departments, dtype=object)
    with (
        TableWriter(folder / "products", schema, format=format) as table,
        progress("Writing products", len(market)) as advance,
    ):
        for start in range(0, len(market), _BLOCK):
            stop = min(start + _BLOCK, len(market))
            rows, names = slice(start, stop), ids[start:stop].to_pylist()
            shown = market.has_picture[rows] & pictures
            shops = [f"shop-{number + 1:03d}" for number in market.shop[rows].tolist()]
            table.write({
                "product_id": ids[start:stop],
                "title": titles(market, start, stop),
                "category": leaves[market.category[rows]],
                "image": [
                    _picture_name(name, place) if there else None
                    for place, (name, there) in enumerate(zip(names, shown.tolist(), strict=True), start)
                ],
                "price": market.price[rows],
                "url": [f"https://{shop}.example/{name}" for shop, name in zip(shops, names, strict=True)],
                "brand": [_words.brand(number) for number in market.brand[rows].tolist()],
                "group_id": [f"g{number + 1:07d}" for number in market.group[rows].tolist()],
                "department": departments[market.department[rows]],
                "shop": shops,
            })  # fmt: skip
            advance(stop - start)


def write_pictures(folder: Path, market: Market, ids: Any, progress: Progress) -> None:
    """Draw each product's picture into `images/`, a thousand to a folder."""
    noise = _drawings.grain()
    places = np.flatnonzero(market.has_picture)
    made: set[int] = set()
    with progress("Drawing pictures", len(places)) as advance:
        for position in places.tolist():
            path = folder / _picture_name(ids[position].as_py(), position)
            if position // _PER_FOLDER not in made:
                path.parent.mkdir(parents=True)
                made.add(position // _PER_FOLDER)
            path.write_bytes(_drawings.picture(market, position, noise))
            advance()


@dataclass(frozen=True)
class Log:
    """What was written to the click log: clicks of each product [N], different visitors, jumps."""

    per_product: np.ndarray[Any, np.dtype[np.int64]]
    visitors: int
    jumps: int


def write_clicks(
    folder: Path,
    market: Market,
    ids: Any,
    *,
    seed: int,
    sessions: int,
    users: bool,
    format: str,
    progress: Progress,
) -> Log:
    """Write the click log in time order."""
    columns = [
        ("session_id", pa.string()),
        ("product_id", pa.string()),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("event", pa.string()),
    ]
    if users:
        columns.append(("user_id", pa.string()))
    per_product, jumps = np.zeros(len(market), np.int64), 0
    seen = np.zeros(_sessions.visitor_count(sessions, market.model), np.bool_)
    events = np.array(["click", "jump"], dtype=object)
    with (
        TableWriter(folder / "clicks", pa.schema(columns), format=format) as table,
        progress("Writing sessions", sessions) as advance,
    ):
        for rows, done in _sessions.blocks(seed, market, sessions):
            if len(rows):
                table.write({
                    "session_id": _numbered("s", rows.session + 1),
                    "product_id": ids.take(pa.array(rows.product)),
                    "timestamp": _sessions.FIRST_DAY + rows.time.astype("timedelta64[ms]"),
                    "event": events[rows.jump.astype(np.int64)],
                    "user_id": _numbered("u", rows.visitor + 1) if users else None,
                })  # fmt: skip
            per_product += np.bincount(rows.product[~rows.jump], minlength=len(market))
            jumps += int(rows.jump.sum())
            seen[rows.visitor] = True
            advance(done)
    return Log(per_product, int(seen.sum()), jumps)


def _numbered(letter: str, numbers: _sessions.Ints) -> Any:
    """Return ids such as `s0000012`: an Arrow array."""
    digits = pa.compute.utf8_lpad(pa.array(numbers).cast(pa.string()), width=7, padding="0")
    return pa.compute.binary_join_element_wise(letter, digits, "")


def write_truth(folder: Path, market: Market, ids: Any, clicks: _sessions.Ints, progress: Progress) -> None:
    """Write what is hidden from a recommender: one row for each product."""
    size = market.model.taste_dimension
    named = ("category", "department", "style", "group_id", "title_kind", "picture_kind", "language",
             "colour", "material")  # fmt: skip
    schema = pa.schema([
        ("product_id", pa.string()), *((name, pa.string()) for name in named),
        ("taste", pa.list_(pa.float32(), size)), ("popularity", pa.float64()), ("clicks", pa.int64()),
        ("cold", pa.bool_()), ("has_picture", pa.bool_()),
    ])  # fmt: skip
    leaves = np.array(market.tree.categories, dtype=object)
    per_category = market.styles_of_a_category
    lists: dict[str, tuple[Any, Any]] = {
        "title_kind": (TITLE_KINDS, market.title_kind),
        "picture_kind": (PICTURE_KINDS, market.picture_kind),
        "language": (_words.LANGUAGES, market.language),
        "colour": ([words.pick(0, 0) for _, words in _words.COLOURS], market.colour),
        "material": ([words.pick(0, 0) for words in _words.MATERIALS], market.material),
        "department": (market.tree.departments, market.department),
        "category": (leaves, market.category),
    }
    with (
        TableWriter(folder / "truth", schema, format="parquet") as table,
        progress("Writing the truth", len(market)) as advance,
    ):
        for start in range(0, len(market), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(market)))
            category = leaves[market.category[rows]]
            styles = zip(category, (market.style[rows] % per_category).tolist(), strict=True)
            table.write({
                "product_id": ids[rows.start : rows.stop],
                **{
                    name: np.array(words, dtype=object)[numbers[rows]]
                    for name, (words, numbers) in lists.items()
                },
                "style": [f"{leaf}/{number + 1}" for leaf, number in styles],
                "group_id": [f"g{number + 1:07d}" for number in market.group[rows].tolist()],
                "taste": pa.FixedSizeListArray.from_arrays(pa.array(market.taste[rows].ravel()), size),
                "popularity": market.popularity[rows],
                "clicks": clicks[rows],
                "cold": clicks[rows] == 0,
                "has_picture": market.has_picture[rows],
            })  # fmt: skip
            advance(rows.stop - rows.start)
