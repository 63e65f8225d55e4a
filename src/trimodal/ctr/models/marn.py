"""MARN: what only one modality says, weighed by attention, beside what all of them say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..batches import ItemRows, ModelInputs
from ..layers.adversarial import ModalityClassifier, reverse
from ..layers.inputs import IdEmbedding
from ..layers.positions import Positions
from ..layers.recurrent import AttentionalGru
from ..layers.towers import Tower
from ..layers.views import Views
from .base import CtrModel, Encoded


class MARN(CtrModel):
    """Multimodal Adversarial Representation Network (X. Li et al. 2020).

    Each view m of an item (its id and modalities) has a specific part s_m = S_m(e_m), by a layer of its own, and an
    invariant part c_m = I(e_m), by a layer that all share. The item is sum_m tanh(W_m s_m + b_m) * s_m, plus the
    maximum of the c_m. A missing view takes part in neither, nor in the losses.

    Two classifiers of modalities see the invariant parts. The first only weighs: a part that it recognises counts less,
    1 - D0(c). The second is trained against them through gradient reversal; it also sees the specific parts, which it
    is to recognise.

    The history passes an attentional GRU. The paper's also takes properties of the behaviour (its kind and time), which
    these data do not hold; the attention is a softmax over x W c with the candidate c, and scales the update gate.

    Parameters
    ----------
    dimension, category_dimension
        Length of the embeddings of users and items, of all views and of the GRU's state; of a category's embedding.
    hidden, dropout
        Of the tower.
    adversarial, specific
        Weights of the losses of both discriminators on invariant parts, and of the second on specific parts.
    """

    name = "marn"

    def __init__(
        self, inputs: ModelInputs, *, dimension: int = 32, category_dimension: int = 16,
        hidden: Sequence[int] = (80, 40), dropout: float = 0.0, adversarial: float = 0.05, specific: float = 0.05,
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        self.adversarial, self.specific = adversarial, specific
        self.views = Views(inputs, dimension=dimension)
        count = len(self.views.names)
        self.specifics = nn.ModuleList(
            [nn.Sequential(nn.Linear(dimension, dimension), nn.PReLU()) for _ in range(count)]
        )
        self.weights = nn.ModuleList([nn.Linear(dimension, dimension) for _ in range(count)])
        self.invariant = nn.Sequential(nn.Linear(dimension, dimension), nn.PReLU())
        self.weigher = ModalityClassifier(dimension, count)
        self.discriminator = ModalityClassifier(dimension, count)
        self.category = IdEmbedding(inputs.categories, category_dimension)
        self.user = IdEmbedding(inputs.users, dimension)
        width = dimension + category_dimension
        self.gru = AttentionalGru(width, dimension)
        self.attention = nn.Linear(width, width, bias=False)
        self.tower = Tower(2 * dimension + width, hidden, dropout=dropout)

    def encode(self, items: ItemRows) -> Encoded:
        """`vector` [m, width], and its products for attention (`key`) and GRU (`gates`).

        In training also `specific` and `invariant` [m, v, d], of which the losses are made.
        """
        views, present = self.views(items)
        specific = torch.stack([layer(views[:, m]) for m, layer in enumerate(self.specifics)], 1)
        weights = torch.stack([layer(specific[:, m]) for m, layer in enumerate(self.weights)], 1).tanh()
        invariant = self.invariant(views)
        missing = ~present[:, :, None]
        own = (weights * specific).masked_fill(missing, 0.0).sum(1)
        shared = invariant.masked_fill(missing, torch.finfo(invariant.dtype).min).amax(1)
        shared = torch.where(present.any(1, keepdim=True), shared, 0.0)
        vector = torch.cat([own + shared, self.category(items.category)], 1)
        encoded = {"vector": vector, "key": self.attention(vector), "gates": self.gru.inputs(vector)}
        if self.training:
            encoded |= {"specific": specific, "invariant": invariant, "present": present}
        return encoded

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Logits [b]."""
        target = encoded["vector"].index_select(0, candidate)
        history, mask = (tensor.expand(candidate.shape[0], -1) for tensor in (history, mask))
        positions = Positions.of(history, mask)
        keys = encoded["key"].index_select(0, positions.item)
        scores = (keys * target.index_select(0, positions.event)).sum(1)
        attention = positions.dense(positions.softmax(scores))
        state = self.gru(encoded["gates"], attention, history, mask)
        return self.tower(torch.cat([self.user(user), state, target], 1))

    def losses(self, items: ItemRows, encoded: Encoded) -> Mapping[str, Tensor]:
        """`weigher`, `adversarial` and `specific`, means over the present views of distinct items; in training only."""
        if not self.training:
            return {}
        present, invariant = encoded["present"], encoded["invariant"]
        count = present.sum().clamp(min=1)
        recognised = self.weigher(invariant.detach())
        weight = 1 - recognised.detach().exp()

        def mean(values: Tensor) -> Tensor:
            return values.masked_fill(~present, 0.0).sum() / count

        return {
            "weigher": self.adversarial * mean(-recognised),
            "adversarial": self.adversarial * mean(-weight * self.discriminator(reverse(invariant))),
            "specific": self.specific * mean(-self.discriminator(encoded["specific"])),
        }
