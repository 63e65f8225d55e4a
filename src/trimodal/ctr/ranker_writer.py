"""Write a trained model as a ranker: encode every item once, say where it comes from, check that it can be rebuilt."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ParameterError
from .batches import Tables
from .data import CtrData
from .features import ItemFeatures
from .models.base import CtrModel
from .prediction import encode_all
from .ranker_files import RankerFiles
from .training import TrainingSettings


def write_ranker(
    folder: str | Path,
    model: CtrModel,
    *,
    tables: Tables,
    data: CtrData,
    features: ItemFeatures,
    settings: TrainingSettings,
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write a trained model with its encoded items to a folder, in the place of a ranker that is there.

    Parameters
    ----------
    tables, data, features
        What the model was trained with.
    options
        The options other than its defaults that the model was built with.
    metrics
        What was measured, by part; for the record.

    Raises
    ------
    ParameterError
        A model built with `options` is not the one given.
    DataError
        Something else than a ranker stands in the folder's place.
    """
    encoded = encode_all(model, tables)
    rows = tables.user_row.cpu().numpy()
    manifest = {
        "model": model.name,
        "options": dict(options or {}),
        "inputs": asdict(model.inputs),
        "settings": asdict(settings),
        "data": {"recipe": data.recipe, "fingerprint": data.fingerprint},
        "features": {
            name: {
                "dimension": length,
                "scale": float(features.scales.get(name, 1.0)),
                "vectors": int(features.present[name].sum()),
                **(asdict(features.sources[name]) if name in features.sources else {}),
            }
            for name, length in model.inputs.modalities.items()
        },
        "metrics": dict(metrics or {}),
        "items": len(data.items),
        "users": model.inputs.users - 1,
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
    names = {
        "items": list(data.items),
        "users": [data.users[i] for i in np.flatnonzero(rows)],  # rows count up in the order of the users
        # A category that training did not see is as good as none, also for items that come later.
        "categories": [
            name if seen else "" for name, seen in zip(data.categories, tables.seen_categories[1:], strict=True)
        ],
    }
    files = RankerFiles(model.state_dict(), encoded, names, manifest)
    _check(files, model, tables)
    files.write(Path(folder))


def _check(files: RankerFiles, model: CtrModel, tables: Tables) -> None:
    """Raise unless the model that the files tell of scores a few events as the given one does."""
    some = torch.arange(min(64, len(tables.item_row)), device=tables.device)
    user = some % model.inputs.users
    history, mask = some.expand(len(some), -1), torch.ones(len(some), len(some), dtype=torch.bool, device=tables.device)
    options = files.manifest["options"]
    try:
        with torch.inference_mode():
            ours, theirs = (
                m.score(m.encode(tables.items(some)), user, some, history, mask) for m in (model, files.model())
            )
    except (RuntimeError, ParameterError) as error:
        raise ParameterError(f"options == {options!r} are not those of the model: {error}") from error
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5):
        raise ParameterError(f"options == {options!r} are not those that the model was built with.")
