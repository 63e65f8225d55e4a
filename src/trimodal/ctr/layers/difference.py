"""The cross-modal generator, its discriminator, and the difference of what is given and what is generated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class Generator(nn.Module):
    """Equation (3): H^ = G(E), two layers from the id embedding into a modality's space."""

    def __init__(self, dimension: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, dimension))

    def forward(self, identity: Tensor) -> Tensor:
        """H^ [m, d] of E [m, d]."""
        return self.layers(identity)


class Discriminator(nn.Module):
    """Equation (4): whether H belongs to E or was generated from it; two layers on both, side by side."""

    def __init__(self, dimension: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * dimension, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, identity: Tensor, modality: Tensor) -> Tensor:
        """Logits [m] of E [m, d] and H or H^ [m, d]."""
        return self.layers(torch.cat([identity, modality], 1))[:, 0]


class AutoDifference(nn.Module):
    """Equations (8) and (9): H' = H - W . H^, with W a linear layer of [H, H^, H * H^, H - H^].

    Parameters
    ----------
    dimension
        d, the length of H.
    weights
        `vector`: a weight per dimension (4d -> d); `scalar`: one weight per item (4d -> 1).
    """

    def __init__(self, dimension: int, *, weights: str = "vector") -> None:
        super().__init__()
        self.weight = nn.Linear(4 * dimension, dimension if weights == "vector" else 1, bias=False)

    def forward(self, hidden: Tensor, generated: Tensor) -> Tensor:
        """H' [m, d] of H and H^ [m, d]."""
        pair = torch.cat([hidden, generated, hidden * generated, hidden - generated], 1)
        return hidden - self.weight(pair) * generated


def verdict_loss(logits: Tensor, truth: float, present: Tensor) -> Tensor:
    """Binary cross-entropy against one truth for all, over the items that have the modality."""
    loss = binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth), reduction="none")
    return (loss * present).sum() / present.sum().clamp(min=1)
