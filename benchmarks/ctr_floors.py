"""What means alone reach on labelled events: floors that a model of clicks has to stand above.

    python benchmarks/ctr_floors.py PREPARED

PREPARED is a folder that `trimodal ctr prepare --recipe temporal` wrote. The score of an item is the mean label of its
events before the test (train and validation), drawn to the mean of all, g, by 10 events: (sum + 10 g) / (n + 10). A
visitor's mean is drawn to g by 5 events. Prints the AUC on the test: pooled, and per visitor weighted by events.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from trimodal.ctr.data import CtrData

ITEM_PRIOR, USER_PRIOR = 10, 5


def floors(data: CtrData) -> dict[str, dict[str, float]]:
    """AUC of the item's mean, and of the sum of the item's and the visitor's mean."""
    before, test = (data.parts["train"], data.parts["valid"]), data.parts["test"]
    user, item, label = (np.concatenate([getattr(part, name) for part in before]) for name in ("user", "item", "label"))
    items = _mean(item, label, len(data.items), ITEM_PRIOR)[test.item]
    both = items + _mean(user, label, len(data.users), USER_PRIOR)[test.user]
    return {
        name: {"auc_pooled": _auc(test.label, score), "auc_weighted": _weighted(test.user, test.label, score)}
        for name, score in (("item mean", items), ("item mean + visitor mean", both))
    }


def _mean(group: NDArray[Any], label: NDArray[Any], n: int, prior: float) -> NDArray[np.float64]:
    return (np.bincount(group, label, n) + prior * label.mean()) / (np.bincount(group, minlength=n) + prior)


def _auc(label: NDArray[Any], score: NDArray[np.float64]) -> float:
    positive = int((label == 1).sum())
    ranks = rankdata(score)[label == 1].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def _weighted(user: NDArray[Any], label: NDArray[Any], score: NDArray[np.float64]) -> float:
    total = weight = 0.0
    for one in np.unique(user):
        rows = user == one
        if 0 < label[rows].sum() < rows.sum():
            total += rows.sum() * _auc(label[rows], score[rows])
            weight += rows.sum()
    return total / weight


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared")
    print(json.dumps(floors(CtrData.read(parser.parse_args().prepared)), indent=2))
