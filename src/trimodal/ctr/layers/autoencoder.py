"""AutoEncoder: a modality's vectors in few dimensions, trained to give them back."""

from __future__ import annotations

from torch import Tensor, nn


class AutoEncoder(nn.Module):
    """Equations (1) and (2): H = f(I), I^ = phi(H), one hidden layer each way; the last layer of phi is linear.

    Parameters
    ----------
    length
        Length of a vector of the modality.
    dimension
        Length of H.
    hidden
        Width of the hidden layers.
    """

    def __init__(self, length: int, dimension: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(length, hidden), nn.ReLU(), nn.Linear(hidden, dimension))
        self.decoder = nn.Sequential(nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, length))

    def forward(self, vectors: Tensor) -> Tensor:
        """H [m, dimension] of vectors [m, length]."""
        return self.encoder(vectors)

    def reconstruction_loss(self, hidden: Tensor, vectors: Tensor, present: Tensor) -> Tensor:
        """Equation (14) without its factor: the mean squared error of I^ over the items that have a vector."""
        error = (self.decoder(hidden) - vectors).square().mean(1)
        return (error * present).sum() / present.sum().clamp(min=1)
