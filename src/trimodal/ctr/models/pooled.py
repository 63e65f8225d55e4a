"""PooledModel: what the systems share that average a history's item vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..batches import ModelInputs
from ..layers.inputs import IdEmbedding
from ..layers.pooling import masked_mean
from ..layers.towers import Tower
from .base import CtrModel, Encoded


class PooledModel(CtrModel):
    """A tower over the user's embedding, the mean of the history's item vectors, and the candidate's vector.

    A subclass's `encode` returns `vector` [m, width]; it calls `_build` once it knows the width.
    """

    def _build(self, inputs: ModelInputs, width: int, *, dimension: int, hidden: Sequence[int], dropout: float) -> None:
        self.user = IdEmbedding(inputs.users, dimension)
        self.tower = Tower(dimension + 2 * width, hidden, dropout=dropout)

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        vector = encoded["vector"]
        pooled = masked_mean(vector, history, mask).expand(candidate.shape[0], -1)
        features = [self.user(user), pooled, vector.index_select(0, candidate)]
        return self.tower(torch.cat(features, 1))
