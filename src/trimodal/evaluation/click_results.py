"""What a search for Prod2Vec's parameters found: trials, the judgement on test, and the options to keep."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..encoders.click import click_settings

MEASURES = {"hit-rate": "hit_rate", "mrr": "mrr", "ndcg": "ndcg"}
"""What trials can be chosen by, and the name of that figure in the results."""
_TITLES = {"hit_rate": "hit rate", "mrr": "MRR", "ndcg": "NDCG"}
_SHOWN = 10


@dataclass(frozen=True)
class ClickTrial:
    """One trial: parameters, what validation questions say of them, and seconds that training took.

    A question about a product without a click vector is a miss.
    """

    number: int
    settings: dict[str, Any]
    hit_rate: float
    mrr: float
    ndcg: float
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """What test questions say of parameters trained on all earlier sessions, and seconds that training took."""

    hit_rate: float
    mrr: float
    ndcg: float
    seconds: float


@dataclass(frozen=True)
class Difference:
    """Found less `paper`, paired by session, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} {self.high:+.4f})"


@dataclass(frozen=True)
class ClickSearch:
    """What the search found. Prints as the best trials, the judgement on test, and the options for `fit`.

    Attributes
    ----------
    objective, k, query
        By which measure trials were chosen, for a list of which length, asked how.
    sessions, questions
        How many in `train`, `validation` and `test`; questions in the last two.
    trials
        In the order in which they ran; the first is the preset `paper`.
    found
        Parameters of the best trial on validation; the earlier one of equals.
    paper, best
        The preset and what was found, on test.
    differences
        Per measure.
    importance
        Share of each parameter in what makes trials good; None with fewer than ten trials.
    """

    objective: str
    k: int
    query: str
    sessions: dict[str, int]
    questions: dict[str, int]
    trials: tuple[ClickTrial, ...]
    found: dict[str, Any]
    paper: Judgement
    best: Judgement
    differences: dict[str, Difference]
    importance: dict[str, float] | None

    @property
    def options(self) -> str:
        """What was found as options of `trimodal fit`, beside the preset `paper`; empty where it is the preset."""
        paper = click_settings("paper")
        changed = {name: value for name, value in self.found.items() if value != getattr(paper, name)}
        return " ".join(f"--click-option {name}={json.dumps(value)}" for name, value in changed.items())

    @property
    def gains(self) -> bool:
        """Whether the interval of the objective's difference on test is above 0."""
        return self.differences[MEASURES[self.objective]].low > 0

    @property
    def verdict(self) -> str:
        """What to do with what was found."""
        if not self.options:
            return "no trial was better than the preset paper: keep it"
        if self.differences[MEASURES[self.objective]].high < 0:
            return "worse than the preset paper: keep that one"
        return "keep them" if self.gains else "no gain that can be told from chance: keep the preset paper"

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal tune clicks --json` prints."""
        result = asdict(self)
        test = {"paper": result.pop("paper"), "found": result.pop("best"), "differences": result.pop("differences")}
        return {**result, "options": self.options, "test": test, "verdict": self.verdict}

    def __str__(self) -> str:
        name = MEASURES[self.objective]
        best = sorted(self.trials, key=lambda trial: (-getattr(trial, name), trial.number))[:_SHOWN]
        lines = [
            f"{len(self.trials)} trials on {self.sessions['train']:,} sessions, chosen by {_TITLES[name]} at {self.k} "
            f"over {self.questions['validation']:,} questions of {self.sessions['validation']:,} later sessions "
            f"(query: {self.query}); trial 1 is the preset paper",
            f"{'trial':>5}" + "".join(f"{title:>10}" for title in _TITLES.values()) + f"{'seconds':>9}  parameters",
        ]
        for t in best:
            scores = "".join(f"{getattr(t, measure):>10.4f}" for measure in _TITLES)
            lines.append(f"{t.number:>5}{scores}{t.seconds:>9.1f}  {described(t.settings)}")
        if self.importance is not None:
            shares = ", ".join(f"{parameter} {share:.0%}" for parameter, share in self.importance.items())
            lines += ["", f"what made trials good, roughly: {shares}"]
        lines += [
            "",
            f"test: {self.questions['test']:,} questions of {self.sessions['test']:,} sessions after all of these, "
            "asked once",
            f"{'':<8}" + "".join(f"{title:>26}" for title in _TITLES.values()) + f"{'seconds':>9}",
        ]
        for title, judged in (("paper", self.paper), ("found", self.best)):
            scores = "".join(f"{getattr(judged, measure):>26.4f}" for measure in _TITLES)
            lines.append(f"{title:<8}{scores}{judged.seconds:>9.1f}")
        gaps = "".join(f"{self.differences[measure]!s:>26}" for measure in _TITLES)
        lines += [f"{'gain':<8}{gaps}", f"found: {self.options or 'the preset paper'}", self.verdict]
        return "\n".join(lines)


def described(settings: dict[str, Any]) -> str:
    """Parameters in one line."""
    return " ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())
