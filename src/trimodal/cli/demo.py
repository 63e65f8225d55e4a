"""The demo: the whole main job on a small simulated market."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from . import common
from .common import say, terminal

if TYPE_CHECKING:
    from ..recommender import Recommender


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the market, the bundle and the page.")] = Path(
        "demo"
    ),
    products: Annotated[int, typer.Option(help="How many products.")] = 600,
    sessions: Annotated[int, typer.Option(help="How many sessions.")] = 16000,
    categories: Annotated[int, typer.Option(help="How many categories.")] = 20,
    seed: common.Seed = 0,
    sample: Annotated[int, typer.Option(help="Products in the clustering table.")] = 400,
    json: common.Json = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Make a small market, fit the three encoders, show neighbours and a clustering table, and write a page.

    Example: trimodal demo -o demo --open
    """
    from ..data import check_data, read_data
    from ..datasets.simulate import simulate
    from ..evaluation.clustering import clustering_table
    from ..evaluation.gallery import write_gallery
    from ..recommender import Recommender

    tell = say if json else typer.echo
    market, bundle, page = out / "market", out / "bundle", out / "neighbours.html"
    say(f"1/5  a simulated market in {market}")
    simulate(
        market,
        products=products,
        sessions=sessions,
        categories=categories,
        seed=seed,
        overwrite=True,
        progress=terminal,
    )
    say("2/5  its data")
    data = read_data(market)
    tell(str(check_data(data, progress=terminal)) + "\n")
    say("3/5  three encoders and the intermediate fusion")
    recommender = Recommender(seed=seed).fit(data.catalog, data.clicks, store=out / "store", progress=terminal)
    common.report_runs(recommender.runs_)
    say(f"     bundle: {recommender.save(bundle)}\n")
    say("4/5  neighbours of a few products, and what each modality adds to the similarity")
    shown = _examples(recommender)
    for product_id in shown[:4]:
        tell(common.neighbor_table(recommender, recommender.similar(product_id, 5)) + "\n")
    say("5/5  the clustering protocol")
    table = clustering_table(
        recommender.embeddings_, data.catalog.categories, sample=sample, seed=seed, progress=terminal
    )
    tell(f"simulated market: {table}\n")
    write_gallery(
        page,
        recommender,
        shown,
        title="Similar products on a simulated market",
        note="The market is simulated: products, pictures and clicks are drawn from a model; a drawn shape stands "
        "for a category and does not depict it.",
        table=table,
    )
    tell(f"page with pictures: {page.resolve().as_uri()}")
    tell(f"ask for more:       trimodal similar {bundle} {shown[0]} -k 15 --json")
    if json:
        common.print_json(
            {
                "page": str(page),
                "bundle": str(bundle),
                "similar": [recommender.similar(product_id, 5).to_dict() for product_id in shown],
                "clustering": table.to_dict(),
            }
        )
    if show:
        webbrowser.open(page.resolve().as_uri())


def _examples(recommender: Recommender, count: int = 8) -> list[str]:
    """Products of different categories that have every modality, and one that nobody has clicked."""
    states = np.column_stack([e.state for e in recommender.embeddings_.values()])
    seen: dict[str | None, str] = {}
    for i in np.flatnonzero((states > 0).all(1)).tolist():
        seen.setdefault(recommender.catalog_.categories[i], recommender.catalog_.ids[i])
        if len(seen) == count:
            break
    cold = np.flatnonzero((states > 0).any(1) & ~(states > 0).all(1)).tolist()
    shown = list(seen.values())
    return shown[:3] + [recommender.catalog_.ids[i] for i in cold[:1]] + shown[3:]
