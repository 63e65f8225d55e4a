"""Interpretation: what each part of an item, its id and its modalities, adds to a prediction; the paper's Figure 4.

Five measures of the importance of a part. The first two read the network of a GMMF with a gate; the last three take
the part away, of every item at once, candidate and history, and look at what changes. They can be had of any model.

gate      the mean over dimensions of C_m, equation (11). It depends on the visitor alone, so between items and
          categories it differs only as far as their visitors do.
share     the part's share of the sum over parts of the L1 norm of C_m * H~_m: how much the gate lets through. The
          tower may use little of it, and the candidate's own H'_m goes past the gate.
removal   the mean size of the change of the logit without the part, as a share over the parts. What a model says is
          moved, whether for better or worse.
loss      the mean rise of the log loss without the part, in nats per event; below 0 where the part does harm.
auc       the fall of the pooled AUC without the part, within a category; not for single items.

`faithfulness` holds `gate` and `share` against what the removal of a part does, and all others against the AUC.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ..errors import DataError, ParameterError, check_choice, check_int
from ..files import atomic
from .batches import Placed, Tables
from .data import PARTS, CtrData
from .faithfulness import DRAWS, CategoryAucs, Correlation, EventEffects, faithfulness, means
from .importance import NO_CATEGORY, Importance
from .metrics import pooled_auc
from .models.base import CtrModel, Encoded
from .models.gmmf import GMMF
from .prediction import encode_all, predict


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a trained model's parts are worth on one part of the data. Prints as tables.

    Attributes
    ----------
    model
        The model's name.
    part
        The part of the data.
    auc, without
        Pooled AUC with everything, and by part without it.
    categories, items
        Importance in each category, and for each item, that has an event.
    faithfulness
        How importance goes with what the removal of a part does.
    """

    model: str
    part: str
    auc: float
    without: Mapping[str, float]
    categories: Importance
    items: Importance
    faithfulness: tuple[Correlation, ...]

    def of(self, level: str) -> Importance:
        """The importance of `categories` or `items`."""
        return self.categories if check_choice("level", level, ("categories", "items")) == "categories" else self.items

    def to_dict(self) -> dict[str, Any]:
        """All but the single items."""
        return {
            "model": self.model,
            "part": self.part,
            "events": int(self.categories.events.sum()),
            "auc_pooled": self.auc,
            "auc_pooled_without": dict(self.without),
            "categories": self.categories.records(),
            "faithfulness": [row.to_dict() for row in self.faithfulness],
        }

    def write(self, path: str | Path) -> None:
        """Write to a file, atomically: `.json` holds `to_dict`, `.parquet` a row a category or item and part.

        Columns of the Parquet file: `level` (`category` or `item`), `name`, `category`, `events`, `part`, and one for
        each of `MEASURES`, null where it is not there.
        """
        path = Path(path)
        if path.suffix not in (".json", ".parquet"):
            raise ParameterError(f"{path} must end in one of .json, .parquet.")
        with atomic(path) as temporary:
            if path.suffix == ".json":
                temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
            else:
                levels = (("category", self.categories), ("item", self.items))
                frames = [rows.frame().select(pl.lit(level).alias("level"), pl.all()) for level, rows in levels]
                pl.concat(frames).write_parquet(temporary)

    def __str__(self) -> str:
        falls = "  ".join(f"without {part} {auc:.4f}" for part, auc in self.without.items())
        lines = [f"{self.model} on {self.part}: pooled AUC {self.auc:.4f}  {falls}", "", str(self.categories), ""]
        lines += [self.categories.table("auc"), "", Correlation.HEAD, *map(str, self.faithfulness)]
        return "\n".join(lines)


