"""The table of a comparison: a row a system, as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .tuning import SPACE


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
    auc_pooled_low, auc_pooled_high
        95 % interval of `auc_pooled` over users, drawn whole.
    pooled_difference, pooled_difference_low, pooled_difference_high
        Difference of `auc_pooled` from the best baseline and its interval, on the same draws; None for itself.
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
    auc_pooled_low: float
    auc_pooled_high: float
    pooled_difference: float | None
    pooled_difference_low: float | None
    pooled_difference_high: float | None
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
            f" over seeds; p is paired by user against {self.best_baseline}; differences of the pooled AUC have 95 %"
            " over users."
        )

    def _lines(self, joined: Callable[[list[str]], str]) -> list[str]:
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        padded = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
        return [joined([row[0].strip().ljust(widths[0]), *row[1:]]) for row in padded]

    def _cells(self) -> list[list[str]]:
        papers = any(row.paper is not None for row in self.rows)
        heading = [
            "system", "AUC (user)", "95 %", "±", f"to {self.best_baseline}", "p", "impressions", "positives",
            "pooled", f"pooled to {self.best_baseline}", "log loss", "parameters", "seeds",
        ]  # fmt: skip
        lines = [heading + (["paper"] if papers else [])]
        for r in self.rows:
            spread = "" if r.auc_user_seed_low is None else f"{(r.auc_user_seed_high or 0) - r.auc_user:.4f}"
            gain = "" if r.difference_from_best_baseline is None else f"{r.difference_from_best_baseline:+.4f}"
            apart = ""
            if r.pooled_difference is not None:
                apart = f"{r.pooled_difference:+.4f} ({r.pooled_difference_low:+.4f} {r.pooled_difference_high:+.4f})"
            line = [
                f"({r.model})" if r.control else r.model, f"{r.auc_user:.4f}",
                f"{r.auc_user_low:.4f}-{r.auc_user_high:.4f}", spread, gain,
                "" if r.p_against_best_baseline is None else f"{r.p_against_best_baseline:.2g}",
                f"{r.auc_impression_weighted:.4f}", f"{r.auc_positive_weighted:.4f}", f"{r.auc_pooled:.4f}", apart,
                "" if r.logloss is None else f"{r.logloss:.4f}", f"{r.parameters:,}", str(r.seeds),
            ]  # fmt: skip
            lines.append(line + ([f"{r.paper:.4f}" if r.paper else ""] if papers else []))
        return lines
