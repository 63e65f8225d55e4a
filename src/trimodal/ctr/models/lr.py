"""LR: logistic regression on ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..batches import ItemRows, ModelInputs
from ..layers.inputs import IdEmbedding
from .base import CtrModel, Encoded


class LR(CtrModel):
    """Logistic regression (McMahan et al. 2013): a bias and a weight for the user, the item and the category."""

    name = "lr"
    uses_history = False

    def __init__(self, inputs: ModelInputs) -> None:
        super().__init__(inputs)
        self.bias = nn.Parameter(torch.zeros(1))
        self.user = IdEmbedding(inputs.users, 1, spread=0.0)
        self.item = IdEmbedding(inputs.items, 1, spread=0.0)
        self.category = IdEmbedding(inputs.categories, 1, spread=0.0)

    def encode(self, items: ItemRows) -> Encoded:
        """`weight` [m]: of item and category together."""
        return {"weight": (self.item(items.id) + self.category(items.category))[:, 0]}

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        return self.bias + self.user(user)[:, 0] + encoded["weight"].index_select(0, candidate)
