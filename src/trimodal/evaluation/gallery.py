"""The gallery: one HTML file that shows products beside their neighbours, with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from ..encoders.pictures import PictureSource, is_url
from ..errors import ItemError
from ..files import atomic
from .clustering import ClusteringTable

if TYPE_CHECKING:
    from ..recommender import Recommender
    from ..results import SimilarProducts
    from ..shaping import Shaping

THUMBNAIL = 160
"""Longest side of a picture in the page, in pixels."""

COLORS = ("#2f6f9f", "#d1793b", "#4d8f5b", "#8a5aa3", "#a8893c", "#5b8f8f", "#a3525f", "#6b6b6b")


@dataclass(frozen=True)
class _Card:
    product_id: str
    title: str | None
    category: str | None
    price: float | None
    picture: str | None
    clicks: int
    missing: list[str]


def write_gallery(
    path: str | Path,
    recommender: Recommender,
    ids: Sequence[str],
    *,
    k: int = 15,
    shaping: Shaping | None = None,
    title: str = "Similar products",
    note: str = "",
    table: ClusteringTable | None = None,
) -> None:
    """Write a page that needs no network: each product, its k neighbours, and the share of each modality.

    Local pictures are embedded as thumbnails; pictures behind URLs are not fetched.

    Parameters
    ----------
    ids
        The products to show.
    shaping
        Caps, diversity and filters of the lists; None for the plain ones.
    note
        A sentence below the heading, such as where the data come from.
    table
        A clustering table to show at the end.
    """
    catalog = recommender.catalog_
    roots = catalog.image_roots()
    shelf: dict[tuple[Path | None, str], str | None] = {}
    columns = {name: catalog.frame[name].to_list() for name in ("title", "category", "price", "image")}

    def card(product_id: str) -> _Card:
        place = int(catalog.ids.positions([product_id])[0])
        value = columns["image"][place]
        key = (roots[place], str(value))
        if value is not None and key not in shelf:
            shelf[key] = _thumbnail(*key)
        return _Card(
            product_id=product_id,
            title=columns["title"][place],
            category=columns["category"][place],
            price=columns["price"][place],
            picture=shelf.get(key),
            clicks=int(recommender.click_counts_[place]),
            missing=[name for name, e in recommender.embeddings_.items() if e.state[place] == 0],
        )

    results = [recommender.similar(product_id, k, shaping=shaping) for product_id in ids]
    environment = Environment(loader=PackageLoader("trimodal.evaluation"), autoescape=True, trim_blocks=True)
    page = environment.get_template("gallery.html.j2").render(
        title=title,
        note=note,
        strategy=recommender.fusion_.name,
        modalities=list(zip(recommender.fusion_.modalities_, COLORS, strict=False)),
        groups=[(card(str(r.product_id)), _neighbors(r, card)) for r in results],
        table=None if table is None else _cells(table),
        products=len(catalog),
    )
    with atomic(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _neighbors(result: SimilarProducts, card: Any) -> list[tuple[_Card, float, list[tuple[str, str, float, float]]]]:
    rows = []
    for neighbor in result:
        total = sum(max(share, 0.0) for share in neighbor.shares.values()) or 1.0
        bars = [
            (name, color, share, 100 * max(share, 0.0) / total)
            for (name, share), color in zip(neighbor.shares.items(), COLORS, strict=False)
        ]
        rows.append((card(neighbor.product_id), neighbor.distance, bars))
    return rows


def _cells(table: ClusteringTable) -> dict[str, Any]:
    strategies = list(dict.fromkeys(row.strategy for row in table.rows))
    cell = {(row.modalities, row.strategy): row for row in table.rows}
    subsets = list(dict.fromkeys(row.modalities for row in table.rows))
    best = max(row.ari for row in table.rows)
    return {
        "strategies": strategies,
        "rows": [(" + ".join(subset), [cell.get((subset, name)) for name in strategies]) for subset in subsets],
        "best": best,
        "chance": table.chance,
        "products": table.rows[0].products,
        "categories": table.rows[0].categories,
        "seeds": table.rows[0].seeds,
    }


def _thumbnail(root: Path | None, value: str) -> str | None:
    if is_url(value):
        return None
    # As the encoder reads it: a catalogue must not bring other files of this machine into a page.
    source = PictureSource(root if root is not None else ".", allow_outside=root is None)
    try:
        picture = source.open(value)
    except ItemError:
        return None
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
