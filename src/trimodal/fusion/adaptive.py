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
from ..errors import DataError, ParameterError
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

    Raw cosines of different encoders live in bands of different place and width; in their plain mean the widest band
    decides. Per modality, mu_m is the mean cosine of all pairs, tau_m that of products with their ten nearest (`band`):

    c_m(i,j) = (cos_m(i,j) - mu_m) / (1 - mu_m): 0 for two random products, 1 for equal ones
    p_m = w_m (1 - mu_m) / (tau_m - mu_m): so that products that are near weigh alike in every modality
    t_m(i,j) = r_m(i) r_m(j), r_m(i) in [0, 1]: how far modality m of product i is to be trusted
    S(i,j) = sum_m p_m t_m c_m / sum_m p_m ((1 - prior) t_m + prior),  D = 1 - S

    r is 1 for titles and pictures, sqrt(n / (n + shrinkage)) for a click vector from n clicks, `inferred` for an
    inferred vector, 0 where it is missing. With prior = 0 a pair is judged by what is known of it alone; with prior =
    1 what is not known counts like two random products. The sums are inner products of vectors with their trust folded
    in, so no pair is computed one by one, and candidates are ranked by the exact S. S is at most 1 and has no lower
    bound: in a narrow band, products that are less alike than two random ones are far below 0, and D above 1, even 2.

    Parameters
    ----------
    modalities, weights
        As for every strategy.
    shrinkage
        Clicks at which half of a pair's click similarity is trusted, if both products have so many; 0 trusts every
        click vector alike.
    inferred
        Trust in an inferred vector, in [0, 1].
    prior
        How far what is not known counts as chance, in [0, 1].
    """

    name = "adaptive"

    def __init__(
        self,
        modalities: Sequence[str] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        shrinkage: float = 20.0,
        inferred: float = 0.5,
        prior: float = 0.1,
    ) -> None:
        super().__init__(modalities, weights=weights)
        self.shrinkage = _number("shrinkage", shrinkage, 1e9)
        self.inferred = _number("inferred", inferred, 1.0)
        self.prior = _number("prior", prior, 1.0)
        self.bands_: dict[str, tuple[float, float]] = {}
        self.evidence_: ClickEvidence | None = None
        self._evidence_ids: ProductIds | None = None

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal strategy."""
        return {**super().settings(), "shrinkage": self.shrinkage, "inferred": self.inferred, "prior": self.prior}

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
        self._evidence_ids = None
        return self

    def retuned(self, embeddings: Mapping[str, Embedding], **settings: Any) -> Self:
        """As any strategy; the evidence stays with its products."""
        other = super().retuned(embeddings, **settings)
        other._evidence_ids = other.ids_
        return other

    def _observe(self, clicks: ClickLog | None) -> None:
        self.evidence_ = None if clicks is None else ClickEvidence.alone(clicks)
        self._evidence_ids = None if clicks is None else clicks.ids

    def _learn(self, embeddings: Mapping[str, Embedding], names: Sequence[str]) -> None:
        for name in names:
            self.bands_[name] = band(embeddings[name].vectors)

    def _settle(self) -> None:
        """mu_m, and p_m over its sum: [M], from the weights and the bands."""
        self._mu, tau = np.array([self.bands_.get(name, (0.0, 1.0)) for name in self.modalities_]).T
        weights = self._all_weights(self._weight * (1 - self._mu) / (tau - self._mu))
        self._share = weights / weights.sum()

    def _all_weights(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """p_m of the modalities, and of whatever else a strategy sums."""
        return weights

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
        columns = len(self.modalities_)
        both = queries.strength[q][:, :columns] * self.points_.trust[c][:, :columns]
        return self.factors * both / self._known(queries, q, c)[:, None]

    @property
    def factors(self) -> NDArray[np.float64]:
        """Factor of cos_m - mu_m in the sum that is divided, p_m / (1 - mu_m), the p_m adding up to 1: [M]."""
        return self._share[: len(self._mu)] / (1 - self._mu)

    def _known(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the sum of a pair is divided by: [p]."""
        assert queries.trust is not None
        assert self.points_.trust is not None
        known = (queries.trust[q] * self.points_.trust[c]) @ self._share
        return np.maximum((1 - self.prior) * known + self.prior, np.finfo(float).tiny)

    def _contributions(self, queries: Points, q: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
        assert queries.trust is not None
        assert self.points_.trust is not None
        columns = len(self.modalities_)
        both = queries.trust[q][:, :columns] * self.points_.trust[c][:, :columns]
        offset = self.factors * self._mu * both / self._known(queries, q, c)[:, None]
        return self._weights(queries, q, c) * self._cosines(queries, q, c) - offset

    def _scales(
        self, queries: Points, q: slice, c: slice
    ) -> list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]]:
        assert queries.strength is not None
        assert self.points_.trust is not None
        scales: list[tuple[int, NDArray[np.float32] | float, NDArray[np.float32] | None]] = []
        for m in self._members(queries, q, c):
            right = self.points_.trust[c, m].astype(np.float32)
            left = (self.factors[m] * queries.strength[q, m]).astype(np.float32)
            scales.append((m, left, None if (right == 1).all() else right))
        return scales

    def _coarse_error(self) -> float:
        return super()._coarse_error() * float((1 / (1 - self._mu)).sum())

    def _coarse(self, queries: Points, q: slice, c: slice) -> NDArray[np.floating]:
        sums = self._sums(queries, q, c)
        assert queries.trust is not None
        assert self.points_.trust is not None
        known = (queries.trust[q] * ((1 - self.prior) * self._share)) @ self.points_.trust[c].T + self.prior
        return np.divide(sums, np.maximum(known, np.finfo(np.float32).tiny), out=sums, casting="same_kind")

    def _sums(self, queries: Points, q: slice, c: slice) -> NDArray[np.float32]:
        """The sums of a block before they are divided: float32 [q, c], an array of its own."""
        assert queries.trust is not None
        assert self.points_.trust is not None
        columns = len(self.modalities_)
        left = queries.trust[q][:, :columns] * (self.factors * self._mu)
        offset = (left @ self.points_.trust[c][:, :columns].T).astype(np.float32)
        if not self._members(queries, q, c):
            return -offset
        sums = super()._coarse(queries, q, c)
        return np.subtract(sums, offset, out=sums).astype(np.float32, copy=False)


def band(vectors: NDArray[np.float32], seed: int = 0) -> tuple[float, float]:
    """Mean cosine of all pairs of rows [n, d], and of rows with their ten nearest: (mu, tau), tau > mu.

    mu from the length of the sum of unit vectors, with no pair computed; tau from 500 random rows against all. Equal
    rows are neighbours as any others. Of fewer than 100 rows the nearest tenth are near; up to ten rows say nothing of
    what is near, and their band is that of plain cosines, (0, 1).
    """
    n = len(vectors)
    if n <= NEAREST:
        return 0.0, 1.0  # all would be near: tau = mu, and the weight of a handful of vectors without bound
    k = min(NEAREST, n // 10)
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
