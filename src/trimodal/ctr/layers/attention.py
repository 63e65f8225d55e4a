"""InterestAttention: how much each entry of a history says about a candidate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .activations import Dice
from .positions import Positions

_BLOCK = 128  # candidates at once for one history: what they need between two layers stays in the cache


class InterestAttention(nn.Module):
    """The activation unit of DIN (Zhou et al. 2018, Figure 2): a hidden layer over [h, c, h * c, h - c], one output.

    The hidden layer W [h; c; h * c; h - c] equals (W1 + W4) h + (W2 - W4) c + W3 (h * c). So the first term is
    computed once an item (`keys`), the second once an event, and only the third at every position. The three
    matrices are free, hence parameters of their own; the product has the same range as W.
    """

    def __init__(self, width: int, hidden: int = 36, *, activation: str = "dice") -> None:
        super().__init__()
        self.keys = nn.Linear(width, hidden, bias=False)
        self.queries = nn.Linear(width, hidden)
        self.products = nn.Linear(width, hidden, bias=False)
        self.activation = Dice(hidden) if activation == "dice" else nn.PReLU(hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, vectors: Tensor, keys: Tensor, candidates: Tensor, positions: Positions) -> Tensor:
        """Scores [p], not normalised.

        `vectors` [p, width] and `keys` [p, hidden] of the entries, `candidates` [b, width] of the events.
        """
        pairs = vectors * candidates.index_select(0, positions.event)
        hidden = keys + self.queries(candidates).index_select(0, positions.event) + self.products(pairs)
        return self.output(self.activation(hidden))[:, 0]

    def shared(self, vectors: Tensor, keys: Tensor, candidates: Tensor) -> Tensor:
        """Scores [b, l] of one history for all candidates: `vectors` [l, width], `keys` [l, hidden].

        W3 (h * c) equals (W3 diag(h)) c, so the history becomes one matrix that all candidates are multiplied by.
        """
        matrix = (vectors[:, None] * self.products.weight).flatten(0, 1).T
        scores = []
        for part in candidates.split(_BLOCK):
            hidden = torch.addmm(keys.flatten(), part, matrix).unflatten(1, keys.shape)
            hidden = (hidden + self.queries(part)[:, None]).flatten(0, 1)
            scores.append(self.output(self.activation(hidden)).view(len(part), len(keys)))
        return torch.cat(scores)
