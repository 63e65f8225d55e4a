"""Next-click evaluation: after the clicks so far, is the product clicked next among the k recommended?

Sessions are held out by time. Every click but the last of a held-out session asks one question; strategies answer it
from the last click, or from the session so far as a decayed mean of its products' unit vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..clicks import ClickLog
from ..embeddings import Embedding
from ..errors import DataError, ParameterError, check_int
from ..fusion import Fusion, fusion_strategy
from ..fusion.inferred import infer_clicks
from ..progress import Progress, silent

DECAY = 0.7
"""Weight of a click relative to the one after it, in the mean over a session."""
MEMORY = 20
"""Clicks of a session that the mean looks back on."""
RESAMPLES = 1000
REFERENCE = "click-text"
"""The strategy that the others are compared with: the baseline of the paper's A/B test."""
INFERRED = ", inferred"
"""Ending of a strategy's name where products without a click vector have an inferred one."""
_BLOCK = 4096


@dataclass(frozen=True)
class NextClicks:
    """Questions about held-out sessions: after the click at `at`, which product is next?

    Attributes
    ----------
    clicks, bounds
        Product positions of all sessions end to end, int32 [clicks]; session bounds, int64 [sessions + 1].
    at
        int64 [q], ascending: index in `clicks` of the last click of each question; the next one is its answer.
    """

    clicks: NDArray[np.int32]
    bounds: NDArray[np.int64]
    at: NDArray[np.int64]

    @classmethod
    def of(cls, log: ClickLog, *, limit: int | None = None, seed: int = 0) -> NextClicks:
        """Every click but the last of every session; of sessions drawn at random, so that at most `limit` remain."""
        clicks, bounds = log.arrays()
        asks = np.ones(len(clicks), bool)
        asks[bounds[1:] - 1] = False
        if limit is not None and asks.sum() > limit:
            order = np.random.default_rng(seed).permutation(len(bounds) - 1)
            kept = order[np.cumsum(np.diff(bounds)[order] - 1) <= check_int("limit", limit, low=1)]
            chosen = np.zeros(len(bounds) - 1, bool)
            chosen[kept] = True
            asks &= np.repeat(chosen, np.diff(bounds))
        return cls(clicks, bounds, np.flatnonzero(asks))

    def __len__(self) -> int:
        return len(self.at)

    def some(self, chosen: NDArray[np.bool_]) -> NextClicks:
        """Some of the questions, bool [q]."""
        return NextClicks(self.clicks, self.bounds, self.at[chosen])

    @property
    def last(self) -> NDArray[np.int64]:
        """Product of the last click: [q]."""
        return self.clicks[self.at].astype(np.int64)

    @property
    def target(self) -> NDArray[np.int64]:
        """Product that was clicked next: [q]."""
        return self.clicks[self.at + 1].astype(np.int64)

    @property
    def session(self) -> NDArray[np.int64]:
        """Session of each question: [q]."""
        return np.searchsorted(self.bounds, self.at, side="right") - 1

    def weights(self, products: int, decay: float = DECAY) -> sparse.csr_matrix:
        """Decayed weight of each product in the session so far: sparse [q, products]."""
        start = self.bounds[self.session]
        rows, columns, values = [], [], []
        for back in range(MEMORY):
            there = np.flatnonzero(self.at - back >= start)
            rows.append(there)
            columns.append(self.clicks[self.at[there] - back])
            values.append(np.full(len(there), decay**back))
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_matrix(entries, shape=(len(self), products))


@dataclass(frozen=True)
class RetrievalRow:
    """How one strategy answers: rates over all questions, 95 % intervals from resampled sessions.

    Attributes
    ----------
    hit_rate, mrr, ndcg
        Share of questions whose answer is among the k; mean of 1 / rank and of 1 / log2(1 + rank), 0 if not found.
        With k = 20 the first two are P@20 and MRR@20 of the session literature.
    coverage
        Share of the catalogue that is recommended at least once.
    popularity
        Mean popularity percentile of what is recommended, by clicks in the training sessions (answers: `target`).
    fallback
        Share of questions whose last product has no click vector.
    difference, difference_low, difference_high
        Hit rate less that of the reference strategy, paired by session; None without a reference.
    """

    strategy: str
    modalities: tuple[str, ...]
    query: str
    k: int
    queries: int
    hit_rate: float
    hit_rate_low: float
    hit_rate_high: float
    mrr: float
    ndcg: float
    coverage: float
    popularity: float
    fallback: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True)
