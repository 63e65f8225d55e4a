"""Whether a difference between two systems is more than chance: paired by user, with intervals over users and seeds.

Users and seeds are different sources of chance. An interval over users says how far the mean would move with other
visitors, for the models as trained; an interval over seeds says how far it would move with the training repeated on
the same visitors. Neither holds the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import DataError, check_int

DRAWS = 2000
"""Resamples of a bootstrap."""
POOLED_DRAWS = 300
"""Resamples of users for a pooled AUC, which costs a pass over all events each."""
LEVEL = 0.95
"""Confidence level of every interval here."""
_BLOCK = 4_000_000  # users drawn at once, over all resamples of a block: bounds the memory


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval over n `units`, users or seeds. Prints as `0.8123 [0.8101, 0.8145]`."""

    mean: float
    low: float
    high: float
    n: int
    units: str

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Comparison:
    """Two systems compared on the same users. Prints as a table.

    Attributes
    ----------
    users
        How many users.
    mean, other
        Mean of the system, and of the one that it is compared with.
    difference, low, high
        `mean - other`, and its 95 % interval by bootstrap over users.
    better, equal, worse
        Shares of the users on which the system is above, equal and below.
    p
        Two-sided p of the paired t test. It is the one to report: it tests the mean difference, which is what the
        table shows and the interval is of. With one positive and one negative a user, AUC is 0, 1/2 or 1, so most
        differences are zero; the mean of thousands of them is close enough to normal for the test.
    p_wilcoxon
        Two-sided p of Wilcoxon's signed-rank test, zeros split between the signs (`zsplit`). It tests whether the
        differences are symmetric about zero: many small gains can outweigh few large losses in it.
    """

    users: int
    mean: float
    other: float
    difference: float
    low: float
    high: float
    better: float
    equal: float
    worse: float
    p: float
    p_wilcoxon: float

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        rows = {
            "users": f"{self.users:,}",
            "mean": f"{self.mean:.4f}",
            "mean of the other": f"{self.other:.4f}",
            "difference": f"{self.difference:+.4f}",
            "95 % interval over users": f"[{self.low:+.4f}, {self.high:+.4f}]",
            "users better / equal / worse": f"{self.better:.1%} / {self.equal:.1%} / {self.worse:.1%}",
            "p, paired t": f"{self.p:.2g}",
            "p, Wilcoxon": f"{self.p_wilcoxon:.2g}",
        }
        return "\n".join(f"{name:<30}{value:>24}" for name, value in rows.items())


def compare(auc: ArrayLike, other: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare two systems on the same users, user by user.

    Parameters
    ----------
    auc, other
        float [u]: the AUC of each user under either system, users in the same order. With several seeds, give the
        mean over seeds of each user: then the noise of training is averaged, and a user still counts once.
    draws
        Resamples of the bootstrap.
    seed
        Decides the resamples.

    Raises
    ------
    DataError
        Fewer than two users, columns that differ in length, a value that is not finite.
    """
    values, others = _column(auc, "users"), _column(other, "users")
    if len(values) != len(others):
        raise DataError(
            f"{len(values):,} users beside {len(others):,}; a paired comparison needs the same users in the same order."
        )
    # Differences that only rounding makes, such as of .3 and .1 * 3, count as ties.
    difference = np.round(values - others, 12)
    low, high = _bootstrap(difference, draws, seed)
    wilcoxon = stats.wilcoxon(difference, zero_method="zsplit") if difference.any() else None
    return Comparison(
        users=len(values),
        mean=float(values.mean()),
        other=float(others.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        better=float((difference > 0).mean()),
        equal=float((difference == 0).mean()),
        worse=float((difference < 0).mean()),
        p=_paired_t(difference),
        p_wilcoxon=1.0 if wilcoxon is None else float(wilcoxon.pvalue),
    )


def over_users(values: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of a value per user, float [u], with its 95 % interval by bootstrap over users; raises as `compare`."""
    column = _column(values, "users")
    return Interval(float(column.mean()), *_bootstrap(column, draws, seed), len(column), "users")


def over_seeds(values: ArrayLike) -> Interval:
    """Mean of a value per seed, float [s], with the 95 % t interval of s - 1 degrees of freedom; raises as `compare`.

    It takes the values as a normal sample. With three seeds it is 4.3 standard errors wide to either side.
    """
    column = _column(values, "seeds")
    n, mean = len(column), float(column.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * float(column.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, "seeds")


def pooled_resamples(
    user: ArrayLike, label: ArrayLike, scores: Sequence[ArrayLike], *, draws: int = POOLED_DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Pooled AUC over all events, then in each resample of the users: float64 [1 + draws], means over `scores`.

    Whole users are drawn, so that events of one visitor stay together. With one seed, the draws are the same for every
    system on the same events: the difference of two results is paired.

    Parameters
    ----------
    user, label
        int [n]: who saw each event, and 1 for a click.
    scores
        Scores [n] of the events, one column a seed.
    """
    check_int("draws", draws, low=100)
    who = np.unique(np.asarray(user), return_inverse=True)[1]
    clicked = np.asarray(label) > 0
    users = int(who.max()) + 1
    ranks = [np.unique(np.asarray(column), return_inverse=True)[1] for column in scores]
    rng = np.random.default_rng(seed)
    found = np.empty(1 + draws)
    for draw in range(1 + draws):
        times = np.bincount(rng.integers(0, users, users), minlength=users) if draw else np.ones(users)
        weight = times[who].astype(np.float64)
        click, other = weight * clicked, weight * ~clicked
        total = 0.0
        for rank in ranks:
            positive, negative = np.bincount(rank, click), np.bincount(rank, other)
            below = np.cumsum(negative) - negative / 2
            total += float(positive @ below) / float(positive.sum() * negative.sum())
        found[draw] = total / len(ranks)
    return found


def _column(values: ArrayLike, units: str) -> NDArray[np.float64]:
    column = np.asarray(values, np.float64)
    if column.ndim != 1 or len(column) < 2:
        raise DataError(f"values of shape {column.shape}, must be one value for each of at least two {units}.")
    if not np.isfinite(column).all():
        bad = int((~np.isfinite(column)).sum())
        raise DataError(f"{bad:,} of {len(column):,} {units} have a value that is not finite; leave them out.")
    return column


def _bootstrap(values: NDArray[np.float64], draws: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean over resamples with replacement."""
    check_int("draws", draws, low=100)
    rng, n = np.random.default_rng(seed), len(values)
    means = np.empty(draws)
    block = max(1, _BLOCK // n)
    for start in range(0, draws, block):
        stop = min(start + block, draws)
        means[start:stop] = values[rng.integers(0, n, (stop - start, n), np.int32)].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _paired_t(difference: NDArray[np.float64]) -> float:
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    mean = float(difference.mean())
    if not error:
        return 0.0 if mean else 1.0
    return float(2 * stats.t.sf(abs(mean) / error, len(difference) - 1))
