"""How well scores tell clicks from non-clicks: AUC under each of its definitions by name, log loss, calibration.

The AUC of one set of predictions differs by points between definitions, so each has a name of its own here:

- `auc_pooled`: over all pairs of a click and a non-click, whoever saw them;
- `auc_user`: per user, then the plain mean over users: equation (18) of Xiao et al., MM 2022;
- `auc_impression_weighted`: per user, then the mean weighted by the user's events (the GAUC of Zhou et al. 2018);
- `auc_positive_weighted`: per user, then the mean weighted by the user's clicks.

A tie counts one half in all of them. A user whose events are all clicks or all non-clicks has no AUC and is left out
of the last three; the share of such users stands beside them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, check_int

BINS = 15
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1 in the log loss, so that one sure and wrong event is not infinite."""


@dataclass(frozen=True, eq=False)
class UserAuc:
    """AUC of every user that has both a click and a non-click: k users.

    Attributes
    ----------
    user
        int64 [k]: the users as they were given, ascending.
    auc
        float64 [k], in [0, 1].
    events, positives
        int64 [k]: how many events, and how many clicks, the user has.
    users
        How many users have events, those whose labels are all equal included.
    """

    user: NDArray[np.int64]
    auc: NDArray[np.float64]
    events: NDArray[np.int64]
    positives: NDArray[np.int64]
    users: int

    def __len__(self) -> int:
        return len(self.user)

    @property
    def left_out(self) -> float:
        """Share of the users with events that have no AUC."""
        return 1 - len(self) / self.users

    def mean(self, weight: NDArray[Any] | None = None) -> float:
        """Mean over the users, plain or weighted by `weight` [k]; NaN where no user has an AUC."""
        return float(np.average(self.auc, weights=weight)) if len(self) else math.nan


@dataclass(frozen=True)
class Metrics:
    """Measures of one set of predictions. Prints as a table.

    Attributes
    ----------
    events, users, positives
        How many events, users that have one, and clicks.
    users_left_out
        Share of the users that the three AUC per user leave out, in [0, 1].
    auc_pooled, auc_user, auc_impression_weighted, auc_positive_weighted
        See the module; the last three are NaN where every user is left out.
    logloss
        Mean binary cross-entropy in nats; NaN where no probabilities were given.
    calibration_error
        Expected calibration error over bins of equal mass; NaN where no probabilities were given.
    calibration_ratio
        Mean prediction / mean label, 1 where they agree; NaN where no probabilities were given.
    """

    events: int
    users: int
    positives: int
    users_left_out: float
    auc_pooled: float
    auc_user: float
    auc_impression_weighted: float
    auc_positive_weighted: float
    logloss: float
    calibration_error: float
    calibration_ratio: float

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary, None in place of NaN, which JSON does not have."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        counts = ("events", "users", "positives")
        lines = [f"{name:<26}{getattr(self, name):>12,}" for name in counts]
        lines.append(f"{'users left out of AUC':<26}{self.users_left_out:>12.1%}")
        lines += [
            f"{name.replace('_', ' ').replace('auc', 'AUC'):<26}{'-' if value is None else format(value, '.4f'):>12}"
            for name, value in self.to_dict().items()
            if name not in (*counts, "users_left_out")
        ]
        return "\n".join(lines)


