"""What shaping costs and gives: hit rate on held-out clicks beside how varied the lists are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, check_int
from ..fusion import Fusion
from ..progress import Progress, silent
from ..shaping import DUPLICATE_DISTANCE, Facts, Shaping, shaped_neighbors
from .retrieval import NextClicks, Resampled

LISTS = 2000
"""Lists, drawn at random, whose pairwise distances are computed."""

PLAIN = "plain"


@dataclass(frozen=True)
class ShapingRow:
    """How the lists of one way of shaping do; every question counts as one list shown.

    Attributes
    ----------
    hit_rate, hit_rate_low, hit_rate_high
        Share of questions whose answer is in the list; 95 % interval from resampled sessions.
    difference, difference_low, difference_high
        Hit rate less that of the plain lists, paired by session; None for these.
    distance
        Mean fused distance of the list's products to the query.
    diversity
        Mean fused distance of two products of a list.
    duplicates
        Share of lists that hold two near-duplicates.
    groups
        Share of lists that hold two offers of one group; None where no two products share a group.
    categories
        Mean number of different categories in a list; None where no product has one.
    coverage
        Share of the catalogue that is shown at least once.
    short
        Share of lists that hold fewer than k.
    """

    shaping: str
    hit_rate: float
    hit_rate_low: float
    hit_rate_high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    distance: float | None
    diversity: float | None
    duplicates: float
    groups: float | None
    categories: float | None
    coverage: float
    short: float


@dataclass(frozen=True)
class ShapingReport:
    """A row per way of shaping; prints as a table.

    Attributes
    ----------
    lists
        How many lists `diversity` and `duplicates` come from.
    left_out
        What could not be measured on these data, and why.
    """

    rows: tuple[ShapingRow, ...]
    k: int
    queries: int
    sessions: int
    lists: int
    duplicate_distance: float
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal evaluate shaping --json` prints."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows], "left_out": list(self.left_out)}

    def __str__(self) -> str:
        lines = [
            f"next click among the {self.k}: {self.queries:,} questions of {self.sessions:,} held-out sessions; "
            "95 % intervals over sessions; difference from plain, paired",
            f"{'shaping':<20}{'hit rate':>24}{'difference':>26}{'distance':>10}{'diversity':>11}{'duplicates':>12}"
            f"{'groups':>8}{'categories':>12}{'coverage':>10}{'short':>8}",
        ]
        for r in self.rows:
            rate = f"{r.hit_rate:.4f} ({r.hit_rate_low:.4f}-{r.hit_rate_high:.4f})"
            gain = (
                ""
                if r.difference is None
                else f"{r.difference:+.4f} ({r.difference_low:+.4f} {r.difference_high:+.4f})"
            )
            lines.append(
                f"{r.shaping:<20}{rate:>24}{gain:>26}{_cell(r.distance, '.3f'):>10}{_cell(r.diversity, '.3f'):>11}"
                f"{r.duplicates:>12.1%}{_cell(r.groups, '.1%'):>8}{_cell(r.categories, '.2f'):>12}"
                f"{r.coverage:>10.1%}{r.short:>8.1%}"
            )
        lines.append(
            f"diversity: mean distance of two products of a list; duplicates: lists with two within "
            f"{self.duplicate_distance:g}; both of {self.lists:,} lists drawn at random"
        )
        lines += [f"left out: {reason}" for reason in self.left_out]
        return "\n".join(lines)


def ways(facts: Facts, duplicate_distance: float = DUPLICATE_DISTANCE) -> tuple[dict[str, Shaping], tuple[str, ...]]:
    """The ways of shaping that can be measured on these products, and why others cannot."""
    plan = {PLAIN: Shaping()}
    missing = []
    if _shared(facts):
        plan["1 of a group"] = Shaping(max_per_group=1)
    else:
        missing.append("groups (no two products share a group_id)")
    plan["1 of duplicates"] = Shaping(max_per_duplicate=1, duplicate_distance=duplicate_distance)
    for weight in (0.9, 0.7, 0.5):
        plan[f"MMR, lambda {weight:g}"] = Shaping(diversity=round(1 - weight, 10))
    if facts.category.names:
        plan["same category"] = Shaping(same_category=True)
    else:
        missing.append("categories (no product has one)")
    if np.isfinite(facts.price).any():
        plan["price x 0.5 to 2"] = Shaping(relative_price=(0.5, 2.0))
    else:
        missing.append("prices (no product has one)")
    return plan, tuple(missing)


def evaluate_shaping(
    fusion: Fusion,
    facts: Facts,
    questions: NextClicks,
    *,
    k: int = 15,
    plan: Mapping[str, Shaping] | None = None,
    duplicate_distance: float = DUPLICATE_DISTANCE,
    seed: int = 0,
    progress: Progress = silent,
) -> ShapingReport:
    """Answer the same questions from the last click with differently shaped lists.

    Parameters
    ----------
    fusion
        Fitted on the sessions before the held-out ones.
    facts
        Of the products, in the order of `fusion.ids_`.
    questions
        About the held-out sessions, positions in `fusion.ids_`.
    plan
        Ways of shaping by name; None for those of `ways`. They are compared with the plain lists.
    duplicate_distance
        What counts as near-duplicates, in the plan of `ways` and in the column.
    """
    if not len(questions):
        raise DataError("there is no question: no held-out session has two clicks.")
    k = min(check_int("k", k, low=1), len(fusion.ids_))
    usual, left_out = ways(facts, duplicate_distance)
    if plan is not None:
        usual, left_out = {PLAIN: Shaping(), **plan}, ()
    products, place = np.unique(questions.last, return_inverse=True)
    asked = np.arange(len(questions))
    drawn = np.random.default_rng(seed).choice(asked, min(LISTS, len(asked)), replace=False)
    resampled = Resampled(questions, seed)
    rows: list[ShapingRow] = []
    plain: tuple[float, NDArray[Any]] | None = None
    with progress("shaped lists", len(usual)) as advance:
        for name, shaping in usual.items():
            lists = np.full((len(products), k), -1, np.int64)
            nearness = np.full((len(products), k), np.nan, np.float32)
            for block, found, distance in shaped_neighbors(fusion, facts, products, k, shaping):
                lists[block], nearness[block] = found, distance
            hit = (lists[place] == questions.target[:, None]).any(1)
            rate = resampled.rates(hit)
            gain: tuple[float, float, float] | None = None
            if plain is None:
                plain = float(hit.mean()), rate
            else:
                low, high = np.quantile(rate - plain[1], [0.025, 0.975])
                gain = float(hit.mean() - plain[0]), float(low), float(high)
            within = _within(fusion, lists, place[drawn], duplicate_distance)
            repeated = np.less(_different(lists, facts.group), (lists >= 0).sum(1))
            labels = _different(lists, facts.category.code)
            shown = nearness[place][lists[place] >= 0]
            rows.append(
                ShapingRow(
                    shaping=name,
                    hit_rate=float(hit.mean()),
                    hit_rate_low=float(np.quantile(rate, 0.025)),
                    hit_rate_high=float(np.quantile(rate, 0.975)),
                    difference=gain and gain[0],
                    difference_low=gain and gain[1],
                    difference_high=gain and gain[2],
                    distance=float(shown.mean()) if len(shown) else None,
                    diversity=within[0],
                    duplicates=within[1],
                    groups=float(repeated[place].mean()) if _shared(facts) else None,
                    categories=float(labels[place].mean()) if facts.category.names else None,
                    coverage=len(np.unique(lists[lists >= 0])) / len(fusion.ids_),
                    short=float(np.any(lists[place] < 0, axis=1).mean()),
                )
            )
            advance(1)
    return ShapingReport(tuple(rows), k, len(questions), resampled.sessions, len(drawn), duplicate_distance, left_out)


def _shared(facts: Facts) -> bool:
    """Whether any two products are of one group."""
    return len(np.unique(facts.group)) < len(facts.group)


def _different(lists: NDArray[np.int64], code: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different known codes each list holds: [lists]."""
    codes = np.sort(np.where(lists >= 0, code[lists], -1), axis=1)
    first = np.ones(codes.shape, bool)
    first[:, 1:] = codes[:, 1:] != codes[:, :-1]
    return (first & (codes >= 0)).sum(1)


def _within(
    fusion: Fusion, lists: NDArray[np.int64], drawn: NDArray[np.int64], near: float
) -> tuple[float | None, float]:
    """Mean distance of two products of a list, over lists, and the share of lists with two within `near`."""
    chosen, count = np.unique(drawn, return_counts=True)
    left, right = np.triu_indices(lists.shape[1], 1)
    mean = np.full(len(chosen), np.nan)
    alike = np.zeros(len(chosen), bool)
    for i, row in enumerate(lists[chosen]):
        there = (row[left] >= 0) & (row[right] >= 0)
        distance = fusion.pair_distances(row[left[there]], row[right[there]])
        if not np.isnan(distance).all():
            mean[i] = np.nanmean(distance)
            alike[i] = (distance <= near).any()
    known = ~np.isnan(mean)
    diversity = float(np.average(mean[known], weights=count[known])) if known.any() else None
    return diversity, float(np.average(alike, weights=count))


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
