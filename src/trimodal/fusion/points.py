"""Points: unit vectors of products in every modality, ordered so that blocks need no mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..embeddings import Embedding
from ..ids import ProductIds

MAX_MODALITIES = 8


@dataclass(frozen=True)
class Points:
    """n points in M modalities, sorted by which modalities they have.

    Points with the same modalities stand together (a group), so a slice inside a group is a slice of every
    modality's matrix: no copy, no mask.

    Attributes
    ----------
    mask
        uint16 [n], ascending: bit m is set where the point has modality m; one more bit may stand for what a strategy
        knows of a point beside its vectors.
    order
        int64 [n]: where each point stands in the caller's order.
    units
        Per modality, float32 [points that have it, d_m]: v / ||v||.
    row
        int64 [M, n]: row of a point in `units[m]`, meaningless where it has none.
    norms
        float64 [n, M]: ||v||, 0 where missing.
    codes
        int32 [n, M] or None: cluster per modality, -1 where missing (late fusion).
    trust, strength
        float64 [n, M] or None: how much of a modality counts, and the length of its vector in the similarity; they
        differ only for a session, a mean of points (adaptive fusion).
    seen
        Sparse [n, products] or None: co-visits of each point with every product, columns in the caller's order
        (co-visit fusion).
    """

    mask: NDArray[np.uint16]
    order: NDArray[np.int64]
    units: tuple[NDArray[np.float32], ...]
    row: NDArray[np.int64]
    norms: NDArray[np.float64]
    codes: NDArray[np.int32] | None = None
    trust: NDArray[np.float64] | None = None
    strength: NDArray[np.float64] | None = None
    seen: sparse.csr_matrix | None = None

    def __len__(self) -> int:
        return len(self.mask)

    def groups(self) -> list[tuple[int, slice]]:
        """(mask, slice) of every group, in order."""
        masks, starts = np.unique(self.mask, return_index=True)
        stops = [*starts[1:].tolist(), len(self)][: len(masks)]  # no point, no group
        return [(int(m), slice(a, b)) for m, a, b in zip(masks, starts.tolist(), stops, strict=True)]

    @cached_property
    def twins(self) -> NDArray[np.uint64]:
        """A hash of each point's vectors and modalities, equal for equal points: uint64 [n].

        Wrapping integer sums do not depend on their order, so equal rows hash alike wherever they stand.
        """
        rng = np.random.default_rng(0)
        hashes = self.mask.astype(np.uint64) * rng.integers(1, 2**63, dtype=np.uint64)
        for m, unit in enumerate(self.units):
            has = np.flatnonzero(self.mask >> m & 1)
            factors = rng.integers(1, 2**63, unit.shape[1], dtype=np.uint64) | np.uint64(1)
            scale = rng.integers(1, 2**63, dtype=np.uint64) | np.uint64(1)
            for start in range(0, len(has), 4096):
                part = has[start : start + 4096]
                bits = unit[self.row[m, part]].view(np.uint32).astype(np.uint64)
                hashes[part] += (bits * factors).sum(1, dtype=np.uint64)
                hashes[part] += self.norms[part, m].view(np.uint64) * scale
        if self.trust is not None:
            factors = rng.integers(1, 2**63, self.trust.shape[1], dtype=np.uint64) | np.uint64(1)
            hashes += (np.ascontiguousarray(self.trust).view(np.uint64) * factors).sum(1, dtype=np.uint64)
        if self.seen is not None:  # what is seen with others is nobody's twin
            has = np.flatnonzero(np.diff(self.seen.indptr))
            hashes[has] += (has.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return hashes

    def block(self, modality: int, points: slice) -> NDArray[np.float32]:
        """Unit vectors of a slice inside one group: a view [points, d]."""
        first = self.row[modality, points.start]
        return self.units[modality][first : first + points.stop - points.start]

    def take(self, points: NDArray[np.int64]) -> Points:
        """Some points, by their index here; `order` of the result says where each stands in `points`."""
        order = np.argsort(self.mask[points], kind="stable")
        chosen = points[order]
        units, rows = [], np.full((len(self.units), len(chosen)), -1, np.int64)
        for m, unit in enumerate(self.units):
            has = self.mask[chosen] >> m & 1 == 1
            units.append(unit[self.row[m, chosen[has]]])
            rows[m] = np.cumsum(has) - 1
        rest: list[Any] = [None if a is None else a[chosen] for a in (self.codes, self.trust, self.strength, self.seen)]
        return Points(self.mask[chosen], order, tuple(units), rows, self.norms[chosen], *rest)

    @classmethod
    def of(
        cls,
        embeddings: Mapping[str, Embedding],
        modalities: Sequence[str],
        ids: ProductIds,
        extra: NDArray[np.bool_] | None = None,
    ) -> Points:
        """Points for the products `ids`; an embedding that is not over these ids is aligned to them.

        `extra`, bool [n], sets the bit after those of the modalities.
        """
        aligned = [embeddings[name].aligned(ids) for name in modalities]
        mask = np.zeros(len(ids), np.uint16)
        for m, embedding in enumerate(aligned):
            mask |= ((embedding.state > 0) << m).astype(np.uint16)
        if extra is not None:
            mask |= (extra << len(aligned)).astype(np.uint16)
        order = np.argsort(mask, kind="stable")
        units, rows = [], np.full((len(aligned), len(ids)), -1, np.int64)
        norms = np.zeros((len(ids), len(aligned)))
        for m, embedding in enumerate(aligned):
            has = mask[order] >> m & 1 == 1
            source = embedding.position[order[has]]
            unit, norm = _normalized(embedding.vectors, source)
            units.append(unit)
            norms[has, m] = norm
            rows[m] = np.cumsum(has) - 1
        return cls(mask[order], order, tuple(units), rows, norms)


def _normalized(
    vectors: NDArray[np.float32], source: NDArray[np.int64], block: int = 8192
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Unit vectors and norms of some rows, block by block."""
    unit = np.empty((len(source), vectors.shape[1]), np.float32)
    norms = np.empty(len(source))
    for start in range(0, len(source), block):
        part = vectors[source[start : start + block]].astype(np.float64)
        norm = np.sqrt(np.einsum("nd,nd->n", part, part))
        unit[start : start + block] = part / norm[:, None]
        norms[start : start + block] = norm
    return unit, norms
