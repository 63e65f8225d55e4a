"""Choosing a list from candidates: caps and maximal marginal relevance, greedy, for many queries at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PairDistances = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

RUN = 16
"""How many candidates behind one that turns out to be a near-duplicate are looked at together with it."""


def shape(
    places: NDArray[np.int64],
    distances: NDArray[np.float32],
    k: int,
    *,
    pair_distances: PairDistances | None = None,
    groups: NDArray[np.int64] | None = None,
    max_per_group: int | None = None,
    max_per_duplicate: int | None = None,
    duplicate_distance: float = 0.0,
    diversity: float = 0.0,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose k candidates per query, one after the other.

    The next one is, of those that the caps allow, the candidate i with the highest
    (1 - diversity) * (1 - D(query, i)) - diversity * max over chosen j of (1 - D(i, j)),
    the first of them where they tie (Carbonell & Goldstein 1998, with lambda = 1 - diversity). A pair that has no
    distance counts as similarity 0. Most candidates' maximum is never brought up to date: it only grows, so an old one
    bounds the score from above, and whoever cannot be the best is left alone; the result is that of computing all.

    Parameters
    ----------
    places
        int64 [q, p], p > 0: candidates, nearest first, -1 behind the last.
    distances
        float32 [q, p]: their distances to the query.
    k
        Length of the lists.
    pair_distances
        Distances of pairs of places, float32 [pairs], NaN where there is none; for near-duplicates and diversity.
    groups
        int64 [n]: group per place, for `max_per_group`.
    max_per_group
        At most so many of one group.
    max_per_duplicate, duplicate_distance
        A candidate is left out where so many chosen ones lie within that distance of it.
    diversity
        In [0, 1].

    Returns
    -------
    places, distances
        int64 and float32 [q, k] in the order of choice; -1 and NaN where no candidate is left.
    """
    choice = _Choice(places, distances, k, diversity)
    if diversity or max_per_duplicate is not None:
        assert pair_distances is not None
        choice.compare = pair_distances
        choice.most_near = max_per_duplicate
        choice.near_distance = duplicate_distance
    if max_per_group is not None:
        assert groups is not None
        choice.group = np.where(places >= 0, groups[places], -1)
        choice.most_of_group = max_per_group
    choice.run()
    found = choice.chosen
    safe = np.maximum(found, 0)
    return (
        np.where(found >= 0, np.take_along_axis(places, safe, 1), -1),
        np.where(found >= 0, np.take_along_axis(distances, safe, 1), np.float32(np.nan)),
    )


class _Choice:
    """The state of all queries' lists. `bound` is a candidate's score as last known; -inf: it is out."""

    compare: PairDistances | None = None
    most_near: int | None = None
    near_distance: float = 0.0
    group: NDArray[np.int64] | None = None
    most_of_group: int = 0

    def __init__(self, places: NDArray[np.int64], distances: NDArray[np.float32], k: int, diversity: float) -> None:
        self.places, self.k, self.diversity = places, k, diversity
        self.relevance = (1.0 - diversity) * (1.0 - distances.astype(np.float64))
        self.redundancy = np.full(places.shape, -1.0)  # no similarity is below
        self.bound = np.where(places >= 0, self.relevance + diversity, -np.inf)
        self.compared = np.zeros(places.shape, np.int64)  # with how many of the chosen
        self.near = np.zeros(places.shape, np.int64)
        self.of_group = np.zeros(places.shape, np.int64)
        self.chosen = np.full((len(places), k), -1, np.int64)
        self.filled = np.zeros(len(places), np.int64)

    def run(self) -> None:
        rows = np.arange(len(self.places))
        while len(rows):
            best = self.bound[rows].argmax(1)
            left = ~np.isneginf(self.bound[rows, best]) & (self.filled[rows] < self.k)
            rows, best = rows[left], best[left]
            if self.compare is None:
                self.take(rows, best)
                continue
            known = self.compared[rows, best] == self.filled[rows]
            self.take(rows[known], best[known])
            old, column = rows[~known], best[~known]
            self.update(old, column)
            if self.most_near is not None:
                out = np.isneginf(self.bound[old, column])
                self.look_behind(old[out], column[out])
            if self.diversity:  # whoever may still be ahead of it, at once: fewer rounds than one by one
                still = ~np.isneginf(self.bound[old, column])
                old, column = old[still], column[still]
                ahead = self.bound[old] > self.bound[old, column][:, None]
                row, rival = np.nonzero(ahead & (self.compared[old] < self.filled[old][:, None]))
                self.update(old[row], rival)

    def take(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        """Put a candidate of each row on its list."""
        self.chosen[rows, self.filled[rows]] = columns
        self.filled[rows] += 1
        self.bound[rows, columns] = -np.inf
        if self.group is not None:
            self.of_group[rows] += self.group[rows] == self.group[rows, columns][:, None]
            row, column = np.nonzero(self.of_group[rows] >= self.most_of_group)
            self.bound[rows[row], column] = -np.inf

    def look_behind(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        """Compare those behind near-duplicates at once: where there is one there may be thousands."""
        row = np.repeat(rows, RUN)
        column = (columns[:, None] + np.arange(1, RUN + 1)).ravel()
        row, column = row[column < self.bound.shape[1]], column[column < self.bound.shape[1]]
        open_ = ~np.isneginf(self.bound[row, column]) & (self.compared[row, column] < self.filled[row])
        self.update(row[open_], column[open_])

    def update(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        """Compare candidates with what was chosen since they were last compared; at least one each."""
        if not len(rows):
            return
        assert self.compare is not None
        since = self.compared[rows, columns]
        pairs = self.filled[rows] - since
        first = np.cumsum(pairs) - pairs
        which = np.repeat(np.arange(len(rows)), pairs)
        step = np.arange(len(which)) - first[which]
        row = rows[which]
        other = self.chosen[row, since[which] + step]
        distance = self.compare(self.places[row, columns[which]], self.places[row, other])
        similarity = np.where(np.isnan(distance), 0.0, 1.0 - distance.astype(np.float64))
        highest = np.maximum(self.redundancy[rows, columns], np.maximum.reduceat(similarity, first))
        self.redundancy[rows, columns] = highest
        near = distance <= np.float32(self.near_distance)  # a distance of .1 is one of .1f, which is above .1
        self.near[rows, columns] += np.add.reduceat(near.astype(np.int64), first)
        self.compared[rows, columns] = self.filled[rows]
        score = self.relevance[rows, columns] - self.diversity * highest
        if self.most_near is not None:
            score[self.near[rows, columns] >= self.most_near] = -np.inf
        self.bound[rows, columns] = score
