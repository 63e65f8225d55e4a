"""Commands that change or describe a bundle: refresh, add, remove, rollback, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import DataError
from ..rejections import MAX_REJECTED
from . import common
from .common import print_json, say, terminal


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (refresh, add, remove, rollback, info):
        app.command()(command)


def refresh(
    bundle: common.BundleFolder,
    clicks: Annotated[Path, typer.Argument(metavar="CLICKS", help="A clicks file, or a folder that holds clicks.*.")],
    min_coverage: Annotated[
        float,
        typer.Option(help="Refuse if fewer than this share of the products with a click vector keep one."),
    ] = 0.5,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    encoding: common.Encoding = "utf-8",
    json: common.Json = False,
) -> None:
    """Train the click encoder on new sessions and publish; titles and pictures are not encoded again.

    Example: trimodal refresh shop.bundle this-month/clicks.parquet
    """
    from ..clicks import ClickLog
    from ..recommender import Recommender
    from ..tables import find_table

    recommender = Recommender.load(bundle)
    path = find_table(clicks, "clicks") if clicks.is_dir() else clicks
    if path is None:
        raise DataError(f"{clicks} holds no clicks.csv, clicks.jsonl or clicks.parquet.")
    log = ClickLog.read(
        path,
        recommender.catalog_.ids,
        min_clicks=min_clicks,
        max_clicks=max_clicks,
        max_rejected=max_rejected,
        encoding=encoding,
    )
    if log.rejections.total:
        say(f"{log.rejections.total:,} clicks were rejected, most often: {log.rejections.worst(path.name)}")
    recommender.refresh(log, min_coverage=min_coverage, progress=terminal)
    _published(recommender.save(bundle), json, f"{len(log):,} sessions", sessions=len(log))


def add(
    bundle: common.BundleFolder,
    products: Annotated[Path, typer.Argument(metavar="PRODUCTS", help="A products file, or a folder that holds one.")],
    vectors: common.Vectors = None,
    store: common.Store = None,
    device: common.Device = "auto",
    allow_private_urls: common.PrivateUrls = False,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    encoding: common.Encoding = "utf-8",
    json: common.Json = False,
) -> None:
    """Add products, or replace those of the same id, and publish; they have neighbours at once.

    Example: trimodal add shop.bundle new/products.csv
    """
    from ..catalog import Catalog
    from ..recommender import Recommender

    recommender = Recommender.load(bundle, device=device)
    recommender.allow_private_urls = allow_private_urls
    catalog = Catalog.read(products, encoding=encoding, max_rejected=max_rejected)
    before = len(recommender.catalog_)
    recommender.add(
        catalog,
        vectors=common.read_vectors(vectors, catalog.ids),
        store=common.store_of(products, store),
        progress=terminal,
    )
    common.report_runs(recommender.runs_)
    rejected = catalog.rejections
    if rejected.total:
        say(f"{rejected.total:,} rows or values were rejected; `trimodal check` lists them:")
        for _, reason, n in rejected.reasons():
            say(f"  {n:,} {reason}")
    if any(catalog.images) and "image" not in recommender.embeddings_:
        say("warning: this bundle has no image modality, so the pictures of these products are not used")
    common.warn_of_gaps(recommender)
    new = len(recommender.catalog_) - before
    text = f"{new:,} products added, {len(catalog) - new:,} replaced"
    counts = {"added": new, "replaced": len(catalog) - new, "rejected": rejected.total}
    _published(recommender.save(bundle), json, text, **counts)


def remove(
    bundle: common.BundleFolder,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Products to remove.")],
    json: common.Json = False,
) -> None:
    """Remove products and publish.

    Example: trimodal remove shop.bundle 4711 4712
    """
    from ..recommender import Recommender

    ids = list(dict.fromkeys(ids))
    recommender = Recommender.load(bundle).remove(ids)
    _published(recommender.save(bundle), json, f"{len(ids):,} products removed", removed=len(ids))


def rollback(bundle: common.BundleFolder, json: common.Json = False) -> None:
    """Make the version before the current one current again.

    Example: trimodal rollback shop.bundle
    """
    from .. import bundle as bundles

    _published(bundles.rollback(bundle), json, "rolled back")


def info(bundle: common.BundleFolder, json: common.Json = False) -> None:
    """Say what a bundle holds, and check its files.

    Example: trimodal info shop.bundle
    """
    from .. import bundle as bundles

    version = bundles.current(bundle)
    manifest = bundles.verify(version)
    if json:
        print_json({"version": version.name, "versions": bundles.versions(bundle)} | manifest)
        return
    typer.echo(f"{version}, made {manifest['created']}; every checksum is right")
    typer.echo(f"  versions there: {', '.join(bundles.versions(bundle))}")
    typer.echo(
        f"  {manifest['products']:,} products, {manifest['clicks']:,} clicks, {manifest['fusion']['strategy']} fusion"
    )
    for name, m in manifest["modalities"].items():
        typer.echo(f"  {name:<12}{m['known']:>10,} known, {m['missing']:,} missing, {m['dimension']}-d, {m['encoder']}")


def _published(version: Path, json: bool, text: str, **counts: int) -> None:
    if json:
        print_json({"bundle": str(version.parent), "version": version.name, **counts})
    else:
        typer.echo(f"{text} -> {version}")
