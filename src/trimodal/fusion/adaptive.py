"""Adaptive fusion: comparable similarities, each counting as much as is known about it. A strategy of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..clicks import ClickLog
from ..embeddings import Embedding, State
from ..errors import DataError, ParameterError, check_share
from ..ids import ProductIds
from .base import Fusion
from .evidence import ClickEvidence
from .points import Points

NEAREST = 10
"""How many neighbours "near" means in the scale of a modality."""
_PROBES = 500
_NARROWEST = 1e-3


class AdaptiveFusion(Fusion):
    """Intermediate fusion of similarities that are comparable across modalities and weighed by what is known.

    Per modality, the cosine is put on a scale where two random products have 0 and a product and its ten nearest
    have 1 on average: s_m(i,j) = (cos_m(i,j) - mu_m) / (tau_m - mu_m). Raw cosines of different encoders live in
    bands of different place and width, and in their plain mean the widest band decides.

    S(i,j) = sum_m w_m r_m(i) r_m(j) s_m(i,j) / sum_m w_m smax_m,  D = 1 - S,  smax_m = (1 - mu_m) / (tau_m - mu_m)

    so D is 0 for equal products and 1 for products as unlike as two random ones. r_m(i) in [0, 1] is how far modality
    m of product i is to be trusted: 1 for titles and pictures, sqrt(n / (n + shrinkage)) for a click vector from n
    clicks, `inferred` for an inferred vector, and 0 where it is missing: what is not known counts like two random
    products, neither for nor against. All of it folds into the vectors, so S stays an inner product.

    Parameters
    ----------
    modalities, weights
        As for every strategy.
    shrinkage
        Clicks at which half of a pair's click similarity counts, if both products have so many; 0 trusts every click
        vector alike.
    inferred
        Trust in an inferred vector, in [0, 1].
    """

    name = "adaptive"

    def __init__(
        self,
        modalities: Sequence[str] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        shrinkage: float = 20.0,
        inferred: float = 0.5,
    ) -> None:
        super().__init__(modalities, weights=weights)
        self.shrinkage = _number("shrinkage", shrinkage, 1e9)
        self.inferred = check_share("inferred", inferred)
        self.bands_: dict[str, tuple[float, float]] = {}
        self.evidence_: ClickEvidence | None = None

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy."""
        return {**super().settings(), "shrinkage": self.shrinkage, "inferred": self.inferred}

    # ------------------------------------------------------------------ what is learned

    def learned(self) -> dict[str, NDArray[Any]]:
        """`band.M`, float64 [mu, tau] per modality; and the evidence of the clicks, where there is a log."""
        bands = {f"band.{name}": np.array(band) for name, band in self.bands_.items()}
        return bands if self.evidence_ is None else {**bands, **self.evidence_.arrays()}

    def restore(self, learned: Mapping[str, NDArray[Any]]) -> Self:
        """Take over what `learned` gave; the evidence is over the products of the next `place`."""
        bands = {key.removeprefix("band."): value for key, value in learned.items() if key.startswith("band.")}
        self.bands_ = {name: (float(value[0]), float(value[1])) for name, value in bands.items()}
        self.evidence_ = ClickEvidence.from_arrays(learned)
        self._evidence_ids: ProductIds | None = None
        return self

    def _observe(self, clicks: ClickLog) -> None:
        self.evidence_, self._evidence_ids = ClickEvidence.of(clicks), clicks.ids

    def _learn(self, embeddings: Mapping[str, Embedding], names: Sequence[str]) -> None:
        for name in names:
            self.bands_[name] = band(embeddings[name].vectors)

    def _settle(self) -> None:
        """Factor of cos_m - mu_m in S, per modality: [M], from the weights and the bands."""
        mu, tau = np.array([self.bands_.get(name, (0.0, 1.0)) for name in self.modalities_]).T
        factor = self._weight / (tau - mu)
        self._mu = mu
        self._factor = factor / max(self._total(float((factor * (1 - mu)).sum())), np.finfo(float).tiny)

    def _total(self, total: float) -> float:
        """What S is divided by, given the sum over modalities."""
        return total

    # ------------------------------------------------------------------ placing

    def place(self, embeddings: Mapping[str, Embedding], ids: ProductIds | None = None) -> Self:
        """As any strategy; counts of clicks follow the products that they belong to."""
        new = self._products(embeddings, ids)
        if self.evidence_ is not None:
            old = self._evidence_ids
            if old is None and len(self.evidence_.clicks) != len(new):
                raise DataError(f"counts of {len(self.evidence_.clicks):,} products for {len(new):,} products.")
            self.evidence_ = self.evidence_ if old is None else self.evidence_.aligned(old, new)
            self._evidence_ids = new
        return super().place(embeddings, new)

    def _place(self, points: Points, embeddings: Mapping[str, Embedding] | None) -> Points:
        if embeddings is None:  # a query from outside the catalogue: what it has is given, and trusted
            bits = np.arange(len(self.modalities_))
            trust = (points.mask[:, None] >> bits & 1).astype(np.float64)
            return replace(points, trust=trust, strength=trust)
        self._settle()
        trust = self._trust(embeddings)[points.order]
        return replace(points, trust=trust, strength=trust)

    def _trust(self, embeddings: Mapping[str, Embedding]) -> NDArray[np.float64]:
        """r_m of every product, in the order of `ids_`: [n, M]."""
        trust = np.zeros((len(self.ids_), len(self.modalities_)))
        for m, name in enumerate(self.modalities_):
            state = embeddings[name].aligned(self.ids_).state
            known = np.ones(len(self.ids_))
            if name == "click" and self.evidence_ is not None and self.shrinkage > 0:
                known = np.sqrt(self.evidence_.clicks / (self.evidence_.clicks + self.shrinkage))
            trust[:, m] = np.select([state == State.KNOWN, state == State.INFERRED], [known, self.inferred], 0.0)
        return trust

    def _session_points(self, weights: sparse.csr_matrix, extra: NDArray[np.bool_] | None = None) -> Points:
        assert self.points_.trust is not None
        trust = np.empty_like(self.points_.trust)
        trust[self.points_.order] = self.points_.trust
        points = self._mean_points(weights, trust, extra)
        return replace(points, trust=(weights @ trust)[points.order], strength=points.norms)

    # ------------------------------------------------------------------ scoring

    def _weights(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        assert queries.strength is not None
        assert self.points_.trust is not None
        return self._factor * queries.strength[q] * self.points_.trust[c]

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        assert queries.trust is not None
        assert self.points_.trust is not None
        offset = self._factor * self._mu * queries.trust[q] * self.points_.trust[c]
        return self._weights(queries, q, c) * self._cosines(queries, q, c) - offset

    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        assert queries.strength is not None
        assert self.points_.trust is not None
        scales: list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]] = []
        for m in self._members(queries, q, c):
            right = self.points_.trust[c, m].astype(np.float32)
            left = (self._factor[m] * queries.strength[q, m]).astype(np.float32)
            scales.append((m, left, None if (right == 1).all() else right))
        return scales

    def _coarse_error(self) -> float:
        return super()._coarse_error() * max(1.0, float(self._factor.sum()))

    def _coarse(self, queries: Points, q: slice, c: slice) -> NDArray[np.floating]:
        assert queries.trust is not None
        assert self.points_.trust is not None
        offset = (queries.trust[q] * (self._factor * self._mu)) @ self.points_.trust[c].T
        members = self._members(queries, q, c)
        scores = super()._coarse(queries, q, c) if members else np.zeros(offset.shape, np.float32)
        return np.subtract(scores, offset.astype(np.float32), out=scores)


