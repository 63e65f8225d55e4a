"""Runs: one system trained with one seed, kept on disk, so that a comparison may take several sittings."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .. import __version__
from ..errors import DataError
from ..files import atomic
from ..progress import Progress, silent
from .batches import Tables
from .controls import SCORES, with_shuffled_histories
from .data import CtrData
from .features import ItemFeatures
from .metrics import Metrics, measure
from .models import build
from .prediction import predict
from .ranker_files import check_place
from .ranker_writer import write_ranker
from .systems import System
from .training import Trainer, TrainingSettings

_RECORD, _SCORES, _CHECKPOINT = "run.json", "scores.safetensors", "checkpoint.safetensors"


@dataclass(frozen=True)
class Plan:
    """What a run is: a system, the settings it is trained with, and data named by their fingerprints."""

    system: System
    settings: TrainingSettings
    data: str
    features: str

    @property
    def key(self) -> str:
        """Names everything that decides the result but the seed, 10 hexadecimal digits."""
        settings = {key: value for key, value in asdict(self.settings).items() if key != "seed"}
        system = {key: value for key, value in asdict(self.system).items() if key not in ("name", "tuned_as")}
        whole = {"system": system, "settings": settings, "data": self.data, "features": self.features}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:10]

    def folder(self, out: Path) -> Path:
        """Where the run lies below `out`."""
        return out / "runs" / f"{self.system.slug}-{self.key}" / str(self.settings.seed)


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and the scores (logits, or any order for controls) of validation and test.

    `record` holds `valid` and `test` (metrics), `parameters`, `epochs`, `best_epoch`, `seconds` and `versions`.
    """

    record: Mapping[str, Any]
    scores: Mapping[str, NDArray[np.float32]]


def read_run(folder: Path) -> Run | None:
    """A finished run, None where there is none."""
    if not (folder / _RECORD).is_file():
        return None
    try:
        return Run(json.loads((folder / _RECORD).read_text(encoding="utf-8")), load_file(folder / _SCORES))
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"{folder} holds a damaged run ({error}); remove it to make it again.") from error


def make_runs(
    plans: Iterable[Plan],
    out: Path,
    data: CtrData,
    *,
    features: ItemFeatures,
    device: str = "cpu",
    progress: Progress = silent,
) -> None:
    """Make those runs that are not on disk yet.

    Several processes may be given the same plans and folder: each takes the runs that no other one is making.
    """
    left = [plan for plan in plans if read_run(plan.folder(out)) is None]
    with progress("runs", len(left)) as advance:
        while left:
            busy = []
            for plan in left:
                folder = plan.folder(out)
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    with FileLock(folder / ".lock", timeout=0):
                        if read_run(folder) is None:
                            make_run(plan, folder, data, features=features, device=device)
                except Timeout:
                    busy.append(plan)
                    continue
                advance()
            if len(busy) == len(left):
                time.sleep(2.0)
            left = busy


