"""DIN: what a visitor clicked, weighted by what it says about the candidate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import check_choice
from ..batches import ItemRows, ModelInputs
from ..layers.attention import InterestAttention
from ..layers.inputs import IdEmbedding, ItemInput
from ..layers.positions import Positions
from ..layers.towers import Tower
from .base import CtrModel, Encoded


class DIN(CtrModel):
    """Deep Interest Network (Zhou et al. 2018, equation 3): the weighted sum of the history's item vectors.

    The weights are not normalised, so the length of the sum says how strong the interest is.

    Parameters
    ----------
    dimension, category_dimension
        Length of the embeddings of users and items and of a projected modality; of a category's embedding.
    hidden, dropout
        Of the tower; the paper's is (200, 80).
    attention
        Width of the attention unit's hidden layer.
    activation
        Of that layer: `dice` or `prelu`.
    normalise
        `none` as in the paper, or `softmax`.
    """

    name = "din"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0, attention: int = 36, activation: str = "dice",
        normalise: str = "none",
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        check_choice("activation", activation, ("dice", "prelu"))
        self.normalise = check_choice("normalise", normalise, ("none", "softmax"))
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=category_dimension)
        self.user = IdEmbedding(inputs.users, dimension)
        self.attention = InterestAttention(self.item.width, attention, activation=activation)
        self.tower = Tower(dimension + 2 * self.item.width, hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, width] and `key` [m, attention]: the attention unit's term of the item alone."""
        vector = self.item.concatenated(items)
        return {"vector": vector, "key": self.attention.keys(vector)}

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        target = encoded["vector"].index_select(0, candidate)
        if history.shape[0] == 1:
            pooled = self._pooled_once(encoded, target, history[mask])
            return self.tower(torch.cat([self.user(user), pooled, target], 1))
        positions = Positions.of(history, mask)
        clicked = encoded["vector"].index_select(0, positions.item)
        weights = self.attention(clicked, encoded["key"].index_select(0, positions.item), target, positions)
        if self.normalise == "softmax":
            weights = positions.softmax(weights)
        pooled = positions.sum(weights[:, None] * clicked)
        return self.tower(torch.cat([self.user(user), pooled, target], 1))

    def _pooled_once(self, encoded: Encoded, target: Tensor, items: Tensor) -> Tensor:
        """The weighted sum [b, width] of the one history that all events share, its items [l]."""
        clicked = encoded["vector"].index_select(0, items)
        weights = self.attention.shared(clicked, encoded["key"].index_select(0, items), target)
        if self.normalise == "softmax":
            weights = weights.softmax(1)
        return weights @ clicked