def explain(
    model: CtrModel,
    tables: Tables,
    data: CtrData,
    *,
    part: str = "test",
    draws: int = DRAWS,
    seed: int = 0,
    batch_size: int = 4096,
) -> Explanation:
    """Measure what each part of an item adds to a trained model's predictions.

    Parameters
    ----------
    model
        A trained model on the device of `tables`. All but a GMMF with a gate have no `gate` and no `share`.
    tables, data
        The data, and the same on the device with the features of the items.
    part
        `train`, `valid` or `test`.
    draws
        Resamples of the users for the intervals of faithfulness, and shuffles of its control.
    seed
        Decides both.
    batch_size
        Events scored at once.

    Raises
    ------
    ParameterError
        An argument is outside its range.
    DataError
        The part has no event, or its events are of one class alone.
    """
    check_choice("part", part, PARTS)
    check_int("draws", draws, low=100)
    effects = event_effects(model, tables, data, part=part, batch_size=batch_size)
    events = data.parts[part]
    kinds = (NO_CATEGORY, *data.categories)
    drop = CategoryAucs(effects, len(kinds))(np.ones(len(events)))
    by_category = _importance(effects, effects.category, kinds, kinds, drop[:, :1] - drop[:, 1:])
    own = tuple(kinds[place] for place in data.category.tolist())
    without = [pooled_auc(effects.label, scores) for scores in effects.without.T]
    return Explanation(
        model.name,
        part,
        pooled_auc(effects.label, effects.logit),
        dict(zip(effects.parts, without, strict=True)),
        by_category,
        _importance(effects, events.item, tuple(data.items), own, None),
        faithfulness(effects, len(kinds), draws=draws, seed=seed),
    )


def removed(tables: Tables, part: str) -> Tables:
    """The same tables where no item has the part: no item the modality, or, for `id`, every item the unknown id 0."""
    other = copy.copy(tables)
    if part == "id":
        other.item_row = torch.zeros_like(tables.item_row)
    else:
        check_choice("part", part, ("id", *tables.vectors))
        other.vectors = {**tables.vectors, part: torch.zeros_like(tables.vectors[part])}
        other.present = {**tables.present, part: torch.zeros_like(tables.present[part])}
    return other


def event_effects(
    model: CtrModel, tables: Tables, data: CtrData, *, part: str = "test", batch_size: int = 4096
) -> EventEffects:
    """Gates, shares and the removal of each part, event by event; arguments and errors as for `explain`."""
    events = data.parts[check_choice("part", part, PARTS)]
    if not len(events):
        raise DataError(f"the part {part!r} has no event to explain.")
    placed, encoded = tables.place(events), encode_all(model, tables)
    parts = ("id", *tables.vectors)
    logit = predict(model, tables, placed, encoded=encoded, batch_size=batch_size)
    without = [predict(model, removed(tables, name), placed, batch_size=batch_size) for name in parts]
    inside: dict[str, NDArray[np.float32]] = {}
    if isinstance(model, GMMF) and model.interest:
        inside = _gates(model, tables, placed, encoded, batch_size)
    return EventEffects(
        parts, events.user, data.category[events.item], events.label, logit, np.stack(without, 1), inside
    )


def _gates(
    model: GMMF, tables: Tables, placed: Placed, encoded: Encoded, batch_size: int
) -> dict[str, NDArray[np.float32]]:
    """`gate` and `share` [n, p] of events; the share is NaN where nothing was pooled."""
    gates, shares = [], []
    with torch.inference_mode():
        for rows in placed.epoch(batch_size):
            batch = tables.indexed(placed, rows)
            pooled, _ = model.pooled(encoded, batch.candidate, batch.history, batch.mask)
            gate = model.importance(batch.user)
            size = (gate * pooled).abs().sum(2)
            gates.append(gate.mean(2))
            shares.append(size / size.sum(1, keepdim=True))  # 0 / 0 is NaN, as it should be
    return {"gate": torch.cat(gates).cpu().numpy(), "share": torch.cat(shares).cpu().numpy()}


def _importance(
    effects: EventEffects,
    group: NDArray[np.int32],
    names: Sequence[str],
    category: Sequence[str],
    drop: NDArray[np.float64] | None,
) -> Importance:
    """Means over the events of each group, [names, p], of those that have events."""
    found = {by: means(group, values, len(names)) for by, values in effects.measures().items()}
    total = found["removal"].sum(1, keepdims=True)
    found["removal"] = np.divide(found["removal"], total, out=np.full_like(found["removal"], np.nan), where=total > 0)
    if drop is not None:
        found["auc"] = drop
    events = np.bincount(group, minlength=len(names))
    whole = Importance(effects.parts, tuple(names), tuple(category), events, found)
    return whole.take(events > 0)
