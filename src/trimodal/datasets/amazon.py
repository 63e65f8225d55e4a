"""Amazon reviews and metadata, releases of 2014, 2018 and 2023, to the input format: streamed, line by line.

    release   reviews                                        metadata
    2014      reviewerID, asin, overall, unixReviewTime      asin, title, categories [[...]], imUrl; Python literals
    2018      the same                                       asin, title, category [...], imageURLHighRes
    2023      user_id, parent_asin, rating, timestamp (ms)   parent_asin, title, categories [...], images

J. McAuley and others, https://cseweb.ucsd.edu/~jmcauley/datasets.html. The category of a product is the last name of
its last path, as in the data of Zhou et al. 2018.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..catalog import MAX_ID, MAX_TITLE
from ..errors import DataError, check_share
from ..files import atomic
from ..progress import Progress, silent
from ..rejections import MAX_REJECTED, Rejections
from ..tables import find_table
from ._lines import BadLineError, read_lines

BATCH = 65_536
_CLICKS = pa.schema(
    [
        ("user_id", pa.string()),
        ("product_id", pa.string()),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("rating", pa.float32()),
    ]
)
_PRODUCTS = pa.schema([(name, pa.string()) for name in ("product_id", "title", "category", "image", "brand")])


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote and left out. Prints as a table.

    Attributes
    ----------
    release
        2014, 2018 or 2023.
    reviews, products
        Rows of `clicks.parquet` and of `products.parquet`.
    without_meta
        Products that are reviewed and have no metadata: written with their id alone.
    not_reviewed
        Products of the metadata without a review: left out.
    titles, categories, images
        Products that have one.
    rejections
        Lines kept out, with reasons.
    """

    release: int
    reviews: int
    products: int
    without_meta: int
    not_reviewed: int
    titles: int
    categories: int
    images: int
    rejections: Rejections

    def to_dict(self) -> dict[str, Any]:
        """The shape that `--json` prints."""
        names = [name for name in vars(self) if name != "rejections"]
        reasons = [{"file": file, "reason": reason, "lines": n} for file, reason, n in self.rejections.reasons()]
        listed = [{"file": r.file, "line": r.row, "reason": r.reason} for r in self.rejections]
        return {**{name: getattr(self, name) for name in names}, "rejected_reasons": reasons, "rejected": listed}

    def __str__(self) -> str:
        names = [name for name in vars(self) if name not in ("rejections", "release")]
        lines = [f"release of {self.release}"]
        lines += [f"{name.replace('_', ' '):<20}{getattr(self, name):>14,}" for name in names]
        lines.append(f"{'rejected lines':<20}{self.rejections.total:>14,}")
        lines += [f"  {n:>8,}  {file}: {reason}" for file, reason, n in self.rejections.reasons()]
        return "\n".join(lines)


def convert(
    reviews: str | Path,
    meta: str | Path,
    out: str | Path,
    *,
    max_rejected: float = MAX_REJECTED,
    progress: Progress = silent,
) -> Conversion:
    """Write `products.parquet` and `clicks.parquet` (user_id, product_id, timestamp, rating) to the folder `out`.

    The release is known by the keys of the first good line. What is held in memory are the ids of the reviewed
    products. Products stand in the order of the metadata, those without any at the end. A review
    is one click, repeated ones too.

    Raises
    ------
    DataError
        A file is missing, damaged or of no known release; none of the reviewed products is in the metadata; more
        than the share `max_rejected` of a file's lines cannot be used; `out` holds products or clicks already.
    """
    reviews, meta, out = Path(reviews), Path(meta), Path(out)
    check_share("max_rejected", max_rejected)
    out.mkdir(parents=True, exist_ok=True)
    for stem in ("products", "clicks"):
        there = find_table(out, stem)
        if there is not None:
            raise DataError(f"{there} is there already; remove it, or choose another folder.")
    rejections = Rejections()
    with atomic(out / "products.parquet") as products_file, atomic(out / "clicks.parquet") as clicks_file:
        read = _Reviews(reviews, rejections)
        _write(clicks_file, _CLICKS, read.rows(progress))
        rejections.enforce(reviews.name, read.lines, max_rejected)
        found = _Products(meta, rejections, read.products)
        _write(products_file, _PRODUCTS, found.rows(progress))
        rejections.enforce(meta.name, found.lines, max_rejected)
        if found.without_meta == len(read.products):
            raise DataError(
                f"{meta.name} has none of the {len(read.products):,} products of {reviews.name}; are both of the same "
                "category and release?"
            )
    return Conversion(
        release=2023 if read.newest else found.release,
        reviews=read.count,
        products=len(read.products),
        without_meta=found.without_meta,
        not_reviewed=found.not_reviewed,
        titles=found.filled["title"],
        categories=found.filled["category"],
        images=found.filled["image"],
        rejections=rejections,
    )


