"""Late fusion: each modality clusters by itself, and the clusters vote."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding
from ..errors import check_int
from .base import ROUNDING
from .intermediate import IntermediateFusion
from .points import Points


class LateFusion(IntermediateFusion):
    """k-means++ per modality; S(i,j) counts the modalities in which i and j share a cluster (section III-D.3).

    D(i,j) = 1 - sum_m w_m a_m(i) a_m(j) [c_m(i) = c_m(j)] / sum_m w_m a_m(i) a_m(j): with equal weights and
    nothing missing (M - S) / M. D takes few values, so ties are broken by the distance of intermediate fusion.

    Parameters
    ----------
    clusters
        K per modality: the number of categories in the paper.
    restarts
        k-means++ restarts, the best one kept.
    seed
        Seed of k-means++.
    """

    name = "late"

    def __init__(
        self,
        modalities: Sequence[str] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        clusters: int = 20,
        restarts: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(modalities, weights=weights)
        self.clusters = check_int("clusters", clusters, low=1)
        self.restarts = check_int("restarts", restarts, low=1)
        self.seed = seed
        self.centers_: dict[str, NDArray[np.float32]] = {}

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy."""
        return {**super().settings(), "clusters": self.clusters, "restarts": self.restarts, "seed": self.seed}

    def learned(self) -> dict[str, NDArray[Any]]:
        """The centres of each modality's clusters: `centers.M`, float32 [K, d]."""
        return {f"centers.{name}": centers for name, centers in self.centers_.items()}

    def restore(self, learned: Mapping[str, NDArray[Any]]) -> Self:
        """Take over centres that `learned` gave."""
        self.centers_ = {key.removeprefix("centers."): value for key, value in learned.items()}
        return self

    def _learn(self, embeddings: Mapping[str, Embedding], names: Sequence[str]) -> None:
        from sklearn.cluster import KMeans  # deferred: it takes a second to import
        from sklearn.exceptions import ConvergenceWarning

        for name in names:
            vectors = embeddings[name].vectors
            if not len(vectors):
                self.centers_[name] = np.zeros((1, embeddings[name].dimension), np.float32)
                continue
            k = min(self.clusters, len(vectors))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than clusters: fine
                means = KMeans(k, init="k-means++", n_init=self.restarts, random_state=self.seed).fit(vectors)
            self.centers_[name] = means.cluster_centers_.astype(np.float32)

    def _place(self, points: Points, embeddings: Mapping[str, Embedding] | None) -> Points:
        codes = np.full((len(points), len(self.modalities_)), -1, np.int32)
        for m, name in enumerate(self.modalities_):
            has = np.flatnonzero(points.mask >> m & 1)
            codes[has, m] = _nearest(points.units[m], points.norms[has, m], self.centers_[name])
        return replace(points, codes=codes)

    def _matches(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.bool_]:
        assert queries.codes is not None
        assert self.points_.codes is not None
        return queries.codes[q] == self.points_.codes[c]

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._weights(queries, q, c) * self._matches(queries, q, c)

    def _keys(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        similarity = self._weights(queries, q, c) * self._cosines(queries, q, c)
        tie = np.round(np.clip(1.0 - similarity.sum(1), 0.0, 2.0), ROUNDING)
        return np.column_stack([super()._keys(queries, q, c), tie])

    def choose(self, available: Sequence[str]) -> None:
        """As any strategy; and rank every value that S can take."""
        super().choose(available)
        values = set()
        for pattern in product((0, 1, 2), repeat=len(self.modalities_)):  # not shared, differs, matches
            shared = [m for m, p in enumerate(pattern) if p > 0]
            if shared:
                values.add(self._level([m for m, p in enumerate(pattern) if p == 2], shared))
        self._levels = {value: rank for rank, value in enumerate(sorted(values))}

    def _level(self, matching: list[int], shared: list[int]) -> float:
        """S over its highest value, for modalities that match among those shared."""
        return round(float(self._weight[matching].sum() / self._weight[shared].sum()), 12)

    def _coarse(self, queries: Points, q: slice, c: slice) -> NDArray[np.floating]:
        # Ranks 4 apart: a cosine mean lies in [-1, 1], so it orders inside a rank and never across.
        assert queries.codes is not None
        assert self.points_.codes is not None
        members = self._members(queries, q, c)
        rank = np.empty(1 << len(members))
        for p in range(len(rank)):
            rank[p] = 4.0 * self._levels[self._level([m for i, m in enumerate(members) if p >> i & 1], members)]
        pattern = np.zeros((q.stop - q.start, c.stop - c.start), np.uint8)
        for i, m in enumerate(members):
            pattern |= (queries.codes[q, m][:, None] == self.points_.codes[c, m][None]).astype(np.uint8) << i
        return rank[pattern] + super()._coarse(queries, q, c)


def _nearest(
    units: NDArray[np.float32], norms: NDArray[np.float64], centers: NDArray[np.float32], block: int = 8192
) -> NDArray[np.int64]:
    """Nearest centre of units * norms by Euclidean distance: [n]."""
    half = 0.5 * np.einsum("kd,kd->k", centers, centers, dtype=np.float64)
    nearest = np.empty(len(units), np.int64)
    for start in range(0, len(units), block):
        part = units[start : start + block] @ centers.T * norms[start : start + block, None]
        nearest[start : start + block] = np.argmax(part - half, axis=1)
    return nearest
