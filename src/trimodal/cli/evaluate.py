"""Commands that evaluate offline: evaluate clustering, clicks, cold-start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import ParameterError, check_int
from ..rejections import MAX_REJECTED
from . import common
from .common import print_json, say, terminal
from .held_out import HeldOut, Modalities, Questions, held_out_data

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
    modalities: Modalities = None,
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
    from ..evaluation.plots import check_figure, draw_map

    counts = common.whole_numbers("--categories", categories, low=2)
    if figure is not None:
        check_figure(figure)
    recommender = _fitted(target, modalities, seed)
    if figure is not None:
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
    held_out: HeldOut = 0.2,
    questions: Questions = 20000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Next-click evaluation: trained on earlier sessions, is the next click of later ones recommended?

    Every strategy and every subset of the modalities, from the last click and from the whole session, beside
    popularity and co-occurrence; hit rate, MRR, NDCG, coverage, with intervals and differences paired by session.

    Example: trimodal evaluate clicks shop/ -k 15,20 --held-out 0.2
    """
    from ..evaluation.retrieval import evaluate_retrieval

    lengths = common.whole_numbers("-k", k, low=1)
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
    report = evaluate_retrieval(
        held.recommender.embeddings_, held.train, held.questions, ks=lengths, seed=seed, progress=terminal
    )
    if json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


@group.command()
def cold_start(
    folder: common.DataFolder,
    levels: Annotated[str, typer.Option(help="Clicks per product that are left, comma-separated.")] = "0,1,3,10,30",
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    held_out: HeldOut = 0.2,
    questions: Questions = 20000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """The cold-start ladder: how well is a product served that has 0, 1, 3, 10 or 30 clicks, by each modality?

    Takes most clicks of some products out of the training sessions, trains Prod2Vec again for every level, and asks
    held-out sessions about these products.

    Example: trimodal evaluate cold-start shop/ --levels 0,1,3,10,30 --click-option min_count=1
    """
    from ..encoders.click import click_settings
    from ..evaluation.cold_start import cold_start_ladder

    counts = common.whole_numbers("--levels", levels, low=0)
    check_int("k", k, low=1)
    settings = click_settings(**{"seed": seed, **common.click_parameters(click_option)})
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
    ladder = cold_start_ladder(
        held.recommender.embeddings_,
        held.train,
        held.questions,
        settings=settings,
        levels=counts,
        k=k,
        seed=seed,
        progress=terminal,
    )
    if json:
        print_json(ladder.to_dict())
    else:
        typer.echo(str(ladder))


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
