"""Commands on one model: ctr train, rank, recommend, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ParameterError
from . import common, ctr_data
from .common import print_json, say, terminal

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `trimodal ctr train` wrote.")]
Clicked = Annotated[
    str | None,
    typer.Option("--history", help="Products that the visitor clicked, oldest first, with commas."),
]
Visitor = Annotated[str | None, typer.Option(help="Id of the visitor, if training may have seen her.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `ctr`."""
    for command in (train, rank, recommend, export):
        group.command()(command)


def train(
    folder: ctr_data.Prepared,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder to write.")],
    model: Annotated[str, typer.Option(help="Which system, such as gmmf, gmmf-match or din.")] = "gmmf",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="The model's, such as dropout=0.3. Repeatable."),
    ] = None,
    epochs: ctr_data.Epochs = 30,
    patience: ctr_data.Patience = 3,
    batch_size: ctr_data.CtrBatch = 1024,
    learning_rate: ctr_data.Rate = 1e-3,
    adversarial_rate: Annotated[
        float | None,
        typer.Option(help="Rate of generator and discriminator.", show_default="a tenth of the other"),
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="Decoupled weight decay (AdamW).")] = 0.01,
    max_history: ctr_data.MaxHistory = 50,
    monitor: ctr_data.Monitor = "",
    precision: ctr_data.Precision = "float32",
    compile_model: ctr_data.Compile = False,
    device: ctr_data.CtrDevice = "auto",
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Train one system and write it with its encoded items, ready to rank without the data.

    The epoch is chosen on validation; the test part is measured once, at the end. A training that was stopped, even
    killed, goes on with the same command; another option begins another training. The log is MODEL.training/log.jsonl,
    beside events for TensorBoard where it is installed.

    Example: trimodal ctr train prepared/ -o model/ --model gmmf --option dropout=0.3
    """
    ctr_data.check_torch("training")
    from ..ctr.prepared import read_prepared
    from ..ctr.runs import train_ranker
    from ..ctr.systems import system_named
    from ..ctr.training import TrainingSettings

    if out.exists() and not out.is_dir():
        raise ParameterError(f"--out {out}, must be a folder.")
    settings = TrainingSettings(
        epochs=epochs, patience=patience, batch_size=batch_size, learning_rate=learning_rate,
        adversarial_rate=learning_rate / 10 if adversarial_rate is None else adversarial_rate,
        weight_decay=weight_decay, max_history=max_history, monitor=monitor, precision=precision,
        compile=compile_model, seed=seed,
    )  # fmt: skip
    options = _options(model, option)
    data, features = read_prepared(folder)
    done = train_ranker(
        system_named(model, options), out, data, features=features, settings=settings,
        device=ctr_data.device_of(device), progress=terminal,
    )  # fmt: skip
    if json:
        print_json(done)
        return
    typer.echo(
        f"{model}: best epoch {done['best_epoch']} of {done['epochs']}, {done['parameters']:,} parameters -> {out}"
    )
    for part in ("valid", "test"):
        shown = {key: value for key, value in done[part].items() if key.startswith(("auc", "logloss", "calibration"))}
        typer.echo(
            f"  {part:<6}" + "  ".join(f"{key} {value:.4f}" for key, value in shown.items() if value is not None)
        )


def rank(
    folder: Model,
    products: Annotated[list[str], typer.Argument(metavar="ID...", help="Products to rank.")],
    history: Clicked = None,
    visitor: Visitor = None,
    unknown: Annotated[str, typer.Option(help="A product that the model does not know: raise, or skip it.")] = "raise",
    json: common.Json = False,
) -> None:
    """Rank products by the probability that a visitor clicks them.

    Example: trimodal ctr rank model/ p1 p2 p3 --history p7,p9 --visitor v12
    """
    ctr_data.check_torch("ranking")
    from ..ctr.ranker import Ranker

    ranking = Ranker.load(folder).rank(products, common.names(history) or [], visitor=visitor, unknown=unknown)
    if json:
        print_json(ranking.to_dict())
    else:
        typer.echo(str(ranking))


def recommend(
    bundle: common.BundleFolder,
    folder: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `trimodal ctr train` wrote.")],
    history: Annotated[
        str, typer.Option("--history", help="Products that the visitor clicked, oldest first, with commas.")
    ],
    visitor: Visitor = None,
    candidates: Annotated[int, typer.Option(help="Products to rank: the fused neighbours of the last clicks.")] = 200,
    k: Annotated[int, typer.Option("-k", help="Products to show.")] = 15,
    json: common.Json = False,
) -> None:
    """Recommend to a visitor: candidates by the bundle's fused modalities, ranked by click probability.

    Example: trimodal ctr recommend shop.bundle model/ --history p7,p9
    """
    ctr_data.check_torch("ranking")
    from ..ctr.ranker import Ranker
    from ..ctr.rerank import recommend as recommended
    from ..recommender import Recommender

    found = recommended(
        Recommender.load(bundle), Ranker.load(folder), common.names(history) or [],
        visitor=visitor, candidates=candidates, k=k,
    )  # fmt: skip
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))


def export(
    folder: Model,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.onnx", help="File to write.")],
    json: common.Json = False,
) -> None:
    """Write a model's scoring as an ONNX graph, whose inputs are encoded items and a visitor's history.

    Example: trimodal ctr export model/ -o model.onnx
    """
    ctr_data.check_torch("exporting a model")
    from ..ctr.onnx_export import export_onnx
    from ..ctr.ranker import Ranker

    if not out.parent.is_dir() or out.is_dir():
        raise ParameterError(f"--out {out}, must be a file in a folder that is there.")
    names = export_onnx(Ranker.load(folder), out)
    if json:
        print_json({"file": str(out), "inputs": list(names)})
    else:
        typer.echo(f"{out}: inputs {', '.join(names)}; output probability")
        say(f"the encoded items are {folder / 'items.safetensors'}, the products' order is {folder / 'ids.json'}")


def _options(model: str, given: list[str] | None) -> dict[str, Any]:
    """Turn NAME=VALUE into the options of a model; values are JSON where they can be, else text."""
    import json

    from ..ctr.models import options
    from ..ctr.systems import system_named

    known = options(system_named(model).model)
    found: dict[str, Any] = {}
    for name, text in common.pairs("--option", given).items():
        if name not in known:
            raise ParameterError(f"--option {name}, must be of {', '.join(known) or 'none: it has no options'}.")
        try:
            if isinstance(known[name], float):
                found[name] = float(text)  # JSON has no .5
            else:
                found[name] = json.loads(text.lower() if isinstance(known[name], bool) else text)
        except ValueError:
            found[name] = text
    return found
