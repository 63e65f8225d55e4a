"""A budgeted search for Prod2Vec's parameters: chosen on validation sessions, judged once on later ones.

Each trial trains on the earliest sessions and answers questions about the next ones from click vectors alone. The
best trial and the preset `paper` are then trained on both and asked about the test sessions, which no trial saw.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clicks import ClickLog
from ..encoders.click import Prod2Vec, Prod2VecSettings, click_settings
from ..errors import DataError, ParameterError, check_choice, check_int, check_share
from ..fusion import IntermediateFusion
from ..progress import Progress, silent
from .click_results import MEASURES, ClickSearch, ClickTrial, Difference, Judgement, described
from .click_space import TUNED, affordable, settings_of
from .click_study import finished, go_on, importance, open_study, study_name
from .retrieval import NextClicks, Resampled, from_last, from_session

QUERIES = ("last", "session")


def search_clicks(
    log: ClickLog,
    test: ClickLog,
    *,
    study: str | Path,
    trials: int = 30,
    timeout: float | None = None,
    validation: float = 0.2,
    objective: str = "ndcg",
    k: int = 15,
    query: str = "last",
    questions: int = 10000,
    sample: int | None = None,
    max_cost: float = 10.0,
    workers: int = 1,
    seed: int = 0,
    progress: Progress = silent,
    report: Callable[[ClickTrial], None] = lambda trial: None,
) -> ClickSearch:
    """Search on the sessions of `log`, and judge what was found on `test`.

    Parameters
    ----------
    log, test
        Sessions to choose on, and later ones to judge on, as `ClickLog.split` gives them.
    study
        Journal of the search. One that holds trials of the same data and settings goes on from there.
    trials
        How many the study shall have in all; those that it has are not run again.
    timeout
        Seconds after which no trial begins; the preset `paper` always runs.
    validation
        Share of the sessions of `log`, the last ones, to choose on.
    objective, k, query
        "hit-rate", "mrr" or "ndcg" of lists of k, asked from the "last" click or the whole "session".
    questions
        At most so many about validation sessions, and about test sessions.
    sample
        Trials see only so many sessions of `log`, the latest. The judgement on test is by training on all.
    max_cost
        A trial may take about so many times the training time of the preset `paper`: epochs beyond are cut.
    workers
        Threads that train; more than 1 are faster, and neither trials nor the result can then be repeated exactly.
    report
        Called with each trial that ends.

    Raises
    ------
    DataError
        A part without questions, or a study file that cannot be used.
    MissingExtraError
        Optuna is not installed.
    """
    check_choice("objective", objective, tuple(MEASURES))
    check_choice("query", query, QUERIES)
    for name, value in (("k", k), ("trials", trials), ("workers", workers), ("questions", questions)):
        check_int(name, value, low=1)
    check_int("seed", seed, low=0, high=2**32 - 1)
    check_share("validation", validation)
    if not max_cost >= 1:
        raise ParameterError(f"max_cost == {max_cost!r}, must be >= 1: the cost of the preset paper.")
    if timeout is not None and not timeout >= 0:
        raise ParameterError(f"timeout == {timeout!r}, must be >= 0 seconds.")
    recent = log if sample is None else log.split(min(1.0, check_int("sample", sample, low=2) / max(len(log), 1)))[1]
    train, later = recent.split(validation)
    chosen_on, judged_on = (NextClicks.of(part, limit=questions, seed=seed) for part in (later, test))
    for name, part, count in (
        ("train", train, len(train)),
        ("validation", later, len(chosen_on)),
        ("test", test, len(judged_on)),
    ):
        if not count:
            raise DataError(f"{name}: {len(part):,} sessions leave nothing to use; it needs more sessions.")
    base = click_settings("paper", seed=seed, deterministic=workers == 1, workers=workers)
    lengths = np.diff(train.arrays()[1])
    measure = MEASURES[objective]
    about = {
        "objective": [objective, k, query],
        "questions": questions,
        "max_cost": max_cost,
        "settings": asdict(base),
        "gensim": version("gensim"),
    }

    def judged(settings: Prod2VecSettings, on: ClickLog, asked: NextClicks) -> tuple[NDArray[np.int64], float]:
        return _ranks(settings, on, asked, k, query)

    with (
        open_study(Path(study), study_name(train, later, about)) as opened,
        progress("searching", trials) as advance,
    ):
        ended = [_trial(i, trial.user_attrs) for i, trial in enumerate(finished(opened), 1)]
        advance(min(len(ended), trials))
        known = {described(trial.settings): trial for trial in ended}
        deadline = None if timeout is None else time.monotonic() + timeout

        def more(done: int) -> bool:
            return done < trials and (not done or deadline is None or time.monotonic() < deadline)

        def run(drawn: dict[str, Any]) -> tuple[float, dict[str, Any]]:
            settings = affordable(settings_of(drawn, base), lengths, max_cost)
            tuned = {name: getattr(settings, name) for name in TUNED}
            if (twin := known.get(described(tuned))) is not None:  # drawn twice: not trained twice
                notes: dict[str, Any] = {**asdict(twin), "seconds": 0.0}
            else:
                rank, seconds = judged(settings, train, chosen_on)
                scores = {name: float(per.mean()) for name, per in _measures(rank).items()}
                notes = {"settings": tuned, **scores, "seconds": seconds}
            return notes[measure], notes

        for notes in go_on(opened, run, more=more, seed=seed):
            ended.append(_trial(len(ended) + 1, notes))
            known.setdefault(described(ended[-1].settings), ended[-1])
            report(ended[-1])
            advance(1)
        shares = importance(opened)
    found = max(ended, key=lambda trial: (getattr(trial, measure), -trial.number)).settings
    with progress("judging on test", 2) as advance:
        preset = {name: getattr(base, name) for name in TUNED}
        results = {}
        for settings in (preset, found):
            if described(settings) not in results:
                results[described(settings)] = judged(click_settings(**{**asdict(base), **settings}), log, judged_on)
            advance(1)
    (paper, paper_seconds), (best, best_seconds) = (results[described(s)] for s in (preset, found))
    resampled = Resampled(judged_on, seed)
    differences = {}
    for name, theirs in _measures(paper).items():
        ours = _measures(best)[name]
        low, high = np.quantile(resampled.rates(ours) - resampled.rates(theirs), [0.025, 0.975])
        differences[name] = Difference(float(ours.mean() - theirs.mean()), float(low), float(high))
    return ClickSearch(
        objective=objective,
        k=k,
        query=query,
        sessions={"train": len(train), "validation": len(later), "test": len(test)},
        questions={"validation": len(chosen_on), "test": len(judged_on)},
        trials=tuple(ended),
        found=found,
        paper=_judgement(paper, paper_seconds),
        best=_judgement(best, best_seconds),
        differences=differences,
        importance=shares,
    )


def _ranks(
    settings: Prod2VecSettings, train: ClickLog, questions: NextClicks, k: int, query: str
) -> tuple[NDArray[np.int64], float]:
    """Place of each answer in the list, 0 where it is not there, [q]; and seconds of training."""
    start = time.perf_counter()
    embeddings = {"click": Prod2Vec(settings).fit(train)}
    seconds = time.perf_counter() - start
    if not len(embeddings["click"].vectors):
        return np.zeros(len(questions), np.int64), seconds
    fusion = IntermediateFusion(("click",)).fit(embeddings, train.ids)
    places = from_last(fusion, questions, k) if query == "last" else from_session(fusion, questions, k)
    return np.where(places == questions.target[:, None], np.arange(1, k + 1), 0).max(1), seconds


def _measures(rank: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """What each question counts for in each measure: [q]."""
    hit, place = rank > 0, np.maximum(rank, 1)
    return {"hit_rate": hit.astype(float), "mrr": hit / place, "ndcg": hit / np.log2(1 + place)}


def _judgement(rank: NDArray[np.int64], seconds: float) -> Judgement:
    return Judgement(**{name: float(per.mean()) for name, per in _measures(rank).items()}, seconds=seconds)


def _trial(number: int, notes: dict[str, Any]) -> ClickTrial:
    return ClickTrial(number, **{name: notes[name] for name in ("settings", "hit_rate", "mrr", "ndcg", "seconds")})
