"""Shaped search: filters inside the exact search, then caps and diversity over a pool that grows where it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import check_int
from ..fusion.base import Fusion, _Search
from ..fusion.points import Points
from ..index.exact import QUERY_BLOCK, search
from .choose import shape
from .facts import Allowed, Facts
from .settings import DUPLICATE_DISTANCE, Shaping

GROWTH = 4
"""By how much the pool grows for queries whose list the caps left short."""

FEW = 16
"""Where filters that no query decides about keep less than 1 of so many products, these alone are searched."""

_CELLS = 1 << 22
"""Queries times pool that are in memory at once."""

Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def shaped_neighbors(
    fusion: Fusion, facts: Facts, positions: NDArray[np.int64], k: int, shaping: Shaping
) -> Iterator[Block]:
    """Shaped neighbours of products, block by block, itself never among them.

    A list is shorter than k only where the filters and caps let fewer products through. With diversity the choice is
    among the `pool` nearest that the filters let through.

    Parameters
    ----------
    fusion
        A fitted strategy.
    facts
        Of the products, in the order of `fusion.ids_`.
    positions
        Places of the products that are asked about, [q].

    Yields
    ------
    rows, places, distances
        As `Fusion.iter_neighbors`: rows of `positions` [b], places [b, min(k, n)] (-1: no more) and distances.
    """
    own = fusion._rank[positions]
    queries = fusion.points_.take(own)
    asked = _Asked(queries, own[queries.order], positions[queries.order])
    for rows, places, distances in _shaped(fusion, facts, asked, k, shaping):
        yield queries.order[rows], places, distances


def shaped_query(
    fusion: Fusion, facts: Facts, vectors: Mapping[str, ArrayLike], k: int, shaping: Shaping
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Shaped neighbours of a product that is not in the catalogue, as `Fusion.query_positions`.

    Raises
    ------
    ParameterError
        A filter compares with the product's own category, group or price, which nobody knows.
    """
    points = fusion._query_points(vectors)
    ((_, places, distances),) = _shaped(fusion, facts, _Asked(points, np.array([-1]), None), k, shaping)
    found = places[0][places[0] >= 0]
    shares = fusion._contributions(points, np.zeros(len(found), np.int64), fusion._rank[found])
    return found, distances[0][: len(found)], shares


@dataclass(frozen=True)
class _Asked:
    """Queries as the search sees them: points, the row of each among the candidates (-1: none), its place."""

    points: Points
    own: NDArray[np.int64]
    places: NDArray[np.int64] | None

    def take(self, rows: NDArray[np.int64]) -> tuple[_Asked, NDArray[np.int64]]:
        """Some of them, and where each stands here."""
        points = self.points.take(rows)
        rows = rows[points.order]
        return _Asked(points, self.own[rows], None if self.places is None else self.places[rows]), rows


@dataclass(frozen=True)
class _Within(_Search):
    """The search among what filters let through: all else scores -inf, as a query's own product does."""

    allowed: Allowed

    def candidate_blocks(self, queries: slice, size: int) -> Iterator[slice]:
        for block in super().candidate_blocks(queries, size):
            if self.allowed.candidates[block].any():
                yield block

    def coarse(self, queries: slice, candidates: slice) -> NDArray[np.floating]:
        scores = super().coarse(queries, candidates)
        scores[~self.allowed.block(queries, candidates)] = -np.inf
        return scores


def _shaped(fusion: Fusion, facts: Facts, asked: _Asked, k: int, shaping: Shaping) -> Iterator[Block]:
    """Rows of what is asked, places and distances; rows whose list falls short are asked again with a larger pool."""
    most = len(fusion.ids_)
    k = min(check_int("k", k, low=1), most)
    pool = min(shaping.first_pool(k), most)
    rows = np.arange(len(asked.own))
    while len(rows):
        short = []
        within = _scorer(fusion, facts, asked, shaping)
        for block, places, distances in search(within, pool, query_block=max(1, min(QUERY_BLOCK, _CELLS // pool))):
            more = places[:, -1] >= 0
            if shaping.chooses:
                places, distances = _choose(fusion, facts, places, distances, k, shaping)
            again = more & (places[:, -1] < 0) & (pool < most)
            short.append(np.arange(block.start, block.stop)[again])
            if not again.all():
                yield rows[block][~again], places[~again], distances[~again]
        asked, left = asked.take(np.concatenate(short))
        rows = rows[left]
        pool = min(GROWTH * pool, most)


def _scorer(fusion: Fusion, facts: Facts, asked: _Asked, shaping: Shaping) -> _Search:
    if not shaping.filters:
        return _Search(fusion, asked.points, asked.own)
    points, own = fusion.points_, asked.own
    allowed = Allowed.by(shaping, facts, asked.places, points.order)
    kept = np.flatnonzero(allowed.candidates)
    if 0 < len(kept) * FEW <= len(points):
        fusion = copy(fusion)
        fusion.points_ = replace(points.take(kept), order=points.order[kept])
        row = np.full(len(points), -1)
        row[kept] = np.arange(len(kept))
        fusion._rank = np.full(len(points), -1)
        fusion._rank[fusion.points_.order] = np.arange(len(kept))
        own = np.where(own >= 0, row[own], -1)
        allowed = Allowed.by(shaping, facts, asked.places, fusion.points_.order)
    return _Within(fusion, asked.points, own, allowed)


def _choose(
    fusion: Fusion,
    facts: Facts,
    places: NDArray[np.int64],
    distances: NDArray[np.float32],
    k: int,
    shaping: Shaping,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    limit = shaping.duplicate_distance
    return shape(
        places,
        distances,
        k,
        pair_distances=fusion.pair_distances,
        groups=facts.group,
        max_per_group=shaping.max_per_group,
        max_per_duplicate=shaping.max_per_duplicate,
        duplicate_distance=DUPLICATE_DISTANCE if limit is None else limit,
        diversity=shaping.diversity,
    )