def make_run(plan: Plan, folder: Path, data: CtrData, *, features: ItemFeatures, device: str = "cpu") -> Run:
    """Train, choose the epoch on validation, score validation and test, and write the record last.

    The model with seed 0 is kept as a ranker, to predict with or to look into.
    """
    system, seed = plan.system, plan.settings.seed
    record: dict[str, Any] = {
        "system": system.name, "model": system.model, "options": dict(system.options), "shuffled": system.shuffled,
        "settings": asdict(plan.settings), "data": plan.data, "features": plan.features,
    }  # fmt: skip
    if system.model:
        kept = folder / "ranker" if seed == 0 and not system.shuffled else None
        scores, about = _trained(plan, folder, data, features=features, device=device, ranker=kept)
        record |= about
    else:
        scores = {part: SCORES[system.name](data, part, seed) for part in ("valid", "test")}
        record |= {"parameters": 0, "epochs": 0, "best_epoch": 0, "seconds": 0.0}
        record |= {part: measured(data, part, values, probable=False).to_dict() for part, values in scores.items()}
    record["versions"] = {
        "trimodal": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    with atomic(folder / _SCORES) as temporary:
        save_file({part: np.ascontiguousarray(values) for part, values in scores.items()}, temporary)
    with atomic(folder / _RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / _CHECKPOINT).unlink(missing_ok=True)
    return Run(record, scores)


def train_ranker(
    system: System,
    out: Path,
    data: CtrData,
    *,
    features: ItemFeatures,
    settings: TrainingSettings,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train one system, write it as a ranker to `out`, and return its record; log and checkpoint lie beside it.

    A training that was stopped goes on where everything is the same; where anything differs, another one begins.

    Raises
    ------
    DataError
        Something else than a ranker stands at `out`.
    """
    plan = Plan(system, settings, data.fingerprint, features.fingerprint())
    out = out.resolve()
    check_place(out)
    beside = out.with_name(f"{out.name}.training")
    beside.mkdir(parents=True, exist_ok=True)
    # Options and features leave no trace in a checkpoint, so the plan that it belongs to stands beside it.
    mark, key = beside / "plan.txt", f"{plan.key} {settings.seed}\n"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
        (beside / _CHECKPOINT).unlink(missing_ok=True)
        with atomic(mark) as temporary:
            temporary.write_text(key, encoding="utf-8")
    _, record = _trained(plan, beside, data, features=features, device=device, progress=progress, ranker=out)
    (beside / _CHECKPOINT).unlink(missing_ok=True)
    return {"model": system.model, "options": dict(system.options), "settings": asdict(settings), **record}


def shuffled(system: System, data: CtrData, features: ItemFeatures, seed: int) -> tuple[CtrData, ItemFeatures]:
    """Data and features as a system sees them: its own, or another visitor's history, or another item's modalities."""
    if system.shuffled == "history":
        return with_shuffled_histories(data, seed), features
    if system.shuffled == "modality":
        return data, features.shuffled(seed)
    return data, features


def measured(data: CtrData, part: str, scores: NDArray[np.float32], *, probable: bool) -> Metrics:
    """Metrics of a part; `probable` where scores are logits, so that log loss and calibration mean something."""
    events = data.parts[part]
    chance = 1 / (1 + np.exp(-scores.astype(np.float64))) if probable else None
    return measure(events.user, events.label, score=scores, probability=chance)


def _trained(
    plan: Plan,
    folder: Path,
    data: CtrData,
    *,
    features: ItemFeatures,
    device: str,
    progress: Progress = silent,
    ranker: Path | None = None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Scores of validation and test, and what there is to say; the model goes to `ranker` if given."""
    system, settings = plan.system, plan.settings
    data, features = shuffled(system, data, features, settings.seed)
    tables = Tables(data, features, max_history=settings.max_history, device=device)
    torch.manual_seed(settings.seed)
    model = build(system.model, tables.inputs, **system.options)
    trainer = Trainer(model, data, tables=tables, settings=settings, folder=folder, progress=progress)
    trainer.run()
    scores = {part: predict(model, tables, tables.place(data.parts[part])) for part in ("valid", "test")}
    about = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": trainer.state.epoch,
        "best_epoch": trainer.state.best_epoch,
        "seconds": round(trainer.state.seconds, 2),
        **{part: measured(data, part, values, probable=True).to_dict() for part, values in scores.items()},
    }
    if ranker is not None:
        metrics = {part: about[part] for part in scores}
        write_ranker(
            ranker, model, tables=tables, data=data, features=features, settings=settings, options=system.options,
            metrics=metrics,
        )  # fmt: skip
    return scores, about


def with_seeds(plan: Plan, seeds: int) -> list[Plan]:
    """The same plan with the seeds 0 to `seeds` - 1."""
    return [replace(plan, settings=replace(plan.settings, seed=seed)) for seed in range(seeds)]
