"""Commands of click-through prediction that make data: ctr simulate, ctr prepare, ctr convert-amazon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ParameterError, check_choice
from ..rejections import MAX_REJECTED
from . import common, ctr_compare, ctr_explain, ctr_model
from .common import print_json, say, terminal
from .ctr_data import CtrVectors, ImageEncoder, Modalities, TextEncoder, embeddings_of

group = typer.Typer(help="Predict clicks of visitors with a history.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    ctr_compare.register(group)
    ctr_model.register(group)
    ctr_explain.register(group)
    app.add_typer(group, name="ctr")


@group.callback()
def _group() -> None:
    """Predict clicks of visitors with a history."""


@group.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DATA", help="Folder to write; it must not hold anything yet.")],
    items: Annotated[int, typer.Option(help="Products.")] = 600,
    users: Annotated[int, typer.Option(help="Visitors.")] = 800,
    events_per_user: Annotated[int, typer.Option(help="Different products that each visitor is shown.")] = 40,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Write a simulated market whose visitors like some categories by picture, some by text, some by the product.

    Writes products.csv, clicks.csv with labels, vectors/text.parquet and vectors/image.parquet, and truth.json with
    what was planted.

    Example: trimodal ctr simulate taste/ --seed 1
    """
    from ..datasets.taste import simulate_taste

    market = simulate_taste(items, users, events_per_user=events_per_user, seed=seed)
    market.write(folder)
    if json:
        print_json({"products": market.products.height, "events": market.clicks.height, "folder": str(folder)})
        return
    typer.echo(f"a simulated market: {market.products.height:,} products, {market.clicks.height:,} events -> {folder}")
    vectors = " ".join(f"--vectors {name}={folder}/vectors/{name}.parquet" for name in market.vectors)
    say(f"prepare it with: trimodal ctr prepare {folder} -o PREPARED --recipe temporal {vectors}")


@group.command()
def prepare(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder with products.* and clicks.* with user_id, and label or rating if any.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PREPARED", help="Folder to write.")],
    recipe: Annotated[str, typer.Option(help="din-2018 or temporal.")],
    sample_users: Annotated[int | None, typer.Option(help="din-2018: keep so many visitors, drawn at random.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="temporal: smallest rating that is a click.", show_default="4")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="temporal: user, split each visitor's events; time, all at one moment.", show_default="user"),
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="temporal: share of the events, the last ones, to test on.", show_default="0.2")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="temporal: share of those before them to validate on.", show_default="0.1"),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="temporal: clicks that an event sees: running, all before it; frozen, those of training alone.",
            show_default="running",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="din-2018: seed of all that is drawn.", show_default="0")] = None,
    modalities: Modalities = None,
    vectors: CtrVectors = None,
    text: TextEncoder = "use-multilingual",
    image: ImageEncoder = "efficientnet-lite0",
    store: common.Store = None,
    device: common.Device = "auto",
    batch_size: common.BatchSize = None,
    allow_private_urls: common.PrivateUrls = False,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    encoding: common.Encoding = "utf-8",
    json: common.Json = False,
) -> None:
    """Turn events of visitors into training, validation and test parts by a recipe, and encode what they saw.

    din-2018: every event is a click and gets one random negative; a visitor's last click is the test, the one before
    it the validation. temporal: events have a label of 0 or 1, or a rating; the last ones are the test. Titles and
    pictures are encoded as by `trimodal embed`; features of your own come with --vectors.

    Example: trimodal ctr prepare shop/ -o prepared/ --recipe temporal --by time
    """
    from ..ctr.manifest import described
    from ..ctr.prepared import check_place, write_prepared
    from ..ctr.recipes import RECIPES, din_2018, temporal
    from ..ctr.source import VisitorEvents

    check_choice("--recipe", recipe, RECIPES)
    own: dict[str, dict[str, Any]] = {
        "din-2018": {"seed": seed, "sample_users": sample_users},
        "temporal": {"threshold": threshold, "by": by, "test": test, "validation": validation, "history": history},
    }
    for other, options in own.items():
        stray = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
        if other != recipe and stray:
            raise ParameterError(f"{', '.join(stray)}: an option of the recipe {other}, not of {recipe}; leave it out.")
    if out.exists() and not out.is_dir():
        raise ParameterError(f"--out {out}, must be a folder.")
    check_place(out)
    given = {name: value for name, value in own[recipe].items() if value is not None}
    source = VisitorEvents.read(folder, encoding=encoding, max_rejected=max_rejected)
    data = (din_2018 if recipe == "din-2018" else temporal)(source, **given)
    shelf = {"text": text, "image": image, "device": device, "batch_size": batch_size}
    embeddings = embeddings_of(
        folder, data.items, modalities=modalities, vectors=vectors, store=store,
        encoders={**shelf, "allow_private_urls": allow_private_urls}, max_rejected=max_rejected, encoding=encoding,
    )  # fmt: skip
    write_prepared(out, data, embeddings)
    if json:
        print_json(dict(data.manifest))
    else:
        typer.echo(described(data.manifest))


@group.command("convert-amazon")
def convert_amazon(
    reviews: Annotated[Path, typer.Argument(metavar="REVIEWS", help="Reviews: .json.gz or .jsonl.gz, or unpacked.")],
    meta: Annotated[Path, typer.Argument(metavar="META", help="Metadata of the same category and release.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DATA", help="Folder to write.")],
    max_rejected: common.MaxRejected = MAX_REJECTED,
    json: common.Json = False,
) -> None:
    """Convert Amazon reviews and metadata (releases of 2014, 2018 and 2023) to a data folder.

    Writes products.parquet, with the products that are reviewed, and clicks.parquet. Files are streamed, and lines
    that cannot be used are counted by reason.

    Example: trimodal ctr convert-amazon reviews_Electronics_5.json.gz meta_Electronics.json.gz -o electronics/
    """
    from ..datasets.amazon import convert

    done = convert(reviews, meta, out, max_rejected=max_rejected, progress=terminal)
    if json:
        print_json(done.to_dict())
        return
    typer.echo(str(done))
    say(f"prepare it with: trimodal ctr prepare {out} -o PREPARED --recipe din-2018")
