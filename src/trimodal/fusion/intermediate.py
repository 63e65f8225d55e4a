"""Intermediate fusion: the mean of the modalities' cosine distances (the paper's best strategy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Fusion
from .points import Points


class IntermediateFusion(Fusion):
    """D(i,j) = 1 - sum_m w_m a_m(i) a_m(j) cos_m(i,j) / sum_m w_m a_m(i) a_m(j), a_m(i) = 1 where i has m.

    With equal weights and nothing missing this is the paper's D = (1/M) sum_m D_m (section III-D.2). It is an
    inner product of concatenated unit vectors, so no matrix of all pairs is needed; products are grouped by the
    modalities they have, and each pair of groups has one denominator.
    """

    name = "intermediate"

    def _weights(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        bits = np.arange(len(self.modalities_))
        weights = self._weight * ((queries.mask[q] & self.points_.mask[c])[:, None] >> bits & 1)
        return weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(float).tiny)

    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        members = self._members(queries, q, c)
        total = self._weight[members].sum()
        return [(m, float(self._weight[m] / total), None) for m in members]
