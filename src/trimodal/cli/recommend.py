"""Commands about similar products: fit, similar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..encoders.base import DEVICES
from ..encoders.image import DEFAULT_IMAGE as IMAGE
from ..encoders.text import DEFAULT as TEXT
from ..errors import ParameterError, check_choice
from ..rejections import MAX_REJECTED
from . import common
from . import shaping as shapes
from .common import print_json, say, terminal


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(fit)
    app.command()(similar)


def fit(
    folder: common.DataFolder,
    bundle: Annotated[Path, typer.Option("--out", "-o", metavar="BUNDLE", help="Bundle to publish.")],
    text: Annotated[
        str,
        typer.Option(
            help="Text encoder: use-multilingual (by pip), sentence-transformers/LaBSE or any other such model, "
            "cls:NAME for a BERT's CLS vector, or a local directory."
        ),
    ] = TEXT,
    image: Annotated[
        str,
        typer.Option(
            help="Image encoder: efficientnet-lite0 (by pip), openai/clip-vit-base-patch32 or any other CLIP, "
            "vgg16, or a local directory."
        ),
    ] = IMAGE,
    click: Annotated[str, typer.Option(help="Preset of Prod2Vec: paper.")] = "paper",
    click_option: common.ClickOption = None,
    fusion: Annotated[
        str, typer.Option(help="intermediate, early, late, adaptive, covisit or click-text.")
    ] = "intermediate",
    fusion_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Parameter of the strategy, such as covisits=4. Repeatable."),
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Which to use, comma-separated.", show_default="all that the data has")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Weight of a modality, 1 if not given. Repeatable."),
    ] = None,
    infer_clicks: Annotated[
        bool, typer.Option("--infer-clicks", help="Infer click vectors of products without clicks from the rest.")
    ] = False,
    vectors: common.Vectors = None,
    clusters: Annotated[int | None, typer.Option(help="Clusters of late fusion.", show_default="categories")] = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    batch_size: common.BatchSize = None,
    store: common.Store = None,
    allow_private_urls: common.PrivateUrls = False,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    encoding: common.Encoding = "utf-8",
    json: common.Json = False,
) -> None:
    """Encode, fuse, and publish a bundle that answers which products are alike.

    Example: trimodal fit shop/ -o shop.bundle --click-option epochs=20 --weight click=2
    """
    from ..bundle import check_target, read_manifest
    from ..data import read_data
    from ..recommender import Recommender

    recommender = Recommender(
        text=text,
        image=image,
        click=click,
        click_parameters=common.click_parameters(click_option),
        fusion=fusion,
        modalities=common.names(modalities),
        weights={n: common.number("--weight", v) for n, v in common.pairs("--weight", weight).items()},
        fusion_parameters={
            n: common.number("--fusion-option", v) for n, v in common.pairs("--fusion-option", fusion_option).items()
        },
        infer_clicks=infer_clicks,
        clusters=clusters,
        seed=seed,
        device=device,
        batch_size=batch_size,
        allow_private_urls=allow_private_urls,
    )
    check_target(bundle)
    data = read_data(folder, min_clicks=min_clicks, max_clicks=max_clicks, encoding=encoding, max_rejected=max_rejected)
    rejected = data.catalog.rejections.total + (data.clicks.rejections.total if data.clicks else 0)
    if rejected:
        say(f"{rejected:,} rows or values were rejected; `trimodal check` with the same options lists them")
    given = common.read_vectors(vectors, data.catalog.ids)
    recommender.fit(data.catalog, data.clicks, vectors=given, store=common.store_of(folder, store), progress=terminal)
    common.report_runs(recommender.runs_)
    common.warn_of_gaps(recommender)
    version = recommender.save(bundle)
    if json:
        print_json({"bundle": str(bundle), "version": version.name} | read_manifest(version))
    else:
        typer.echo(f"{recommender!r} -> {version}")
        for name, e in recommender.embeddings_.items():
            typer.echo(
                f"  {name:<12}{len(e.vectors):>10,} of {len(e.ids):,} products, {e.dimension}-d, {e.provenance.encoder}"
            )


def similar(
    bundle: common.BundleFolder,
    product_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A product of the catalogue.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 15,
    title: Annotated[str | None, typer.Option(help="Instead of ID: a title that is not in the catalogue.")] = None,
    image: Annotated[str | None, typer.Option(help="Instead of ID: a picture's path or URL.")] = None,
    all_products: Annotated[bool, typer.Option("--all", help="Neighbours of every product, into the file -o.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Parquet file for --all.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page with pictures.")] = None,
    max_per_group: shapes.MaxPerGroup = None,
    other_groups: shapes.OtherGroups = False,
    max_per_duplicate: shapes.MaxPerDuplicate = None,
    duplicate_distance: shapes.DuplicateDistance = None,
    diversity: shapes.Diversity = 0.0,
    pool: shapes.Pool = None,
    category: shapes.Category = None,
    not_category: shapes.NotCategory = None,
    same_category: shapes.SameCategory = False,
    brand: shapes.Brand = None,
    price_from: shapes.PriceFrom = None,
    price_to: shapes.PriceTo = None,
    price_times_from: shapes.PriceTimesFrom = None,
    price_times_to: shapes.PriceTimesTo = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Show the products most similar to one, with the share of each modality; or write those of all.

    Examples:

      trimodal similar shop.bundle 4711 -k 15 --json

      trimodal similar shop.bundle --title "red running shoes" --image shoe.jpg

      trimodal similar shop.bundle --all -o neighbours.parquet

      trimodal similar shop.bundle 4711 --max-per-group 1 --same-category --price-times-from 0.5 --price-times-to 2
    """
    from ..recommender import Recommender
    from ..shaping import Shaping

    ways = [product_id is not None, title is not None or image is not None, all_products]
    if sum(ways) != 1:
        raise ParameterError("give one of: a product id, --title and/or --image, or --all.")
    if all_products != (out is not None):
        raise ParameterError("--all and -o FILE go together.")
    if out is not None and out.suffix != ".parquet":
        raise ParameterError(f"-o {out} must end in .parquet, which is what is written.")
    if html is not None and product_id is None:
        raise ParameterError("--html goes with a product id.")
    check_choice("device", device, DEVICES)
    settings = Shaping(
        max_per_group=max_per_group,
        exclude_own_group=other_groups,
        max_per_duplicate=max_per_duplicate,
        duplicate_distance=duplicate_distance,
        diversity=diversity,
        pool=pool,
        categories=category or None,
        exclude_categories=not_category or (),
        same_category=same_category,
        price=shapes.bounds(price_from, price_to),
        relative_price=shapes.bounds(price_times_from, price_times_to),
        brands=brand or None,
    )
    shaping = shapes.asked(settings, k)
    # Sizes are enough here: hashing gigabytes for one answer is what `info` is for.
    recommender = Recommender.load(bundle, verify=False, device=device)
    if out is not None:
        rows = recommender.write_neighbors(out, k, shaping=shaping, progress=terminal)
        written = {"file": str(out), "products": len(recommender.catalog_), "rows": rows}
        if json:
            print_json(written)
        else:
            typer.echo(f"{rows:,} neighbours of {len(recommender.catalog_):,} products -> {out}")
        return
    result = (
        recommender.similar(product_id, k, shaping=shaping)
        if product_id is not None
        else recommender.similar_to(title=title, image=image, k=k, shaping=shaping)
    )
    if html is not None and product_id is not None:
        from ..evaluation.gallery import write_gallery

        write_gallery(html, recommender, [product_id], k=k, shaping=shaping)
        say(f"page: {html}")
    if json:
        print_json(result.to_dict())
    else:
        typer.echo(common.neighbor_table(recommender, result, shaped=shaping is not None))
