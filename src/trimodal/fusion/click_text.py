"""ClickText: the baseline of the paper's A/B test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .base import Fusion
from .points import Points

_CLICK, _TEXT = 0, 1


class ClickText(Fusion):
    """Prod2Vec neighbours; a product without clicks gets its text neighbours (the paper, section IV-E).

    D(i,j) is the click distance where i has a click vector (then only products that have one too are
    neighbours), else the text distance. It depends on which of the two is asked about, so D(i,j) may differ
    from D(j,i). A product with neither has no neighbours.
    """

    name = "click-text"

    def __init__(self) -> None:
        super().__init__(("click", "text"))

    def settings(self) -> dict[str, Any]:
        """No settings: the baseline is what it is."""
        return {}

    def choose(self, available: Sequence[str]) -> None:
        """Check that both modalities are there."""
        for name in ("click", "text"):
            if name not in available:
                raise ParameterError(f"click-text needs the modality {name!r}; got {', '.join(available)}.")
        super().choose(available)

    def _shared(self, query_mask: Any, candidate_mask: Any) -> Any:
        has_click = query_mask >> _CLICK & 1
        return (has_click << _CLICK | (1 - has_click) << _TEXT) & query_mask & candidate_mask

    def _weights(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        has_click = queries.mask[q] >> _CLICK & 1 == 1
        both = queries.mask[q] & self.points_.mask[c]
        return np.column_stack([has_click & (both >> _CLICK & 1 == 1), ~has_click & (both >> _TEXT & 1 == 1)]).astype(
            np.float64
        )

    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        return [(m, 1.0, None) for m in self._members(queries, q, c)]
