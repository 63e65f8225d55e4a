"""YoutubeNet: a tower over the average of what a visitor clicked."""

from __future__ import annotations

from collections.abc import Sequence

from ..batches import ItemRows, ModelInputs
from ..layers.inputs import ItemInput
from .base import Encoded
from .pooled import PooledModel


class YoutubeNet(PooledModel):
    """YoutubeNet (Covington et al. 2016, the ranking network): an item is its id, category and modalities side by side.

    Parameters
    ----------
    dimension, category_dimension
        Length of the embeddings of users and items and of a projected modality; of a category's embedding.
    hidden, dropout
        Of the tower.
    """

    name = "youtubenet"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        self.item = ItemInput(inputs, dimension=dimension, category_dimension=category_dimension)
        self._build(inputs, self.item.width, dimension=dimension, hidden=hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, width]."""
        return {"vector": self.item.concatenated(items)}
