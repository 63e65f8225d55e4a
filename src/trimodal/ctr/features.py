"""ItemFeatures: the modalities of a catalogue's items as matrices with masks, joined by id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding, Provenance
from ..errors import DataError, check_choice, check_share
from ..ids import ProductIds

RESERVED = ("id", "category", "clear", "items", "keys", "pop", "type", "update", "values")
"""Names that a modality cannot have: parts of an item beside the modalities, and what layers call themselves."""


def check_modality(name: str) -> None:
    """Raise `DataError` where a modality cannot have this name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED:
        raise DataError(
            f"modality {name!r}: a name must be of a-z, 0-9 and _, begin with a letter, "
            f"and be none of {', '.join(RESERVED)}."
        )


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of n items beside their ids.

    Attributes
    ----------
    ids
        Product ids, n of them.
    vectors
        By modality, float32 [n, d]; the rows of items that miss it are zero and masked.
    present
        By modality, bool [n]: which items have a vector.
    scales
        By modality, what the vectors were divided by; a new item's vector is divided by the same.
    sources
        By modality, the encoder that the vectors come from.
    """

    ids: ProductIds
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    scales: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, Provenance] = field(default_factory=dict)

    @classmethod
    def join(cls, ids: ProductIds, embeddings: Mapping[str, Embedding]) -> ItemFeatures:
        """Align embeddings to `ids` and scale each modality to a mean square of 1 per number.

        The scale is one number a modality, so directions and relative lengths stay; without it the
        reconstruction loss (14) and the learning rate would depend on the encoder's unit.
        """
        vectors, present, scales = {}, {}, {}
        for name, embedding in embeddings.items():
            check_modality(name)
            aligned = embedding.aligned(ids)
            here = aligned.state > 0
            if not here.any():
                raise DataError(f"modality {name!r}: none of the {len(ids):,} items has a vector.")
            matrix = np.zeros((len(ids), aligned.dimension), np.float32)
            scale = np.float32(np.sqrt(np.mean(np.square(aligned.vectors, dtype=np.float64))))
            matrix[here] = aligned.vectors / scale
            vectors[name], present[name], scales[name] = matrix, here, float(scale)
        return cls(ids, vectors, present, scales, {name: e.provenance for name, e in embeddings.items()})

    @property
    def dimensions(self) -> dict[str, int]:
        """Length of a vector, by modality."""
        return {name: int(matrix.shape[1]) for name, matrix in self.vectors.items()}

    def fingerprint(self) -> str:
        """SHA-256 over all modalities, hexadecimal."""
        digest = hashlib.sha256()
        for name in sorted(self.vectors):
            digest.update(f"{name} {self.vectors[name].shape}".encode())
            digest.update(np.ascontiguousarray(self.vectors[name]).data)
            digest.update(np.ascontiguousarray(self.present[name]).data)
        return digest.hexdigest()

    def masked(self, modality: str, share: float, seed: int) -> ItemFeatures:
        """The same with a random share of a modality's vectors taken away.

        Raises
        ------
        ParameterError
            There is no such modality, or the share is outside [0, 1].
        """
        check_choice("modality", modality, tuple(self.vectors))
        check_share("share", share)
        here = self.present[modality].copy()
        rows = np.flatnonzero(here)
        gone = np.random.default_rng(seed).permutation(rows)[: round(share * len(rows))]
        here[gone] = False
        matrix = self.vectors[modality].copy()
        matrix[gone] = 0
        vectors, present = {**self.vectors, modality: matrix}, {**self.present, modality: here}
        return replace(self, vectors=vectors, present=present)

    def shuffled(self, seed: int) -> ItemFeatures:
        """The same with every modality's vectors dealt to other items: a control that keeps only their distribution."""
        rng = np.random.default_rng(seed)
        vectors, present = {}, {}
        for name in self.vectors:
            order = rng.permutation(len(self.ids))
            vectors[name], present[name] = self.vectors[name][order], self.present[name][order]
        return replace(self, vectors=vectors, present=present)
