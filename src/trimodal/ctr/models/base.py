"""CtrModel: the contract of every system. A typed batch in, logits and named auxiliary losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from ..batches import Batch, ItemRows, ModelInputs

Encoded = Mapping[str, Tensor]
"""Named tensors [m, ...] of m items: all that scoring needs of an item, computed once per distinct item."""


@dataclass(frozen=True)
class Output:
    """Logits [b] before the sigmoid, and auxiliary losses by name, each a weighted scalar."""

    logits: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)


class CtrModel(nn.Module, ABC):
    """A system that predicts clicks. It holds no optimiser, reads no file and computes no metric.

    A subclass's constructor takes `inputs` and keyword options with defaults, and nothing else.
    """

    name: ClassVar[str]
    """The name that commands and tables use."""

    uses_history: ClassVar[bool] = True

    def __init__(self, inputs: ModelInputs) -> None:
        super().__init__()
        self.inputs = inputs

    @abstractmethod
    def encode(self, items: ItemRows) -> Encoded:
        """Item-side work: everything that does not depend on the visitor or on other items."""

    @abstractmethod
    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b] from encoded items; `user` [b], `candidate` [b], `history` and `mask` [b, l] as in `Batch`.

        `encoded` may hold items beyond those of the batch. A history without an item (mask all false) is allowed.
        `history` and `mask` [1, l] are one history for all b events, at less cost where a model can.
        """

    def losses(self, items: ItemRows, encoded: Encoded) -> Mapping[str, Tensor]:
        """Auxiliary losses by name, weighted, to be added to the click loss (15) in training; none by default."""
        return {}

    def forward(self, batch: Batch) -> Output:
        """Logits and auxiliary losses of a batch."""
        encoded = self.encode(batch.items)
        logits = self.score(encoded, batch.user, batch.candidate, batch.history, batch.mask)
        return Output(logits, self.losses(batch.items, encoded))

    def backbone(self) -> Iterator[nn.Parameter]:
        """The parameters that the click loss trains; all by default."""
        return self.parameters()


class Adversarial(ABC):
    """What a model offers whose training alternates with a generator and a discriminator (Algorithm 1)."""

    @abstractmethod
    def generators(self) -> Iterator[nn.Parameter]:
        """Parameters of the generator's optimiser."""

    @abstractmethod
    def discriminators(self) -> Iterator[nn.Parameter]:
        """Parameters of the discriminator's optimiser."""

    @abstractmethod
    def discriminator_loss(self, items: ItemRows) -> Tensor:
        """The loss (17) over distinct items, a scalar."""

    @abstractmethod
    def generator_loss(self, items: ItemRows) -> Tensor:
        """The loss (16) over distinct items, a scalar."""
