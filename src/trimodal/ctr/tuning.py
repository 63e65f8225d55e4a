"""Equal tuning for every system: the same number of trials over the same settings, on validation only."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

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
    wait: bool = True,
) -> Tuned:
    """Search a system's learning rate, weight decay and dropout with seed 0; resumes after a stop.

    The test part is taken out of the data before the first trial. Trials of an earlier run count, but never more than
    `trials` of them.

    Parameters
    ----------
    wait
        Wait while another process tunes the system.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    filelock.Timeout
        Another process tunes the system, and `wait` is false.
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
    with FileLock(folder / ".lock", timeout=-1 if wait else 0), warnings.catch_warnings():
        # The given settings may lie outside what is drawn; they are the first trial all the same.
        warnings.filterwarnings("ignore", message="Fixed parameter")
        optuna.logging.set_verbosity(logging.WARNING)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "journal"))),
            study_name="tuning",
            direction="maximize",
            load_if_exists=True,
        )
        # Whatever still runs was stopped, as the lock is ours: it counts for nothing, not as a trial to keep away from.
        for trial in _trials(study, "RUNNING"):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        done = _trials(study, "COMPLETE")
        tables: Tables | None = None
        dropout = "dropout" in options(plan.system.model)
        with progress(f"tuning {plan.system.name}", trials) as advance:
            advance(min(len(done), trials))
            for number in range(len(done), trials):
                if tables is None:
                    tables = Tables(seen, features, max_history=plan.settings.max_history, device=device)
                # A sampler per trial, seeded by its number: a resumed search asks what an unbroken one would have.
                study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=max(3, trials // 3))
                # Again where a stop left the first trial begun; not where it waits to be asked.
                if number == 0 and not _trials(study, "WAITING"):
                    study.enqueue_trial(_start(plan, dropout=dropout))
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
        best = max(_trials(study, "COMPLETE")[:trials], key=lambda t: (t.value, -t.number))
    settings = replace(plan.settings, **best.user_attrs["settings"])
    found = Tuned(settings, best.user_attrs["options"], float(best.value or 0.0), trials)
    with atomic(folder / "chosen.json") as temporary:
        chosen = {"settings": best.user_attrs["settings"], "options": found.options, "value": found.value}
        temporary.write_text(json.dumps({**chosen, "trials": trials, "space": SPACE}, indent=2) + "\n")
    return found


def tune_all(
    plans: Sequence[Plan],
    out: Path,
    data: CtrData,
    *,
    features: ItemFeatures,
    trials: int,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Tuned]:
    """Tune every plan's system, by its name; systems that another process tunes are left to it and read at the end."""
    tuned: dict[str, Tuned] = {}
    left = list(plans)
    while left:
        busy = []
        for plan in left:
            try:
                tuned[plan.system.name] = tune(
                    plan, out, data, features=features, trials=trials, device=device, progress=progress, wait=False
                )
            except Timeout:
                busy.append(plan)
        if len(busy) == len(left):
            time.sleep(2.0)
        left = busy
    return tuned


def _trials(study: Any, state: str) -> list[Any]:
    """The trials of a study in a state, in their order."""
    return [trial for trial in study.trials if trial.state.name == state]


_TUNED = ("learning_rate", "adversarial_rate", "weight_decay")


def _start(plan: Plan, *, dropout: bool) -> dict[str, float]:
    """The given settings as a point of the space: the first trial, so that tuning never does worse on validation."""
    start = {"learning_rate": plan.settings.learning_rate, "weight_decay": plan.settings.weight_decay}
    if dropout:
        start["dropout"] = plan.system.options.get("dropout", options(plan.system.model)["dropout"])
    return start
