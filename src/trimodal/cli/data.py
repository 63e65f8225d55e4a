"""Commands about data: check, embed, simulate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..encoders.image import DEFAULT_IMAGE as IMAGE
from ..encoders.text import DEFAULT as TEXT
from ..rejections import MAX_REJECTED
from . import common
from .common import json_ready, print_json, say, terminal


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(check)
    app.command()(embed)
    app.command()(simulate)


def check(
    folder: common.DataFolder,
    json: common.Json = False,
    pictures: Annotated[bool, typer.Option(help="Decode every local picture.")] = True,
    fetch: Annotated[bool, typer.Option("--fetch", help="Also fetch and decode pictures behind URLs.")] = False,
    allow_private_urls: common.PrivateUrls = False,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = 1.0,
    encoding: common.Encoding = "utf-8",
) -> None:
    """Validate data: the paper's Table I, coverage per modality, and every rejected row with its reason.

    Example: trimodal check shop/ --json > report.json
    """
    from ..data import check_data, read_data

    data = read_data(folder, min_clicks=min_clicks, max_clicks=max_clicks, encoding=encoding, max_rejected=max_rejected)
    report = check_data(data, pictures=pictures, fetch=fetch, allow_private=allow_private_urls, progress=terminal)
    if json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


def embed(
    folder: common.DataFolder,
    modalities: Annotated[str, typer.Option(help="Which of text and image to encode.")] = "text,image",
    text: Annotated[str, typer.Option(help="Text encoder; see `trimodal fit --help`.")] = TEXT,
    image: Annotated[str, typer.Option(help="Image encoder; see `trimodal fit --help`.")] = IMAGE,
    store: common.Store = None,
    export: Annotated[Path | None, typer.Option("--export", "-o", help="Also write MODALITY.parquet here.")] = None,
    device: common.Device = "auto",
    batch_size: common.BatchSize = None,
    allow_private_urls: common.PrivateUrls = False,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    encoding: common.Encoding = "utf-8",
    json: common.Json = False,
) -> None:
    """Encode titles and pictures into the store, which `trimodal fit` then takes them from.

    Only what is new, changed or failed before is encoded; a run that was killed goes on where it stopped.
    Items that fail are listed in a ledger and never stop the run.

    Example: trimodal embed shop/ --image openai/clip-vit-base-patch32 --device cuda
    """
    from ..catalog import Catalog
    from ..encoders.shelf import EncoderShelf
    from ..errors import ParameterError, check_choice

    wanted = [check_choice("modalities", name, ("text", "image")) for name in common.names(modalities) or []]
    if not wanted:
        raise ParameterError("--modalities is empty, must be text, image or both.")
    shelf = EncoderShelf(text, image, device=device, batch_size=batch_size, allow_private_urls=allow_private_urls)
    catalog = Catalog.read(folder, encoding=encoding, max_rejected=max_rejected)
    runs = {}
    for name in wanted:
        runs[name] = shelf.encode(name, catalog, store=common.store_of(folder, store), progress=terminal)
        if export is not None:
            export.mkdir(parents=True, exist_ok=True)
            runs[name].embedding.write(export / f"{name}.parquet")
    if json:
        print_json(
            {
                name: {
                    "encoder": run.embedding.provenance.encoder,
                    "revision": run.embedding.provenance.revision,
                    "dimension": run.embedding.dimension,
                    "products": len(run.embedding.ids),
                    "known": len(run.embedding.vectors),
                    "encoded": run.encoded,
                    "reused": run.reused,
                    "failed": [
                        {"product_id": f.product_id, "value": f.value, "reason": f.reason} for f in run.failures
                    ],
                    "ledger": str(run.ledger),
                }
                for name, run in runs.items()
            }
        )
    else:
        common.report_runs(runs)


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must be new or empty.")],
    products: Annotated[int, typer.Option(help="How many products.")] = 1000,
    sessions: Annotated[int, typer.Option(help="How many sessions.")] = 10000,
    categories: Annotated[int, typer.Option(help="How many categories.")] = 20,
    seed: common.Seed = 0,
    pictures: Annotated[bool, typer.Option(help="Draw pictures.")] = True,
    vectors: Annotated[bool, typer.Option("--vectors", help="Also write ready-made text and image vectors.")] = False,
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "csv",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a simulated market that OUT holds.")] = False,
    json: common.Json = False,
) -> None:
    """Write a simulated market: products, pictures, clicks, and the truth behind them.

    Example: trimodal simulate market/ --products 2000 --sessions 20000 --categories 20 --seed 1
    """
    from ..datasets.simulate import simulate as write

    market = write(
        out,
        products=products,
        sessions=sessions,
        categories=categories,
        seed=seed,
        pictures=pictures,
        vectors=vectors,
        format=format,
        overwrite=overwrite,
        progress=terminal,
    )
    if json:
        print_json(json_ready(asdict(market)))
        return
    typer.echo(str(market))
    say(f"a simulated market; look at it with: trimodal check {out}")
