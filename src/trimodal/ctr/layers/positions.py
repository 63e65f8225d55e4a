"""Positions: the entries of all histories as one list, so that padding is neither computed nor counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positions:
    """The p unpadded entries of b histories, event after event, oldest first.

    Attributes
    ----------
    event, item
        int64 [p]: which event an entry belongs to, and its row among the encoded items.
    mask
        bool [b, l]: where the entries stand.
    """

    event: Tensor
    item: Tensor
    mask: Tensor

    @classmethod
    def of(cls, history: Tensor, mask: Tensor) -> Positions:
        """The entries of `history` int64 [b, l] where `mask` bool [b, l] is true, as in `Batch`."""
        return cls(mask.nonzero()[:, 0], history[mask], mask)

    def sum(self, vectors: Tensor) -> Tensor:
        """Sum of vectors [p, d] over each event, [b, d]; zero where the history is empty."""
        total = vectors.new_zeros(self.mask.shape[0], vectors.shape[1])
        if torch.onnx.is_in_onnx_export():
            # PyTorch exports index_add as an operator that keeps only the last of the rows that meet in one sum.
            return total.scatter_add(0, self.event[:, None].expand(-1, vectors.shape[1]), vectors)
        return total.index_add(0, self.event, vectors)

    def dense(self, scores: Tensor, fill: float = 0.0) -> Tensor:
        """Scores [p] at their places in [b, l]; `fill` where padded."""
        return scores.new_full(self.mask.shape, fill).masked_scatter(self.mask, scores)

    def softmax(self, scores: Tensor) -> Tensor:
        """Softmax of scores [p] within each event, [p]."""
        # A finite floor: a row of -inf alone (an empty history) would turn its gradient into NaN.
        return self.dense(scores, torch.finfo(scores.dtype).min).softmax(1)[self.mask]