def measure(
    user: ArrayLike, label: ArrayLike, *, score: ArrayLike, probability: ArrayLike | None = None, bins: int = BINS
) -> Metrics:
    """Measure predictions.

    Parameters
    ----------
    user
        int [n]: any whole numbers that name users.
    label
        [n]: 1 or true for a click, else 0.
    score
        float [n]: higher where a click is likelier. Give logits rather than probabilities where there are any:
        float32 probabilities near 0 and 1 run together into ties.
    probability
        float [n] in [0, 1]: for log loss and calibration; without it they are NaN.
    bins
        Bins of the calibration error.

    Raises
    ------
    DataError
        No events, columns that differ in length, labels other than 0 and 1 or of one kind only, scores that are
        NaN, probabilities outside [0, 1].
    """
    users, labels, scores = _checked(user, label, score)
    rank = _dense_rank(scores)
    per_user = _user_auc(users, labels, rank)
    logs = error = ratio = math.nan
    if probability is not None:
        chances = _probabilities(probability, labels)
        logs = _logloss(labels, chances)
        error = _calibration_error(labels, chances, check_int("bins", bins, low=1))
        ratio = _calibration_ratio(labels, chances)
    return Metrics(
        events=len(labels),
        users=per_user.users,
        positives=int(np.count_nonzero(labels)),
        users_left_out=per_user.left_out,
        auc_pooled=_pooled_auc(labels, rank),
        auc_user=per_user.mean(),
        auc_impression_weighted=per_user.mean(per_user.events),
        auc_positive_weighted=per_user.mean(per_user.positives),
        logloss=logs,
        calibration_error=error,
        calibration_ratio=ratio,
    )


def pooled_auc(label: ArrayLike, score: ArrayLike) -> float:
    """Share of all pairs of a click and a non-click in which the click scores higher; a tie counts one half.

    Raises
    ------
    DataError
        As for `measure`.
    """
    _, labels, scores = _checked(None, label, score)
    return _pooled_auc(labels, _dense_rank(scores))


def user_auc(user: ArrayLike, label: ArrayLike, *, score: ArrayLike) -> UserAuc:
    """AUC of each user with both classes; `user`, `label` and `score` [n] as for `measure`.

    Raises
    ------
    DataError
        No events, columns that differ in length, labels other than 0 and 1, scores that are NaN.
    """
    users, labels, scores = _checked(user, label, score)
    return _user_auc(users, labels, _dense_rank(scores))


