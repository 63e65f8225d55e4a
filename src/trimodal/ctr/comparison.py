"""Comparison: systems x seeds as one table, with controls, intervals and paired tests; every run kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ParameterError, check_int
from ..progress import Progress, silent
from .comparison_table import ComparisonTable, Row
from .data import CtrData
from .features import ItemFeatures
from .metrics import user_auc
from .paper import paper_auc
from .runs import Plan, Run, make_runs, read_run, with_seeds
from .statistics import compare, over_seeds, over_users, pooled_resamples
from .systems import System, is_baseline
from .training import TrainingSettings
from .tuning import tune_all

MEASURES = ("auc_user", "auc_impression_weighted", "auc_positive_weighted", "auc_pooled", "logloss")


def run_comparison(
    systems: Sequence[System],
    data: CtrData,
    *,
    features: ItemFeatures,
    out: Path,
    settings: TrainingSettings | None = None,
    seeds: int = 5,
    trials: int = 0,
    against: str | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> ComparisonTable:
    """Tune every system alike, train it with every seed, and put the test results side by side.

    Parameters
    ----------
    systems
        The rows, as `systems.compared` or `systems.ablated` give them.
    out
        Folder of tunings and runs; what is there already is not made again, and processes may share it.
    settings
        What tuning starts from.
    seeds, trials
        Runs of every system, and trials of its tuning; 0 trials take the settings as they are.
    against
        The system that the others are tested against; the best baseline on validation if not given.

    Raises
    ------
    ParameterError
        `against` is none of the systems.
    DataError
        Validation or test have too few visitors with both classes to be measured.
    """
    check_int("seeds", seeds, low=1)
    check_int("trials", trials, low=0)
    if against is not None and against not in (names := [s.name for s in systems]):
        raise ParameterError(f"against == {against!r}, must be of {', '.join(names)}.")
    settings = settings or TrainingSettings()
    _check_measurable(data, settings.monitor or str(data.manifest.get("monitor", "auc_user")))
    marks = data.fingerprint, features.fingerprint()
    plans = {system.name: Plan(system, settings, *marks) for system in systems}
    own = [plan for plan in plans.values() if plan.system.model and plan.system.tuned_as not in plans]
    tuned = tune_all(own, out, data, features=features, trials=trials, device=device, progress=progress)
    for name, plan in plans.items():
        chosen = tuned.get(plan.system.tuned_as) or tuned.get(name)
        if chosen:
            options = {**plan.system.options, **chosen.options}
            plans[name] = replace(plan, system=replace(plan.system, options=options), settings=chosen.settings)
    # Seed by seed, so that a comparison that is stopped early has every system with equal seeds.
    by_seed = zip(*(with_seeds(plan, seeds) for plan in plans.values()), strict=True)
    make_runs([p for row in by_seed for p in row], out, data, features=features, device=device, progress=progress)
    runs = {}
    for name, plan in plans.items():
        runs[name] = [run for p in with_seeds(plan, seeds) if (run := read_run(p.folder(out))) is not None]
    return table(systems, runs, data, trials=trials, plans=plans, against=against)


def table(
    systems: Sequence[System],
    runs: Mapping[str, Sequence[Run]],
    data: CtrData,
    *,
    trials: int,
    plans: Mapping[str, Plan],
    against: str | None = None,
) -> ComparisonTable:
    """Put finished runs side by side; the best baseline is chosen on validation, never on the test.

    Raises
    ------
    DataError
        A run was made with other data: tables of different recipes or data are never joined.
    """
    for name, made in runs.items():
        if any(run.record["data"] != data.fingerprint for run in made):
            raise DataError(f"a run of {name} was made with other data or another recipe; it cannot enter the table.")
    events = data.parts["test"]
    monitor = next(iter(plans.values())).settings.monitor or str(data.manifest.get("monitor", "auc_user"))
    valid = {name: float(np.mean([run.record["valid"][monitor] for run in made])) for name, made in runs.items()}
    per_user = {
        name: np.mean([user_auc(events.user, events.label, score=run.scores["test"]).auc for run in made], axis=0)
        for name, made in runs.items()
    }
    pooled = {
        name: pooled_resamples(events.user, events.label, [run.scores["test"] for run in made])
        for name, made in runs.items()
    }
    rivals = [s for s in systems if is_baseline(s)] or [s for s in systems if not s.control]
    best = against or max((s.name for s in rivals), key=lambda name: valid[name])
    some = next(iter(runs.values()))[0].record["test"]
    rows = tuple(
        _row(s, runs[s.name], per_user, pooled, best=best, valid=valid[s.name], plan=plans[s.name], data=data)
        for s in systems
    )
    return ComparisonTable(
        data.recipe, data.fingerprint, monitor, best, trials, some["users"], some["users_left_out"], rows
    )


def _check_measurable(data: CtrData, monitor: str) -> None:
    """Raise where a per-user AUC would have no users, before anything is trained."""
    for part, needed in {"test": 2, "valid": 0 if monitor == "auc_pooled" else 1}.items():
        events = data.parts[part]
        both = len(user_auc(events.user, events.label, score=events.label)) if needed else 0
        if both < needed:
            raise DataError(
                f"{both} visitors have clicks and non-clicks in the part {part!r}, must be at least {needed}; prepare "
                "the data with a larger share for it" + (", or watch auc_pooled." if part == "valid" else ".")
            )


def _row(
    system: System,
    runs: Sequence[Run],
    per_user: Mapping[str, NDArray[np.float64]],
    pooled: Mapping[str, NDArray[np.float64]],
    *,
    best: str,
    valid: float,
    plan: Plan,
    data: CtrData,
) -> Row:
    records = [run.record for run in runs]
    means: dict[str, Any] = {
        name: None if records[0]["test"][name] is None else float(np.mean([r["test"][name] for r in records]))
        for name in MEASURES
    }
    mine = per_user[system.name]
    users = over_users(mine)
    spread = over_seeds([r["test"]["auc_user"] for r in records]) if len(records) > 1 else None
    paired = None if system.name == best else compare(mine, per_user[best])
    all_events = pooled[system.name]
    low, high = np.quantile(all_events[1:], (0.025, 0.975))
    apart = None if system.name == best else all_events - pooled[best]
    ends = (None, None) if apart is None else tuple(map(float, np.quantile(apart[1:], (0.025, 0.975))))
    tuned = {key: getattr(plan.settings, key) for key in ("learning_rate", "weight_decay", "batch_size")}
    return Row(
        model=system.name,
        control=system.control,
        **means,
        auc_user_low=users.low,
        auc_user_high=users.high,
        auc_pooled_low=float(low),
        auc_pooled_high=float(high),
        pooled_difference=None if apart is None else float(apart[0]),
        pooled_difference_low=ends[0],
        pooled_difference_high=ends[1],
        auc_user_seed_low=spread.low if spread else None,
        auc_user_seed_high=spread.high if spread else None,
        valid=valid,
        seeds=len(records),
        parameters=records[0]["parameters"],
        epochs=float(np.mean([r["best_epoch"] for r in records])),
        difference_from_best_baseline=paired.difference if paired else None,
        difference_low=paired.low if paired else None,
        difference_high=paired.high if paired else None,
        p_against_best_baseline=paired.p if paired else None,
        paper=paper_auc(data, system.name),
        settings={**tuned, **plan.system.options} if system.model else {},
    )
