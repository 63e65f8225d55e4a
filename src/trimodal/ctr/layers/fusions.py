"""Fusions: an item's parts become one vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn


class LowRankFusion(nn.Module):
    """Low-rank fusion (Liu, Shen et al. 2018, section 3.2): sum over r of w_r prod over m of W_mr [h_m; 1], plus b.

    This is the full tensor of all products of entries, with a weight tensor of rank R.
    """

    def __init__(self, parts: Sequence[str], dimension: int, *, rank: int = 4) -> None:
        super().__init__()
        self.parts, self.rank = tuple(parts), rank
        self.factors = nn.ModuleDict({name: nn.Linear(dimension, rank * dimension) for name in parts})
        self.mixture = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.zeros(dimension))
        for factor in self.factors.values():
            nn.init.xavier_normal_(factor.weight)
            # The appended 1 starts with weight 1: the product is then the sum of the parts' linear maps plus their
            # products. Around 0 it would be a product of small numbers, with gradients that vanish.
            nn.init.ones_(factor.bias)

    def forward(self, parts: dict[str, Tensor]) -> Tensor:
        """[m, d] of parts [m, d]."""
        product: Tensor | float = 1.0
        for name in self.parts:
            product = product * self.factors[name](parts[name]).unflatten(1, (self.rank, -1))
        return torch.einsum("mrd,r->md", product, self.mixture) + self.bias


class TensorFusion(nn.Module):
    """Rank-R tensor fusion of every pair of parts (T. Wang et al. 2019): sum over r of (P_r p + a_r) * (Q_r q + b_r).

    The pairs have matrices of their own; their vectors are summed.
    """

    def __init__(self, parts: Sequence[str], dimension: int, *, rank: int = 4) -> None:
        super().__init__()
        self.pairs, self.rank = tuple(combinations(parts, 2)), rank
        self.left, self.right = (
            nn.ModuleList([nn.Linear(dimension, rank * dimension) for _ in self.pairs]) for _ in range(2)
        )
        for factor in (*self.left, *self.right):
            nn.init.xavier_normal_(factor.weight, gain=rank**-0.5)
            # As in low-rank fusion: a constant beside the linear map keeps each part's own share in the product.
            nn.init.constant_(factor.bias, rank**-0.5)

    def forward(self, parts: dict[str, Tensor]) -> Tensor:
        """[m, d] of parts [m, d]."""
        fused = []
        for (p, q), left, right in zip(self.pairs, self.left, self.right, strict=True):
            product = left(parts[p]) * right(parts[q])
            fused.append(product.unflatten(1, (self.rank, -1)).sum(1))
        return torch.stack(fused).sum(0)


class ViewAttention(nn.Module):
    """Additive attention over views (Wu et al. 2019, equations 9 to 12): softmax over v of q_v . tanh(A_v r_v + a_v).

    A missing view gets no weight; an item without any view gets a zero vector.
    """

    def __init__(self, views: int, dimension: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dimension, hidden) for _ in range(views)])
        self.queries = nn.Parameter(torch.empty(views, hidden))
        nn.init.normal_(self.queries, std=hidden**-0.5)

    def weights(self, views: Tensor, present: Tensor) -> Tensor:
        """Weights [m, v], zero where missing, of views [m, v, d]; `present` is bool [m, v]."""
        hidden = torch.stack([layer(views[:, v]) for v, layer in enumerate(self.layers)], 1).tanh()
        scores = (hidden * self.queries).sum(2)
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~present, lowest).softmax(1) * present

    def forward(self, views: Tensor, present: Tensor) -> Tensor:
        """[m, d] of views [m, v, d]; `present` is bool [m, v]."""
        return torch.bmm(self.weights(views, present)[:, None], views)[:, 0]
