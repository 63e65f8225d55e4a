"""Robustness: how the AUC falls as pictures or texts are taken from a part of the items, at test time only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ParameterError, check_choice, check_int, check_share
from ..progress import Progress, silent
from .batches import Tables
from .data import PARTS, CtrData
from .features import ItemFeatures
from .metrics import measure
from .models.base import CtrModel
from .prediction import predict
from .training import MONITORS

SHARES = (0.0, 0.1, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Range:
    """The mean of a value over seeds, the lowest and the highest."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class RobustnessRow:
    """A model with a share of one modality's vectors taken away.

    Attributes
    ----------
    model, modality
        Their names.
    share
        Share of the items with the modality that lose it, in [0, 1].
    auc
        By definition (`auc_user`, ...), the `Range` over the masking seeds; NaN where the metric is.
    """

    model: str
    modality: str
    share: float
    auc: Mapping[str, Range]


@dataclass(frozen=True)
class Robustness:
    """AUC of models by modality and share taken away. Prints as a table per definition of the AUC.

    Attributes
    ----------
    part
        The part of the data.
    seeds
        How many times the items to mask were drawn.
    rows
        By model, modality and share, in the order asked for.
    """

    part: str
    seeds: int
    rows: tuple[RobustnessRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary, None in place of NaN, which JSON does not have."""
        rows = []
        for row in self.rows:
            auc = {
                name: {key: None if math.isnan(value) else value for key, value in asdict(found).items()}
                for name, found in row.auc.items()
            }
            rows.append({"model": row.model, "modality": row.modality, "share": row.share, "auc": auc})
        return {"part": self.part, "seeds": self.seeds, "rows": rows}

    def table(self, auc: str) -> str:
        """One definition of the AUC: a block a model and modality, a column a share."""
        check_choice("auc", auc, MONITORS)
        blocks: dict[tuple[str, str], list[RobustnessRow]] = {}
        for row in self.rows:
            blocks.setdefault((row.model, row.modality), []).append(row)
        lines: list[str] = []
        width = max([44, *(len(f"{model}, {modality}") for model, modality in blocks)])
        for (model, modality), rows in blocks.items():
            if not lines:
                name = auc.replace("_", " ").replace("auc", "AUC") + ", vectors masked"
                lines.append(f"{name:<{width}}" + "".join(f"{f'{row.share:.0%}':>9}" for row in rows))
            found = [row.auc[auc] for row in rows]
            lines.append(f"{f'{model}, {modality}':<{width}}" + "".join(f"{_cell(r.mean):>9}" for r in found))
            if self.seeds > 1:
                lines.append(
                    f"{f'  lowest of {self.seeds} seeds':<{width}}" + "".join(f"{_cell(r.low):>9}" for r in found)
                )
                lines.append(f"{'  highest':<{width}}" + "".join(f"{_cell(r.high):>9}" for r in found))
        return "\n".join(lines)

    def __str__(self) -> str:
        return "\n\n".join(self.table(auc) for auc in MONITORS)


def robustness(
    models: CtrModel | Mapping[str, CtrModel],
    data: CtrData,
    *,
    tables: Tables,
    features: ItemFeatures,
    part: str = "test",
    modalities: Sequence[str] | None = None,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    batch_size: int = 4096,
    progress: Progress = silent,
) -> Robustness:
    """Score a part of the data with ever more of a modality masked, candidates and histories alike.

    The models stay as they are. With one seed, the items masked at a share are among those masked at a larger one;
    every model meets the same items.

    Parameters
    ----------
    models
        A trained model, or several by name, on the device of `tables`.
    data, tables, features
        The data, the same on the device, and the features that the tables were made with.
    part
        `train`, `valid` or `test`.
    modalities
        Which to mask, one at a time; all if None.
    shares
        Shares to mask, each in [0, 1].
    seeds
        How many times the masked items are drawn, with the seeds 0 to `seeds` - 1.
    batch_size
        Events scored at once.

    Raises
    ------
    ParameterError
        An argument is outside its range, or a modality is not there.
    """
    named = {models.name: models} if isinstance(models, CtrModel) else dict(models)
    chosen = tuple(features.vectors) if modalities is None else tuple(modalities)
    for modality in chosen:
        check_choice("modality", modality, tuple(features.vectors))
    shares = [check_share("share", share) for share in shares]
    for name, values in (("models", named), ("modalities", chosen), ("shares", shares)):
        if not len(values):
            raise ParameterError(f"{name} is empty, must name at least one.")
    seeds = check_int("seeds", seeds, low=1)
    events = data.parts[check_choice("part", part, PARTS)]
    placed = tables.place(events)

    def aucs(model: CtrModel, seen: Tables) -> list[float]:
        found = measure(events.user, events.label, score=predict(model, seen, placed, batch_size=batch_size))
        return [float(getattr(found, auc)) for auc in MONITORS]

    # Nothing masked is one measurement, whatever the modality and the seed.
    whole = {name: aucs(model, tables.with_features(features)) for name, model in named.items()}
    found: dict[tuple[str, str, float], list[list[float]]] = {}
    with progress("masking", len(chosen) * len(shares)) as advance:
        for modality in chosen:
            for share in shares:
                for name in named:
                    found[name, modality, share] = [whole[name]] if share == 0 else []
                for seed in range(seeds if share else 0):
                    seen = tables.with_features(features.masked(modality, share, seed))
                    for name, model in named.items():
                        found[name, modality, share].append(aucs(model, seen))
                advance()
    rows = [
        RobustnessRow(name, modality, share, _ranges(found[name, modality, share]))
        for name in named
        for modality in chosen
        for share in shares
    ]
    return Robustness(part, seeds, tuple(rows))


def _ranges(values: list[list[float]]) -> dict[str, Range]:
    columns = np.array(values).T
    return {
        auc: Range(float(column.mean()), float(column.min()), float(column.max()))
        for auc, column in zip(MONITORS, columns, strict=True)
    }


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
