"""Early fusion: one concatenated vector per product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding
from ..ids import ProductIds
from .base import Fusion
from .points import Points


class EarlyFusion(Fusion):
    """Cosine distance of v(i) = concat_m sqrt(w_m) v_m(i) / sqrt(D_m) (the paper, section III-D.1).

    Vectors are not normalised first, so a modality with longer vectors counts for more; that is the paper's
    definition. Where a modality is missing on either side, both vectors are cut to the modalities that the
    pair shares, S, and the cosine is taken there:
    sum_{m in S} w_m <v_m(i), v_m(j)> / D_m / (n_S(i) n_S(j)), n_S(i)^2 = sum_{m in S} w_m ||v_m(i)||^2 / D_m.
    """

    name = "early"

    def _lengths(self, points: Points) -> NDArray[np.float64]:
        """sqrt(w_m / D_m) ||v_m||: [n, M]."""
        return points.norms * np.sqrt(self._weight / np.array(self._dimensions))

    def _weights(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        bits = np.arange(len(self.modalities_))
        both = (queries.mask[q] & self.points_.mask[c])[:, None] >> bits & 1
        weights = np.ones(both.shape)
        for points, rows in ((queries, q), (self.points_, c)):
            lengths = self._lengths(points)[rows] * both
            total = np.sqrt((lengths**2).sum(1, keepdims=True))
            weights *= lengths / np.where(total > 0, total, 1.0)
        return weights

    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        members = self._members(queries, q, c)
        sides = []
        for points, block in ((queries, q), (self.points_, c)):
            scale = np.sqrt(self._weight / np.array(self._dimensions))[members]
            lengths = points.norms[block][:, members] * scale
            sides.append((lengths / np.sqrt((lengths**2).sum(1, keepdims=True))).astype(np.float32))
        return [(m, sides[0][:, i], sides[1][:, i]) for i, m in enumerate(members)]

    def vectors(self, embeddings: Mapping[str, Embedding], ids: ProductIds) -> NDArray[np.float32]:
        """v(i) itself for products that have every modality: [n, sum of D_m]; what the ARI protocol clusters."""
        parts = []
        for name, weight in zip(self.modalities_, self._weight, strict=True):
            embedding = embeddings[name].aligned(ids)
            parts.append(embedding.vectors[embedding.position] * np.float32(np.sqrt(weight / embedding.dimension)))
        return np.concatenate(parts, axis=1)
