"""The cold-start ladder: how well is a product served that has 0, 1, 3, 10 or 30 clicks, by each modality?

Some products with many clicks are made cold: all but so many of their clicks, drawn at random, are taken out of
the training sessions, and Prod2Vec is trained again. Held-out sessions, which are left as they are, then ask about
them: from such a product, is the next click recommended (`from`); to such a product, is it recommended (`to`)?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..clicks import ClickLog
from ..embeddings import Embedding
from ..encoders.click import Prod2Vec, Prod2VecSettings
from ..errors import DataError, check_int
from ..fusion import Fusion, fusion_strategy
from ..fusion.inferred import infer_clicks
from ..progress import Progress, silent
from .retrieval import INFERRED, REFERENCE, NextClicks, Resampled, from_last, strategies_of

LEVELS = (0, 1, 3, 10, 30)
PROBES = 0.2
"""Share of the products with enough clicks that are made cold."""


@dataclass(frozen=True)
class LadderRow:
    """Hit rate at one number of clicks per product, from or to such products, with a 95 % interval over sessions."""

    clicks: int
    side: str
    strategy: str
    modalities: tuple[str, ...]
    k: int
    queries: int
    hit_rate: float
    hit_rate_low: float
    hit_rate_high: float

    def cell(self) -> str:
        """Hit rate and the half-width of its interval."""
        return f"{self.hit_rate:.4f} ({(self.hit_rate_high - self.hit_rate_low) / 2:.4f})"


@dataclass(frozen=True)
class Ladder:
    """The cold-start ladder. Prints as a table, a column per number of clicks."""

    rows: tuple[LadderRow, ...]
    probes: int

    def to_dict(self) -> dict[str, Any]:
        """Rows as dictionaries, and how many products were made cold."""
        return {"rows": [asdict(row) for row in self.rows], "probes": self.probes}

    def __str__(self) -> str:
        levels = list(dict.fromkeys(row.clicks for row in self.rows))
        lines = [
            f"{self.probes:,} products made cold; hit rate at k = {self.rows[0].k} (half-width of the 95 % interval)"
        ]
        for side in ("from", "to"):
            rows = [row for row in self.rows if row.side == side]
            lines += ["", f"{side} such products, {rows[0].queries:,} questions; clicks per product:"]
            lines.append(f"{'strategy':<24}{'modalities':<20}" + "".join(f"{level:>16}" for level in levels))
            for key in dict.fromkeys((row.strategy, row.modalities) for row in rows):
                cells = [r for r in rows if (r.strategy, r.modalities) == key]
                text = "".join(f"{row.cell():>16}" for row in cells)
                lines.append(f"{key[0]:<24}{'+'.join(key[1]):<20}{text}")
        return "\n".join(lines)


def cold_start_ladder(
    embeddings: Mapping[str, Embedding],
    train: ClickLog,
    questions: NextClicks,
    *,
    settings: Prod2VecSettings | None = None,
    levels: Sequence[int] = LEVELS,
    k: int = 15,
    seed: int = 0,
    progress: Progress = silent,
) -> Ladder:
    """Cut the clicks of some products to each level, train again, and ask.

    Parameters
    ----------
    embeddings
        Over `train.ids`; the modality `click`, if there, is trained anew for every level.
    train, questions
        The earlier sessions, and questions about later ones.
    settings
        Prod2Vec's parameters; its `min_count` decides from which level on clicks help at all.
    levels
        Clicks per product that are left.

    Raises
    ------
    DataError
        No product has more clicks than the highest level, or no question is about one.
    """
    levels = sorted({check_int("levels", level, low=0) for level in levels})
    counts = train.counts()
    asked = np.zeros(len(train.ids), bool)
    asked[questions.last] = asked[questions.target] = True
    hot = np.flatnonzero((counts > levels[-1]) & asked)
    rng = np.random.default_rng(seed)
    probe = np.zeros(len(train.ids), bool)
    probe[rng.permutation(hot)[: max(1, round(PROBES * len(hot)))]] = len(hot) > 0
    sides = {"from": questions.some(probe[questions.last]), "to": questions.some(probe[questions.target])}
    if not all(len(side) for side in sides.values()):
        raise DataError(f"no question is about a product with more than {levels[-1]} clicks; lower the levels.")
    # One order of every product's clicks for all levels: the clicks left at 3 are among those left at 10.
    clicks, _ = train.arrays()
    age = np.empty(len(clicks), np.int64)
    order = np.lexsort((rng.random(len(clicks)), clicks))
    first = np.concatenate([[0], np.cumsum(np.bincount(clicks, minlength=len(train.ids)))])
    age[order] = np.arange(len(clicks)) - first[clicks[order]]
    resampled = {side: Resampled(some, seed) for side, some in sides.items()}

    rows = []
    with progress("cold-start ladder", len(levels)) as advance:
        for level in levels:
            cut = train.keep(~probe[clicks] | (age < level))
            known = dict(embeddings)
            if "click" in known:
                known["click"] = Prod2Vec(settings).fit(cut)
            for name, modalities, fusion in _strategies(known, cut):
                for side, some in sides.items():
                    hit = (from_last(fusion, some, k) == some.target[:, None]).any(1)
                    low, high = resampled[side].interval(hit)
                    rate = float(hit.mean())
                    rows.append(LadderRow(level, side, name, modalities, k, len(some), rate, low, high))
            advance(1)
    return Ladder(tuple(rows), int(probe.sum()))


def _strategies(embeddings: Mapping[str, Embedding], train: ClickLog) -> list[tuple[str, tuple[str, ...], Fusion]]:
    """The baseline, intermediate fusion of every subset of the modalities, and our own strategies of all of them."""
    found: list[tuple[str, tuple[str, ...], Fusion]] = []
    if {"click", "text"} <= set(embeddings):
        found.append((REFERENCE, ("click", "text"), fusion_strategy(REFERENCE).fit(embeddings, train.ids)))
    for size in range(1, len(embeddings) + 1):
        for subset in combinations(embeddings, size):
            names = strategies_of(subset, whole=False)
            for name in names if len(subset) == len(embeddings) else names[:1]:
                fusion = fusion_strategy(name, modalities=subset).fit(embeddings, train.ids, clicks=train)
                found.append((name, subset, fusion))
    if "click" in embeddings and len(embeddings) > 1:
        with_inferred = infer_clicks(embeddings)
        for name in strategies_of(tuple(embeddings), whole=False):
            fusion = fusion_strategy(name).fit(with_inferred, train.ids, clicks=train)
            found.append((f"{name}{INFERRED}", tuple(embeddings), fusion))
    return found
