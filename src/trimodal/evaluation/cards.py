"""Cards: what a page shows of a product, and of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from ..recommender import Recommender
    from ..results import SimilarProducts

THUMBNAIL = 160
"""Longest side of a card's picture, in pixels."""

COLORS = ("#2f6f9f", "#d1793b", "#4d8f5b", "#8a5aa3", "#a8893c", "#5b8f8f", "#a3525f", "#6b6b6b")
"""A colour per modality, in the order of the strategy's modalities."""


@dataclass(frozen=True)
class Card:
    """One product: its words, its picture as a data URI, its clicks, and the modalities that it lacks."""

    product_id: str
    title: str | None
    category: str | None
    price: float | None
    picture: str | None
    clicks: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """Share of one modality in a similarity; `width` is its part of the positive shares, in percent."""

    modality: str
    color: str
    share: float
    width: float


class Cards:
    """Makes cards of a fitted recommender's products.

    Parameters
    ----------
    recommender
        Fitted.

    Attributes
    ----------
    colors
        Colour per modality of its strategy.
    """

    def __init__(self, recommender: Recommender) -> None:
        catalog = recommender.catalog_
        self.colors = dict(zip(recommender.fusion_.modalities_, COLORS, strict=False))
        self._recommender = recommender
        self._thumbnails = Thumbnails(catalog, THUMBNAIL)
        self._columns = {name: catalog.frame[name].to_list() for name in ("title", "category", "price")}

    def card(self, place: int) -> Card:
        """The card of the product at a position."""
        recommender = self._recommender
        return Card(
            product_id=recommender.catalog_.ids[place],
            title=self._columns["title"][place],
            category=self._columns["category"][place],
            price=self._columns["price"][place],
            picture=self._thumbnails.uri(place),
            clicks=int(recommender.click_counts_[place]),
            missing=tuple(name for name, e in recommender.embeddings_.items() if e.state[place] == 0),
        )

    def of_id(self, product_id: str) -> Card:
        """The card of a product by its id."""
        return self.card(int(self._recommender.catalog_.ids.positions([product_id])[0]))

    def neighbors(self, result: SimilarProducts) -> list[tuple[Card, float, list[Bar]]]:
        """Card, distance, and the share of each modality, for every neighbour."""
        return [(self.of_id(n.product_id), n.distance, self.bars(n.shares)) for n in result]

    def bars(self, shares: Mapping[str, float]) -> list[Bar]:
        """Bars of the shares of a neighbour's modalities, by this or by another strategy of the same modalities."""
        total = sum(max(share, 0.0) for share in shares.values()) or 1.0
        return [
            Bar(name, self.colors.get(name, COLORS[-1]), share, 100 * max(share, 0.0) / total)
            for name, share in shares.items()
        ]
