"""Dice: an activation whose bend follows the distribution of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dice(nn.Module):
    """Dice (Zhou et al. 2018, equation 3): p(s) s + (1 - p(s)) alpha s with p(s) = sigmoid of s standardised.

    In training, mean and variance are those of the rows given, so give it real entries only, without padding.
    In evaluation they are running averages: an output then depends on its own row alone, and nothing about
    the other rows of a batch, such as their labels, can reach it.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, epsilon: float = 1e-8) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.momentum, self.epsilon = momentum, epsilon

    def forward(self, inputs: Tensor) -> Tensor:
        """[p, width] to the same; p may be 0."""
        # One row has no variance, so it is standardised by the running averages.
        batch = self.training and len(inputs) > 1
        standard = nn.functional.batch_norm(
            inputs, self.mean, self.variance, training=batch, momentum=self.momentum, eps=self.epsilon
        )
        gate = standard.sigmoid()
        return inputs * torch.addcmul(self.alpha, gate, 1 - self.alpha)
