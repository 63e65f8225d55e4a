"""LMF: id and modalities multiplied in a tensor of low rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..batches import ItemRows, ModelInputs
from ..layers.fusions import LowRankFusion
from ..layers.inputs import ItemInput
from .base import Encoded
from .pooled import PooledModel


class LMF(PooledModel):
    """Low-rank Multimodal Fusion (Liu, Shen et al. 2018) of an item's id and modalities, pooled as in YoutubeNet.

    Parameters
    ----------
    dimension, category_dimension
        Length of the embeddings of users and items, of a projected modality and of the fused vector; of a category's
        embedding.
    hidden, dropout
        Of the tower.
    rank
        R of the fusion.
    """

    name = "lmf"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0, rank: int = 4,
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=category_dimension)
        self.fusion = LowRankFusion(self.item.names, dimension, rank=rank)
        width = dimension + category_dimension
        self._build(inputs, width, dimension=dimension, hidden=hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, width]: id and modalities fused, then the category."""
        parts = self.item(items)
        return {"vector": torch.cat([self.fusion(parts), parts["category"]], 1)}
