"""The report: everything that offline evaluation says of a data folder, collected and written as one HTML file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..clicks import ClickLog
from ..data import Data, DataReport, check_data, read_data
from ..datasets.simulate import is_simulated
from ..embeddings import Embedding
from ..errors import DataError
from ..progress import Progress, silent
from ..recommender import Recommender
from ..tables import find_table
from .category_map import CategoryMap
from .clustering import ClusteringReport
from .cold_start import Ladder
from .examples import AnsweredExamples, Disagreements
from .report_parts import LeftOut, Parts, ReportOptions
from .retrieval import RetrievalReport
from .run_record import RunRecord, run_record


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that was found, section by section; a section that could not be made says why.

    Attributes
    ----------
    name
        Of the data folder.
    simulated
        Whether the data were drawn by `trimodal simulate`.
    notes
        What is true of the whole report: which sessions trained it, which modality is left out.
    recommender
        The one that was judged; None where nothing could be fitted.
    """

    name: str
    simulated: bool
    notes: tuple[str, ...]
    options: ReportOptions
    data: DataReport
    clustering: ClusteringReport | LeftOut
    map: CategoryMap | LeftOut
    next_clicks: RetrievalReport | LeftOut
    cold_start: Ladder | LeftOut
    answered: AnsweredExamples | LeftOut
    disagreements: Disagreements | LeftOut
    run: RunRecord
    recommender: Recommender | None

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal evaluate report --json` prints: a dictionary per section, without pictures."""
        return {
            "name": self.name,
            "simulated": self.simulated,
            "notes": list(self.notes),
            "sections": {
                "data": self.data.to_dict(),
                "clustering": self.clustering.to_dict(),
                "map": self.map.to_dict(),
                "next_clicks": self.next_clicks.to_dict(),
                "cold_start": self.cold_start.to_dict(),
                "examples": {"answered": self.answered.to_dict(), "disagreements": self.disagreements.to_dict()},
                "run": self.run.to_dict(),
            },
        }

    def write(self, path: str | Path) -> int:
        """Write the page, atomically; returns its size in bytes."""
        from .report_page import write_page

        return write_page(Path(path), self)


def collect_report(
    folder: str | Path,
    *,
    options: ReportOptions | None = None,
    vectors: Mapping[str, Embedding] | Callable[[Data], Mapping[str, Embedding]] | None = None,
    vector_files: Sequence[str] = (),
    store: str | Path | None = None,
    out: str = "report.html",
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda text: None,
) -> EvaluationReport:
    """Run every evaluation that the data allow.

    Where there are sessions to hold out, everything is fitted on the earlier ones, and asked about the later ones.

    Parameters
    ----------
    folder
        A data folder.
    options
        What to do, and how much of it.
    vectors
        Ready-made embeddings by modality, or a function of the data that gives them.
    vector_files
        The files they come from, as NAME=FILE, for the record.
    store
        Folder where encoded titles and pictures are kept.
    out
        File of the page, for the record.
    tell
        Told, in a line, which part begins.

    Raises
    ------
    DataError
        The folder cannot be read at all. A section that cannot be made is no error: it says why.
    """
    folder, options = Path(folder), options or ReportOptions()
    options.check()
    clock = _Clock(tell)
    with clock("data"):
        data = read_data(
            folder, min_clicks=options.min_clicks, max_clicks=options.max_clicks, max_rejected=options.max_rejected
        )
        checked = check_data(data, progress=progress)
        given = dict(vectors(data) if callable(vectors) else vectors or {})
        train, later, note = _split(data.clicks, options)
    notes = [note]
    with clock("fitting"):
        recommender, problem = _fitted(data, train, given, options, checked, store, progress, notes)
    parts = Parts(data, recommender, train, later, options, problem, progress, tell)
    sections = {}
    for name in ("clustering", "map", "next_clicks", "cold_start", "answered", "disagreements"):
        with clock(name):
            sections[name] = parts.make(name)
    tables = [find_table(folder, stem) for stem in ("products", "clicks")]
    files = [path for path in tables if path is not None]
    files += [Path(value.partition("=")[2]) for value in vector_files]
    return EvaluationReport(
        name=folder.resolve().name,
        simulated=is_simulated(folder),
        notes=tuple(notes),
        options=options,
        data=checked,
        run=run_record(
            {} if recommender is None else recommender.embeddings_,
            files,
            command=options.command(folder, vector_files, out),
            options=asdict(options),
            seconds=clock.seconds,
        ),
        recommender=recommender,
        **sections,
    )


class _Clock:
    """Tells which part begins, and keeps how long it took."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.tell(f"report: {name.replace('_', ' ')}")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def _split(clicks: ClickLog | None, options: ReportOptions) -> tuple[ClickLog | None, ClickLog | None, str]:
    """The sessions to train on, those held out, and a sentence about them."""
    if clicks is None or not len(clicks):
        return clicks, None, "There are no clicks: everything rests on titles, pictures and given vectors."
    train, later = clicks.split(options.held_out)
    if not len(train) or not len(later):
        return clicks, None, f"All {len(clicks):,} sessions are trained on; none is held out."
    when = later.sessions["started"][0].strftime("%Y-%m-%d %H:%M")
    return (
        train,
        later,
        f"Everything is fitted on the {len(train):,} earlier sessions, tables of categories and the map as well; the "
        f"{len(later):,} sessions from {when} UTC on are held out and only asked about.",
    )


def _fitted(
    data: Data,
    train: ClickLog | None,
    given: Mapping[str, Embedding],
    options: ReportOptions,
    checked: DataReport,
    store: str | Path | None,
    progress: Progress,
    notes: list[str],
) -> tuple[Recommender | None, str]:
    """Fit; where the pictures cannot be used, without them. The recommender, or why there is none."""
    there = {"text": any(data.catalog.titles), "image": any(data.catalog.images), "click": bool(train)}
    names = list(options.modalities or [name for name, has in (there | dict.fromkeys(given, True)).items() if has])
    if not names:
        return None, "the products have no titles, no pictures and no clicks, and no vectors were given."
    attempts = [names]
    if "image" in names and "image" not in given and len(names) > 1:
        attempts.append([name for name in names if name != "image"])
        if not checked.table["coverage"]["image"]:
            attempts = attempts[1:]
    problem = ""
    for some in attempts:
        recommender = Recommender(modalities=some, click_parameters=options.click_parameters, seed=options.seed)
        try:
            recommender.fit(data.catalog, train, vectors=given, store=store, progress=progress)
        except DataError as error:
            problem = str(error)
            continue
        if some != names:
            reason = problem or "not one local picture can be read; the rejected rows say why."
            notes.append(f"Pictures are left out: {reason}")
        return _without_empty(recommender, train, notes), ""
    return None, problem


def _without_empty(recommender: Recommender, train: ClickLog | None, notes: list[str]) -> Recommender:
    """The same recommender over the modalities in which some product has a vector."""
    used = {name: e for name, e in recommender.embeddings_.items() if len(e.vectors)}
    empty = [name for name in recommender.embeddings_ if name not in used]
    if not empty:
        return recommender
    for name in empty:
        least = recommender.embeddings_[name].provenance.settings.get("min_count") if name == "click" else None
        why = f": none has {least} clicks or more; --click-option min_count=1 lowers this" if least else ""
        notes.append(f"No product has a vector in {name}, which is left out{why}.")
    settings = recommender.settings() | {"modalities": list(used)}
    return Recommender(**settings).fit(recommender.catalog_, train, vectors=used)
