"""The command that writes all of offline evaluation as one page: evaluate report."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import DataError, ParameterError
from ..rejections import MAX_REJECTED
from . import common
from .common import print_json, say, terminal
from .evaluate import group
from .held_out import HeldOut, Modalities

if TYPE_CHECKING:
    from ..data import Data
    from ..embeddings import Embedding

QUICK = {"sample": 300, "points": 500, "seeds": 1, "questions": 2000}
"""What --quick lowers the work to, where an option does not say otherwise."""


def register(app: typer.Typer) -> None:
    """Add the command to the group `evaluate`, which is in the application already."""
    group.command()(report)


def report(
    folder: common.DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page, an .html file.")],
    sample: Annotated[
        int | None,
        typer.Option(help="Products in the tables of categories, at most.", show_default="1000"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Repetitions of t-SNE and k-means.", show_default="3")] = None,
    categories: Annotated[str, typer.Option(help="Numbers of categories; the largest ones are taken.")] = "3,20,50",
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    held_out: HeldOut = 0.2,
    questions: Annotated[int | None, typer.Option(help="At most so many questions.", show_default="10000")] = None,
    points: Annotated[int | None, typer.Option(help="Products on the map, at most.", show_default="2000")] = None,
    pictures: Annotated[int, typer.Option(help="At most so many thumbnails on the map.")] = 2000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start/--no-cold-start", help="Make the cold-start ladder, which trains five times.")
    ] = True,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first look: 300 products in the tables, 500 on the map, one seed, 2000 questions, no ladder.",
        ),
    ] = False,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """All of offline evaluation as one HTML file that needs no network.

    The data, the paper's Tables I to III beside the paper's own numbers, an interactive map of categories, next
    clicks, cold start, examples with pictures, and what was run. What the data do not allow is left out, with the
    reason.

    Example: trimodal evaluate report shop/ -o report.html --click-option epochs=20
    """
    from ..evaluation.report import collect_report
    from ..evaluation.report_parts import ReportOptions

    if out.suffix not in (".html", ".htm"):
        raise ParameterError(f"-o {out} must end in .html, which is what is written.")
    if not out.parent.is_dir():
        raise DataError(f"the folder of -o {out} does not exist.")
    given = {"sample": sample, "points": points, "seeds": seeds, "questions": questions}
    amounts = (QUICK if quick else {}) | {name: value for name, value in given.items() if value is not None}
    chosen = common.names(modalities)
    options = ReportOptions(
        **amounts,
        categories=tuple(common.whole_numbers("--categories", categories, low=2)),
        k=k,
        held_out=held_out,
        pictures=pictures,
        modalities=None if chosen is None else tuple(chosen),
        click_parameters=common.click_parameters(click_option),
        cold_start=cold_start and not quick,
        min_clicks=min_clicks,
        max_clicks=max_clicks,
        max_rejected=max_rejected,
        seed=seed,
    )

    def read_vectors(data: Data) -> Mapping[str, Embedding]:
        return common.read_vectors(vectors, data.catalog.ids)

    found = collect_report(
        folder,
        options=options,
        vectors=read_vectors,
        vector_files=vectors or (),
        store=common.store_of(folder, None),
        out=str(out),
        progress=terminal,
        tell=say,
    )
    if found.recommender is not None:
        common.report_runs(found.recommender.runs_)
    size = found.write(out)
    say(f"report: {out} ({size / 1e6:.1f} MB)")
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(out.resolve().as_uri())
    if show:
        webbrowser.open(out.resolve().as_uri())
