"""The map's numbers: products of the largest categories, laid out in two dimensions (the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..fusion import fusion_strategy
from ..ids import ProductIds
from .clustering import complete_products, of_largest, stratified, tsne_layout

if TYPE_CHECKING:
    from ..recommender import Recommender


@dataclass(frozen=True)
class CategoryMap:
    """Where m products lie on the t-SNE map of one strategy.

    Attributes
    ----------
    places
        int64 [m]: positions of the products in the catalogue.
    layout
        float64 [m, 2]; its axes and its unit mean nothing.
    group
        int64 [m]: index of each product's category in `categories`.
    middles
        int64 [categories]: per category, the index of the product nearest to its middle (the median).
    """

    strategy: str
    modalities: tuple[str, ...]
    ids: ProductIds
    places: NDArray[np.int64]
    layout: NDArray[np.float64]
    categories: tuple[str, ...]
    group: NDArray[np.int64]
    middles: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Categories with their size and middle product, and the products with category and coordinates."""
        sizes = np.bincount(self.group, minlength=len(self.categories)).tolist()
        categories = [
            {"category": name, "products": size, "middle": self.ids[int(middle)]}
            for name, size, middle in zip(self.categories, sizes, self.middles, strict=True)
        ]
        return {
            "strategy": self.strategy,
            "modalities": list(self.modalities),
            "categories": categories,
            "products": {
                "product_id": list(self.ids),
                "category": [self.categories[g] for g in self.group.tolist()],
                "x": np.round(self.layout[:, 0], 4).tolist(),
                "y": np.round(self.layout[:, 1], 4).tolist(),
            },
        }


def category_map(
    recommender: Recommender,
    *,
    strategy: str = "intermediate",
    modalities: Sequence[str] | None = None,
    categories: int = 20,
    sample: int = 2000,
    seed: int = 0,
) -> CategoryMap:
    """Lay out products that have every modality in use and are of one of the largest categories.

    Parameters
    ----------
    recommender
        Fitted.
    modalities
        Which of its modalities; None for all.
    categories
        How many of the largest categories.
    sample
        At most so many products, stratified by category.

    Raises
    ------
    DataError
        Fewer than ten products have a category and every modality.
    """
    catalog, names = recommender.catalog_, list(modalities or recommender.embeddings_)
    embeddings = {name: recommender.embeddings_[name] for name in names}
    labels, complete = complete_products(embeddings, catalog.categories)
    chosen = stratified(labels, of_largest(labels, complete, categories), sample, seed)
    if len(chosen) < 10:
        raise DataError(f"only {len(chosen)} products have a category and every one of {', '.join(names)}.")
    ids = ProductIds([catalog.ids[i] for i in chosen])
    some = {name: e.aligned(ids) for name, e in embeddings.items()}
    settings: dict[str, Any] = {"clusters": categories, "seed": seed} if strategy == "late" else {}
    layout = tsne_layout(fusion_strategy(strategy, modalities=names, **settings).fit(some), some, seed=seed)
    found, group = np.unique(labels[chosen].astype(str), return_inverse=True)
    return CategoryMap(
        strategy, tuple(names), ids, chosen, layout, tuple(map(str, found)), group, _middles(layout, group)
    )


def _middles(layout: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The product nearest to the median of each group."""
    middles = []
    for g in range(int(group.max()) + 1):
        members = np.flatnonzero(group == g)
        away = np.linalg.norm(layout[members] - np.median(layout[members], axis=0), axis=1)
        middles.append(int(members[np.argmin(away)]))
    return np.array(middles)
