"""NAML: attention chooses between an item's views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..batches import ItemRows, ModelInputs
from ..layers.fusions import ViewAttention
from ..layers.inputs import IdEmbedding
from ..layers.views import Views
from .base import Encoded
from .pooled import PooledModel


class NAML(PooledModel):
    """Attentive multi-view learning (Wu et al. 2019) over id, category and modalities, pooled as in YoutubeNet.

    A missing view gets no weight.

    Parameters
    ----------
    dimension, category_dimension
        Length of the embeddings of users and items and of all views; of a category's embedding before its layer.
    hidden, dropout
        Of the tower.
    attention
        Width of the attention's hidden layer.
    """

    name = "naml"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0, attention: int = 32,
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        self.views = Views(inputs, dimension=dimension)
        self.category = IdEmbedding(inputs.categories, category_dimension)
        self.category_view = nn.Linear(category_dimension, dimension)
        self.fusion = ViewAttention(len(self.views.names) + 1, dimension, attention)
        self._build(inputs, dimension, dimension=dimension, hidden=hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, d]."""
        views, present = self.views(items)
        category = self.category_view(self.category(items.category)).relu()
        views = torch.cat([views, category[:, None]], 1)
        present = torch.cat([present, items.category[:, None] > 0], 1)
        return {"vector": self.fusion(views, present)}
