"""Adversarial parts: gradient reversal and a classifier of modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def reverse(values: Tensor) -> Tensor:
    """The same values; the gradient changes its sign on the way back (Ganin and Lempitsky 2015)."""
    return 2 * values.detach() - values


class ModalityClassifier(nn.Module):
    """Which of v modalities a vector comes from: two layers to v logits."""

    def __init__(self, dimension: int, views: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dimension, dimension), nn.PReLU(), nn.Linear(dimension, views))

    def forward(self, vectors: Tensor) -> Tensor:
        """Log-probabilities [m, v] that vectors [m, v, d] come from the modality at whose place they stand."""
        scores = self.layers(vectors).log_softmax(2)
        return torch.diagonal(scores, dim1=1, dim2=2)