@dataclass
class _Reviews:
    """One pass over the reviews; counts as it goes."""

    path: Path
    rejections: Rejections
    lines: int = 0
    count: int = 0
    newest: bool = False
    products: set[str] = field(default_factory=set)

    def rows(self, progress: Progress) -> Iterator[tuple[Any, ...]]:
        known = False
        with progress("reading reviews", None) as step:
            for record in _records(self, step):
                if not known:
                    known, self.newest = True, _is_newest(record, self.path, "reviewerID", "unixReviewTime")
                try:
                    row = _review(record, newest=self.newest)
                except BadLineError as error:
                    self.rejections.add(self.path.name, [self.lines], str(error))
                    continue
                self.count += 1
                self.products.add(row[1])
                yield row
        if not self.count:
            worst = self.rejections.worst(self.path.name)
            raise DataError(f"{self.path.name} holds no usable review; rejected most often: {worst}.")


@dataclass
class _Products:
    """One pass over the metadata, for the products that are reviewed; counts as it goes."""

    path: Path
    rejections: Rejections
    wanted: set[str]
    lines: int = 0
    release: int = 0
    without_meta: int = 0
    not_reviewed: int = 0
    filled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PRODUCTS.names, 0))

    def rows(self, progress: Progress) -> Iterator[tuple[Any, ...]]:
        missing = set(self.wanted)
        with progress("reading metadata", None) as step:
            for record in _records(self, step):
                if not self.release:
                    newest = _is_newest(record, self.path, "asin")
                    self.release = 2023 if newest else 2018 if "category" in record else 2014
                product = record.get("parent_asin" if self.release == 2023 else "asin")
                if not _is_id(product):
                    self.rejections.add(self.path.name, [self.lines], "the id of the product is missing or no id")
                elif product in missing:
                    missing.remove(product)
                    row = product, _title(record), _category(record), _image(record), _text(record.get("brand"))
                    for name, value in zip(_PRODUCTS.names, row, strict=True):
                        self.filled[name] += value is not None
                    yield row
                elif product not in self.wanted:
                    self.not_reviewed += 1
        self.without_meta = len(missing)
        for product in sorted(missing):
            yield product, None, None, None, None


def _records(source: _Reviews | _Products, step: Any) -> Iterator[Mapping[str, Any]]:
    """The records of a file; counts its lines and lists those that do not parse."""
    for number, record in read_lines(source.path):
        source.lines = number
        step()
        if isinstance(record, BadLineError):
            source.rejections.add(source.path.name, [source.lines], str(record))
        else:
            yield record


def _is_newest(record: Mapping[str, Any], path: Path, *older: str) -> bool:
    if "parent_asin" in record:
        return True
    if set(older) <= set(record):
        return False
    raise DataError(
        f"{path.name} is of no known release: its first line has the keys {', '.join(list(record)[:8])}, must have "
        f"parent_asin (2023) or {', '.join(older)} (2014, 2018). Are the files given in the order REVIEWS META?"
    )


def _review(record: Mapping[str, Any], *, newest: bool) -> tuple[str, str, int, float]:
    """User, product, milliseconds since 1970, rating."""
    names = ("user_id", "parent_asin", "timestamp", "rating") if newest else (
        "reviewerID", "asin", "unixReviewTime", "overall"
    )  # fmt: skip
    user, product, time, rating = (record.get(name) for name in names)
    if not _is_id(user):
        raise BadLineError(f"{names[0]} is missing or no id")
    if not _is_id(product):
        raise BadLineError(f"{names[1]} is missing or no id")
    if type(time) is not int or not 0 <= time < (10**13 if newest else 10**10):
        raise BadLineError(f"{names[2]} is missing or no time")
    if type(rating) not in (int, float) or not math.isfinite(rating):  # type: ignore[arg-type]
        raise BadLineError(f"{names[3]} is missing or no number")
    return user, product, time if newest else time * 1000, float(rating)  # type: ignore[arg-type,return-value]


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isascii() and value.isprintable()


def _text(value: object) -> str | None:
    """One line of text without HTML entities; None where there is none."""
    if not isinstance(value, str):
        return None
    plain = " ".join(html.unescape(value).encode("utf-8", "replace").decode().split())
    return plain[:MAX_TITLE] or None


def _title(record: Mapping[str, Any]) -> str | None:
    title = _text(record.get("title"))
    # Some titles of 2018 are pieces of the page's script.
    return None if title is None or "getTime" in title else title


def _category(record: Mapping[str, Any]) -> str | None:
    path = record.get("categories", record.get("category"))
    while isinstance(path, list) and path:
        path = path[-1]
    return _text(path) or _text(record.get("main_category"))


def _image(record: Mapping[str, Any]) -> str | None:
    """Address of the largest first picture."""
    for name in ("imageURLHighRes", "images", "imUrl"):
        value = record.get(name)
        if isinstance(value, dict):  # a table of columns
            value = next((value[size] for size in ("hi_res", "large") if any(value.get(size) or ())), None)
        if isinstance(value, list):
            value = next(filter(None, value), None)
        if isinstance(value, dict):
            value = value.get("hi_res") or value.get("large")
        if _text(value):
            return _text(value)
    return None


def _write(path: Path, schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> None:
    """Write rows to a Parquet file, a batch at a time."""
    batch: list[tuple[Any, ...]] = []
    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            columns = zip(*batch, strict=True)
            arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            batch.clear()

        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                flush()
        if batch:
            flush()
