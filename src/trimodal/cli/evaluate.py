"""Commands that evaluate offline: evaluate clustering, evaluate clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import ParameterError
from . import common
from .common import print_json, say, terminal

if TYPE_CHECKING:
    from ..recommender import Recommender

group = typer.Typer(
    help="Offline evaluation: which modalities and strategies serve these data best.", no_args_is_help=True
)

Target = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="A data folder, fitted with the default encoders; or a bundle, whose vectors are taken."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(group, name="evaluate")


@group.command()
def clustering(
    target: Target,
    categories: Annotated[str, typer.Option(help="Numbers of categories; the largest ones are taken.")] = "3,20,50",
    seeds: Annotated[int, typer.Option(help="Repetitions of t-SNE and k-means.")] = 3,
    sample: Annotated[int, typer.Option(help="At most so many products, stratified by category.")] = 2000,
    modalities: Annotated[str | None, typer.Option(help="Which to use, comma-separated. [default: all]")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the map of all modalities, .png or .svg.")
    ] = None,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """The paper's Tables II and III: do the vectors fall into the shop's categories?

    t-SNE, k-means++ and the adjusted Rand index for every subset of the modalities and every strategy, beside the
    same without t-SNE, and chance.

    Example: trimodal evaluate clustering shop/ --categories 3,20,50 --seeds 3 --sample 5000
    """
    from ..evaluation.clustering import evaluate_clustering

    counts = [int(common.number("--categories", text)) for text in common.names(categories) or []]
    if not counts:
        raise ParameterError("--categories is empty, must be numbers such as 3,20,50.")
    recommender = _fitted(target, modalities, seed)
    if figure is not None:
        from ..evaluation.plots import draw_map

        with terminal("drawing the map", None):
            draw_map(figure, recommender, categories=20 if 20 in counts else counts[0], sample=sample, seed=seed)
        say(f"map: {figure}")
    report = evaluate_clustering(
        recommender.embeddings_,
        recommender.catalog_.categories,
        counts=counts,
        sample=sample,
        seeds=seeds,
        seed=seed,
        progress=terminal,
    )
    if json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


@group.command()
def clicks(
    folder: common.DataFolder,
    k: Annotated[str, typer.Option("-k", help="Lengths of the list, comma-separated.")] = "15,20",
    held_out: Annotated[float, typer.Option(help="Share of the sessions, the last ones, to ask about.")] = 0.2,
    questions: Annotated[int, typer.Option(help="At most about so many questions.")] = 20000,
    modalities: Annotated[str | None, typer.Option(help="Which to use, comma-separated. [default: all]")] = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = 0.1,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Next-click evaluation: trained on earlier sessions, is the next click of later ones recommended?

    Every strategy and every subset of the modalities, from the last click and from the whole session, beside
    popularity and co-occurrence; hit rate, MRR, NDCG, coverage, with intervals and differences paired by session.

    Example: trimodal evaluate clicks shop/ -k 15,20 --held-out 0.2
    """
    from ..data import read_data
    from ..errors import DataError
    from ..evaluation.retrieval import NextClicks, evaluate_retrieval
    from ..recommender import Recommender

    lengths = [int(common.number("-k", text)) for text in common.names(k) or []]
    data = read_data(folder, min_clicks=min_clicks, max_clicks=max_clicks, max_rejected=max_rejected)
    if data.clicks is None or len(data.clicks) < 2:
        raise DataError(f"{folder} has no clean sessions to hold out.")
    train, later = data.clicks.split(held_out)
    recommender = Recommender(
        modalities=common.names(modalities), click_parameters=common.click_parameters(click_option), seed=seed
    )
    recommender.fit(
        data.catalog,
        train,
        vectors=common.read_vectors(vectors, data.catalog.ids),
        store=common.store_of(folder, None),
        progress=terminal,
    )
    common.report_runs(recommender.runs_)
    say(f"trained on {len(train):,} sessions, asking about {len(later):,} later ones")
    report = evaluate_retrieval(
        recommender.embeddings_,
        train,
        NextClicks.of(later, limit=questions, seed=seed),
        ks=lengths,
        seed=seed,
        progress=terminal,
    )
    if json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


def _fitted(target: Path, modalities: str | None, seed: int) -> Recommender:
    """A recommender with vectors: the bundle's, or one fitted on the data folder."""
    from ..bundle import versions
    from ..data import read_data
    from ..recommender import Recommender

    wanted = common.names(modalities)
    if versions(target):
        recommender = Recommender.load(target)
        unknown = [name for name in wanted or [] if name not in recommender.embeddings_]
        if unknown:
            raise ParameterError(f"modality {unknown[0]!r} is not in {target}: {', '.join(recommender.embeddings_)}.")
        if wanted:
            recommender.embeddings_ = {name: recommender.embeddings_[name] for name in wanted}
        return recommender
    data = read_data(target)
    recommender = Recommender(modalities=wanted, seed=seed)
    recommender.fit(data.catalog, data.clicks, store=common.store_of(target, None), progress=terminal)
    common.report_runs(recommender.runs_)
    return recommender
