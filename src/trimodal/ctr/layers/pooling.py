"""Poolings: a history's item vectors become one vector; padding takes no part."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(vectors: Tensor, history: Tensor, mask: Tensor) -> Tensor:
    """Mean [b, d] over the items of each history; zero where it is empty.

    `vectors` [m, d], `history` int64 and `mask` bool [b, l] as in `Batch`.
    """
    weights = mask.to(vectors.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(weights[:, None], vectors[history])[:, 0]
