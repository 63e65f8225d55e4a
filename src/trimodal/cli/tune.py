"""Commands that choose settings on held-out clicks: tune weights, clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import DataError, ParameterError, check_choice, check_int
from ..rejections import MAX_REJECTED
from . import common
from .common import print_json, say, terminal
from .held_out import HeldOut, Modalities, Questions, held_out_data

if TYPE_CHECKING:
    from ..evaluation.click_results import ClickTrial

group = typer.Typer(help="Choose settings on held-out clicks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(group, name="tune")


@group.callback()
def _group() -> None:
    """Choose settings on held-out clicks, never on those that they are judged on."""


@group.command()
def weights(
    folder: common.DataFolder,
    fusion: Annotated[str, typer.Option(help="intermediate, adaptive or covisit.")] = "intermediate",
    query: Annotated[str, typer.Option(help="Answer from the last click or from the whole session.")] = "last",
    every_subset: Annotated[
        bool, typer.Option("--every-subset", help="Choose for every subset of the modalities, not for all alone.")
    ] = False,
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    held_out: HeldOut = 0.3,
    questions: Questions = 10000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Choose how much each modality counts, and a strategy's own parameters.

    Trains on the earlier sessions, chooses on the first half of the later ones, and says on the second half what the
    choice gains over equal weights, with an interval. Prints the options for `trimodal fit`.

    Example: trimodal tune weights shop/ --fusion covisit --click-option epochs=20
    """
    from ..evaluation.weights import QUERIES, TUNABLE, learn_every_subset, learn_weights

    check_int("k", k, low=1)
    check_choice("--fusion", fusion, TUNABLE)
    check_choice("--query", query, QUERIES)
    held = held_out_data(
        folder,
        held_out,
        questions,
        modalities=modalities,
        click_option=click_option,
        vectors=vectors,
        limits=(min_clicks, max_clicks),
        max_rejected=max_rejected,
        seed=seed,
    )
    settings: dict[str, Any] = {"strategy": fusion, "query": query, "k": k, "seed": seed, "progress": terminal}
    asked = held.recommender.embeddings_, held.train, held.questions
    if every_subset:
        rows = learn_every_subset(*asked, **settings)
        if json:
            print_json({"rows": [row.to_dict() for row in rows]})
        else:
            typer.echo("\n\n".join(str(row) for row in rows))
        return
    found = learn_weights(*asked, **settings)
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))


@group.command()
def clicks(
    folder: common.DataFolder,
    trials: Annotated[int, typer.Option(help="Trials in all; those of an earlier run count.")] = 30,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Begin no trial after so long.")] = None,
    objective: Annotated[str, typer.Option(help="What to choose by: hit-rate, mrr or ndcg.")] = "ndcg",
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    query: Annotated[str, typer.Option(help="Ask from the last click, or the whole session: last, session.")] = "last",
    held_out: Annotated[
        float, typer.Option(help="Share of the sessions, the last ones, to judge on: the test sessions.")
    ] = 0.2,
    validation: Annotated[
        float, typer.Option(help="Share of the sessions before those, the last of them, to choose on.")
    ] = 0.2,
    questions: Annotated[int, typer.Option(help="At most so many, in choosing and in judging.")] = 10000,
    sample: Annotated[
        int | None,
        typer.Option(help="Trials see only so many sessions, the latest before the test ones. For very large logs."),
    ] = None,
    max_cost: Annotated[
        float,
        typer.Option(help="A trial may take about so many times as long as the preset paper; epochs beyond are cut."),
    ] = 10.0,
    workers: Annotated[
        int,
        typer.Option(help="Threads that train. More than 1 are faster, but no result can then be repeated exactly."),
    ] = 1,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Journal of the search; .trimodal/clicks.study beside the data if not given."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.json", help="Write the parameters that were found.")
    ] = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Search for Prod2Vec's parameters.

    Sessions are split by time. Every trial trains on the earliest and is asked about the next ones; the first trial
    is the preset paper. The best trial and the preset are then trained on both and judged once on the last sessions,
    with an interval. A search that is stopped, even killed, goes on with the same command; trials are not run twice.
    No bundle is changed: give the options that are printed to `trimodal fit`.

    Example: trimodal tune clicks shop/ --trials 30 --timeout 3600
    """
    from ..data import read_data
    from ..evaluation.click_search import search_clicks

    if out is not None and (not out.parent.is_dir() or out.is_dir()):
        raise ParameterError(f"--out {out}, must be a file in a folder that is there.")
    data = read_data(folder, min_clicks=min_clicks, max_clicks=max_clicks, max_rejected=max_rejected)
    if data.clicks is None or len(data.clicks) < 3:
        raise DataError(f"{folder} has too few clean sessions to train, to choose and to judge on.")
    earlier, test = data.clicks.split(held_out)
    found = search_clicks(
        earlier,
        test,
        study=study or common.store_of(folder, None) / "clicks.study",
        trials=trials,
        timeout=timeout,
        validation=validation,
        objective=objective,
        k=k,
        query=query,
        questions=questions,
        sample=sample,
        max_cost=max_cost,
        workers=workers,
        seed=seed,
        progress=terminal,
        report=_say_trial,
    )
    if out is not None:
        _write_json(out, found.found)
        say(f"parameters: {out}")
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))


def _say_trial(trial: ClickTrial) -> None:
    from ..evaluation.click_results import described

    say(
        f"trial {trial.number}: hit rate {trial.hit_rate:.4f}, MRR {trial.mrr:.4f}, NDCG {trial.ndcg:.4f}, "
        f"{trial.seconds:.1f} s, {described(trial.settings)}"
    )


def _write_json(path: Path, value: object) -> None:
    import json

    from ..files import atomic

    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
