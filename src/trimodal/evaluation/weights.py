"""Learned weights: how much each modality should count in intermediate fusion, chosen on held-out clicks.

Weights are chosen on one half of the questions, by coordinate search over powers of two for the best NDCG, and
judged on the other half: hit rate against equal weights, paired by session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clicks import ClickLog
from ..embeddings import Embedding
from ..errors import DataError, check_int
from ..fusion import IntermediateFusion
from ..progress import Progress, silent
from .retrieval import NextClicks, Resampled, from_last

STEPS = 2.0 ** np.arange(-4, 5)
ROUNDS = 3


@dataclass(frozen=True)
class LearnedWeights:
    """Chosen weights, and what they gain on questions that they were not chosen on. Prints as a short report.

    `difference` is the hit rate at k less that of equal weights, with a 95 % interval over sessions.
    """

    weights: dict[str, float]
    k: int
    queries: int
    hit_rate: float
    hit_rate_equal: float
    difference: float
    difference_low: float
    difference_high: float

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        options = " ".join(f"--weight {name}={weight:g}" for name, weight in self.weights.items())
        verdict = "keep them" if self.difference_low > 0 else "no gain that can be told from chance: keep equal weights"
        return (
            f"weights: {options}\n"
            f"hit rate at {self.k}, {self.queries:,} other questions: {self.hit_rate:.4f}, with equal weights "
            f"{self.hit_rate_equal:.4f}\n"
            f"difference {self.difference:+.4f} ({self.difference_low:+.4f} {self.difference_high:+.4f}): {verdict}"
        )


def learn_weights(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    *,
    k: int = 15,
    seed: int = 0,
    progress: Progress = silent,
) -> LearnedWeights:
    """Choose weights on the earlier half of the questions' sessions and judge them on the later half.

    Parameters
    ----------
    embeddings
        At least two modalities, over `train.ids`.
    questions
        About sessions later than `train`.
    """
    check_int("k", k, low=1)
    names = list(embeddings)
    middle = np.median(questions.session) if len(questions) else 0
    chosen_on, judged_on = (questions.some(side) for side in (questions.session < middle, questions.session >= middle))
    if len(names) < 2 or not len(chosen_on) or not len(judged_on):
        raise DataError("learning weights needs two modalities and at least two held-out sessions.")

    fusion = IntermediateFusion(names).fit(embeddings, train.ids)

    def ranks(weights: Mapping[str, float], asked: NextClicks) -> NDArray[np.int64]:
        fusion.weights = dict(weights)
        fusion.choose(names)  # other weights, the same vectors in their places
        places = from_last(fusion, asked, k)
        return np.where(places == asked.target[:, None], np.arange(1, k + 1), 0).max(1)

    def ndcg(weights: Mapping[str, float]) -> float:
        rank = ranks(weights, chosen_on)
        return float(np.where(rank > 0, 1 / np.log2(1 + np.maximum(rank, 1)), 0.0).mean())

    equal = dict.fromkeys(names, 1.0)
    best, score = dict(equal), ndcg(equal)
    with progress("learning weights", ROUNDS * (len(names) - 1) * len(STEPS)) as advance:
        for _ in range(ROUNDS):
            before = dict(best)
            for name in names[1:]:  # only ratios count: the first modality keeps the weight 1
                for step in STEPS.tolist():
                    trial = {**best, name: step}
                    advance(1)
                    if step != best[name] and (found := ndcg(trial)) > score:
                        best, score = trial, found
            if best == before:
                break
    learned, even = (ranks(weights, judged_on) > 0 for weights in (best, equal))
    resampled = Resampled(judged_on, seed)
    low, high = np.quantile(resampled.rates(learned) - resampled.rates(even), [0.025, 0.975])
    return LearnedWeights(
        weights=best,
        k=k,
        queries=len(judged_on),
        hit_rate=float(learned.mean()),
        hit_rate_equal=float(even.mean()),
        difference=float(learned.mean() - even.mean()),
        difference_low=float(low),
        difference_high=float(high),
    )
