"""Commands that look into trained models: ctr explain, ctr robustness."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError, ParameterError, check_choice
from . import common, ctr_data
from .common import print_json, say, terminal

if TYPE_CHECKING:
    from ..ctr.data import CtrData
    from ..ctr.features import ItemFeatures
    from ..ctr.models.base import CtrModel

Part = Annotated[str, typer.Option(help="Part of the data to look at: train, valid or test.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `ctr`."""
    for command in (explain, robustness):
        group.command()(command)


def explain(
    folder: ctr_data.Prepared,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `trimodal ctr train` wrote.")],
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the heat map, the paper's Figure 4: .png or .svg.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the numbers: .json, or .parquet with single items."),
    ] = None,
    by: Annotated[
        str, typer.Option(help="What the heat map shows: loss, removal, auc, and of GMMF's gate: share, gate.")
    ] = "loss",
    level: Annotated[str, typer.Option(help="Rows of the heat map: categories or items.")] = "categories",
    rows: Annotated[int, typer.Option(help="At most so many rows in the heat map.")] = 24,
    part: Part = "test",
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Show how much each modality counts, per category and item, and whether the gates say so faithfully.

    Every measure is held against what happens when a modality is taken away.

    Example: trimodal ctr explain prepared/ model/ --figure heat.png
    """
    ctr_data.check_torch("looking into a model")
    from ..ctr.batches import Tables
    from ..ctr.heat_map import draw_heat_map
    from ..ctr.importance import MEASURES
    from ..ctr.interpretation import explain as explained
    from ..ctr.prepared import read_prepared

    check_choice("--by", by, tuple(MEASURES))
    check_choice("--level", level, ("categories", "items"))
    for option, file, suffixes in (("--figure", figure, (".png", ".svg")), ("--out", out, (".json", ".parquet"))):
        if file is not None and (file.suffix not in suffixes or not file.parent.is_dir()):
            raise ParameterError(f"{option} {file}, must be a {' or '.join(suffixes)} file in a folder that is there.")
    if (level, by) == ("items", "auc"):
        raise ParameterError("--by auc: single items have no AUC; give --level categories, or --by loss.")
    data, features = read_prepared(folder)
    trained, longest = _model_of(model, data, features)
    if by in ("gate", "share") and getattr(trained, "gates", None) is None:
        raise ParameterError(f"--by {by}: {model} has no gate; give --by loss, removal or auc.")
    found = explained(trained, Tables(data, features, max_history=longest), data, part=part, seed=seed)
    if figure is not None:
        draw_heat_map(figure, found, by=by, level=level, rows=rows, seed=seed)
        say(f"heat map: {figure}")
    if out is not None:
        found.write(out)
        say(f"numbers: {out}")
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))


def robustness(
    folder: ctr_data.Prepared,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders that `trimodal ctr train` wrote, or NAME=FOLDER."),
    ],
    shares: Annotated[str, typer.Option(help="Shares of a modality's vectors to mask, comma-separated.")] = (
        "0,0.1,0.3,0.5,0.7"
    ),
    modalities: Annotated[str | None, typer.Option(help="Which to mask, one at a time.", show_default="all")] = None,
    seeds: Annotated[int, typer.Option(help="How many times the masked products are drawn.")] = 3,
    part: Part = "test",
    json: common.Json = False,
) -> None:
    """Score the test with ever more pictures or texts missing, of candidates and histories alike.

    Example: trimodal ctr robustness prepared/ model-gmmf/ model-din/
    """
    ctr_data.check_torch("scoring")
    from ..ctr.batches import Tables
    from ..ctr.prepared import read_prepared
    from ..ctr.robustness import robustness as measured

    masked = [common.number("--shares", text) for text in common.names(shares) or []]
    data, features = read_prepared(folder)
    folders = {text.partition("=")[0]: Path(text.rpartition("=")[2]) for text in models}
    trained = {name: _model_of(path, data, features) for name, path in folders.items()}
    lengths = {history for one, history in trained.values() if one.uses_history}
    if len(lengths) > 1:
        raise DataError(
            f"the models were trained with histories of {', '.join(map(str, sorted(lengths)))} clicks; give models of "
            "one length at a time."
        )
    found = measured(
        {name: model for name, (model, _) in trained.items()}, data,
        tables=Tables(data, features, max_history=max(lengths, default=1)), features=features, part=part,
        modalities=common.names(modalities), shares=masked, seeds=seeds, progress=terminal,
    )  # fmt: skip
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))


def _model_of(folder: Path, data: CtrData, features: ItemFeatures) -> tuple[CtrModel, int]:
    """A trained model and the length of its histories; refused unless it was trained on these data and features."""
    from ..ctr.ranker import Ranker

    ranker = Ranker.load(folder)
    if ranker.manifest["data"]["fingerprint"] != data.fingerprint:
        raise DataError(f"{folder} was trained on other data than these; give the folder that it was trained on.")
    noted = ranker.manifest["features"]
    # The scale to within rounding: another processor may sum in another order.
    if noted.keys() != features.vectors.keys() or not all(
        noted[name]["dimension"] == length
        and noted[name]["vectors"] == int(features.present[name].sum())
        and math.isclose(noted[name]["scale"], features.scales[name], rel_tol=1e-5)
        for name, length in features.dimensions.items()
    ):
        raise DataError(f"{folder} was trained with other vectors than those that the data were prepared with.")
    return ranker.model, int(ranker.manifest["settings"]["max_history"])
