"""DeepFM: a factorisation machine and a tower over the same fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..batches import ItemRows, ModelInputs
from ..layers.inputs import IdEmbedding, ItemInput
from ..layers.interactions import pairwise
from ..layers.towers import Tower
from .base import CtrModel, Encoded
from .lr import LR


class DeepFM(CtrModel):
    """DeepFM (Guo et al. 2017): logit of an FM plus that of a tower, over user, item, category and each modality.

    A modality's field is its projection to the length of the embeddings; its first-order weight acts on the projection.

    Parameters
    ----------
    dimension
        Length of all fields.
    hidden, dropout
        Of the tower.
    """

    name = "deepfm"
    uses_history = False

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, hidden: Sequence[int] = (80, 40), dropout: float = 0.0
    ) -> None:
        super().__init__(inputs)
        self.linear = LR(inputs)
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=dimension)
        self.user = IdEmbedding(inputs.users, dimension)
        for projection in self.item.projections.values():
            # Fields start as small as the embeddings; inner products of larger ones would be the logit at the start.
            nn.init.normal_(projection.linear.weight, std=0.05 * projection.linear.in_features**-0.5)
            nn.init.zeros_(projection.linear.bias)
        self.first = nn.ModuleDict({name: nn.Linear(dimension, 1, bias=False) for name in inputs.modalities})
        self.tower = Tower(dimension + self.item.width, hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`fields` [m, f * d] side by side, their `sum` [m, d], and `weight` [m]: all FM terms without the user."""
        parts = self.item(items)
        fields = torch.stack(list(parts.values()), 1)
        total, weight = pairwise(fields)
        weight = weight + self.linear.encode(items)["weight"]
        for name, layer in self.first.items():
            weight = weight + layer(parts[name])[:, 0]
        return {"fields": fields.flatten(1), "sum": total, "weight": weight}

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        vector = self.user(user)
        pairs = (vector * encoded["sum"].index_select(0, candidate)).sum(1)
        deep = self.tower(torch.cat([vector, encoded["fields"].index_select(0, candidate)], 1))
        return self.linear.score(encoded, user, candidate, history, mask) + pairs + deep
