"""The contract of a fusion strategy, and all that strategies share: missing modalities, search, explanation.

A strategy says how much each modality of a pair counts (`_weights`); the similarity of a pair is the sum
over modalities of that weight times the cosine, and the distance is 1 minus the similarity. Two products
that share no modality have no distance, and neither is a neighbour of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ..clicks import ClickLog
from ..embeddings import Embedding, Provenance, State, usable_rows
from ..errors import NotFittedError, ParameterError, check_int
from ..ids import ProductIds
from ..index.exact import COARSE_ERROR, search
from .points import MAX_MODALITIES, Points

ROUNDING = 7
"""Distances are computed in float64 from float32 unit vectors and rounded to this many decimals: equal products
tie, and distances that differ by less than 2e-7 may come out in either order."""

_PAIR_BLOCK = 4096


class Neighbors(NamedTuple):
    """Nearest products of q queries: `ids` object [q, k] (None: no more), `distances` float32 [q, k] (NaN)."""

    ids: NDArray[np.object_]
    distances: NDArray[np.float32]


class Fusion(ABC):
    """A fusion strategy over named modalities.

    Parameters
    ----------
    modalities
        Which modalities to fuse, any subset of those given to `fit`; None for all of them.
    weights
        Weight per modality, >= 0; those not named weigh 1. A modality of weight 0 is left out.

    Attributes
    ----------
    modalities_
        The modalities in use, after `fit`.
    ids_
        The products, after `fit`.
    """

    name: ClassVar[str]
    needs_log: ClassVar[bool] = False
    """Whether `fit` needs the click log itself."""

    def __init__(self, modalities: Sequence[str] | None = None, *, weights: Mapping[str, float] | None = None) -> None:
        self.modalities = None if modalities is None else tuple(modalities)
        self.weights = dict(weights or {})

    # ------------------------------------------------------------------ what a strategy defines

    @abstractmethod
    def _weights(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weight of each modality's cosine in the similarity of pairs (q, c): [p, M]; 0 where it does not count."""

    @abstractmethod
    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        """The same weights for a block inside two groups, as (modality, factor of q, factor of c or None)."""

    def _shared(self, query_mask: Any, candidate_mask: Any) -> Any:
        """The modalities that count between points, as a mask; 0: not comparable. Numbers or arrays of masks."""
        return query_mask & candidate_mask

    def _learn(self, embeddings: Mapping[str, Embedding], names: Sequence[str]) -> None:  # noqa: B027
        """Learn whatever the strategy learns from the embeddings of these modalities; most learn nothing."""

    def _observe(self, clicks: ClickLog | None) -> None:  # noqa: B027
        """Take from a click log what the strategy needs beside the vectors; most need nothing. None: there is none."""

    def _place(self, points: Points, embeddings: Mapping[str, Embedding] | None) -> Points:
        """Add to points what the strategy needs at search; `embeddings` is None for points from outside."""
        return points

    def _extra(self) -> NDArray[np.bool_] | None:
        """Products that are comparable for another reason than a vector: bool [n]."""
        return None

    def learned(self) -> dict[str, NDArray[Any]]:
        """Arrays that `fit` learned; a bundle keeps them."""
        return {}

    def restore(self, learned: Mapping[str, NDArray[Any]]) -> Self:
        """Take over arrays that `learned` gave."""
        return self

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy; JSON values only."""
        return {
            "modalities": None if self.modalities is None else list(self.modalities),
            "weights": self.weights,
        }

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        embeddings: Mapping[str, Embedding],
        ids: ProductIds | None = None,
        *,
        only: Sequence[str] | None = None,
        clicks: ClickLog | None = None,
    ) -> Self:
        """Learn from the embeddings and place their products.

        Parameters
        ----------
        embeddings
            One per modality, joined by product id.
        ids
            The products; the union of the embeddings' if not given.
        only
            Learn from these modalities alone and keep what was learned from the others.
        clicks
            The log that the click vectors are from, for strategies that count clicks themselves; without one, and
            without `only`, earlier counts are forgotten.
        """
        self.choose(tuple(embeddings))
        if clicks is not None or only is None:
            self._observe(clicks)
        self._learn(embeddings, [name for name in self.modalities_ if only is None or name in only])
        return self.place(embeddings, ids)

    def place(self, embeddings: Mapping[str, Embedding], ids: ProductIds | None = None) -> Self:
        """Take another set of products and vectors, keeping what was learned."""
        self.choose(tuple(embeddings))
        self.ids_ = self._products(embeddings, ids)
        self.points_ = self._place(Points.of(embeddings, self.modalities_, self.ids_, self._extra()), embeddings)
        self._dimensions = [embeddings[name].dimension for name in self.modalities_]
        self._rank = np.empty(len(self.ids_), np.int64)
        self._rank[self.points_.order] = np.arange(len(self.ids_))
        return self

    def _products(self, embeddings: Mapping[str, Embedding], ids: ProductIds | None) -> ProductIds:
        self.choose(tuple(embeddings))
        return union(embeddings, self.modalities_) if ids is None else ids

    def retuned(self, embeddings: Mapping[str, Embedding], **settings: Any) -> Self:
        """A strategy with other settings and all that this one has learned, over the same products.

        Vectors are shared with this one, so that many settings can be tried at little cost.
        """
        other = type(self)(**{**self.settings(), **settings}).restore(self.learned())
        other.choose(tuple(embeddings))
        if other.modalities_ != self.modalities_:
            return other.place(embeddings, self.ids_)
        other.ids_, other._dimensions, other._rank = self.ids_, self._dimensions, self._rank
        other.points_ = other._place(self.points_, embeddings)
        return other

    def choose(self, available: Sequence[str]) -> None:
        """Settle on modalities and weights among those available. Raises `ParameterError` where that cannot be."""
        names = tuple(available) if self.modalities is None else self.modalities
        if not names:
            raise ParameterError("no modality is left to use.")
        unknown = [name for name in (*names, *self.weights) if name not in available]
        if unknown:
            raise ParameterError(f"modality {unknown[0]!r} is not among the available ones: {', '.join(available)}.")
        weights = {name: _weight(name, self.weights.get(name, 1.0)) for name in names}
        self.modalities_ = tuple(name for name in dict.fromkeys(names) if weights[name] > 0)
        if not self.modalities_:
            raise ParameterError("no modality has a weight above 0.")
        if len(self.modalities_) > MAX_MODALITIES:
            raise ParameterError(f"{len(self.modalities_)} modalities, must be <= {MAX_MODALITIES}.")
        self._weight = np.array([weights[name] for name in self.modalities_])

    def _fitted(self) -> Points:
        if not hasattr(self, "points_"):
            raise NotFittedError(f"{type(self).__name__} has no products; call fit(embeddings) first.")
        return self.points_

    # ------------------------------------------------------------------ results

    def neighbors(self, ids: Sequence[str] | None = None, k: int = 15, *, exclude_self: bool = True) -> Neighbors:
        """Nearest products of products, exactly, nearest first; ties in the order of `ids_`.

        Parameters
        ----------
        ids
            q products; all of them if None.
        k
            How many; more than there are products is as many as there are.
        """
        self._fitted()
        positions = None if ids is None else self._fitted_positions(ids)
        count = len(self.ids_) if positions is None else len(positions)
        k = min(check_int("k", k, low=1), len(self.ids_))
        places = np.empty((count, k), np.int64)
        distances = np.empty((count, k), np.float32)
        for rows, found, distance in self.iter_neighbors(positions, k, exclude_self=exclude_self):
            places[rows], distances[rows] = found, distance
        return Neighbors(self._names(places), distances)

    def iter_neighbors(
        self, positions: NDArray[np.int64] | None = None, k: int = 15, *, exclude_self: bool = True
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
        """Neighbours block by block, for results that need not be in memory at once.

        Yields rows of the request [b], positions of the neighbours in `ids_` [b, min(k, n)] (-1: no more) and
        distances; together the blocks cover every row once, in no particular order.
        """
        points = self._fitted()
        k = min(check_int("k", k, low=1), len(points))
        if positions is not None and not len(positions):
            return
        if positions is None:
            queries, own = points, np.arange(len(points))
        else:
            own = self._rank[positions]
            queries = points.take(own)
            own = own[queries.order]
        if not exclude_self:
            own = np.full(len(own), -1)
        for block, places, distances in search(_Search(self, queries, own), k):
            yield queries.order[block], places, distances

    def query(self, vectors: Mapping[str, ArrayLike], k: int = 15) -> Neighbors:
        """Nearest products of one that is not in the catalogue.

        Parameters
        ----------
        vectors
            Its vector [d_m] in any subset of the modalities.
        """
        places, distances, _ = self.query_positions(vectors, k)
        return Neighbors(self._names(places[None]), distances[None])

    def query_many(
        self, embeddings: Mapping[str, Embedding], k: int = 15
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Nearest products of many that are not in the catalogue.

        Parameters
        ----------
        embeddings
            Their vectors in any subset of the modalities, all over the same q ids.

        Returns
        -------
        positions, distances
            int64 and float32 [q, min(k, n)]; -1 and NaN where there are no more.
        """
        self._fitted()
        return self._nearest(self._foreign_points(embeddings, next(iter(embeddings.values())).ids), k)

    def query_sessions(self, weights: sparse.csr_matrix, k: int = 15) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Nearest products of sessions: of a weighted mean of the unit vectors of products, per modality.

        Parameters
        ----------
        weights
            Sparse [q, n], >= 0, over `ids_`: what each product counts in its session, relative to the others. A
            session of no weight has no neighbours.

        Returns
        -------
        positions, distances
            int64 and float32 [q, min(k, n)]; -1 and NaN where there are no more.
        """
        self._fitted()
        if weights.shape[1] != len(self.ids_):
            raise ParameterError(f"weights over {weights.shape[1]:,} products, must be over {len(self.ids_):,}.")
        if not (np.isfinite(weights.data) & (weights.data >= 0)).all():
            raise ParameterError("weights of a session's products must be numbers >= 0.")
        total = np.asarray(weights.sum(1), np.float64).ravel()
        mean = sparse.csr_matrix(sparse.diags(1 / np.where(total > 0, total, 1.0)) @ weights)
        return self._nearest(self._session_points(mean), k)

    def _nearest(self, points: Points, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        k = min(check_int("k", k, low=1), len(self.ids_))
        places = np.full((len(points), k), -1, np.int64)
        distances = np.full((len(points), k), np.nan, np.float32)
        for block, found, distance in search(_Search(self, points, np.full(len(points), -1)), k):
            places[points.order[block]], distances[points.order[block]] = found, distance
        return places, distances

    def query_positions(
        self, vectors: Mapping[str, ArrayLike], k: int = 15
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
        """As `query`: positions in `ids_` [<= k], distances, and share per modality [<= k, M]."""
        self._fitted()
        points = self._query_points(vectors)
        k = min(check_int("k", k, low=1), len(self.ids_))
        (_, places, distances), *_ = search(_Search(self, points, np.array([-1])), k)
        found = places[0][places[0] >= 0]
        shares = self._contributions(points, np.zeros(len(found), np.int64), self._rank[found])
        return found, distances[0][: len(found)], shares

    def distances(self, rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.float32]:
        """Fused distances of products to products: float32 [rows, columns], NaN where nothing is shared."""
        r, c = self._fitted_positions(rows), self._fitted_positions(columns)
        return self.pair_distances(np.repeat(r, len(c)), np.tile(c, len(r))).reshape(len(r), len(c))

    def pair_distances(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        """Distances of pairs of positions in `ids_`: float32 [p], NaN where nothing is shared."""
        points = self._fitted()
        keys = self._keys(points, self._rank[a], self._rank[b])
        return keys[:, 0].astype(np.float32)

    def explain(self, a: str, b: str) -> dict[str, float]:
        """Share of each modality in the similarity of two products; the shares add up to 1 - distance."""
        q, c = self._fitted_positions([a, b])
        return dict(zip(self.modalities_, self.shares(np.array([q]), np.array([c]))[0].tolist(), strict=True))

    def shares(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of each modality in the similarity of pairs of positions: [p, M]."""
        return self._contributions(self._fitted(), self._rank[a], self._rank[b])

    # ------------------------------------------------------------------ inner workings

    def _fitted_positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        self._fitted()
        return self.ids_.positions([ids] if isinstance(ids, str) else ids)

    def _names(self, places: NDArray[np.int64]) -> NDArray[np.object_]:
        names = self.ids_.array[places]
        names[places < 0] = None
        return names

    def _query_points(self, vectors: Mapping[str, ArrayLike]) -> Points:
        if not vectors:
            raise ParameterError(f"a query needs a vector in one of: {', '.join(self.modalities_)}.")
        ids = ProductIds(["query"])
        embeddings = {}
        for name, value in vectors.items():
            vector = np.asarray(value, np.float32).reshape(-1)
            if not usable_rows(vector[None])[0]:
                raise ParameterError(f"vector of {name} must be finite numbers, not all 0.")
            state = np.array([State.KNOWN], np.uint8)
            embeddings[name] = Embedding(name, ids, state, vector[None], Provenance("query"))
        return self._foreign_points(embeddings, ids)

    def _foreign_points(self, embeddings: Mapping[str, Embedding], ids: ProductIds) -> Points:
        """Points of products that are not in the catalogue; a modality that is not given is missing."""
        for name, embedding in embeddings.items():
            if name not in self.modalities_:
                raise ParameterError(f"modality {name!r} is not in use; in use: {', '.join(self.modalities_)}.")
            wanted = self._dimensions[self.modalities_.index(name)]
            if embedding.dimension != wanted:
                raise ParameterError(f"a vector of {name} has {embedding.dimension} numbers, must have {wanted}.")
        nothing = np.zeros(len(ids), np.uint8)
        complete = {
            name: embeddings[name]
            if name in embeddings
            else Embedding(name, ids, nothing, np.empty((0, dimension), np.float32), Provenance("none"))
            for name, dimension in zip(self.modalities_, self._dimensions, strict=True)
        }
        return self._place(Points.of(complete, self.modalities_, ids), None)

    def _session_points(self, weights: sparse.csr_matrix) -> Points:
        """Points of sessions, weights [q, n] over `ids_` that add up to 1."""
        return self._place(self._mean_points(weights), None)

    def _mean_points(
        self,
        weights: sparse.csr_matrix,
        trust: NDArray[np.float64] | None = None,
        extra: NDArray[np.bool_] | None = None,
    ) -> Points:
        """Per modality, the weighted sum of the unit vectors of products; `trust` [n, M] is a further factor."""
        points = self.points_
        ids = ProductIds([str(i) for i in range(weights.shape[0])])
        ordered = sparse.csr_matrix(weights)[:, points.order]
        sums = {}
        for m, name in enumerate(self.modalities_):
            part = ordered[:, points.mask >> m & 1 == 1]
            if trust is not None:
                part = part @ sparse.diags(trust[points.order, m][points.mask >> m & 1 == 1])
            vectors = np.asarray(part @ points.units[m], np.float32)
            sums[name] = Embedding.join(name, ids, list(ids), vectors, Provenance("session"))
        return Points.of(sums, self.modalities_, ids, extra)

    def _cosines(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cosine per modality of pairs: [p, M], 0 where either is missing."""
        points = self.points_
        both = queries.mask[q] & points.mask[c]
        cosines = np.zeros((len(q), len(self.modalities_)))
        for m in range(len(self.modalities_)):
            pairs = np.flatnonzero(both >> m & 1)
            for start in range(0, len(pairs), _PAIR_BLOCK):
                part = pairs[start : start + _PAIR_BLOCK]
                left = queries.units[m][queries.row[m, q[part]]]
                right = points.units[m][points.row[m, c[part]]]
                cosines[part, m] = np.einsum("pd,pd->p", left, right, dtype=np.float64)
        return cosines

    def _members(self, queries: Points, q: slice, c: slice) -> list[int]:
        """The modalities that count in a block inside two groups."""
        shared = self._shared(int(queries.mask[q.start]), int(self.points_.mask[c.start]))
        return [m for m in range(len(self.modalities_)) if shared >> m & 1]

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each modality adds to the similarity of pairs: [p, M]."""
        return self._weights(queries, q, c) * self._cosines(queries, q, c)

    def _keys(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of pairs, NaN where they share nothing, and tie-breaks: [p, keys]."""
        distance = np.maximum(1.0 - self._contributions(queries, q, c).sum(1), 0.0)
        return np.where(self._comparable(queries, q, c), np.round(distance, ROUNDING), np.nan)[:, None]

    def _comparable(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._shared(queries.mask[q], self.points_.mask[c]) != 0

    def _coarse_error(self) -> float:
        """Bound on the error of `_coarse`."""
        return COARSE_ERROR

    def _coarse(self, queries: Points, q: slice, c: slice) -> NDArray[np.floating]:
        """Similarities of a block inside two groups, float32 [q, c]."""
        total: NDArray[np.float32] | None = None
        for m, left, right in self._scales(queries, q, c):
            a, b = queries.block(m, q), self.points_.block(m, c)
            a = a * (left[:, None] if isinstance(left, np.ndarray) else np.float32(left))
            b = b if right is None else b * right[:, None]
            product = a @ b.T
            total = product if total is None else np.add(total, product, out=total)
        assert total is not None
        return total


@dataclass(frozen=True)
class _Search:
    """A fusion's queries and products as the exact search sees them."""

    fusion: Fusion
    queries: Points
    own_rows: NDArray[np.int64]

    def query_blocks(self, size: int) -> Iterator[slice]:
        for _, group in self.queries.groups():
            yield from _cut(group, size)

    def candidate_blocks(self, queries: slice, size: int) -> Iterator[slice]:
        mask = int(self.queries.mask[queries.start])
        for other, group in self.fusion.points_.groups():
            if self.fusion._shared(mask, other):
                yield from _cut(group, size)

    def coarse(self, queries: slice, candidates: slice) -> NDArray[np.floating]:
        return self.fusion._coarse(self.queries, queries, candidates)

    def exact(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.fusion._keys(self.queries, queries, candidates)

    def error(self) -> float:
        return self.fusion._coarse_error()

    def own(self, queries: slice) -> NDArray[np.int64]:
        return self.own_rows[queries]

    def twin(self, candidates: NDArray[np.int64]) -> NDArray[np.uint64]:
        return self.fusion.points_.twins[candidates]

    def place(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.fusion.points_.order[candidates]


def _weight(name: str, value: Any) -> float:
    low, high = 1e-6, 1e6  # beyond these, sums of weights lose the small ones
    try:
        weight = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"weight of {name} == {value!r}, must be a number.") from None
    if not (weight == 0 or low <= weight <= high):
        raise ParameterError(f"weight of {name} == {weight}, must be 0 or in [{low:g}, {high:g}].")
    return weight


def _cut(group: slice, size: int) -> Iterator[slice]:
    for start in range(group.start, group.stop, size):
        yield slice(start, min(start + size, group.stop))


def union(embeddings: Mapping[str, Embedding], modalities: Sequence[str]) -> ProductIds:
    """All products of some embeddings, each once, in order of first appearance."""
    first, *others = (embeddings[name].ids for name in modalities)
    if all(ids == first for ids in others):
        return first
    return ProductIds(dict.fromkeys(product_id for ids in (first, *others) for product_id in ids))
