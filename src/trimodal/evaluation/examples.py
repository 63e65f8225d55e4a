"""Examples worth a look: where a strategy answers best, where it misses, and where two strategies disagree most.

They are chosen for being extreme, so they say what happens, not how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding
from ..errors import DataError, check_int
from ..fusion import Fusion, fusion_strategy
from .retrieval import REFERENCE, NextClicks, from_last

DEPTH = 200
"""How far down a strategy's list the answer of a missed question is looked for."""
_COMPARED = 2000


@dataclass(frozen=True)
class Listed:
    """A product in a list: its distance, the share of each modality, and how often it was clicked next.

    `rank` is its place in the strategy's list, from 1; None where it is not among the first `DEPTH`.
    """

    product_id: str
    distance: float | None
    shares: dict[str, float]
    clicked_next: int
    rank: int | None


@dataclass(frozen=True)
class Answered:
    """A product, its neighbours, and what held-out visitors clicked after it.

    Attributes
    ----------
    questions, first, hits
        How many questions are about it; of these, in how many the answer is first, and among the k.
    neighbors
        The first ones of its list.
    clicked
        What was clicked next most often.
    """

    product_id: str
    questions: int
    first: int
    hits: int
    neighbors: tuple[Listed, ...]
    clicked: tuple[Listed, ...]


@dataclass(frozen=True)
class Disagreement:
    """A product's lists by two strategies, and the share of the first k that both have."""

    product_id: str
    overlap: float
    left: tuple[Listed, ...]
    right: tuple[Listed, ...]


@dataclass(frozen=True)
class AnsweredExamples:
    """Best answers and misses of one strategy on held-out questions."""

    strategy: str
    modalities: tuple[str, ...]
    k: int
    best: tuple[Answered, ...]
    worst: tuple[Answered, ...]

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries."""
        return asdict(self)


@dataclass(frozen=True)
class Disagreements:
    """Where two strategies disagree most; `overlap` is the mean over all `products` that were compared."""

    left: str
    left_modalities: tuple[str, ...]
    right: str
    right_modalities: tuple[str, ...]
    k: int
    products: int
    overlap: float
    most: tuple[Disagreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries."""
        return asdict(self)


def answered_examples(
    fusion: Fusion,
    questions: NextClicks,
    train_counts: NDArray[np.int64],
    categories: Sequence[str | None],
    *,
    k: int = 15,
    count: int = 4,
    shown: int = 6,
) -> AnsweredExamples:
    """Choose products whose answers are best and worst, each of another category where there are enough.

    Best: the most questions whose answer is first in rank. Worst: of the products that more than half of the clicked
    ones have no more clicks than, those with the most questions and not one answer among the k.

    Parameters
    ----------
    fusion
        Fitted on the products of the training sessions.
    questions
        About held-out sessions, positions in the same products.
    train_counts
        int64 [n]: clicks per product in the training sessions.
    categories
        Label per product [n], None where it has none.
    k
        How many neighbours count as found.
    count, shown
        How many examples of each kind, and how many neighbours of each to keep.
    """
    check_int("k", k, low=1)
    places = from_last(fusion, questions, k)
    found = places == questions.target[:, None]
    asked = np.bincount(questions.last, minlength=len(fusion.ids_))
    first = np.bincount(questions.last[found[:, 0]], minlength=len(fusion.ids_))
    hits = np.bincount(questions.last[found.any(1)], minlength=len(fusion.ids_))
    known = train_counts >= np.median(train_counts[train_counts > 0]) if (train_counts > 0).any() else asked < 0

    def described(place: int) -> Answered:
        return _answered(fusion, questions, place, (asked, first, hits), shown)

    best = np.lexsort((np.arange(len(asked)), -first / np.maximum(asked, 1), -first))
    best = best[first[best] > 0]
    worst = np.lexsort((np.arange(len(asked)), -train_counts, -asked))
    worst = worst[(asked[worst] > 0) & (hits[worst] == 0) & known[worst]]
    return AnsweredExamples(
        fusion.name,
        fusion.modalities_,
        k,
        tuple(described(place) for place in _varied(best, categories, count)),
        tuple(described(place) for place in _varied(worst, categories, count)),
    )


