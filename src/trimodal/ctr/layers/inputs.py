"""ItemInput: an item's id, category and modalities as vectors of one length each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..batches import ItemRows, ModelInputs


class IdEmbedding(nn.Module):
    """An embedding whose row 0 stands for the unknown: zero, the mean that all rows start around, never trained."""

    def __init__(self, rows: int, dimension: int, *, spread: float = 0.05) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, dimension))
        nn.init.normal_(self.weight, std=spread)
        with torch.no_grad():
            self.weight[0] = 0

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors [..., d] of rows [...]."""
        return nn.functional.embedding(rows, self.weight, padding_idx=0)


class Projection(nn.Module):
    """A modality's vectors through one linear layer; an item that misses it gets a vector that is learned.

    A dense layer over the concatenation of raw vectors is such a projection followed by a sum, so a model whose next
    layer is dense loses nothing by it.
    """

    def __init__(self, length: int, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(length, dimension)
        self.missing = nn.Parameter(torch.zeros(dimension))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Project [m, length] to [m, dimension]; `present` is bool [m]."""
        return torch.where(present[:, None], self.linear(vectors), self.missing)


class ItemInput(nn.Module):
    """An item's parts as vectors: `id` [m, d], `category` [m, c] and each modality [m, d].

    Attributes
    ----------
    names
        The parts that are d long and can be fused: `id`, then the modalities.
    dimension, width
        d, and the length of all parts side by side.
    """

    def __init__(self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16) -> None:
        super().__init__()
        self.id = IdEmbedding(inputs.items, dimension)
        self.category = IdEmbedding(inputs.categories, category_dimension)
        self.projections = nn.ModuleDict(
            {name: Projection(length, dimension) for name, length in inputs.modalities.items()}
        )
        self.names = ("id", *inputs.modalities)
        self.dimension = dimension
        self.width = dimension * len(self.names) + category_dimension

    def forward(self, items: ItemRows) -> dict[str, Tensor]:
        """All parts of m items."""
        parts = {"id": self.id(items.id), "category": self.category(items.category)}
        for name, projection in self.projections.items():
            parts[name] = projection(items.features[name], items.present[name])
        return parts

    def concatenated(self, items: ItemRows) -> Tensor:
        """All parts side by side, [m, width]."""
        return torch.cat(list(self(items).values()), 1)
