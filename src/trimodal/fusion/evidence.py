"""What a click log says of products beyond their vectors: clicks per product, and how often two are seen together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..clicks import ClickLog
from ..errors import DataError
from ..ids import ProductIds

WINDOW = 10
"""Clicks apart, at most, for two products of a session to count as seen together."""
DECAY = 0.8
"""What a pair d + 1 clicks apart counts, relative to one d clicks apart."""


@dataclass(frozen=True)
class ClickEvidence:
    """Counts over n products.

    Attributes
    ----------
    clicks
        int64 [n]: clicks per product in clean sessions.
    together
        Sparse float32 [n, n], symmetric, diagonal 0: sum over the pairs of clicks on i and j in one session, at most
        `WINDOW` apart, of DECAY^(clicks apart - 1).
    """

    clicks: NDArray[np.int64]
    together: sparse.csr_matrix

    @classmethod
    def of(cls, log: ClickLog) -> Self:
        """Count a log; over `log.ids`. Memory: 16 bytes for each pair of products that is seen together."""
        clicks, bounds = log.arrays()
        session = np.repeat(np.arange(len(log), dtype=np.int32), np.diff(bounds))
        n = len(log.ids)
        total = sparse.csr_matrix((n, n), dtype=np.float32)
        for apart in range(1, WINDOW + 1):
            first, second = clicks[:-apart], clicks[apart:]
            pair = (session[:-apart] == session[apart:]) & (first != second)
            if not pair.any():
                continue  # a later, wider step may still join a product with others
            weight = np.full(int(pair.sum()), DECAY ** (apart - 1), np.float32)
            total = total + sparse.csr_matrix((weight, (first[pair], second[pair])), shape=(n, n))
        together = sparse.csr_matrix(total + total.T)
        together.sort_indices()
        return cls(log.counts(), together)

    @classmethod
    def alone(cls, log: ClickLog) -> Self:
        """The clicks per product and no pair, for strategies that look at no pair."""
        return cls(log.counts(), sparse.csr_matrix((len(log.ids), len(log.ids)), dtype=np.float32))

    def aligned(self, old: ProductIds, new: ProductIds) -> ClickEvidence:
        """The same counts over other ids: products that are new have none, those that are gone are dropped."""
        if old == new:
            return self
        place = new.find(old)  # of each old product among the new ones
        pairs = self.together.tocoo()
        row, column = place[pairs.row], place[pairs.col]
        kept = (row >= 0) & (column >= 0)
        shape = (len(new), len(new))
        together = sparse.csr_matrix((pairs.data[kept], (row[kept], column[kept])), shape=shape)
        together.sort_indices()
        clicks = np.zeros(len(new), np.int64)
        clicks[place[place >= 0]] = self.clicks[place >= 0]
        return ClickEvidence(clicks, together)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays that a bundle can keep."""
        return {
            "evidence.clicks": self.clicks,
            "evidence.data": self.together.data.astype(np.float32),
            "evidence.indices": self.together.indices.astype(np.int32),
            "evidence.indptr": self.together.indptr.astype(np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ClickEvidence | None:
        """What `arrays` gave; None where there is no evidence among them."""
        if "evidence.clicks" not in arrays:
            return None
        clicks = arrays["evidence.clicks"]
        parts = tuple(arrays[f"evidence.{name}"] for name in ("data", "indices", "indptr"))
        together = sparse.csr_matrix(parts, shape=(len(clicks), len(clicks)))
        try:
            together.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"the table of products seen together is damaged: {error}") from error
        return cls(clicks, together)