def logloss(label: ArrayLike, probability: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, probabilities clipped to [CLIP, 1 - CLIP]; raises as `measure`."""
    labels, chances = _checked_probabilities(label, probability)
    return _logloss(labels, chances)


def calibration_error(label: ArrayLike, probability: ArrayLike, *, bins: int = BINS) -> float:
    """Expected calibration error: sum over bins of share of events x |mean prediction - share of clicks|.

    Bins hold equal numbers of events in the order of their predictions. Equal predictions stay in one bin, so that
    the value does not depend on the order of the events; bins may differ in size for it. Raises as `measure`.
    """
    labels, chances = _checked_probabilities(label, probability)
    return _calibration_error(labels, chances, check_int("bins", bins, low=1))


def calibration_ratio(label: ArrayLike, probability: ArrayLike) -> float:
    """Mean prediction / mean label; raises as `measure`, and where there is no click to divide by."""
    labels, chances = _checked_probabilities(label, probability)
    return _calibration_ratio(labels, chances)


def _checked(
    user: ArrayLike | None, label: ArrayLike, score: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[Any]]:
    labels, scores = np.asarray(label), np.asarray(score)
    users = np.zeros(labels.shape, np.int64) if user is None else np.asarray(user)
    if labels.ndim != 1 or not labels.shape == scores.shape == users.shape:
        raise DataError(
            f"labels {labels.shape}, scores {scores.shape} and users {users.shape} must be columns of one length."
        )
    if not len(labels):
        raise DataError("there are no events to measure.")
    if users.dtype.kind not in "iu":
        raise DataError(f"users are of type {users.dtype}, must be whole numbers.")
    if scores.dtype.kind not in "fiub":
        raise DataError(f"scores are of type {scores.dtype}, must be numbers.")
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        raise DataError(f"{np.isnan(scores).sum():,} of {len(scores):,} scores are NaN; did the training diverge?")
    return users.astype(np.int64, copy=False), _labels(labels), scores


def _labels(labels: NDArray[Any]) -> NDArray[np.bool_]:
    if labels.dtype == np.bool_:
        return labels
    positive = labels == 1
    if not (positive | (labels == 0)).all():
        raise DataError(f"label {labels[~positive & (labels != 0)][0]!r}, must be 0 or 1.")
    return positive


def _checked_probabilities(label: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels = np.asarray(label)
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"labels of shape {labels.shape}, must be a column with at least one event.")
    positive = _labels(labels)
    return positive, _probabilities(probability, positive)


def _probabilities(probability: ArrayLike, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    chances = np.asarray(probability, np.float64)
    if chances.shape != labels.shape:
        raise DataError(f"probabilities {chances.shape} and labels {labels.shape} must be columns of one length.")
    outside = ~((chances >= 0) & (chances <= 1))
    if outside.any():
        raise DataError(
            f"{outside.sum():,} of {len(chances):,} probabilities are outside [0, 1], the first is "
            f"{chances[outside][0]}; apply the sigmoid to logits first."
        )
    return chances


def _dense_rank(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Position of each score among the distinct ones, from 0: int64 [n]. The only sort by score."""
    order = np.argsort(scores)
    ordered = scores[order]
    rank = np.empty(len(scores), np.int64)
    rank[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
    return rank


def _pooled_auc(labels: NDArray[np.bool_], rank: NDArray[np.int64]) -> float:
    every = np.bincount(rank)
    positive = np.bincount(rank[labels], minlength=len(every))
    negative = every - positive
    pairs = int(positive.sum()) * int(negative.sum())
    if not pairs:
        kind = "clicks" if labels[0] else "non-clicks"
        raise DataError(f"all {len(labels):,} events are {kind}; AUC needs both.")
    # Twice the won pairs, so that the half of a tie stays a whole number and the sum is exact.
    return int(positive @ (2 * (np.cumsum(negative) - negative) + negative)) / (2 * pairs)


def _user_auc(users: NDArray[np.int64], labels: NDArray[np.bool_], rank: NDArray[np.int64]) -> UserAuc:
    names, users = _dense_users(users)
    ranks = int(rank.max()) + 1
    # One sort of whole numbers by user, then rank, then label: with all three in the key nothing is gathered after it.
    key = np.sort((users * ranks + rank) * 2 + labels)
    positive = key & 1
    key >>= 1
    tie = _starts(key)
    user_of_tie = key[tie] // ranks
    first = _starts(user_of_tie)
    size = np.diff(tie, append=len(key))
    positives = np.add.reduceat(positive, tie)
    negatives = size - positives
    before = np.cumsum(negatives) - negatives  # non-clicks of this and of earlier users with a lower key
    before -= np.repeat(before[first], np.diff(first, append=len(tie)))
    won_twice = np.add.reduceat(positives * (2 * before + negatives), first)
    clicks, others = np.add.reduceat(positives, first), np.add.reduceat(negatives, first)
    both = (clicks > 0) & (others > 0)
    return UserAuc(
        names[user_of_tie[first]][both],
        won_twice[both] / (2 * clicks[both] * others[both]),
        (clicks + others)[both],
        clicks[both],
        len(both),
    )


def _dense_users(users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Names of the users, ascending, and each event's position in them; some positions may have no event."""
    low, high = int(users.min()), int(users.max())
    if high - low < 4 * len(users) + 1024:
        return np.arange(low, high + 1), users - low
    names, place = np.unique(users, return_inverse=True)
    return names, place


def _starts(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where runs of equal values start in a sorted array that is not empty."""
    return np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))


def _logloss(labels: NDArray[np.bool_], chances: NDArray[np.float64]) -> float:
    return float(-np.log(np.clip(np.where(labels, chances, 1 - chances), CLIP, 1 - CLIP)).mean())


def _calibration_error(labels: NDArray[np.bool_], chances: NDArray[np.float64], bins: int) -> float:
    rank = _dense_rank(chances)
    size = np.bincount(rank)
    middle = np.cumsum(size) - size / 2  # of each run of equal predictions, in events
    place = (middle * bins / len(labels)).astype(np.int64)[rank]
    gap = np.bincount(place, chances, bins) - np.bincount(place, labels, bins)
    return float(np.abs(gap).sum() / len(labels))


def _calibration_ratio(labels: NDArray[np.bool_], chances: NDArray[np.float64]) -> float:
    if not labels.any():
        raise DataError(f"none of the {len(labels):,} events is a click; the calibration ratio needs one.")
    return float(chances.mean() / labels.mean())
