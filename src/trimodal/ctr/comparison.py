"""Comparison: systems x seeds as one table, with controls, intervals and paired tests; every run kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ParameterError, check_int
from ..progress import Progress, silent
from .data import CtrData
from .features import ItemFeatures
from .metrics import user_auc
from .paper import paper_auc
from .runs import Plan, Run, make_runs, read_run, with_seeds
from .statistics import compare, over_seeds, over_users
from .systems import System, is_baseline
from .training import TrainingSettings
from .tuning import SPACE, tune_all

MEASURES = ("auc_user", "auc_impression_weighted", "auc_positive_weighted", "auc_pooled", "logloss")


@dataclass(frozen=True)
class Row:
    """One system: means over seeds on the test part.

    Attributes
    ----------
    model, control
        The system's name, and whether it is a control.
    auc_user, auc_impression_weighted, auc_positive_weighted, auc_pooled, logloss
        Means over the seeds; see `metrics`. `logloss` is None for controls that predict no probability.
    auc_user_low, auc_user_high
        95 % interval of `auc_user` over users, of the mean over the seeds.
    auc_user_seed_low, auc_user_seed_high
        95 % t interval over the seeds; None for one seed.
    valid
        Mean over the seeds of the watched metric on validation: what choices are made by.
    seeds, parameters, epochs
        Seeds, numbers that are trained, mean epochs.
    difference_from_best_baseline, difference_low, difference_high, p_against_best_baseline
        Mean difference of `auc_user` per user from the best baseline, its interval and the paired test; None for
        the best baseline itself.
    paper
        AUC in the paper's table, where the data are the same; else None.
    settings
        Learning rate, weight decay and options that it was trained with.
    """

    model: str
    control: bool
    auc_user: float
    auc_user_low: float
    auc_user_high: float
    auc_user_seed_low: float | None
    auc_user_seed_high: float | None
    auc_impression_weighted: float
    auc_positive_weighted: float
    auc_pooled: float
    logloss: float | None
    valid: float
    seeds: int
    parameters: int
    epochs: float
    difference_from_best_baseline: float | None
    difference_low: float | None
    difference_high: float | None
    p_against_best_baseline: float | None
    paper: float | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ComparisonTable:
    """All systems on the same events of one recipe. Prints as a table.

    Attributes
    ----------
    recipe, data
        Name of the recipe and fingerprint of the data: tables of different ones are never joined.
    monitor
        The validation metric that chose epochs, settings and the best baseline.
    best_baseline
        The system that the others are tested against: the best one on validation, or the one asked for.
    trials
        Tuning trials of every system.
    """

    recipe: str
    data: str
    monitor: str
    best_baseline: str
    trials: int
    users: int
    users_left_out: float
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal ctr compare --json` prints."""
        return {
            **{key: value for key, value in vars(self).items() if key != "rows"},
            "rows": list(map(asdict, self.rows)),
        }

    def __str__(self) -> str:
        return "\n".join([self._heading(), "", *self._lines("  ".join)])

    def markdown(self) -> str:
        """The same as a Markdown table."""
        lines = self._lines(lambda cells: "| " + " | ".join(cell.strip() for cell in cells) + " |")
        rule = "|" + "|".join(["---", *["---:"] * (len(self._cells()[0]) - 1)]) + "|"
        return "\n".join([lines[0], rule, *lines[1:], "", self._heading()])

    def _heading(self) -> str:
        effort = f"tuning: {self.trials} trials each over {SPACE}" if self.trials else "no tuning"
        return (
            f"recipe {self.recipe}, data {self.data[:12]}; {self.users:,} users"
            f" ({self.users_left_out:.1%} with one class are left out of the per-user means); {effort}; all choices on"
            f" validation ({self.monitor}).\nAUC (user) is the plain mean over users, with 95 % over users; ± is 95 %"
            f" over seeds; p is paired by user against {self.best_baseline}."
        )

    def _lines(self, joined: Callable[[list[str]], str]) -> list[str]:
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        padded = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
        return [joined([row[0].strip().ljust(widths[0]), *row[1:]]) for row in padded]

    def _cells(self) -> list[list[str]]:
        papers = any(row.paper is not None for row in self.rows)
        heading = [
            "system", "AUC (user)", "95 %", "±", "impressions", "positives", "pooled", "log loss",
            f"to {self.best_baseline}", "p", "parameters", "seeds",
        ]  # fmt: skip
        lines = [heading + (["paper"] if papers else [])]
        for r in self.rows:
            spread = "" if r.auc_user_seed_low is None else f"{(r.auc_user_seed_high or 0) - r.auc_user:.4f}"
            gain = "" if r.difference_from_best_baseline is None else f"{r.difference_from_best_baseline:+.4f}"
            line = [
                f"({r.model})" if r.control else r.model, f"{r.auc_user:.4f}",
                f"{r.auc_user_low:.4f}-{r.auc_user_high:.4f}", spread, f"{r.auc_impression_weighted:.4f}",
                f"{r.auc_positive_weighted:.4f}", f"{r.auc_pooled:.4f}",
                "" if r.logloss is None else f"{r.logloss:.4f}", gain,
                "" if r.p_against_best_baseline is None else f"{r.p_against_best_baseline:.2g}",
                f"{r.parameters:,}", str(r.seeds),
            ]  # fmt: skip
            lines.append(line + ([f"{r.paper:.4f}" if r.paper else ""] if papers else []))
        return lines


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
    rivals = [s for s in systems if is_baseline(s)] or [s for s in systems if not s.control]
    best = against or max((s.name for s in rivals), key=lambda name: valid[name])
    some = next(iter(runs.values()))[0].record["test"]
    rows = tuple(
        _row(s, runs[s.name], per_user, best=best, valid=valid[s.name], plan=plans[s.name], data=data) for s in systems
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
    tuned = {key: getattr(plan.settings, key) for key in ("learning_rate", "weight_decay", "batch_size")}
    return Row(
        model=system.name,
        control=system.control,
        **means,
        auc_user_low=users.low,
        auc_user_high=users.high,
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
