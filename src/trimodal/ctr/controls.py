"""Controls: scores and data that a system must beat, or must lose by, before its figure means anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .data import PARTS, CtrData, Events

SMOOTHING = 10.0
"""Events at the overall mean that are added to an item's or a visitor's own."""

Score = Callable[[CtrData, str, int], NDArray[np.float32]]
"""Scores [n] of a part's events, from the train part alone: (data, part, seed)."""


def random_scores(data: CtrData, part: str, seed: int) -> NDArray[np.float32]:
    """Drawn without looking: every AUC is .5 but for chance."""
    return np.random.default_rng([seed, PARTS.index(part)]).random(len(data.parts[part])).astype(np.float32)


def popularity(data: CtrData, part: str, seed: int) -> NDArray[np.float32]:
    """How often the item was clicked in the train part."""
    train = data.parts["train"]
    clicks = np.bincount(train.item[train.label > 0], minlength=len(data.items))
    return clicks[data.parts[part].item].astype(np.float32)


def item_mean(data: CtrData, part: str, seed: int) -> NDArray[np.float32]:
    """The item's share of clicks in the train part, drawn towards the overall one."""
    return _means(data, data.parts["train"].item, len(data.items))[data.parts[part].item].astype(np.float32)


def item_and_user_mean(data: CtrData, part: str, seed: int) -> NDArray[np.float32]:
    """The sum of the item's and the visitor's share of clicks in the train part, each drawn towards the overall one."""
    events, train = data.parts[part], data.parts["train"]
    items = _means(data, train.item, len(data.items))
    users = _means(data, train.user, len(data.users))
    return (items[events.item] + users[events.user]).astype(np.float32)


SCORES: dict[str, Score] = {
    "random": random_scores,
    "popularity": popularity,
    "item mean": item_mean,
    "item + user mean": item_and_user_mean,
}
"""Controls that nothing is trained for, by name. The means say nothing where every item has sampled negatives."""


def _means(data: CtrData, index: NDArray[np.int32], size: int) -> NDArray[np.float64]:
    label = data.parts["train"].label
    overall = label.mean()
    clicks = np.bincount(index, weights=label, minlength=size)
    events = np.bincount(index, minlength=size)
    return (clicks + SMOOTHING * overall) / (events + SMOOTHING)


def with_shuffled_histories(data: CtrData, seed: int) -> CtrData:
    """The same events, each visitor with the history of another one: what a model still gains is not from histories."""
    order = np.random.default_rng(seed).permutation(len(data.users))
    length = np.diff(data.starts)[order]
    starts = np.concatenate([[0], np.cumsum(length)])
    place = np.arange(starts[-1]) - np.repeat(starts[:-1], length) + np.repeat(data.starts[:-1][order], length)

    def clipped(events: Events) -> Events:
        return replace(events, seen=np.minimum(events.seen, length[events.user]).astype(np.int32))

    parts = {name: clipped(events) for name, events in data.parts.items()}
    return replace(data, history=data.history[place], starts=starts.astype(np.int64), parts=parts)
