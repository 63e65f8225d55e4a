"""GMMF: the generative multimodal fusion network, and its ablations as settings of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from ...errors import check_choice
from ..batches import ItemRows, ModelInputs
from ..layers.autoencoder import AutoEncoder
from ..layers.difference import AutoDifference, Discriminator, Generator, verdict_loss
from ..layers.inputs import IdEmbedding
from ..layers.pooling import interest_pooling, masked_mean
from ..layers.towers import Tower
from .base import Adversarial, CtrModel, Encoded


class GMMF(CtrModel, Adversarial):
    """From abstract to details (Xiao et al. 2022): what the id does not tell of a picture and a text, by interest.

    Each item has parts E (its id) and H_m for every modality m. The difference-set network takes from H_m what a
    generator can tell from E; the modal-interest network pools each part of the history by its likeness to the
    candidate's and weighs the parts by the visitor. An item's category stands beside them, pooled in the same way and
    not gated. An item that misses a modality takes no part in that modality's pooling, losses or difference.

    Parameters
    ----------
    dimension, user_dimension, category_dimension
        d, the length of every part of an item; of the embeddings of users and of categories.
    autoencoder
        (1), (2): reduce a modality by an auto-encoder; if not, by one linear layer.
    difference
        (3) to (9): the generator, its discriminator and the difference; if not, H' = H.
    interest
        (10), (11): attention to the candidate and the gate by visitor; if not, the mean of the history.
    pooling
        `paper` is (10) as printed with a floor (`layers.pooling`), `softmax` its stable form; `mean` has no attention.
    gate
        `across`: softmax over the parts, per dimension, so that shares of importance can be read off it;
        `within`: (11) as printed, softmax over the dimensions of each part.
    difference_weights
        `vector`: a weight per dimension in (9); `scalar`: one per item.
    candidate
        Give the candidate's own H' to the tower as well.
    match
        Give the tower the product of the candidate's and the pooled parts as well, dimension by dimension.
    merge
        `concatenate` the gated parts, as (12) has it, or `sum` them, those of the history and those of the candidate.
    hidden
        Widths of the tower; empty and with `candidate` off it is (12), with the pooled category beside the parts.
    autoencoder_hidden
        Width of the hidden layers of (1) and (2).
    reconstruction
        lambda of (14), for every modality.
    dropout
        Of the tower.
    """

    name = "gmmf"

    def __init__(
        self,
        inputs: ModelInputs,
        *,
        dimension: int = 32,
        user_dimension: int = 32,
        category_dimension: int = 16,
        autoencoder: bool = True,
        difference: bool = True,
        interest: bool = True,
        pooling: str = "softmax",
        gate: str = "across",
        difference_weights: str = "vector",
        candidate: bool = True,
        match: bool = False,
        merge: str = "concatenate",
        hidden: Sequence[int] = (80, 40),
        autoencoder_hidden: int = 64,
        reconstruction: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs)
        self.pooling = check_choice("pooling", pooling, ("softmax", "paper", "mean"))
        self.gate = check_choice("gate", gate, ("across", "within"))
        check_choice("difference_weights", difference_weights, ("vector", "scalar"))
        self.interest, self.candidate, self.match = interest, candidate, match
        self.reconstruction = reconstruction
        self.merge = check_choice("merge", merge, ("concatenate", "sum"))
        self.dimension = dimension
        self.modalities = tuple(inputs.modalities)
        self.parts = ("id", *self.modalities)
        self.id = IdEmbedding(inputs.items, dimension)
        self.category = IdEmbedding(inputs.categories, category_dimension)
        self.user = IdEmbedding(inputs.users, user_dimension)
        self.autoencoders = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for m, length in inputs.modalities.items():
            if autoencoder:
                self.autoencoders[m] = AutoEncoder(length, dimension, hidden=autoencoder_hidden)
            else:
                self.projections[m] = nn.Linear(length, dimension)
        names = self.modalities if difference else ()
        self.generator = nn.ModuleDict({m: Generator(dimension) for m in names})
        self.discriminator = nn.ModuleDict({m: Discriminator(dimension) for m in names})
        self.differences = nn.ModuleDict({m: AutoDifference(dimension, weights=difference_weights) for m in names})
        self.gates = nn.Linear(user_dimension, dimension * len(self.parts)) if interest else None
        item = dimension * (len(self.parts) if merge == "concatenate" else 1) + category_dimension
        self.tower = Tower(item * (1 + candidate + match) + user_dimension, hidden, dropout=dropout)

    def reduced(self, items: ItemRows) -> dict[str, Tensor]:
        """H_m [m, d] by modality: equation (1), or a linear layer without the auto-encoder."""
        hidden = {m: encoder(items.features[m]) for m, encoder in self.autoencoders.items()}
        hidden |= {m: layer(items.features[m]) for m, layer in self.projections.items()}
        return hidden

    def encode(self, items: ItemRows) -> Encoded:
        """`parts` [m, p, d]: E and every H'_m; `present` [m, p]; `category` [m, c]; in training also every H_m."""
        identity = self.id(items.id)
        hidden = self.reduced(items)
        parts, present = [identity], [torch.ones_like(items.id, dtype=torch.bool)]
        for m in self.modalities:
            value = hidden[m]
            if m in self.differences:
                value = self.differences[m](value, self.generator[m](identity))
            parts.append(torch.where(items.present[m][:, None], value, 0))
            present.append(items.present[m])
        encoded = {
            "parts": torch.stack(parts, 1),
            "present": torch.stack(present, 1),
            "category": self.category(items.category),
        }
        return {**encoded, **{f"hidden.{m}": hidden[m] for m in self.autoencoders}} if self.training else encoded

    def losses(self, items: ItemRows, encoded: Encoded) -> Mapping[str, Tensor]:
        """(14): the reconstruction of each modality, over the distinct items of the batch, times lambda."""
        if not self.training:
            return {}
        return {
            f"reconstruction.{m}": self.reconstruction
            * autoencoder.reconstruction_loss(encoded[f"hidden.{m}"], items.features[m], items.present[m])
            for m, autoencoder in self.autoencoders.items()
        }

    def importance(self, user: Tensor) -> Tensor:
        """C of (11): the gate [b, p, d] of visitors [b]; over the parts it sums to 1 per dimension if `across`."""
        assert self.gates is not None
        gates = self.gates(self.user(user)).view(-1, len(self.parts), self.dimension)
        return torch.softmax(gates, 1 if self.gate == "across" else 2)

    def pooled(self, encoded: Encoded, candidate: Tensor, history: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """H~ [b, p, d] of every part and the pooled category [b, c]: equation (10), or means."""
        parts, category = encoded["parts"], encoded["category"]
        here = [mask & present[history] for present in encoded["present"].unbind(1)]
        columns = zip([*parts.unbind(1), category], [*here, mask], strict=True)
        if self.interest and self.pooling != "mean":
            pooled = [
                interest_pooling(column, candidate, history, places, kind=self.pooling) for column, places in columns
            ]
        else:
            pooled = [masked_mean(column, history, places).expand(candidate.shape[0], -1) for column, places in columns]
        return torch.stack(pooled[:-1], 1), pooled[-1]

    def score(self, encoded: Encoded, user: Tensor, candidate: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """(12): the tower over the gated parts, the visitor and, if asked, the candidate."""
        pooled, category = self.pooled(encoded, candidate, history, mask)
        target = encoded["parts"].index_select(0, candidate)
        gates = self.importance(user) if self.interest else None
        past = torch.cat([self._merged(pooled, gates), category], 1)
        features = [past, self.user(user)]
        if self.candidate or self.match:
            # Side by side, the candidate's parts enter as they are; summed, they are weighed as the history's are.
            own = self._merged(target, gates if self.merge == "sum" else None)
            own = torch.cat([own, encoded["category"].index_select(0, candidate)], 1)
            features += [own] if self.candidate else []
            features += [past * own] if self.match else []
        return self.tower(torch.cat(features, 1))

    def _merged(self, parts: Tensor, gates: Tensor | None) -> Tensor:
        """Parts [b, p, d] times their gates, side by side [b, p d] or summed [b, d]."""
        gated = parts if gates is None else gates * parts
        return gated.flatten(1) if self.merge == "concatenate" else gated.sum(1)

    def backbone(self) -> Iterator[nn.Parameter]:
        """All parameters but those of the generator and the discriminator."""
        apart = {id(p) for p in chain(self.generators(), self.discriminators())}
        return (p for p in self.parameters() if id(p) not in apart)

    def generators(self) -> Iterator[nn.Parameter]:
        """Parameters of every G_m."""
        return self.generator.parameters()

    def discriminators(self) -> Iterator[nn.Parameter]:
        """Parameters of every D_m."""
        return self.discriminator.parameters()

    def discriminator_loss(self, items: ItemRows) -> Tensor:
        """(17): D tells (E, H) from (E, H^); E, H and H^ are given, not trained."""
        with torch.no_grad():
            identity, hidden = self.id(items.id), self.reduced(items)
            generated = {m: generator(identity) for m, generator in self.generator.items()}
        loss = identity.new_zeros(())
        for m, judge in self.discriminator.items():
            here = items.present[m] & (items.id > 0)
            loss = loss + verdict_loss(judge(identity, hidden[m]), 1.0, here)
            loss = loss + verdict_loss(judge(identity, generated[m]), 0.0, here)
        return loss

    def generator_loss(self, items: ItemRows) -> Tensor:
        """(16): G(E) shall pass for H; E is given, not trained."""
        identity = self.id(items.id).detach()
        loss = identity.new_zeros(())
        for m, generator in self.generator.items():
            here = items.present[m] & (items.id > 0)
            loss = loss + verdict_loss(self.discriminator[m](identity, generator(identity)), 1.0, here)
        return loss


ABLATIONS: dict[str, dict[str, bool]] = {
    "base": {"autoencoder": False, "difference": False, "interest": False},
    "base + auto-encoder": {"autoencoder": True, "difference": False, "interest": False},
    "base + CGAN + auto-difference": {"autoencoder": False, "difference": True, "interest": False},
    "base + MIN": {"autoencoder": False, "difference": False, "interest": True},
    "base + DSN": {"autoencoder": True, "difference": True, "interest": False},
    "base + auto-encoder + MIN": {"autoencoder": True, "difference": False, "interest": True},
    "base + CGAN + auto-difference + MIN": {"autoencoder": False, "difference": True, "interest": True},
    "gmmf": {"autoencoder": True, "difference": True, "interest": True},
}
"""Table 3: its eight rows as settings of `GMMF`."""
