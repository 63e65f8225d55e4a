"""Batches: events become tensors by index; an item that stands several times in a batch is one row of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .data import CtrData, Events
from .features import ItemFeatures


@dataclass(frozen=True)
class ItemRows:
    """m distinct items.

    Attributes
    ----------
    id
        int64 [m]: row of the id embedding, 0 for an item that training did not see.
    category
        int64 [m]: row of the category embedding, 0 for none and for one that training did not see.
    features
        By modality, float32 [m, d]; zero where missing.
    present
        By modality, bool [m].
    """

    id: Tensor
    category: Tensor
    features: Mapping[str, Tensor]
    present: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Batch:
    """b events over m distinct items.

    Attributes
    ----------
    items
        The distinct items of candidates and histories.
    user
        int64 [b]: row of the user embedding, 0 for a visitor that training did not see.
    candidate
        int64 [b]: row of `items`.
    history
        int64 [b, l]: rows of `items`, oldest first; any row where padded.
    mask
        bool [b, l]: true where `history` holds an item.
    label
        float32 [b], 0 or 1.
    """

    items: ItemRows
    user: Tensor
    candidate: Tensor
    history: Tensor
    mask: Tensor
    label: Tensor


@dataclass(frozen=True)
class ModelInputs:
    """The sizes that a model is built for.

    Attributes
    ----------
    users, items, categories
        Rows of the embeddings, row 0 (unknown) included.
    modalities
        Length of a vector, by modality.
    """

    users: int
    items: int
    categories: int
    modalities: Mapping[str, int]


class Tables:
    """Everything that batches gather from, once, on the device.

    A user, an item or a category that training does not see has row 0, whatever is known of it later.

    Raises
    ------
    DataError
        The features are of other items than the data, or in another order.
    """

    def __init__(
        self, data: CtrData, features: ItemFeatures, *, max_history: int = 50, device: str | torch.device = "cpu"
    ) -> None:
        users, items = data.trained()
        self.ids = data.items
        self._check(features)
        self.device = torch.device(device)
        self.max_history = max_history
        self.user_row = self._put(np.where(users, np.cumsum(users), 0))
        self.item_row = self._put(np.where(items, np.cumsum(items), 0))
        self.seen_categories = np.isin(np.arange(len(data.categories) + 1), data.category[items])
        self.category = self._put(np.where(self.seen_categories[data.category], data.category, 0).astype(np.int64))
        self.history = self._put(data.history.astype(np.int64))
        self.starts = self._put(data.starts)
        self.vectors = {name: self._put(matrix) for name, matrix in features.vectors.items()}
        self.present = {name: self._put(here) for name, here in features.present.items()}
        self.inputs = ModelInputs(
            int(users.sum()) + 1, int(items.sum()) + 1, len(data.categories) + 1, features.dimensions
        )

    def _check(self, features: ItemFeatures) -> None:
        if features.ids != self.ids:
            raise DataError(
                f"the features are of {len(features.ids):,} items that are not the data's {len(self.ids):,} in their "
                "order; join them to the data's: ItemFeatures.join(data.items, ...)."
            )

    def _put(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def with_features(self, features: ItemFeatures) -> Tables:
        """The same tables with other features (masked or shuffled ones); all else is shared."""
        self._check(features)
        other = object.__new__(Tables)
        other.__dict__ = dict(self.__dict__)
        other.vectors = {name: self._put(matrix) for name, matrix in features.vectors.items()}
        other.present = {name: self._put(here) for name, here in features.present.items()}
        return other

    def items(self, index: Tensor) -> ItemRows:
        """Gather items by their positions in the data, int64 [m]."""
        return ItemRows(
            self.item_row[index],
            self.category[index],
            {name: matrix[index] for name, matrix in self.vectors.items()},
            {name: here[index] for name, here in self.present.items()},
        )

    def place(self, events: Events) -> Placed:
        """Put a part's events on the device."""
        user, item, seen = (self._put(c.astype(np.int64)) for c in (events.user, events.item, events.seen))
        return Placed(user, item, seen, self._put(events.label.astype(np.float32)))

    def indexed(self, placed: Placed, rows: Tensor) -> Batch:
        """A batch whose `candidate` and `history` are positions in the data; its `items` are empty."""
        user, seen = placed.user[rows], placed.seen[rows]
        length = int(seen.clamp(max=self.max_history).max()) if len(rows) else 0
        # The last `length` entries, oldest first; a shorter history is padded at its end.
        kept = seen.clamp(max=max(length, 1))
        column = torch.arange(max(length, 1), device=self.device)
        mask = column < kept[:, None]
        place = (self.starts[user] + seen - kept)[:, None] + column
        history = self.history[torch.where(mask, place, 0)] if len(self.history) else torch.zeros_like(place)
        none = torch.empty(0, dtype=torch.int64, device=self.device)
        candidate = placed.item[rows]
        history = torch.where(mask, history, candidate[:, None])
        return Batch(ItemRows(none, none, {}, {}), self.user_row[user], candidate, history, mask, placed.label[rows])

    def batch(self, placed: Placed, rows: Tensor) -> Batch:
        """Gather the events at `rows`, int64 [b]; items, histories and features by index, each item once."""
        indexed = self.indexed(placed, rows)
        position = torch.zeros(len(self.item_row), dtype=torch.int64, device=self.device)
        position[indexed.history.reshape(-1)] = 1
        position[indexed.candidate] = 1
        distinct = position.nonzero()[:, 0]
        position[distinct] = torch.arange(len(distinct), device=self.device)
        return replace(
            indexed,
            items=self.items(distinct),
            candidate=position[indexed.candidate],
            history=position[indexed.history],
        )


@dataclass(frozen=True)
class Placed:
    """Events as tensors on a device: user, item, seen (int64 [n]) and label (float32 [n])."""

    user: Tensor
    item: Tensor
    seen: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.user)

    def epoch(self, size: int, *, seed: int | None = None) -> Iterator[Tensor]:
        """Rows of batches of `size`; shuffled by a generator of its own where a seed is given."""
        n = len(self)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        yield from order.to(self.user.device).split(size)
