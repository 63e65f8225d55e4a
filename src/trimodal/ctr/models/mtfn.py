"""MTFN: pairs of id and modalities multiplied in tensors of low rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import ParameterError
from ..batches import ItemRows, ModelInputs
from ..layers.fusions import TensorFusion
from ..layers.inputs import ItemInput
from .base import Encoded
from .pooled import PooledModel


class MTFN(PooledModel):
    """Multi-modal Tensor Fusion Network (T. Wang et al. 2019): its fusion, pooled as in YoutubeNet.

    The paper fuses one pair, image and text; here every pair of an item's id and modalities is fused.

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

    name = "mtfn"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0, rank: int = 4,
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        if not inputs.modalities:
            raise ParameterError("mtfn fuses pairs of id and modalities; it needs at least one modality, got none.")
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=category_dimension)
        self.fusion = TensorFusion(self.item.names, dimension, rank=rank)
        width = dimension + category_dimension
        self._build(inputs, width, dimension=dimension, hidden=hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, width]: id and modalities fused, then the category."""
        parts = self.item(items)
        return {"vector": torch.cat([self.fusion(parts), parts["category"]], 1)}
