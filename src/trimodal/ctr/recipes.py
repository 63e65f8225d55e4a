"""Recipes: how events of visitors become training, validation and test parts, without a look at the test.

din-2018   every event is a click; each gets one random negative; each visitor's last click is the test
temporal   events have labels of their own; the last of them, by visitor or over all, are the test
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ParameterError, check_choice, check_int, check_share
from .data import PARTS, CtrData, Events
from .manifest import made
from .negatives import negatives
from .source import VisitorEvents

RECIPES = ("din-2018", "temporal")
VALIDATIONS = ("held-out",)
SPLITS = ("user", "time")
HISTORIES = ("running", "frozen")
SHORTEST = 3
"""Events that din-2018 needs of a visitor: one to start the history, one to validate and one to test on."""


def din_2018(
    source: VisitorEvents, *, seed: int = 0, validation: str = "held-out", sample_users: int | None = None
) -> CtrData:
    """The recipe of Zhou et al. 2018 (DIN), which Xiao et al. 2022 follow, with a validation part of its own.

    A visitor's events in time order (ties: by row) are b_1 .. b_n. The history of b_k is b_1 .. b_{k-1}.

        train        b_k for k = 2 .. n-2
        validation   b_{n-1}
        test         b_n

    Each of these positives is followed by a negative with the same history: an item drawn uniformly from those that
    occur in the data and that this visitor has no event with, at any time. Repeated events of a visitor with one item
    stay as they are, each in its place in time. Ratings are not looked at. Where the input has a column `label`,
    events labelled 0 are left out.

    The number of samples by the paper's count, train and validation rows and each test pair once, is
    2 (R - 2 U) + U for R events of U visitors.

    Parameters
    ----------
    seed
        Seed of the negatives and of the sample of visitors.
    validation
        `held-out`: b_{n-1} is taken out of training. There is no other way: models are never chosen on the test.
    sample_users
        Keep so many visitors, drawn at random; the items and what negatives are drawn from stay those of all.

    Raises
    ------
    DataError
        No visitor has three events, or one has events with every item, so that it has no negative.
    """
    check_int("seed", seed, low=0)
    check_choice("validation", validation, VALIDATIONS)
    user, item = source.user, source.item
    if source.label is not None:
        user, item = user[source.label == 1], item[source.label == 1]
    unlabelled = len(source) - len(user)
    pool = np.unique(item)
    counts = np.bincount(user, minlength=len(source.users))
    kept = np.flatnonzero(counts >= SHORTEST)
    if not len(kept):
        raise DataError(
            f"no visitor has {SHORTEST} events (of {len(source.users):,} visitors), which the recipe din-2018 needs; "
            "is `user_id` the visitor, or a session?"
        )
    left_out = {
        "users_short": int((counts < SHORTEST).sum()),
        "events_of_short_users": int(counts[counts < SHORTEST].sum()),
        "events_labelled_0": unlabelled,
        "jumps": source.jumps,
    }
    if sample_users is not None:
        check_int("sample_users", sample_users, low=1)
        if sample_users > len(kept):
            raise ParameterError(
                f"sample_users == {sample_users}, must be <= {len(kept)}, the visitors with {SHORTEST} events."
            )
        drawn = np.random.default_rng([seed, 1]).choice(len(kept), sample_users, replace=False)
        left_out["users_not_sampled"] = len(kept) - sample_users
        kept = kept[np.sort(drawn)]
    user, item = _keep_users(user, item, kept, len(source.users))
    names = tuple(np.array(source.users, object)[kept].tolist())
    length = np.bincount(user, minlength=len(kept))
    starts = _bounds(length)
    # Neither the first event, which has no history, nor a negative of it.
    place = np.arange(len(user)) - starts[user]
    rows = np.flatnonzero(place > 0)
    negative = negatives(user, item, pool, user[rows], np.random.default_rng([seed, 0]), names)
    pairs = Events(
        np.repeat(user[rows], 2),
        np.stack([item[rows], negative], axis=1).reshape(-1),
        np.tile(np.array([1, 0], np.uint8), len(rows)),
        np.repeat(place[rows], 2).astype(np.int32),
    )
    to_end = np.repeat((length[user] - place)[rows], 2)
    parts = {"train": pairs.take(to_end > 2), "valid": pairs.take(to_end == 2), "test": pairs.take(to_end == 1)}
    samples = len(parts["train"]) + len(parts["valid"]) + len(parts["test"]) // 2
    repeats = len(user) - len(np.unique(user.astype(np.int64) * len(source.items) + item))
    return made(
        source,
        "din-2018",
        {"seed": seed, "validation": validation, "sample_users": sample_users},
        names,
        item,
        starts,
        parts,
        monitor="auc_user",
        counts={"samples": samples, "reviews": len(user), "repeats": repeats, "left_out": left_out},
    )


def temporal(
    source: VisitorEvents,
    *,
    threshold: float = 4.0,
    by: str = "user",
    test: float = 0.2,
    validation: float = 0.1,
    history: str = "running",
) -> CtrData:
    """Events with labels of their own, split by time.

    The label of an event is the input's column `label` or, where there is none, `rating` >= `threshold`. Its history
    are the visitor's positive events strictly before it in time: of events of the same moment none sees another.

    Parameters
    ----------
    threshold
        Smallest rating that is a click; not used where the input has labels.
    by
        `user`: in each visitor's own time order (ties: by row) the last floor(test n) of n events are the test.
        `time`: one moment for all visitors; events of that moment and later, at least floor(test n), are the test.
    test
        Share of the events that is the test.
    validation
        Share of what is left before the test, its last part, that is the validation; rounded as the test is.
    history
        `running`: all that was clicked before the event. `frozen`: validation and test events see only
        what was clicked in the train part, as when a model is served without updates.

    Raises
    ------
    DataError
        No labels and no ratings; a part is empty or has events of one class alone.
    """
    check_choice("by", by, SPLITS)
    check_choice("history", history, HISTORIES)
    for name, share in (("test", test), ("validation", validation)):
        check_share(name, share)
        if not 0 < share < 1:
            raise ParameterError(f"{name} == {share!r}, must be above 0 and below 1.")
    if source.label is not None:
        label = source.label
    elif source.rating is not None:
        label = (source.rating >= threshold).astype(np.uint8)
    else:
        raise DataError(
            "the events have neither a column 'label' nor a column 'rating', so all are clicks; add one of them, or "
            "use the recipe din-2018, which samples negatives."
        )
    user, starts = source.user, _bounds(np.bincount(source.user, minlength=len(source.users)))
    part = _by_user(user, starts, test, validation) if by == "user" else _by_time(source.time, test, validation)

    clicks = np.concatenate([[0], np.cumsum(label, dtype=np.int64)])
    first = np.ones(len(user), bool)  # of the events of one visitor at one moment
    first[1:] = (user[1:] != user[:-1]) | (source.time[1:] != source.time[:-1])
    moment = np.maximum.accumulate(np.where(first, np.arange(len(user)), 0))
    seen = clicks[moment] - clicks[starts[user]]
    if history == "frozen":
        trained = np.bincount(user[(part == 0) & (label == 1)], minlength=len(source.users))
        # The train part is the beginning of a visitor's events, so what of it was seen is a beginning as well.
        seen = np.where(part > 0, np.minimum(seen, trained[user]), seen)
    events = Events(user, source.item, label, seen.astype(np.int32))
    parts = {name: events.take(part == n) for n, name in enumerate(PARTS)}
    for name, chosen in parts.items():
        _check_classes(name, chosen)
    clicked = label == 1
    return made(
        source,
        "temporal",
        {
            "threshold": None if source.label is not None else threshold,
            "by": by,
            "test": test,
            "validation": validation,
            "history": history,
        },
        source.users,
        source.item[clicked],
        _bounds(np.bincount(user[clicked], minlength=len(source.users))),
        parts,
        monitor="auc_pooled",
        counts={"left_out": {"jumps": source.jumps}},
    )


def _keep_users(
    user: NDArray[np.int32], item: NDArray[np.int32], kept: NDArray[np.int64], users: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The events of some users, who are numbered anew."""
    new = np.full(users, -1, np.int32)
    new[kept] = np.arange(len(kept), dtype=np.int32)
    inside = new[user] >= 0
    return new[user[inside]], item[inside]


