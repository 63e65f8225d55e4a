"""FM: a factorisation machine on ids."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batches import ItemRows, ModelInputs
from ..layers.inputs import IdEmbedding
from ..layers.interactions import pairwise
from .base import CtrModel, Encoded
from .lr import LR


class FM(CtrModel):
    """Factorisation machine of second order (Rendle 2010, equation 1) over user, item and category.

    Parameters
    ----------
    dimension
        Length of the embeddings whose inner products are the weights of pairs.
    """

    name = "fm"
    uses_history = False

    def __init__(self, inputs: ModelInputs, *, dimension: int = 32) -> None:
        super().__init__(inputs)
        self.linear = LR(inputs)
        self.user = IdEmbedding(inputs.users, dimension)
        self.item = IdEmbedding(inputs.items, dimension)
        self.category = IdEmbedding(inputs.categories, dimension)

    def encode(self, items: ItemRows) -> Encoded:
        """`weight` [m]: all terms without the user; `sum` [m, d]: what the user's embedding is multiplied by."""
        total, inner = pairwise(torch.stack([self.item(items.id), self.category(items.category)], 1))
        return {"weight": self.linear.encode(items)["weight"] + inner, "sum": total}

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        pairs = (self.user(user) * encoded["sum"].index_select(0, candidate)).sum(1)
        return self.linear.score(encoded, user, candidate, history, mask) + pairs
