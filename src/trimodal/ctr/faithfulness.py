"""Faithfulness: whether importance read off a network goes with what happens when the part is taken away.

Rank correlations between importance and effect, part by part, over events and over categories; beside each an
interval by bootstrap over users, and what shuffled importance reaches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .statistics import LEVEL

DRAWS = 500
LEAST = 20
"""Events of a category that takes part in correlations over categories: the AUC of fewer is noise."""


@dataclass(frozen=True, eq=False)
class EventEffects:
    """n events with p parts: what a model says of them with everything, and without each part.

    Attributes
    ----------
    parts
        Names of the parts.
    user, category
        int32 [n].
    label
        uint8 [n].
    logit
        float32 [n], with everything.
    without
        float32 [n, p]: without each part.
    inside
        `gate` and `share`, float32 [n, p], of a model that has a gate. NaN where a share cannot be had.
    """

    parts: tuple[str, ...]
    user: NDArray[np.int32]
    category: NDArray[np.int32]
    label: NDArray[np.uint8]
    logit: NDArray[np.float32]
    without: NDArray[np.float32]
    inside: Mapping[str, NDArray[np.float32]]

    @property
    def effect(self) -> NDArray[np.float64]:
        """Size of the change of the logit without each part: float64 [n, p]."""
        return np.abs(self.logit.astype(np.float64)[:, None] - self.without)

    @property
    def loss(self) -> NDArray[np.float64]:
        """Rise of the log loss without each part, in nats: float64 [n, p]."""
        return _logloss(self.without, self.label) - _logloss(self.logit[:, None], self.label)

    def measures(self) -> dict[str, NDArray[Any]]:
        """What is averaged over events, by measure, [n, p]; `removal` is the effect before it is made a share."""
        return {**self.inside, "removal": self.effect, "loss": self.loss}


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of a part's importance and the effect of its removal. Prints as a row.

    Attributes
    ----------
    measure
        How importance was measured.
    effect
        `logit`: the size of the change of the logit. `auc`: the fall of the AUC.
    over
        `events` or `categories` (means over their events).
    part
        Name of the part.
    n
        How many events or categories.
    rho, low, high
        The correlation and its 95 % interval over users; NaN where either side is constant, or n is below 3.
    shuffled, shuffled_low, shuffled_high
        Mean and 95 % range of the same where importance is dealt to other events or categories.
    """

    measure: str
    effect: str
    over: str
    part: str
    n: int
    rho: float
    low: float
    high: float
    shuffled: float
    shuffled_low: float
    shuffled_high: float

    HEAD: ClassVar[str] = (
        f"{'faithfulness of':<17}{'to':<7}{'over':<12}{'part':<12}{'n':>9}{'rho':>8}{'95 % over users':>18}"
        f"{'shuffled':>10}{'95 % range':>18}"
    )

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary, None in place of NaN, which JSON does not have."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        spans = [f"[{low:+.2f}, {high:+.2f}]" for low, high in
                 ((self.low, self.high), (self.shuffled_low, self.shuffled_high))]  # fmt: skip
        head = f"{self.measure:<17}{self.effect:<7}{self.over:<12}{self.part:<12}{self.n:>9,}"
        text = f"{head}{self.rho:>+8.2f}{spans[0]:>18}{self.shuffled:>+10.2f}{spans[1]:>18}"
        return text.replace("+nan", "   -")


def faithfulness(
    effects: EventEffects, categories: int, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Correlation, ...]:
    """Hold each measure of importance against the effect of removal.

    Over events, `gate` and `share` against the size of the change of the logit; over categories also, and every
    measure against the fall of the AUC. `removal` and the change of the logit are one thing, so they are not compared.
    Categories with fewer than `LEAST` events, or with events of one class alone, take no part.

    Parameters
    ----------
    categories
        How many categories `effects.category` counts.
    draws
        Resamples of the users, each with all its events; and shuffles.
    seed
        Decides both.
    """
    rng = np.random.default_rng(seed)
    names, user = np.unique(effects.user, return_inverse=True)
    size = np.bincount(effects.category, minlength=categories)
    aucs, measures = CategoryAucs(effects, categories), effects.measures()
    used = np.flatnonzero((size >= LEAST) & np.isfinite(aucs(np.ones(len(user)))).all(1))
    events = {
        (by, m): _Pair(values[:, m], measures["removal"][:, m])
        for by, values in effects.inside.items()
        for m in range(len(effects.parts))
    }
    over_events, over_categories = [], []
    for draw in range(draws + 1):  # the first is the sample itself
        count = rng.multinomial(len(names), np.full(len(names), 1 / len(names))) if draw else np.ones(len(names))
        weight = count[user].astype(np.float64)
        over_events.append([pair.correlation(weight) for pair in events.values()])
        averages = [means(effects.category, values, categories, weight) for values in measures.values()]
        auc = aucs(weight)
        over_categories.append(np.array([*averages, auc[:, :1] - auc[:, 1:]])[:, used])
    rows: list[Correlation] = []
    for n, ((by, m), pair) in enumerate(events.items()):
        found = [values[n] for values in over_events]
        shuffled = [pair.shuffled(rng) for _ in range(draws)]
        rows.append(_row(by, "logit", "events", effects.parts[m], pair.n, found, shuffled))
    kinds = [*measures, "auc"]
    values = np.array(over_categories)  # [draws + 1, measures, categories, p]
    pairs = [(by, "logit") for by in effects.inside] + [(by, "auc") for by in measures]
    for by, target in pairs:
        for m, part in enumerate(effects.parts):
            one = values[:, kinds.index(by), :, m]
            other = values[:, kinds.index("auc" if target == "auc" else "removal"), :, m]
            if by == "removal":  # as a share over the parts, which is what is shown
                one = one / values[:, kinds.index(by)].sum(2)
            deals = np.array([rng.permutation(len(used)) for _ in range(draws)]).reshape(draws, len(used))
            control = _spearman(one[0][deals], np.broadcast_to(other[0], deals.shape))
            rows.append(_row(by, target, "categories", part, len(used), _spearman(one, other), control))
    return tuple(rows)