class RetrievalReport:
    """Next-click results, a row per strategy, modality subset, kind of query and k. Prints as a table."""

    rows: tuple[RetrievalRow, ...]
    sessions: int
    target_popularity: float

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal evaluate clicks --json` prints."""
        rows = [asdict(row) for row in self.rows]
        return {"rows": rows, "sessions": self.sessions, "target_popularity": self.target_popularity}

    def __str__(self) -> str:
        lines = [
            f"next click among the k: {self.rows[0].queries:,} questions of {self.sessions:,} held-out sessions; "
            f"95 % intervals over sessions; difference from {REFERENCE}",
            f"{'strategy':<24}{'modalities':<18}{'query':<9}{'k':>3}{'hit rate':>24}{'MRR':>8}{'NDCG':>8}"
            f"{'difference':>26}{'coverage':>10}{'popul.':>8}",
        ]
        for r in self.rows:
            rate = f"{r.hit_rate:.4f} ({r.hit_rate_low:.4f}-{r.hit_rate_high:.4f})"
            gain = (
                ""
                if r.difference is None
                else f"{r.difference:+.4f} ({r.difference_low:+.4f} {r.difference_high:+.4f})"
            )
            lines.append(
                f"{r.strategy:<24}{'+'.join(r.modalities):<18}{r.query:<9}{r.k:>3}{rate:>24}{r.mrr:>8.4f}{r.ndcg:>8.4f}"
                f"{gain:>26}{r.coverage:>10.1%}{r.popularity:>8.2f}"
            )
        lines.append(f"mean popularity percentile of what was clicked: {self.target_popularity:.2f}")
        return "\n".join(lines)


def evaluate_retrieval(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    *,
    ks: Sequence[int] = (15, 20),
    clusters: int = 20,
    repeats: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> RetrievalReport:
    """Ask every strategy and every subset of the modalities the same questions.

    Parameters
    ----------
    embeddings
        Per modality, over `train.ids`; the click vectors trained on `train` alone.
    train
        The sessions before the held-out ones; popularity and co-occurrence, the controls, come from them too.
    questions
        About the held-out sessions, positions in `train.ids`.
    clusters
        K of late fusion.
    repeats
        Whether the product of the last click may be an answer, as in the published splits of the session
        literature; a shop does not show a visitor the product that is on the page.
    """
    if not len(questions):
        raise DataError("there is no question: no held-out session has two clicks.")
    for k in ks:
        check_int("k", k, low=1)
    if any(e.ids != train.ids for e in embeddings.values()):
        raise ParameterError("the embeddings are not over the products of the training sessions.")
    most = min(max(ks), len(train.ids))
    counts = train.counts()
    percentile = _percentiles(counts)
    known = embeddings["click"].state[questions.last] > 0 if "click" in embeddings else np.zeros(len(questions), bool)
    resampled = Resampled(questions, seed)
    reference: dict[int, tuple[float, NDArray[Any]]] = {}  # per k: hit rate, and that of every resample
    rows = []
    # One strategy at a time: each holds a copy of its unit vectors.
    plan = _answers(embeddings, train, questions, most, clusters, repeats, seed)
    with progress("next clicks", None) as advance:
        for name, modalities, query, answer in plan:
            places = answer()
            rank = np.where(places == questions.target[:, None], np.arange(1, places.shape[1] + 1), 0).max(1)
            for k in ks:
                hit = (rank > 0) & (rank <= k)
                rate = resampled.rates(hit)
                shown = places[:, :k][places[:, :k] >= 0]
                gain: tuple[float, float, float] | None = None
                if name == REFERENCE:
                    reference[k] = float(hit.mean()), rate
                elif k in reference:
                    low, high = np.quantile(rate - reference[k][1], [0.025, 0.975])
                    gain = float(hit.mean() - reference[k][0]), float(low), float(high)
                found = np.maximum(rank, 1)
                rows.append(
                    RetrievalRow(
                        strategy=name,
                        modalities=modalities,
                        query=query,
                        k=k,
                        queries=len(questions),
                        hit_rate=float(hit.mean()),
                        hit_rate_low=float(np.quantile(rate, 0.025)),
                        hit_rate_high=float(np.quantile(rate, 0.975)),
                        mrr=float((hit / found).mean()),
                        ndcg=float((hit / np.log2(1 + found)).mean()),
                        coverage=len(np.unique(shown)) / len(train.ids),
                        popularity=float(percentile[shown].mean()) if len(shown) else 0.0,
                        fallback=float(1 - known.mean()),
                        difference=gain and gain[0],
                        difference_low=gain and gain[1],
                        difference_high=gain and gain[2],
                    )
                )
            advance(1)
    target = float(percentile[questions.target].mean())
    return RetrievalReport(tuple(rows), resampled.sessions, target)


class Resampled:
    """Sessions of some questions, resampled with Poisson weights: the same draws for whatever is compared.

    Attributes
    ----------
    sessions
        How many sessions the questions come from.
    """

    def __init__(self, questions: NextClicks, seed: int) -> None:
        self._session = np.unique(questions.session, return_inverse=True)[1]
        self.sessions = int(self._session.max()) + 1
        self._weights = np.random.default_rng(seed).poisson(1.0, (RESAMPLES, self.sessions)).astype(np.float32)
        self._questions = self._weights @ np.bincount(self._session).astype(np.float32)

    def rates(self, hit: NDArray[Any]) -> NDArray[np.floating]:
        """Share of questions that are hit, or mean of what each counts for, [q], in every resample: [RESAMPLES]."""
        hits = self._weights @ np.bincount(self._session, hit, self.sessions).astype(np.float32)
        return hits / np.maximum(self._questions, 1.0)

    def interval(self, hit: NDArray[np.bool_] | NDArray[np.floating]) -> tuple[float, float]:
        """95 % interval of the share of questions that are hit, or of the mean of a score."""
        low, high = np.quantile(self.rates(hit), [0.025, 0.975])
        return float(low), float(high)


def _answers(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    k: int,
    clusters: int,
    repeats: bool,
    seed: int,
) -> Iterator[tuple[str, tuple[str, ...], str, Any]]:
    """(strategy, modalities, query, function that answers [q, k]); the reference first, then the controls."""
    everything = tuple(embeddings)
    if {"click", "text"} <= set(everything):
        baseline = fusion_strategy(REFERENCE).fit(embeddings, train.ids)
        yield REFERENCE, ("click", "text"), "last", lambda: from_last(baseline, questions, k, repeats=repeats)
    yield "popularity", (), "last", lambda: popular(train, questions, k, repeats=repeats)
    table = co_occurrence(train)
    for query, decay in (("last", 0.0), ("session", DECAY)):
        yield "co-occurrence", (), query, partial(from_table, table, questions, k, decay=decay, repeats=repeats)
    if "click" in everything and len(everything) > 1:
        with_inferred = infer_clicks(embeddings)
        for name in ("intermediate", "adaptive", "covisit"):
            fusion = fusion_strategy(name).fit(with_inferred, train.ids, clicks=train)
            for query, ask in (("last", from_last), ("session", from_session)):
                yield f"{name}{INFERRED}", everything, query, partial(ask, fusion, questions, k, repeats=repeats)
    subsets = [s for size in range(1, len(everything) + 1) for s in combinations(everything, size)]
    for subset in subsets:
        for name in strategies_of(subset, whole=subset == everything):
            settings = {"clusters": clusters, "seed": seed} if name == "late" else {}
            fusion = fusion_strategy(name, modalities=subset, **settings).fit(embeddings, train.ids, clicks=train)
            yield name, subset, "last", partial(from_last, fusion, questions, k, repeats=repeats)
            if subset == everything or len(subset) == 1:
                yield name, subset, "session", partial(from_session, fusion, questions, k, repeats=repeats)


def strategies_of(subset: Sequence[str], *, whole: bool) -> list[str]:
    """Strategies worth comparing on a subset of the modalities; `whole` if it is all of them.

    One modality alone is the same by every strategy, but for what the click log says beside the click vectors.
    """
    names = ["intermediate"]
    if whole and len(subset) > 1:
        names = ["early", "intermediate", "late"]
    if len(subset) > 1 or "click" in subset:
        names.append("adaptive")
    if "click" in subset:
        names.append("covisit")
    return names


def from_last(fusion: Fusion, questions: NextClicks, k: int, *, repeats: bool = False) -> NDArray[np.int64]:
    """Answers from the last click alone: positions [q, k], -1 where there are no more."""
    products, place = np.unique(questions.last, return_inverse=True)
    answers = np.full((len(products), k), -1, np.int64)
    for rows, found, _ in fusion.iter_neighbors(products, k, exclude_self=not repeats):
        answers[rows, : found.shape[1]] = found
    return answers[place]


def from_session(
    fusion: Fusion, questions: NextClicks, k: int, *, decay: float = DECAY, repeats: bool = False
) -> NDArray[np.int64]:
    """Answers from a decayed mean of the session's unit vectors, per modality: positions [q, k]."""
    weights = questions.weights(len(fusion.ids_), decay)
    weights.eliminate_zeros()
    answers = np.full((len(questions), k), -1, np.int64)
    last = questions.last
    for start in range(0, len(questions), _BLOCK):
        found, _ = fusion.query_sessions(weights[start : start + _BLOCK], k + 1)
        own = np.full(len(found), -2) if repeats else last[start : start + len(found)]
        answers[start : start + len(found)] = _without(found, own, k)
    return answers


def popular(train: ClickLog, questions: NextClicks, k: int, *, repeats: bool = False) -> NDArray[np.int64]:
    """The most clicked products: positions [q, k]; the control that needs no recommender."""
    counts = train.counts()
    best = np.lexsort((np.arange(len(counts)), -counts))[: k + 1]
    own = np.full(len(questions), -2) if repeats else questions.last
    return _without(np.tile(best, (len(questions), 1)), own, k)


def co_occurrence(train: ClickLog) -> sparse.csr_matrix:
    """Cosine of products over training sessions, sparse [n, n]: only pairs that some session holds."""
    clicks, bounds = train.arrays()
    session = np.repeat(np.arange(len(train)), np.diff(bounds))
    shape = (len(train.ids), len(train))
    seen = sparse.csr_matrix((np.ones(len(clicks), np.float32), (clicks, session)), shape=shape)
    seen.data[:] = 1.0
    length = np.sqrt(np.maximum(np.asarray(seen.sum(1)).ravel(), 1))
    table = sparse.diags(1 / length) @ (seen @ seen.T) @ sparse.diags(1 / length)
    return sparse.csr_matrix(table)


def from_table(
    table: sparse.csr_matrix, questions: NextClicks, k: int, *, decay: float = DECAY, repeats: bool = False
) -> NDArray[np.int64]:
    """Answers from a sparse item-to-item table, weighted over the session: positions [q, k]."""
    answers = np.full((len(questions), k), -1, np.int64)
    weights = questions.weights(table.shape[0], decay)
    weights.eliminate_zeros()
    for start in range(0, len(questions), _BLOCK):
        scores = sparse.csr_matrix(weights[start : start + _BLOCK] @ table)
        row = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
        shown = repeats | (scores.indices != questions.last[start : start + _BLOCK][row])
        row, column, score = row[shown], scores.indices[shown], scores.data[shown]
        order = np.lexsort((column, -score, row))
        row, column = row[order], column[order]
        first = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=scores.shape[0]))])
        rank = np.arange(len(row)) - first[row]
        kept = rank < k
        answers[start + row[kept], rank[kept]] = column[kept]
    return answers


def _without(found: NDArray[np.int64], own: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The first k of each row [q, >= k] that are not the row's own product."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    kept = np.take_along_axis(found, order, axis=1)[:, :k]
    kept[np.take_along_axis(found == own[:, None], order, axis=1)[:, :k]] = -1
    padded = np.full((len(found), k), -1, np.int64)
    padded[:, : kept.shape[1]] = kept
    return padded


def _percentiles(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of products with fewer clicks, ties halved: [n]."""
    _, place, size = np.unique(counts, return_inverse=True, return_counts=True)
    below = np.concatenate([[0], np.cumsum(size)[:-1]])
    return ((below + size / 2) / len(counts))[place]
