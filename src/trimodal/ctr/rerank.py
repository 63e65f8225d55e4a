"""Recommendations for a visitor: the recommender finds candidates near her last clicks, the ranker orders them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import check_int
from ..recommender import Recommender
from .ranker import Ranker

DECAY = 0.7
"""Weight of a click in the search for candidates, relative to the click after it."""
RECENT = 20
"""Clicks that the search for candidates uses, the latest ones; 0.7 ** 20 is less than a thousandth."""


@dataclass(frozen=True)
class Recommendation:
    """A product, the probability of a click on it, and its fused distance from the visitor's last clicks.

    The distance is None where the product was taken for its popularity.
    """

    product_id: str
    probability: float
    distance: float | None


@dataclass(frozen=True)
class Recommendations:
    """What to show a visitor, the most likely click first. Prints as a table.

    Attributes
    ----------
    products
        The first k.
    visitor, known
        Whom they are for, and whether the ranker's training saw her.
    candidates
        How many products were ranked.
    popular
        The candidates are the most clicked products, since none of her clicks has neighbours.
    added
        Products that came after the ranker's training and that it took in by their vectors.
    unranked
        Candidates that it does not know and that have no vector which it could use; left out.
    skipped
        Clicks of the history that the ranker does not know and could not take in.
    """

    products: tuple[Recommendation, ...]
    visitor: str | None
    known: bool
    candidates: int
    popular: bool
    added: int
    unranked: int
    skipped: int

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.products)

    def __len__(self) -> int:
        return len(self.products)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return asdict(self) | {"products": [asdict(product) for product in self.products]}

    def __str__(self) -> str:
        who = "a visitor" if self.visitor is None else f"{self.visitor}{'' if self.known else ' (not in training)'}"
        source = "most clicked products" if self.popular else "neighbours of her clicks"
        lines = [f"recommended to {who}: {len(self)} of {self.candidates} {source}"]
        lines.append(f"  {'product':<24} {'probability':>11} {'distance':>9}")
        for p in self.products:
            distance = "-" if p.distance is None else f"{p.distance:.4f}"
            lines.append(f"  {p.product_id:<24} {p.probability:>11.4f} {distance:>9}")
        for count, what in (
            (self.added, "new products ranked by their vectors"),
            (self.unranked, "candidates left out: unknown to the ranker and without a vector for it"),
            (self.skipped, "clicks left out: unknown to the ranker"),
        ):
            if count:
                lines.append(f"  {count:,} {what}")
        return "\n".join(lines)


def recommend(
    recommender: Recommender,
    ranker: Ranker,
    history: Sequence[str],
    *,
    visitor: str | None = None,
    candidates: int = 200,
    k: int = 15,
    repeats: bool = False,
) -> Recommendations:
    """Find candidates near a visitor's last clicks and rank them by click probability.

    Candidates are the products nearest to the decayed mean of the last clicks, by the recommender's fusion. For a
    visitor without a click that has neighbours they are the most clicked products. A product that the ranker does not
    know is added to it, in memory, where the recommender holds a vector of the encoder that the ranker was trained
    with; it stays as it was added until the ranker is loaded anew.

    Parameters
    ----------
    recommender
        Fitted, over a catalogue that may have changed since the ranker was trained.
    history
        Products that the visitor clicked, oldest first.
    visitor
        Her id, if the ranker shall use what training learned of her.
    candidates
        How many products to rank.
    k
        How many to return.
    repeats
        Recommend also what is in the history.

    Raises
    ------
    ParameterError
        `candidates` or `k` is less than 1.
    """
    check_int("candidates", candidates, low=1)
    check_int("k", k, low=1)
    history = [history] if isinstance(history, str) else list(history)
    recommender._check_fitted()
    clicked = recommender.catalog_.ids.find(history)
    clicked = clicked[clicked >= 0]
    hidden = np.empty(0, np.int64) if repeats else np.unique(clicked)
    wanted = min(candidates + len(hidden), len(recommender.catalog_))
    places, distances = _near(recommender, clicked[-RECENT:], wanted)
    popular = not len(places)
    if popular:
        places = _most_clicked(recommender, wanted)
        distances = np.full(len(places), np.nan, np.float32)
    kept = np.flatnonzero(~np.isin(places, hidden))[:candidates]
    ids = [recommender.catalog_.ids[place] for place in places[kept].tolist()]
    added = _take_in(recommender, ranker, [*dict.fromkeys([*ids, *history])])
    ranking = ranker.rank(ids, history, visitor=visitor, unknown="skip")
    distance = dict(zip(ids, distances[kept].tolist(), strict=True))
    return Recommendations(
        products=tuple(
            Recommendation(product, chance, None if popular else distance[product])
            for product, chance in list(ranking)[:k]
        ),
        visitor=visitor,
        known=ranking.known,
        candidates=len(ranking),
        popular=popular,
        added=added,
        unranked=ranking.skipped["candidates"],
        skipped=ranking.skipped["history"],
    )


def _near(
    recommender: Recommender, clicked: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places and distances of the products nearest to clicks, the latest of which weigh most; none without clicks."""
    weights = DECAY ** np.arange(len(clicked) - 1, -1, -1.0)
    shape = (1, len(recommender.catalog_))
    session = sparse.csr_matrix((weights, (np.zeros(len(clicked), np.int64), clicked)), shape=shape)
    places, distances = recommender.fusion_.query_sessions(session, count)
    found = places[0] >= 0
    return places[0][found], distances[0][found]


def _most_clicked(recommender: Recommender, count: int) -> NDArray[np.int64]:
    """Places of the products with most clicks, those without a click left out."""
    counts = recommender.click_counts_
    order = np.argsort(-counts, kind="stable")[:count]
    return order[counts[order] > 0]


def _take_in(recommender: Recommender, ranker: Ranker, ids: Sequence[str]) -> int:
    """Add those products to the ranker that it does not know and that have a vector which it can use; how many."""
    new = [product for product in ids if product not in ranker and product in recommender.catalog_.ids]
    if not new:
        return 0
    usable = [name for name in ranker.modalities if _same_encoder(recommender, ranker, name)]
    frame, added = recommender.catalog_.frame, 0
    for product, place in zip(new, recommender.catalog_.ids.positions(new).tolist(), strict=True):
        vectors = {name: recommender.embeddings_[name].vector(product) for name in usable}
        known = {name: vector for name, vector in vectors.items() if vector is not None}
        if known:
            ranker.add(product, known, category=frame["category"][place] if "category" in frame.columns else None)
            added += 1
    return added


def _same_encoder(recommender: Recommender, ranker: Ranker, name: str) -> bool:
    """Whether a modality's vectors in the recommender are of the encoder that the ranker was trained with."""
    embedding = recommender.embeddings_.get(name)
    note = ranker.manifest["features"][name]
    return (
        embedding is not None
        and embedding.dimension == note["dimension"]
        and (embedding.provenance.encoder, embedding.provenance.revision) == (note.get("encoder"), note.get("revision"))
    )
