"""Towers: fully connected layers from features to logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Tower(nn.Module):
    """Dense layers with PReLU and dropout, then one linear output; no hidden layer gives a linear model."""

    def __init__(self, width: int, hidden: Sequence[int] = (80, 40), *, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.PReLU(size), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [b] of features [b, width]."""
        return self.layers(features)[:, 0]
