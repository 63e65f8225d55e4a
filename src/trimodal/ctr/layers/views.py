"""Views: an item's id and modalities side by side with a mask, for methods that leave a missing one out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..batches import ItemRows, ModelInputs
from .inputs import IdEmbedding


class Views(nn.Module):
    """An item's id and each modality as a vector of length d. An unknown id is missing like a modality.

    Attributes
    ----------
    names
        The views in their order: `id`, then the modalities.
    """

    def __init__(self, inputs: ModelInputs, *, dimension: int = 32) -> None:
        super().__init__()
        self.id = IdEmbedding(inputs.items, dimension)
        self.projections = nn.ModuleDict(
            {name: nn.Linear(length, dimension) for name, length in inputs.modalities.items()}
        )
        self.names = ("id", *inputs.modalities)

    def forward(self, items: ItemRows) -> tuple[Tensor, Tensor]:
        """Views [m, v, d], zero where missing, and which are present, bool [m, v]."""
        vectors = [self.id(items.id)]
        vectors += [projection(items.features[name]) for name, projection in self.projections.items()]
        present = torch.stack([items.id > 0, *(items.present[name] for name in self.projections)], 1)
        return torch.stack(vectors, 1).masked_fill(~present[:, :, None], 0.0), present