def means(
    group: NDArray[Any], values: NDArray[Any], groups: int, weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Mean of each column of `values` [n, p] in each group, NaN left out, float64 [groups, p]; NaN where none is."""
    out = np.full((groups, values.shape[1]), np.nan)
    for m, column in enumerate(values.T):
        here = np.isfinite(column)
        mass = here.astype(np.float64) if weight is None else here * weight
        total = np.bincount(group, mass, groups)
        sums = np.bincount(group, mass * np.where(here, column, 0), groups)
        np.divide(sums, total, out=out[:, m], where=total > 0)
    return out


class CategoryAucs:
    """Pooled AUC within each category with everything, then without each part; sorted once, for many weightings."""

    def __init__(self, effects: EventEffects, categories: int) -> None:
        self.clicked, self.categories = effects.label > 0, categories
        self.columns = []
        n = len(effects.logit)
        for column in (effects.logit, *effects.without.T):
            rank = np.unique(column, return_inverse=True)[1]
            keys, place = np.unique(effects.category.astype(np.int64) * n + rank, return_inverse=True)
            self.columns.append((place, keys // n))

    def __call__(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [categories, 1 + p], events counting by `weight` [n]; NaN where all are of one class."""
        out = np.full((self.categories, len(self.columns)), np.nan)
        click, other = weight * self.clicked, weight * ~self.clicked
        for m, (place, owner) in enumerate(self.columns):
            positive, negative = (np.bincount(place, mass, len(owner)) for mass in (click, other))
            clicks, others = (np.bincount(owner, mass, self.categories) for mass in (positive, negative))
            before = np.cumsum(negative) - negative - (np.cumsum(others) - others)[owner]
            won = np.bincount(owner, positive * (before + negative / 2), self.categories)
            np.divide(won, clicks * others, out=out[:, m], where=clicks * others > 0)
        return out


class _Pair:
    """Two columns of events, ranked once, so that a resample costs no sort; events where either is NaN are left out."""

    def __init__(self, one: NDArray[Any], other: NDArray[Any]) -> None:
        self.here = np.isfinite(one) & np.isfinite(other)
        self.columns = [np.unique(c[self.here], return_inverse=True)[1] for c in (one, other)]
        self.n = int(self.here.sum())
        self.ranks = [_weighted_ranks(column, np.ones(self.n)) for column in self.columns]

    def correlation(self, weight: NDArray[np.float64]) -> float:
        """Spearman's correlation of events that count `weight` [n] times."""
        weight = weight[self.here]
        ranks = [_weighted_ranks(column, weight) for column in self.columns]
        return _pearson(ranks[0], ranks[1], weight)

    def shuffled(self, rng: np.random.Generator) -> float:
        """The same with the first column dealt to other events."""
        return _pearson(rng.permutation(self.ranks[0]), self.ranks[1], np.ones(self.n))


def _weighted_ranks(place: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middle rank of each event whose value is the `place`-th distinct one, where it stands there `weight` times."""
    mass = np.bincount(place, weight)
    return (np.cumsum(mass) - mass / 2)[place]


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    # Sums in place of `@`: on columns of this length the threads of a matrix library cost more than they bring.
    total = weight.sum()
    if total == 0:
        return math.nan
    a, b = one - (weight * one).sum() / total, other - (weight * other).sum() / total
    weighted = weight * a
    spread = (weighted * a).sum() * (weight * b * b).sum()
    return float((weighted * b).sum() / math.sqrt(spread)) if spread > 1e-12 else math.nan


def _spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis; NaN where a value is, or either side is constant, or there are fewer than 3."""
    if one.shape[-1] < 3:
        return np.full(len(one), np.nan)
    ranks = [stats.rankdata(values, axis=-1) for values in (one, other)]
    a, b = (rank - rank.mean(-1, keepdims=True) for rank in ranks)
    spread = (a**2).sum(-1) * (b**2).sum(-1)
    known = (spread > 0) & np.isfinite(one).all(-1) & np.isfinite(other).all(-1)
    return np.divide((a * b).sum(-1), np.sqrt(spread), out=np.full(len(one), np.nan), where=known)


def _row(by: str, effect: str, over: str, part: str, n: int, found: Any, shuffled: Any) -> Correlation:
    """`found` [1 + draws], the sample first; `shuffled` [draws]."""
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    spans = []
    for values in (np.asarray(found)[1:], np.asarray(shuffled)):
        known = values[np.isfinite(values)]
        spans.append((np.mean(known), *np.quantile(known, edges)) if len(known) else (math.nan,) * 3)
    (_, low, high), (mean, least, most) = spans
    return Correlation(
        by, effect, over, part, n, float(found[0]), float(low), float(high), float(mean), float(least), float(most)
    )


def _logloss(logit: NDArray[np.float32], label: NDArray[np.uint8]) -> NDArray[np.float64]:
    scores = logit.astype(np.float64)
    return np.logaddexp(0, scores) - label[:, None] * scores
