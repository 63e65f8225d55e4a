"""Co-visit fusion: adaptive fusion, and beside the vectors what visitors were seen to click together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..clicks import ClickLog
from ..embeddings import Embedding
from ..errors import ParameterError
from .adaptive import NEAREST, AdaptiveFusion, _number
from .evidence import ClickEvidence
from .points import Points


class CoVisitFusion(AdaptiveFusion):
    """Adaptive fusion with one term more: how often two products were clicked together.

    A vector of 512 numbers says of two products that they are alike; it does not remember that these two were clicked
    together forty times. With C(i,j) the decayed count of sessions that hold both (`ClickEvidence`) and o its row sums:

    T(i,j) = C(i,j) / sqrt(o_i o_j) * (o_j / max o)^popularity,  and with C(i,i) = o_i for a product and itself
    c(i,j) = T / (T + tau),  p = 2 v,  r(i) = sqrt(n / (n + shrinkage)) from n clicks

    join the sums of adaptive fusion; tau is the mean T of products with their ten nearest, so v is on the scale of the
    other weights. T is sparse: most pairs have none and are judged by the vectors, and a product that nobody has
    clicked by its title and picture alone. With popularity > 0 it is not symmetric: of two products seen with i
    equally often, relative to their own clicks, the more popular one is nearer. In `explain`, co-visits are part of the
    share of `click`.

    Parameters
    ----------
    covisits
        v, the weight of the co-visits; 0 leaves them out.
    popularity
        Exponent of the tilt to popular products, in [0, 1].
    """

    name = "covisit"
    needs_log = True

    def __init__(
        self,
        modalities: Sequence[str] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        shrinkage: float = 20.0,
        inferred: float = 0.5,
        prior: float = 0.1,
        covisits: float = 2.0,
        popularity: float = 0.25,
    ) -> None:
        super().__init__(modalities, weights=weights, shrinkage=shrinkage, inferred=inferred, prior=prior)
        self.covisits = _number("covisits", covisits, 1e6)
        self.popularity = _number("popularity", popularity, 1.0)

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy."""
        return {**super().settings(), "covisits": self.covisits, "popularity": self.popularity}

    def _observe(self, clicks: ClickLog | None) -> None:
        self.evidence_ = None if clicks is None else ClickEvidence.of(clicks)
        self._evidence_ids = None if clicks is None else clicks.ids

    def choose(self, available: Sequence[str]) -> None:
        """As any strategy; the modality `click` must be in use."""
        super().choose(available)
        if "click" not in self.modalities_:
            raise ParameterError(f"covisit needs the modality 'click'; in use: {', '.join(self.modalities_)}.")

    def _all_weights(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.append(weights, 2 * self.covisits)

    def _settle(self) -> None:
        super()._settle()
        assert self.evidence_ is not None
        clicks = self.evidence_.clicks
        self._seen_trust = np.where(self._extra(), np.sqrt(clicks / np.maximum(clicks + self.shrinkage, 1)), 0.0)
        folded = sparse.diags(self._seen_trust)
        self._table = sparse.csr_matrix(folded @ covisit_table(self.evidence_.together, self.popularity) @ folded)
        self._table.sort_indices()

    def _place(self, points: Points, embeddings: Mapping[str, Embedding] | None) -> Points:
        placed = super()._place(points, embeddings)
        assert placed.trust is not None
        if embeddings is None:
            trust = np.column_stack([placed.trust, np.zeros(len(points))])
            return replace(placed, trust=trust, strength=trust)
        return replace(placed, seen=self._table[placed.order])

    def _trust(self, embeddings: Mapping[str, Embedding]) -> NDArray[np.float64]:
        return np.column_stack([super()._trust(embeddings), self._seen_trust])

    def _extra(self) -> NDArray[np.bool_]:
        # Co-visits are known of both, as a modality would be: comparable even where neither has a vector, and at
        # S = 0 like two random products where they were never seen together.
        if self.evidence_ is None:
            raise ParameterError("covisit needs the click log itself, not click vectors alone: fit(..., clicks=log).")
        return np.diff(self.evidence_.together.indptr) > 0

    def _session_points(self, weights: sparse.csr_matrix, extra: NDArray[np.bool_] | None = None) -> Points:
        seen = sparse.csr_matrix(weights @ self._table)
        seen.sort_indices()  # pairs are looked up by bisection
        points = super()._session_points(weights, np.diff(seen.indptr) > 0)
        return replace(points, seen=seen[points.order])

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        shares = super()._contributions(queries, q, c)
        if queries.seen is not None and len(q):
            seen = np.asarray(queries.seen[q, self.points_.order[c]]).ravel()
            click = self.modalities_.index("click")
            shares[:, click] += self._share[-1] * seen / self._known(queries, q, c)
        return shares

    def _sums(self, queries: Points, q: slice, c: slice) -> NDArray[np.float32]:
        sums = super()._sums(queries, q, c)
        if queries.seen is not None:
            rows = queries.seen[q]
            row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
            column = self._rank[rows.indices]
            here = (column >= c.start) & (column < c.stop)
            sums[row[here], column[here] - c.start] += np.float32(self._share[-1]) * rows.data[here]
        return sums


def covisit_table(together: sparse.csr_matrix, popularity: float) -> sparse.csr_matrix:
    """c(i,j) = T / (T + tau) of every pair that was seen together: sparse float64 [n, n]."""
    total = np.asarray(together.sum(axis=1), np.float64).ravel()
    if not total.any():
        return sparse.csr_matrix(together, dtype=np.float64)
    length = 1 / np.sqrt(np.where(total > 0, total, 1.0))
    tilt = length * (total / total.max()) ** popularity
    table = sparse.csr_matrix(sparse.diags(length) @ together @ sparse.diags(tilt))
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    order = np.lexsort((-table.data, row))
    rank = np.arange(len(row)) - table.indptr[row]  # sorted by row, so the place inside a row is the rank
    near = float(table.data[order][rank < NEAREST].mean())
    own = sparse.diags(np.where(total > 0, (total / total.max()) ** popularity, 0.0))
    table = sparse.csr_matrix(table + own)
    table.eliminate_zeros()
    table.data /= table.data + near
    return table
