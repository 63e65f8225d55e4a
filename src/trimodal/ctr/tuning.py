"""Equal tuning for every system: the same number of trials over the same settings, on validation only."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ..errors import MissingExtraError
from ..files import atomic
from ..progress import Progress, silent
from .batches import Tables
from .data import CtrData
from .features import ItemFeatures
from .models import build, options
from .runs import Plan
from .training import Trainer, TrainingSettings

SPACE = "learning_rate 3e-4 to 1e-2 and weight_decay 1e-3 to 1 (log), dropout 0 to .5"
"""What a trial draws, in words. The first trial is the given settings."""


@dataclass(frozen=True)
class Tuned:
    """What tuning chose for a system: training settings, options, and the validation value that they reached."""

    settings: TrainingSettings
    options: dict[str, Any]
    value: float
    trials: int


def tune(
    plan: Plan,
    out: Path,
    data: CtrData,
    *,
    features: ItemFeatures,
    trials: int,
    device: str = "cpu",
    progress: Progress = silent,
) -> Tuned:
    """Search a system's learning rate, weight decay and dropout with seed 0; resumes after a stop.

    The test part is taken out of the data before the first trial. Trials of an earlier run count; a process that finds
    the system being tuned by another one waits for it.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    """
    if trials == 0:
        return Tuned(plan.settings, dict(plan.system.options), float("nan"), 0)
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("tuning", "ctr") from error

    folder = out / "tuning" / f"{plan.system.slug}-{plan.key}"
    folder.mkdir(parents=True, exist_ok=True)
    seen = replace(data, parts={part: data.parts[part] for part in ("train", "valid")})
    with FileLock(folder / ".lock"):
        optuna.logging.set_verbosity(logging.WARNING)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "journal"))),
            study_name="tuning",
            direction="maximize",
            load_if_exists=True,
        )
        done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        tables: Tables | None = None
        dropout = "dropout" in options(plan.system.model)
        with progress(f"tuning {plan.system.name}", trials) as advance:
            advance(min(len(done), trials))
            for number in range(len(done), trials):
                if tables is None:
                    tables = Tables(seen, features, max_history=plan.settings.max_history, device=device)
                # A sampler per trial, seeded by its number: a resumed search asks what an unbroken one would have.
                study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=max(3, trials // 3))
                if number == 0:
                    study.enqueue_trial(_start(plan, dropout=dropout), skip_if_exists=True)
                trial = study.ask()
                rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
                decay = trial.suggest_float("weight_decay", 1e-3, 1.0, log=True)
                chosen = dict(plan.system.options)
                if dropout:
                    chosen["dropout"] = trial.suggest_float("dropout", 0.0, 0.5)
                settings = replace(plan.settings, learning_rate=rate, adversarial_rate=rate / 10, weight_decay=decay)
                torch.manual_seed(settings.seed)
                model = build(plan.system.model, tables.inputs, **chosen)
                trainer = Trainer(model, seen, tables=tables, settings=settings)
                trainer.run()
                trial.set_user_attr("settings", {k: getattr(settings, k) for k in _TUNED})
                trial.set_user_attr("options", chosen)
                study.tell(trial, trainer.state.best_value)
                advance()
        best = max(
            (t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE),
            key=lambda t: (t.value, -t.number),
        )
    settings = replace(plan.settings, **best.user_attrs["settings"])
    found = Tuned(settings, best.user_attrs["options"], float(best.value or 0.0), trials)
    with atomic(folder / "chosen.json") as temporary:
        chosen = {"settings": best.user_attrs["settings"], "options": found.options, "value": found.value}
        temporary.write_text(json.dumps({**chosen, "trials": trials, "space": SPACE}, indent=2) + "\n")
    return found


_TUNED = ("learning_rate", "adversarial_rate", "weight_decay")


def _start(plan: Plan, *, dropout: bool) -> dict[str, float]:
    """The given settings as a point of the space: the first trial, so that tuning never does worse on validation."""
    start = {"learning_rate": plan.settings.learning_rate, "weight_decay": plan.settings.weight_decay}
    if dropout:
        start["dropout"] = plan.system.options.get("dropout", options(plan.system.model)["dropout"])
    return start
