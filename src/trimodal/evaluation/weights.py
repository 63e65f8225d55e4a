"""Learned fusion: what a strategy's weights and parameters should be, chosen on held-out clicks.

Chosen on the earlier half of the held-out sessions, by climbing one setting at a time for the best NDCG, and judged
on the later half: hit rate against the strategy as it comes, with equal weights, paired by session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clicks import ClickLog
from ..embeddings import Embedding, State
from ..errors import DataError, check_choice, check_int
from ..fusion import Fusion, fusion_strategy
from ..progress import Advance, Progress, silent
from .retrieval import NextClicks, Resampled, from_last, from_session

STEPS = tuple((2.0 ** np.arange(-6, 7)).tolist())
"""Weights that are tried; only their ratios count."""
PARAMETERS: dict[str, tuple[float, ...]] = {
    "shrinkage": (0.0, 5.0, 20.0, 50.0, 200.0),
    "inferred": (0.0, 0.25, 0.5, 0.75, 1.0),
    "prior": (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
    "covisits": (0.0, *STEPS),
    "popularity": (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0),
}
"""Values of a strategy's own parameters that are tried, where it has them."""
TUNABLE = ("intermediate", "adaptive", "covisit")
QUERIES = ("last", "session")
ROUNDS = 4

Answer = Callable[[Fusion, NextClicks], NDArray[np.int64]]


@dataclass(frozen=True)
class LearnedWeights:
    """Chosen settings, and what they gain on questions that they were not chosen on. Prints as a short report.

    `difference` is the hit rate at k less that of the strategy with equal weights, with a 95 % interval over sessions.
    """

    strategy: str
    modalities: tuple[str, ...]
    query: str
    weights: dict[str, float]
    parameters: dict[str, float]
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

    @property
    def options(self) -> str:
        """The settings as options of `trimodal fit`."""
        weights = [f"--weight {name}={weight:g}" for name, weight in self.weights.items()]
        rest = [f"--fusion-option {name}={value:g}" for name, value in self.parameters.items()]
        return " ".join([f"--fusion {self.strategy} --modalities {','.join(self.modalities)}", *weights, *rest])

    def __str__(self) -> str:
        if self.difference_low > 0:
            verdict = "keep them"
        elif self.difference_high < 0:
            verdict = "worse than equal weights: keep those"
        else:
            verdict = "no gain that can be told from chance: keep equal weights"
        return (
            f"{' + '.join(self.modalities)}, from the {'last click' if self.query == 'last' else 'whole session'}: "
            f"{self.options}\n"
            f"hit rate at {self.k}, {self.queries:,} other questions: {self.hit_rate:.4f}, with equal weights "
            f"{self.hit_rate_equal:.4f}\n"
            f"difference {self.difference:+.4f} ({self.difference_low:+.4f} {self.difference_high:+.4f}): {verdict}"
        )


def learn_weights(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    *,
    strategy: str = "intermediate",
    query: str = "last",
    k: int = 15,
    seed: int = 0,
    progress: Progress = silent,
) -> LearnedWeights:
    """Choose settings on the earlier half of the questions' sessions and judge them on the later half.

    Parameters
    ----------
    embeddings
        Over `train.ids`; all of them are used. `intermediate` and `adaptive` need two, or there is nothing to weigh.
    questions
        About sessions later than `train`.
    strategy
        `intermediate`, `adaptive` or `covisit`.
    query
        Whether to answer from the `last` click or from the whole `session`.
    """
    check_int("k", k, low=1)
    check_choice("query", query, QUERIES)
    check_choice("strategy", strategy, TUNABLE)
    middle = np.median(questions.session) if len(questions) else 0
    chosen_on, judged_on = (questions.some(side) for side in (questions.session < middle, questions.session >= middle))
    if (len(embeddings) < 2 and strategy != "covisit") or not len(chosen_on) or not len(judged_on):
        raise DataError("learning weights needs two modalities and at least two held-out sessions.")

    def answer(fusion: Fusion, asked: NextClicks) -> NDArray[np.int64]:
        places = from_last(fusion, asked, k) if query == "last" else from_session(fusion, asked, k)
        return np.where(places == asked.target[:, None], np.arange(1, places.shape[1] + 1), 0).max(1)

    start = fusion_strategy(strategy, modalities=tuple(embeddings)).fit(embeddings, train.ids, clicks=train)

    def ndcg(fusion: Fusion) -> float:
        rank = answer(fusion, chosen_on)
        return float(np.where(rank > 0, 1 / np.log2(1 + np.maximum(rank, 1)), 0.0).mean())

    with progress(f"learning weights, {'+'.join(embeddings)}", None) as advance:
        best = climb(start, embeddings, ndcg, advance)
    learned, even = (answer(fusion, judged_on) > 0 for fusion in (best, start))
    resampled = Resampled(judged_on, seed)
    low, high = np.quantile(resampled.rates(learned) - resampled.rates(even), [0.025, 0.975])
    chosen = best.settings()
    return LearnedWeights(
        strategy=strategy,
        modalities=tuple(embeddings),
        query=query,
        weights={name: chosen["weights"].get(name, 1.0) for name in embeddings},
        parameters={name: chosen[name] for name in PARAMETERS if name in chosen},
        k=k,
        queries=len(judged_on),
        hit_rate=float(learned.mean()),
        hit_rate_equal=float(even.mean()),
        difference=float(learned.mean() - even.mean()),
        difference_low=float(low),
        difference_high=float(high),
    )


def learn_every_subset(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    *,
    strategy: str = "intermediate",
    **settings: Any,
) -> tuple[LearnedWeights, ...]:
    """`learn_weights` for every subset of the modalities in which the strategy has something to weigh."""
    found = []
    for size in range(1, len(embeddings) + 1):
        for names in combinations(embeddings, size):
            if "click" in names if strategy == "covisit" else size > 1:
                some = {name: embeddings[name] for name in names}
                found.append(learn_weights(some, train, questions, strategy=strategy, **settings))
    return tuple(found)


def climb(
    start: Fusion,
    embeddings: Mapping[str, Embedding],
    score: Callable[[Fusion], float],
    advance: Advance = lambda steps=1: None,
) -> Fusion:
    """Better settings of a fitted strategy, one setting at a time, until none improves or `ROUNDS` are over.

    Each setting moves along its values to either side for as long as the score rises. The first modality keeps its
    weight, since only ratios count.
    """
    best, top = start, score(start)

    def moved(modality: str | None, name: str, value: float) -> dict[str, Any]:
        return {name: value} if modality is None else {name: {**best.settings()[name], modality: value}}

    plan: list[tuple[str | None, str, tuple[float, ...]]] = [(m, "weights", STEPS) for m in start.modalities_[1:]]
    guessed = any((embeddings[m].state == State.INFERRED).any() for m in start.modalities_)
    idle = set() if guessed else {"inferred"}  # nothing is inferred: its trust changes nothing
    plan += [(None, name, grid) for name, grid in PARAMETERS.items() if name in start.settings() and name not in idle]
    for _ in range(ROUNDS):
        before = top
        for modality, name, grid in plan:
            for direction in (1, -1):
                now = best.settings()[name]
                at = now if modality is None else now.get(modality, 1.0)
                for value in grid[::direction]:
                    if (value - at) * direction <= 0:
                        continue
                    trial = best.retuned(embeddings, **moved(modality, name, value))
                    found = score(trial)
                    advance(1)
                    if found <= top:
                        break
                    best, top = trial, found
        if top == before:
            break
    return best
