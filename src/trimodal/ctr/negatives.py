"""Negatives: items that a visitor has no event with, drawn uniformly for millions of events at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


def negatives(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    pool: NDArray[np.int32],
    asked: NDArray[np.int32],
    rng: np.random.Generator,
    names: tuple[str, ...],
) -> NDArray[np.int32]:
    """Draw for each visitor of `asked` an item of `pool`, uniformly from those that the visitor has no event with.

    No draw is thrown away: the v-th free item of a visitor is v plus the number of its own items before that one.
    Let p_0 < p_1 < ... be their places in the pool; before it stand those with p_i - i <= v, found by one search
    over all visitors at once.

    Parameters
    ----------
    user, item
        int32 [n]: the events.
    pool
        int32 [p]: positions of the items to draw from, sorted; every one of `item` is there.
    asked
        int32 [m]: the visitors, with repetition, to draw for.
    names
        Ids of the visitors, for the error.

    Returns
    -------
    int32 [m]
        Positions of items.
    """
    size = len(pool)
    key = np.unique(user.astype(np.int64) * size + np.searchsorted(pool, item))
    owner = key // size
    own = np.bincount(owner, minlength=len(names))
    full = np.flatnonzero(own >= size)
    if len(full):
        raise DataError(
            f"visitor {names[full[0]]!r} has events with all {size:,} items that occur, so there is no negative for "
            f"it; so have {len(full):,} visitors. Leave such visitors out, or use the recipe temporal with labels."
        )
    starts = np.cumsum(own) - own
    before = key - (np.arange(len(key)) - starts[owner])
    drawn = rng.integers(0, size - own[asked])
    passed = np.searchsorted(before, asked.astype(np.int64) * size + drawn, side="right") - starts[asked]
    return pool[drawn + passed]
