"""Data with events, histories and features whose right answer is known, for tests of batches and of training."""

from __future__ import annotations

import numpy as np

from trimodal.ctr.data import CtrData, Events
from trimodal.ctr.features import ItemFeatures
from trimodal.ids import ProductIds

PARTS = {"train": 600, "valid": 200, "test": 200}
UNSEEN = 2
"""The last so many users and items are in no training event; the items are in no history either."""


def planted(
    users: int = 30, items: int = 20, seed: int = 0, *, taste: bool = True, sizes: dict[str, int] = PARTS
) -> tuple[CtrData, ItemFeatures]:
    """Events of users who like the odd or the even items; without `taste` all labels are drawn.

    A history holds items of the liked half and may be empty. A fifth of the items miss a modality, some both.
    """
    rng = np.random.default_rng(seed)
    half, liked = np.arange(items) % 2, np.arange(users) % 2
    lengths = rng.integers(0, 12, users)
    lengths[0] = 0
    starts = np.concatenate([[0], np.cumsum(lengths)])
    owner = np.repeat(np.arange(users), lengths)
    history = 2 * rng.integers(0, (items - UNSEEN) // 2, len(owner)) + liked[owner]

    def events(part: str, n: int) -> Events:
        known = part == "train"
        user = rng.integers(0, users - UNSEEN * known, n)
        item = rng.integers(0, items - UNSEEN * known, n)
        seen = rng.integers(0, lengths[user] + 1)
        clicked = (half[item] == liked[user]) ^ (rng.random(n) < 0.1) if taste else rng.random(n) < 0.5
        return Events(user.astype(np.int32), item.astype(np.int32), clicked.astype(np.uint8), seen.astype(np.int32))

    ids = ProductIds([f"p{i}" for i in range(items)])
    data = CtrData(
        ids,
        tuple(f"u{u}" for u in range(users)),
        rng.integers(0, 4, items).astype(np.int32),
        ("a", "b", "c"),
        history.astype(np.int32),
        starts.astype(np.int64),
        {part: events(part, n) for part, n in sizes.items()},
        {"recipe": "planted", "monitor": "auc_pooled"},
    )
    data.manifest["fingerprint"] = data.hash()
    vectors, present = {}, {}
    for name, length in (("image", 6), ("text", 4)):
        here = rng.random(items) > 0.2
        matrix = rng.normal(size=(items, length)) * here[:, None]
        matrix[:, 0] = (2 * half - 1) * here
        vectors[name], present[name] = matrix.astype(np.float32), here
    return data, ItemFeatures(ids, vectors, present)
