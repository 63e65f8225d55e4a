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
"""Bound on the error of a coarse score; candidates this close to the k-th best are all ranked exactly."""

NEAR_TIES = 1024
"""How many candidates within twice `COARSE_ERROR` of the k-th best are ranked exactly, the first ones in
the catalogue. Only where more than these tie (thousands of offers with one placeholder picture, and no other
modality) does the cap bind; equal products come out right even then."""

QUERY_BLOCK = 512
CANDIDATE_BLOCK = 8192


class Scorer(Protocol):
    """What the search needs to know of a set of queries and a set of candidates."""

    def query_blocks(self, size: int) -> Iterator[slice]:
        """Slices that cover the queries, each of at most `size`."""

    def candidate_blocks(self, queries: slice, size: int) -> Iterator[slice]:
        """Slices of the candidates that these queries can be compared with at all."""

    def coarse(self, queries: slice, candidates: slice) -> NDArray[np.floating]:
        """Scores, higher is nearer, each within `COARSE_ERROR`: [q, c], an array of the caller's own."""

    def exact(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sort keys of pairs, lower is nearer, the distance first, then tie-breaks: [p, keys]."""

    def own(self, queries: slice) -> NDArray[np.int64]:
        """The candidate that a query must not find, -1 for none: [q]."""

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
            bound = np.maximum(bound, kth - 2 * COARSE_ERROR)
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
        bound[row[kth_here]] = np.maximum(bound[row[kth_here]], score[kth_here] - 2 * COARSE_ERROR)
        kept = score >= bound[row]
        row, candidate, score = row[kept], candidate[kept], score[kept]
        if len(row) > count * (k + NEAR_TIES):
            kept = _first_ties(row, scorer.place(candidate), score < bound[row] + 4 * COARSE_ERROR, count, k)
            row, candidate, score = row[kept], candidate[kept], score[kept]
    return row, candidate


def _first_ties(
    row: NDArray[np.int64], place: NDArray[np.int64], tie: NDArray[np.bool_], count: int, k: int
) -> NDArray[np.bool_]:
    """Keep whatever is clearly nearer than the k-th best, and the first k + `NEAR_TIES` of the rest."""
    kept = ~tie
    ties = np.flatnonzero(tie)
    ties = ties[np.lexsort((place[ties], row[ties]))]
    kept[ties[_rank(row[ties], count) < k + NEAR_TIES]] = True
    return kept


def _rank(row: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Rank of each entry inside its row, for rows in ascending order."""
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=start[1:])
    return np.arange(len(row)) - start[row]
