"""ItemOnly: the candidate alone, a control that shows how much of a score is the item's own appeal."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..batches import ItemRows, ModelInputs
from ..layers.inputs import ItemInput
from ..layers.towers import Tower
from .base import CtrModel, Encoded


class ItemOnly(CtrModel):
    """A tower over the candidate's id, category and modalities; it knows nothing of the visitor."""

    name = "item-only"
    uses_history = False

    def __init__(
        self,
        inputs: ModelInputs,
        *,
        dimension: int = 32,
        category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs)
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=category_dimension)
        self.tower = Tower(self.item.width, hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`logit` [m]: an item's score needs nothing else."""
        return {"logit": self.tower(self.item.concatenated(items))}

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """The candidate's logit."""
        return encoded["logit"][candidate]
