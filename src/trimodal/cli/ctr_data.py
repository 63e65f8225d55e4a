"""What the commands of click-through prediction share: their options, prepared data and encoded features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from filelock import FileLock

from ..errors import DataError, ParameterError
from . import common
from .common import say, terminal

if TYPE_CHECKING:
    from ..ctr.data import CtrData
    from ..ctr.features import ItemFeatures
    from ..embeddings import Embedding
    from ..ids import ProductIds

Modalities = Annotated[
    str | None,
    typer.Option(help="Which of text and image to encode, comma-separated.", show_default="those that are there"),
]
CtrVectors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE",
        help="Features of items: .parquet, .npy with its ids beside it, or Amazon's .b. Repeatable.",
    ),
]
TextEncoder = Annotated[str, typer.Option("--text", help="Text encoder, as in `trimodal fit`.")]
ImageEncoder = Annotated[str, typer.Option("--image", help="Image encoder, as in `trimodal fit`.")]
Prepared = Annotated[
    Path,
    typer.Argument(metavar="PREPARED", help="A folder that `trimodal ctr prepare` wrote."),
]
DataOrPrepared = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="A folder that `trimodal ctr prepare` wrote, or a data folder with --recipe."),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="din-2018 or temporal: prepare DATA with its defaults first, into OUT/prepared."),
]
Epochs = Annotated[int, typer.Option(help="At most so many passes over the training events.")]
CtrBatch = Annotated[int, typer.Option("--batch-size", help="Events per step.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Adam's rate; the paper's is 1e-4.")]
MaxHistory = Annotated[int, typer.Option(help="Clicks of a history that are used, the latest ones.")]
Patience = Annotated[int, typer.Option(help="Stop after so many epochs without a better validation value.")]
Monitor = Annotated[
    str, typer.Option(help="Validation metric to watch, such as auc_user.", show_default="the recipe's own")
]
Precision = Annotated[str, typer.Option(help="float32, or bfloat16 for mixed precision.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the model; worth it on a GPU.")]
CtrDevice = Annotated[str, typer.Option("--device", help="Where models are trained: auto, cpu or cuda.")]


def embeddings_of(
    folder: Path,
    ids: ProductIds,
    *,
    modalities: str | None,
    vectors: list[str] | None,
    store: Path | None,
    encoders: dict[str, Any],
    max_rejected: float,
    encoding: str,
) -> dict[str, Embedding]:
    """Read the features given as files, and encode titles and pictures where there are any and none were given."""
    from ..catalog import Catalog
    from ..ctr.feature_files import read_features
    from ..ctr.features import check_modality
    from ..encoders.shelf import EncoderShelf

    found: dict[str, Embedding] = {}
    for name, file in common.pairs("--vectors", vectors).items():
        check_modality(name)
        found[name] = read_features(name, Path(file), ids)
        say(f"{name}: {len(found[name].vectors):,} of {len(ids):,} products have a vector in {file}")
    catalog = Catalog.read(folder, encoding=encoding, max_rejected=max_rejected)
    values = {"text": catalog.titles, "image": catalog.images}
    wanted = common.names(modalities)
    for name in wanted or []:
        if name not in values:
            raise ParameterError(
                f"--modalities {name}, must be of text, image; others come with --vectors {name}=FILE."
            )
    if wanted is None:
        wanted = [name for name, column in values.items() if any(column)]
    shelf = EncoderShelf(**encoders)
    for name in wanted:
        if name not in found:
            run = shelf.encode(name, catalog, store=common.store_of(folder, store), progress=terminal)
            common.report_runs({name: run})
            if len(run.embedding.vectors):
                found[name] = run.embedding
            else:
                say(f"warning: no product has a vector in {name}; it is left out")
    if not found:
        raise DataError(f"{folder} has no titles and no pictures; give features: --vectors NAME=FILE.")
    return {name: found[name] for name in sorted(found)}


def prepared_of(folder: Path, recipe: str | None, out: Path) -> tuple[CtrData, ItemFeatures]:
    """Read prepared data; a data folder is prepared first, once, into `out`/prepared."""
    from ..ctr.prepared import is_prepared, read_prepared, write_prepared
    from ..ctr.recipes import RECIPES, din_2018, temporal
    from ..ctr.source import VisitorEvents
    from ..errors import check_choice

    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.")
    if is_prepared(folder):
        data, features = read_prepared(folder)
        if recipe is not None and recipe != data.recipe:
            raise ParameterError(f"--recipe {recipe}: {folder} was prepared by {data.recipe}; prepare the data again.")
        return data, features
    if recipe is None:
        raise ParameterError(
            f"{folder} is not prepared; prepare it: trimodal ctr prepare, or give --recipe din-2018 or temporal."
        )
    check_choice("--recipe", recipe, RECIPES)
    made = out / "prepared"
    made.mkdir(parents=True, exist_ok=True)
    source = VisitorEvents.read(folder)
    with FileLock(made / ".lock"):  # a second terminal waits, and takes what the first one made
        if is_prepared(made):
            data, features = read_prepared(made)
            if data.recipe == recipe and dict(data.manifest["inputs"]) == dict(source.inputs):
                return data, features
            raise DataError(f"{made} was made from other data or by another recipe; remove it or give another --out.")
        data = (din_2018 if recipe == "din-2018" else temporal)(source)
        encoders = {"text": "use-multilingual", "image": "efficientnet-lite0"}
        embeddings = embeddings_of(
            folder, data.items, modalities=None, vectors=None, store=None, encoders=encoders,
            max_rejected=0.1, encoding="utf-8",
        )  # fmt: skip
        write_prepared(made, data, embeddings)
        return read_prepared(made)


def check_torch(what: str) -> None:
    """Raise `MissingExtraError` where PyTorch is not installed, before anything imports it."""
    from ..encoders.base import import_torch

    import_torch(what, "ctr")


def device_of(name: str) -> str:
    """The device that a name stands for: `auto` is a GPU where there is one."""
    from ..encoders.base import resolve_device

    return str(resolve_device(name, "training")[0])
