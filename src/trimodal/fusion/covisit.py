"""Co-visit fusion: adaptive fusion, and beside the vectors what visitors were seen to click together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..embeddings import Embedding
from ..errors import ParameterError
from .adaptive import NEAREST, AdaptiveFusion, _number
from .points import Points


class CoVisitFusion(AdaptiveFusion):
    """Adaptive fusion plus the co-visits of two products: S = (adaptive's sum + v T(i,j) / tau_T) / (sum + v / tau_T).

    T(i,j) = C(i,j) / sqrt(o_i o_j) * (o_j / max o)^popularity, with C the decayed count of sessions that hold both
    (`ClickEvidence`) and o its row sums. A vector of 512 numbers says of two products that they are alike; it does
    not remember that these two were clicked together forty times. Most pairs have T = 0 and are judged by the
    vectors; a product that nobody has clicked is judged by its title and picture alone.

    T is [0, 1], sparse, and, with popularity > 0, not symmetric: of two products seen with i equally often, relative
    to their own clicks, the more popular one is nearer. tau_T, the mean T of products with their ten nearest, puts
    v on the scale of the other weights. In `explain`, co-visits are part of the share of `click`.

    Parameters
    ----------
    covisits
        v, the weight of the co-visits; 0 leaves them out.
    popularity
        Exponent of the tilt to popular products, in [0, 1].
    """

    name = "covisit"

    def __init__(
        self,
        modalities: Sequence[str] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        shrinkage: float = 20.0,
        inferred: float = 0.5,
        covisits: float = 2.0,
        popularity: float = 0.25,
    ) -> None:
        super().__init__(modalities, weights=weights, shrinkage=shrinkage, inferred=inferred)
        self.covisits = _number("covisits", covisits, 1e6)
        self.popularity = _number("popularity", popularity, 1.0)

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy."""
        return {**super().settings(), "covisits": self.covisits, "popularity": self.popularity}

    def choose(self, available: Sequence[str]) -> None:
        """As any strategy; the modality `click` must be in use."""
        super().choose(available)
        if "click" not in self.modalities_:
            raise ParameterError(f"covisit needs the modality 'click'; in use: {', '.join(self.modalities_)}.")

    def _total(self, total: float) -> float:
        assert self.evidence_ is not None
        self._table, near = _table(self.evidence_.together, self.popularity)
        self._covisit_factor = 0.0 if self.covisits == 0 else self.covisits / near
        total += self._covisit_factor
        self._covisit_factor /= total
        return total

    def _place(self, points: Points, embeddings: Mapping[str, Embedding] | None) -> Points:
        placed = super()._place(points, embeddings)
        return placed if embeddings is None else replace(placed, seen=self._table[placed.order])

    def _extra(self) -> NDArray[np.bool_]:
        # Two products that were seen together are comparable even where neither has a vector.
        if self.evidence_ is None:
            raise ParameterError("covisit needs the click log itself: fit(embeddings, clicks=log).")
        return np.diff(self.evidence_.together.indptr) > 0

    def _session_points(self, weights: sparse.csr_matrix, extra: NDArray[np.bool_] | None = None) -> Points:
        seen = sparse.csr_matrix(weights @ self._table)
        points = super()._session_points(weights, np.diff(seen.indptr) > 0)
        return replace(points, seen=seen[points.order])

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        shares = super()._contributions(queries, q, c)
        if queries.seen is not None and len(q):
            seen = np.asarray(queries.seen[q, self.points_.order[c]]).ravel()
            shares[:, self.modalities_.index("click")] += self._covisit_factor * seen
        return shares

    def _coarse(self, queries: Points, q: slice, c: slice) -> NDArray[np.floating]:
        scores = super()._coarse(queries, q, c)
        if queries.seen is not None:
            rows = queries.seen[q]
            row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
            column = self.points_.rows_of[rows.indices]
            here = (column >= c.start) & (column < c.stop)
            scores[row[here], column[here] - c.start] += np.float32(self._covisit_factor) * rows.data[here]
        return scores


def _table(together: sparse.csr_matrix, popularity: float) -> tuple[sparse.csr_matrix, float]:
    """T, sparse float32 [n, n], and the mean of the ten largest values of its rows that are not empty, tau_T."""
    total = np.asarray(together.sum(axis=1), np.float64).ravel()
    if not total.any():
        return together, 1.0
    length = 1 / np.sqrt(np.where(total > 0, total, 1.0))
    tilt = length * (total / total.max()) ** popularity
    table = sparse.csr_matrix(sparse.diags(length) @ together @ sparse.diags(tilt)).astype(np.float32)
    table.sort_indices()
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    order = np.lexsort((-table.data, row))
    rank = np.arange(len(row)) - table.indptr[row]  # rows stay where they are, so the rank inside each is the place
    return table, float(table.data[order][rank < NEAREST].mean())
