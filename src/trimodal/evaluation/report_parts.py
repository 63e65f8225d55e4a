"""The sections of a report: what may be asked of it, how each section is made, and when it is left out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..clicks import MAX_CLICKS, MIN_CLICKS, ClickLog
from ..data import Data
from ..encoders.click import click_settings
from ..errors import DataError, check_int, check_share
from ..progress import Progress
from ..recommender import Recommender
from ..rejections import MAX_REJECTED
from .category_map import CategoryMap, category_map
from .clustering import ClusteringReport, evaluate_clustering
from .cold_start import LEVELS, Ladder, cold_start_ladder
from .examples import AnsweredExamples, Disagreements, answered_examples, disagreements
from .retrieval import NextClicks, RetrievalReport, evaluate_retrieval


@dataclass(frozen=True)
class LeftOut:
    """A section that could not be made: why, and what to do."""

    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The reason, under a key that no section has."""
        return {"left_out": self.reason}


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report may be asked for.

    Attributes
    ----------
    sample, points
        Products in the clustering tables, and on the map, at most.
    seeds, categories
        Repetitions of the clustering protocol; its numbers of categories.
    held_out, questions, k
        Share of the sessions that is held out; questions about them, at most; length of the list.
    modalities
        Which to use; None for all that the data has.
    click_parameters
        Parameters of Prod2Vec that differ from the preset `paper`.
    cold_start
        Make the cold-start ladder, which trains Prod2Vec once a level.
    pictures
        Thumbnails on the map, at most.
    seed
        Seed of everything random.
    """

    sample: int = 1000
    points: int = 2000
    seeds: int = 3
    categories: tuple[int, ...] = (3, 20, 50)
    held_out: float = 0.2
    questions: int = 10_000
    k: int = 15
    modalities: tuple[str, ...] | None = None
    click_parameters: Mapping[str, Any] = field(default_factory=dict)
    cold_start: bool = True
    pictures: int = 2000
    min_clicks: int = MIN_CLICKS
    max_clicks: int = MAX_CLICKS
    max_rejected: float = MAX_REJECTED
    seed: int = 0

    def check(self) -> None:
        """Raise `ParameterError` for an option outside its range, before any work is done."""
        check_int("sample", self.sample, low=10)
        check_int("points", self.points, low=10)
        check_int("seeds", self.seeds, low=1)
        check_int("questions", self.questions, low=1)
        check_int("k", self.k, low=1)
        check_int("pictures", self.pictures, low=0)
        check_share("held_out", self.held_out)
        click_settings(**{"seed": self.seed, **self.click_parameters})
        for count in self.categories:
            check_int("categories", count, low=2)

    def command(self, folder: Path, vectors: Sequence[str] = (), out: str = "report.html") -> str:
        """The command line that makes this report, with every option that counts."""
        words = ["trimodal", "evaluate", "report", str(folder), "-o", out]
        words += ["--sample", str(self.sample), "--seeds", str(self.seeds)]
        words += ["--categories", ",".join(map(str, self.categories)), "--held-out", f"{self.held_out:g}"]
        words += ["--questions", str(self.questions), "-k", str(self.k)]
        words += ["--points", str(self.points), "--pictures", str(self.pictures)]
        if self.modalities is not None:
            words += ["--modalities", ",".join(self.modalities)]
        for name, value in self.click_parameters.items():
            words += ["--click-option", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
        for value in vectors:
            words += ["--vectors", value]
        words += [] if self.cold_start else ["--no-cold-start"]
        words += ["--min-clicks", str(self.min_clicks), "--max-clicks", str(self.max_clicks)]
        words += ["--max-rejected", f"{self.max_rejected:g}", "--seed", str(self.seed)]
        return shlex.join(words)


@dataclass(frozen=True)
class Parts:
    """What the sections are made from."""

    data: Data
    recommender: Recommender | None
    train: ClickLog | None
    later: ClickLog | None
    options: ReportOptions
    problem: str
    progress: Progress
    tell: Callable[[str], None]

    def make(self, name: str) -> Any:
        """Make a section, or say why it is left out."""
        if self.recommender is None:
            return LeftOut(f"Nothing could be fitted: {self.problem}")
        try:
            return getattr(self, name)(self.recommender)
        except DataError as error:
            return LeftOut(str(error))
        except Exception as error:  # one section's fault must not cost the hours that the others took
            fault = f"{type(error).__name__}: {error}"
            self.tell(f"report: {name.replace('_', ' ')} failed, {fault}")
            return LeftOut(f"It failed, which is a fault of trimodal and not of the data: {fault}")

    def clustering(self, recommender: Recommender) -> ClusteringReport | LeftOut:
        """Tables II and III."""
        if lacking := self._no_categories():
            return lacking
        options = self.options
        return evaluate_clustering(
            recommender.embeddings_,
            self.data.catalog.categories,
            counts=options.categories,
            sample=options.sample,
            seeds=options.seeds,
            seed=options.seed,
            progress=self.progress,
        )

    def map(self, recommender: Recommender) -> CategoryMap | LeftOut:
        """Figure 4: of 20 categories where the tables are, else of their first number."""
        if lacking := self._no_categories():
            return lacking
        options = self.options
        with self.progress("laying out the map", None):
            return category_map(
                recommender,
                categories=20 if 20 in options.categories else options.categories[0],
                sample=options.points,
                seed=options.seed,
            )

    def next_clicks(self, recommender: Recommender) -> RetrievalReport | LeftOut:
        """Next clicks of held-out sessions."""
        if lacking := self._no_questions():
            return lacking
        assert self.train is not None
        options = self.options
        return evaluate_retrieval(
            recommender.embeddings_,
            self.train,
            self._questions(),
            ks=(options.k,),
            seed=options.seed,
            progress=self.progress,
        )

    def cold_start(self, recommender: Recommender) -> Ladder | LeftOut:
        """The ladder, of fewer rungs where products have fewer clicks."""
        if lacking := self._no_questions():
            return lacking
        if not self.options.cold_start:
            return LeftOut("It was not asked for: leave --no-cold-start and --quick out to have it.")
        assert self.train is not None
        options = self.options
        settings = click_settings(**{"seed": options.seed, **options.click_parameters})
        for top in range(len(LEVELS), 2, -1):
            try:
                return cold_start_ladder(
                    recommender.embeddings_,
                    self.train,
                    self._questions(),
                    settings=settings,
                    levels=LEVELS[:top],
                    k=options.k,
                    seed=options.seed,
                    progress=self.progress,
                )
            except DataError as error:  # it says so before it trains anything
                problem = error
        return LeftOut(f"The products have too few clicks: {problem}")

    def answered(self, recommender: Recommender) -> AnsweredExamples | LeftOut:
        """Best answers and misses."""
        if lacking := self._no_questions():
            return lacking
        assert self.train is not None
        return answered_examples(
            recommender.fusion_,
            self._questions(),
            self.train.counts(),
            self.data.catalog.categories,
            k=self.options.k,
        )

    def disagreements(self, recommender: Recommender) -> Disagreements:
        """Where the strategy and the baseline differ most."""
        return disagreements(
            recommender.embeddings_,
            recommender.fusion_,
            self.data.catalog.categories,
            k=self.options.k,
            seed=self.options.seed,
        )

    def _questions(self) -> NextClicks:
        assert self.later is not None
        return NextClicks.of(self.later, limit=self.options.questions, seed=self.options.seed)

    def _no_categories(self) -> LeftOut | None:
        there = len({c for c in self.data.catalog.categories if c is not None})
        if there >= 2:
            return None
        has = "one category only" if there else "no categories"
        return LeftOut(
            f"The products have {has}, so there is nothing to compare clusters with: give the products file a column "
            "'category' of at least two."
        )

    def _no_questions(self) -> LeftOut | None:
        if self.data.clicks is None:
            return LeftOut(
                "The data have no clicks, so there is nothing to ask: put a clicks file (session_id, product_id, "
                "timestamp) beside the products file."
            )
        if self.train is None or self.later is None or not len(self._questions()):
            return LeftOut(
                f"{len(self.data.clicks):,} clean sessions are too few to hold some out at --held-out "
                f"{self.options.held_out:g}; give a longer log, or another share."
            )
        return None