def disagreements(
    embeddings: Mapping[str, Embedding],
    fusion: Fusion,
    categories: Sequence[str | None],
    *,
    k: int = 15,
    count: int = 4,
    shown: int = 6,
    seed: int = 0,
) -> Disagreements:
    """Where a strategy and the paper's baseline (click-text; else its first modality alone) share least.

    Looks at 2,000 products at most, drawn at random from those that have every modality.

    Raises
    ------
    DataError
        There is one modality only, or no product has all.
    """
    names = fusion.modalities_
    if len(names) < 2:
        raise DataError(f"there is only one modality, {names[0]}, so there is nothing to disagree.")
    if {"click", "text"} <= set(embeddings) and fusion.name != REFERENCE:
        other = fusion_strategy(REFERENCE).fit(embeddings, fusion.ids_)
    else:
        other = fusion_strategy("intermediate", modalities=names[:1]).fit(embeddings, fusion.ids_)
    complete = np.flatnonzero(np.all([embeddings[name].state > 0 for name in names], axis=0))
    if len(complete) < 2:
        raise DataError(f"no two products have every one of {', '.join(names)}.")
    rng = np.random.default_rng(seed)
    compared = np.sort(rng.permutation(complete)[:_COMPARED])
    left, right = (_lists(one, compared, k) for one in (fusion, other))
    both = (left[:, :, None] == right[:, None, :]) & (left >= 0)[:, :, None]
    overlap = both.any(2).sum(1) / np.maximum(1, np.maximum((left >= 0).sum(1), (right >= 0).sum(1)))
    order = np.argsort(overlap, kind="stable")
    row = {int(place): i for i, place in enumerate(compared)}
    most = []
    for place in _varied(compared[order], categories, count):
        i = row[place]
        lists = (_listed(one, place, part[i, :shown]) for one, part in ((fusion, left), (other, right)))
        most.append(Disagreement(fusion.ids_[place], float(overlap[i]), *lists))
    return Disagreements(
        fusion.name,
        names,
        other.name,
        other.modalities_,
        min(k, left.shape[1]),
        len(compared),
        float(overlap.mean()),
        tuple(most),
    )


def _answered(
    fusion: Fusion,
    questions: NextClicks,
    place: int,
    counts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    shown: int,
) -> Answered:
    near = _lists(fusion, np.array([place]), DEPTH)[0]
    rank = {int(product): i + 1 for i, product in enumerate(near) if product >= 0}
    products, times = np.unique(questions.target[questions.last == place], return_counts=True)
    often = np.lexsort((products, -times))
    next_click = dict(zip(products.tolist(), times.tolist(), strict=True))
    asked, first, hits = (int(part[place]) for part in counts)
    return Answered(
        fusion.ids_[place],
        asked,
        first,
        hits,
        _listed(fusion, place, near[:shown], next_click, rank),
        _listed(fusion, place, products[often][: max(3, shown // 2)], next_click, rank),
    )


def _listed(
    fusion: Fusion,
    place: int,
    products: NDArray[np.int64],
    next_click: Mapping[int, int] | None = None,
    rank: Mapping[int, int] | None = None,
) -> tuple[Listed, ...]:
    products = products[products >= 0]
    own = np.full(len(products), place)
    distances, shares = fusion.pair_distances(own, products), fusion.shares(own, products)
    return tuple(
        Listed(
            fusion.ids_[product],
            None if np.isnan(distance) else float(distance),
            {name: float(s) for name, s in zip(fusion.modalities_, share, strict=True)},
            (next_click or {}).get(product, 0),
            i + 1 if rank is None else rank.get(product),
        )
        for i, (product, distance, share) in enumerate(zip(products.tolist(), distances, shares, strict=True))
    )


def _lists(fusion: Fusion, positions: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Neighbours of some products: positions [p, <= k], -1 where there are no more."""
    lists = np.full((len(positions), min(k, len(fusion.ids_))), -1, np.int64)
    for rows, found, _ in fusion.iter_neighbors(positions, k):
        lists[rows] = found
    return lists


def _varied(order: NDArray[np.int64], categories: Sequence[str | None], count: int) -> list[int]:
    """The first ones of an order, one of each category, then the rest; positions."""
    seen: dict[str | None, int] = {}
    for place in order.tolist():
        seen.setdefault(categories[place], place)
        if len(seen) == count:
            break
    chosen = list(seen.values())
    taken = set(chosen)
    for place in order.tolist():
        if len(chosen) == count:
            break
        if place not in taken:
            chosen.append(place)
            taken.add(place)
    return chosen