def _by_user(user: NDArray[np.int32], starts: NDArray[np.int64], test: float, validation: float) -> NDArray[np.int8]:
    """The part of each event, 0 to 2, where every visitor's events are split alone."""
    length = np.diff(starts)
    last = _floor(test, length)
    before = _floor(validation, length - last)
    to_end = starts[user + 1] - np.arange(len(user))
    return np.where(to_end <= last[user], 2, np.where(to_end <= (last + before)[user], 1, 0)).astype(np.int8)


def _by_time(time: NDArray[np.int64], test: float, validation: float) -> NDArray[np.int8]:
    """The part of each event, 0 to 2, where one moment splits all."""
    part = np.zeros(len(time), np.int8)
    ordered = np.sort(time)
    for number, share in ((2, test), (1, validation)):
        n = int(_floor(share, np.array(len(ordered))))
        if n:
            cut = ordered[len(ordered) - n]
            part[(time >= cut) & (part == 0)] = number
            ordered = ordered[: np.searchsorted(ordered, cut)]
    return part


def _floor(share: float, counts: NDArray[Any]) -> NDArray[np.int64]:
    # 0.29 * 100 is 28.999999999999996 in binary; a share of a count is meant in decimal.
    return np.floor(share * counts + 1e-9).astype(np.int64)


def _bounds(length: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(length)]).astype(np.int64)


def _check_classes(part: str, events: Events) -> None:
    positive = int(events.label.sum())
    mend = "Give another share to the parts, another threshold to the ratings"
    if not len(events):
        raise DataError(
            f"the part {part!r} has no event: the shares are rounded down, by='user' those of each visitor alone. Give "
            "it a larger share, or split by='time'."
        )
    if positive in (0, len(events)):
        raise DataError(
            f"all {len(events):,} events of the part {part!r} are {'clicks' if positive else 'not clicked'}, so there "
            f"is nothing to tell apart. {mend}, or, where the data hold clicks alone, use the recipe din-2018, which "
            "samples negatives."
        )
