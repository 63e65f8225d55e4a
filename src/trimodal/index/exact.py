"""Exact top-k in blocks: every pair is scored, no matrix of all pairs is ever held.

A coarse pass scores blocks of queries against blocks of candidates with float32 matrix products and
keeps, per query, whatever could still be among the best k. What is kept is then ranked by exact
distances, so that the result does not depend on block sizes, threads or rounding in the coarse pass,
and ties go to the candidate that stands first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

COARSE_ERROR = 2e-5
"""Bound on the error of a coarse score in [-1, 1]; candidates this close to the k-th best are all ranked exactly."""

ROOM = 256
"""How many candidates per query beyond k are kept on average before they are ranked exactly and cut to k."""

QUERY_BLOCK = 512
CANDIDATE_BLOCK = 8192


class Scorer(Protocol):
    """What the search needs to know of a set of queries and a set of candidates."""

    def query_blocks(self, size: int) -> Iterator[slice]:
        """Slices that cover the queries, each of at most `size`."""

    def candidate_blocks(self, queries: slice, size: int) -> Iterator[slice]:
        """Slices of the candidates that these queries can be compared with at all."""

    def coarse(self, queries: slice, candidates: slice) -> NDArray[np.floating]:
        """Scores, higher is nearer, each within `error()`: [q, c], an array of the caller's own."""

    def error(self) -> float:
        """Bound on the error of `coarse`."""

    def exact(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sort keys of pairs, lower is nearer, the distance first, then tie-breaks: [p, keys]."""

    def own(self, queries: slice) -> NDArray[np.int64]:
        """The candidate that a query must not find, -1 for none: [q]."""

    def twin(self, candidates: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Equal for candidates whose vectors are equal in every modality: [c]."""

    def place(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where candidates stand in the catalogue: the last tie-break, and what is returned."""


def search(
    scorer: Scorer, k: int, *, query_block: int = QUERY_BLOCK, candidate_block: int = CANDIDATE_BLOCK
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.float32]]]:
    """Find the k nearest candidates of every query.

    Yields
    ------
    queries
        A slice of the queries.
    places
        int64 [q, k], nearest first; -1 where a query has fewer than k comparable candidates.
    distances
        float32 [q, k]; NaN where there is none.
    """
    for queries in scorer.query_blocks(query_block):
        count = queries.stop - queries.start
        row, candidate = _shortlist(scorer, queries, k, candidate_block)
        keys = scorer.exact(row + queries.start, candidate)
        place = scorer.place(candidate)
        order = np.lexsort((place, *keys.T[::-1], row))
        row, place, distance = row[order], place[order], keys[order, 0]
        rank = _rank(row, count)
        kept = rank < k
        places = np.full((count, k), -1, np.int64)
        distances = np.full((count, k), np.nan, np.float32)
        places[row[kept], rank[kept]] = place[kept]
        distances[row[kept], rank[kept]] = distance[kept]
        yield queries, places, distances


def _shortlist(scorer: Scorer, queries: slice, k: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (query of the block, candidate) that hold the k nearest of every query, ties included."""
    count = queries.stop - queries.start
    error = scorer.error()
    own = scorer.own(queries)
    bound = np.full(count, -np.inf)  # per query, no candidate below it can be among the best k
    row = np.empty(0, np.int64)
    candidate = np.empty(0, np.int64)
    score = np.empty(0, np.float64)
    for block in scorer.candidate_blocks(queries, size):
        scores = scorer.coarse(queries, block)
        width = scores.shape[1]
        inside = np.flatnonzero((own >= block.start) & (own < block.stop))
        scores[inside, own[inside] - block.start] = -np.inf
        if width > k and np.isneginf(bound).any():
            kth = np.partition(scores, width - k, axis=1)[:, width - k]
            bound = np.maximum(bound, kth - 2 * error)
        # float32 throughout where the scores are, so that the comparison makes no wider copy
        hit_row, hit_column = np.nonzero(scores >= bound.astype(scores.dtype)[:, None])
        hit_score = scores[hit_row, hit_column].astype(np.float64)
        real = ~np.isneginf(hit_score)
        row = np.concatenate([row, hit_row[real]])
        candidate = np.concatenate([candidate, hit_column[real] + block.start])
        score = np.concatenate([score, hit_score[real]])
        order = np.lexsort((-score, row))
        row, candidate, score = row[order], candidate[order], score[order]
        kth_here = _rank(row, count) == k - 1
        bound[row[kth_here]] = np.maximum(bound[row[kth_here]], score[kth_here] - 2 * error)
        kept = score >= bound[row]
        row, candidate, score = row[kept], candidate[kept], score[kept]
        if len(row) > count * (k + ROOM):
            best = _best(scorer, queries, row, candidate, k)
            row, candidate, score = row[best], candidate[best], score[best]
    return row, candidate


def _best(
    scorer: Scorer, queries: slice, row: NDArray[np.int64], candidate: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Which entries are the k nearest of their row, exactly, ascending: for vectors so alike that many tie.

    Of candidates that are equal in everything only the first k can be among them, so that thousands of offers
    with one placeholder picture cost no distance each.
    """
    count = queries.stop - queries.start
    place = scorer.place(candidate)
    order = np.lexsort((place, scorer.twin(candidate), row))
    twin = scorer.twin(candidate)[order]
    new = np.ones(len(order), bool)
    new[1:] = (row[order][1:] != row[order][:-1]) | (twin[1:] != twin[:-1])
    start = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    left = np.sort(order[np.arange(len(order)) - start < k])
    keys = scorer.exact(row[left] + queries.start, candidate[left])
    ranked = np.lexsort((place[left], *keys.T[::-1], row[left]))
    return np.sort(left[ranked[_rank(row[left], count) < k]])


def _rank(row: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Rank of each entry inside its row, for rows in ascending order."""
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=start[1:])
    return np.arange(len(row)) - start[row]
