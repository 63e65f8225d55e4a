"""The gallery: one HTML file that shows products beside their neighbours, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from ..files import atomic
from .cards import Cards
from .clustering import ClusteringTable

if TYPE_CHECKING:
    from ..recommender import Recommender
    from ..shaping import Shaping


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
    cards = Cards(recommender)
    results = [recommender.similar(product_id, k, shaping=shaping) for product_id in ids]
    environment = Environment(loader=PackageLoader("trimodal.evaluation"), autoescape=True, trim_blocks=True)
    page = environment.get_template("gallery.html.j2").render(
        title=title,
        note=note,
        strategy=recommender.fusion_.name,
        modalities=list(cards.colors.items()),
        groups=[(cards.of_id(str(r.product_id)), cards.neighbors(r)) for r in results],
        table=None if table is None else _cells(table),
        products=len(recommender.catalog_),
    )
    with atomic(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


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