def band(vectors: NDArray[np.float32], seed: int = 0) -> tuple[float, float]:
    """Mean cosine of all pairs of rows [n, d], and of rows with their ten nearest: (mu, tau), tau > mu.

    mu from the length of the sum of unit vectors, with no pair computed; tau from 500 random rows against all. Equal
    rows are neighbours as any others.
    """
    n = len(vectors)
    if n < 2:
        return 0.0, 1.0
    k = min(NEAREST, n - 1)
    probes = np.random.default_rng(seed).permutation(n)[:_PROBES]
    unit = _unit(vectors[probes])
    best = np.full((len(probes), k), -np.inf, np.float32)
    total = np.zeros(vectors.shape[1])
    for start in range(0, n, 8192):
        block = _unit(vectors[start : start + 8192])
        total += block.sum(0, dtype=np.float64)
        cosines = unit @ block.T
        own = (probes >= start) & (probes < start + len(block))
        cosines[own, probes[own] - start] = -np.inf
        best = np.partition(np.concatenate([best, cosines], axis=1), -k, axis=1)[:, -k:]
    mu = (float(total @ total) - n) / (n * (n - 1))
    mu = min(mu, 1 - _NARROWEST)  # vectors that are all alike say nothing, and must not divide by nothing
    return mu, max(float(best.mean()), mu + _NARROWEST)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _number(name: str, value: Any, high: float) -> float:
    """A number in [0, high]."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} == {value!r}, must be a number.") from None
    if not 0 <= number <= high:
        raise ParameterError(f"{name} == {value!r}, must be in [0, {high:g}].")
    return number
