"""What the quality benchmark shares: rows and tables, clustering, rates with intervals, settings by validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import daft
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimodal import Embedding
from trimodal.clicks import LONGEST, ClickLog
from trimodal.encoders.click import Prod2Vec, click_settings
from trimodal.evaluation.clustering import clustering_table
from trimodal.evaluation.retrieval import NextClicks, Resampled, from_session
from trimodal.evaluation.weights import climb
from trimodal.fusion import Fusion, fusion_strategy
from trimodal.ids import ProductIds
from trimodal.tables import ROW


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, its value, a 95 % interval or a spread, and whose it is."""

    data: str
    table: str
    name: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    def cell(self) -> str:
        spread = "" if self.low is None else f" ({self.low:.4f}-{self.high:.4f})"
        return f"{self.value:.4f}{spread}"


def mark(data: str, table: str, name: str, metric: str, value: float) -> Row:
    return Row(data, table, name, metric, value, note="mark")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as one Markdown table per table, a column per metric."""
    lines = []
    for data, table in dict.fromkeys((row.data, row.table) for row in rows):
        part = [row for row in rows if (row.data, row.table) == (data, table)]
        metrics = list(dict.fromkeys(row.metric for row in part))
        lines += [
            "",
            f"**{data}**: {table}",
            "",
            "| | " + " | ".join(metrics) + " | |",
            "|---" * (len(metrics) + 2) + "|",
        ]
        for name in dict.fromkeys(row.name for row in part):
            cells = {row.metric: row for row in part if row.name == name}
            shown = [cells[m].cell() if m in cells else "" for m in metrics]
            note = next((row.note for row in cells.values() if row.note and row.note != "mark"), "")
            lines.append(f"| {name} | " + " | ".join(shown) + f" | {note} |")
    return "\n".join(lines).strip() + "\n"


def clusters(
    data: str,
    table: str,
    embeddings: Mapping[str, Embedding],
    labels: Sequence[str | None],
    cells: Sequence[tuple[tuple[str, ...], str]],
    seeds: int,
    *,
    largest: int | None = None,
    sample: int = 20_000,
) -> list[Row]:
    found = clustering_table(embeddings, labels, cells=cells, seeds=seeds, sample=sample, largest=largest)
    return [
        Row(data, table, f"{' + '.join(row.modalities)}, {row.strategy}", "ARI", row.ari, row.ari_low, row.ari_high,
            f"{row.products:,} products, {row.categories} categories; without t-SNE {row.ari_without_tsne:.4f}")
        for row in found.rows
    ]  # fmt: skip


def rates(
    data: str,
    table: str,
    system: str,
    places: NDArray[np.int64],
    questions: NextClicks,
    resampled: Resampled,
    k: int,
    metrics: Mapping[str, str],
    note: str = "",
    reference: NDArray[np.int64] | None = None,
) -> list[Row]:
    """Hit rate, MRR or NDCG at k of answers [q, >= k], with 95 % intervals over sessions.

    With the answers of a reference, the note also says how far the first metric is from it, paired by session.
    """
    scores = _scores(places, questions, k)
    if reference is not None:
        first = next(iter(metrics))
        other = _scores(reference, questions, k)[first]
        low, high = np.quantile(resampled.rates(scores[first]) - resampled.rates(other), [0.025, 0.975])
        gain = f"{scores[first].mean() - other.mean():+.4f} ({low:+.4f} {high:+.4f}) from the control"
        note = "; ".join(filter(None, [gain, note]))
    rows = []
    for key, metric in metrics.items():
        low, high = resampled.interval(scores[key])
        rows.append(Row(data, table, system, metric, float(scores[key].mean()), low, high, note))
    return rows


def _scores(places: NDArray[np.int64], questions: NextClicks, k: int) -> dict[str, NDArray[np.float64]]:
    rank = np.where(places[:, :k] == questions.target[:, None], np.arange(1, k + 1), 0).max(1)
    found = np.maximum(rank, 1)
    return {"hit": (rank > 0) * 1.0, "mrr": (rank > 0) / found, "ndcg": (rank > 0) / np.log2(1 + found)}


def click_vectors(log: ClickLog, settings: Mapping[str, Any]) -> dict[str, Embedding]:
    return {"click": Prod2Vec(click_settings(**settings)).fit(log)}


def log_of(sessions: list[list[str]], ids: ProductIds) -> ClickLog:
    """Sessions as given, the order of clicks and of sessions as their times."""
    length = [len(session) for session in sessions]
    frame = pl.DataFrame(
        {
            "session_id": np.repeat([f"s{n:07}" for n in range(len(sessions))], length),
            "product_id": [product for session in sessions for product in session],
            "timestamp": 1_400_000_000 + np.arange(sum(length)),
        }
    ).with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))
    return ClickLog.from_events(daft.from_arrow(frame.to_arrow()), ids, min_clicks=1, max_clicks=LONGEST)


def climbed(
    strategy: str,
    embeddings: Mapping[str, Embedding],
    log: ClickLog,
    questions: NextClicks,
    *,
    k: int,
    repeats: bool = False,
    only_new: bool = False,
) -> dict[str, Any]:
    """Settings of a strategy by NDCG at k on validation questions, from whole sessions."""

    def score(fusion: Fusion) -> float:
        places = from_session(fusion, questions, 60 if only_new else k, repeats=repeats or only_new)
        places = unseen(places, questions, k) if only_new else places
        rank = np.where(places == questions.target[:, None], np.arange(1, k + 1), 0).max(1)
        return float(np.where(rank > 0, 1 / np.log2(1 + np.maximum(rank, 1)), 0.0).mean())

    start = fusion_strategy(strategy, modalities=tuple(embeddings)).fit(embeddings, log.ids, clicks=log)
    best = climb(start, embeddings, score)
    return {name: value for name, value in best.settings().items() if name != "inferred"}


def described(settings: Mapping[str, Any]) -> str:
    weights = [f"{name} {weight:g}" for name, weight in settings.get("weights", {}).items()]
    return ", ".join([*weights, *(f"{n} {v:g}" for n, v in settings.items() if isinstance(v, float))])


def unseen(places: NDArray[np.int64], questions: NextClicks, k: int) -> NDArray[np.int64]:
    """The first k of each row that the user has not had before; rows must be long enough for that."""
    kept = np.full((len(places), k), -1, np.int64)
    for row, (at, session) in enumerate(zip(questions.at, questions.session, strict=True)):
        had = questions.clicks[questions.bounds[session] : at + 1]
        new = places[row][~np.isin(places[row], had)][:k]
        kept[row, : len(new)] = new
    return kept
