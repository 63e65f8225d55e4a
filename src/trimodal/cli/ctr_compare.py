"""Commands that put systems side by side: ctr compare, ctr ablate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common, ctr_data
from .common import print_json, say, terminal

if TYPE_CHECKING:
    from ..ctr.comparison_table import ComparisonTable
    from ..ctr.training import TrainingSettings

Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder of runs; the same one resumes.")]
Seeds = Annotated[int, typer.Option(help="Runs of every system, with the seeds 0, 1, ...")]
Trials = Annotated[int, typer.Option(help="Tuning trials of every system, on validation; 0 for none.")]
Threads = Annotated[
    int | None, typer.Option(help="Processor threads to train with.", show_default="all that there are")
]
Markdown = Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write the table as Markdown as well.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `ctr`."""
    group.command()(compare)
    group.command()(ablate)


def compare(
    folder: ctr_data.DataOrPrepared,
    out: Out,
    recipe: ctr_data.Recipe = None,
    models: Annotated[str | None, typer.Option(help="Which, comma-separated.", show_default="all")] = None,
    seeds: Seeds = 5,
    trials: Trials = 6,
    epochs: ctr_data.Epochs = 30,
    patience: ctr_data.Patience = 2,
    batch_size: ctr_data.CtrBatch = 1024,
    learning_rate: ctr_data.Rate = 1e-3,
    max_history: ctr_data.MaxHistory = 50,
    monitor: ctr_data.Monitor = "",
    precision: ctr_data.Precision = "float32",
    compile_model: ctr_data.Compile = False,
    device: ctr_data.CtrDevice = "auto",
    threads: Threads = None,
    markdown: Markdown = None,
    json: common.Json = False,
) -> None:
    """Train all systems with several seeds and print the paper's Table 2, with controls, intervals and paired tests.

    Every system gets the same number of tuning trials over the same settings, on validation only.

    Every run is kept in OUT: a comparison that is stopped, even killed, goes on with the same command, and the command
    in a second terminal takes a share of the work.

    Example: trimodal ctr compare prepared/ -o runs/ --models youtubenet,din,gmmf --seeds 3
    """
    ctr_data.check_torch("comparing systems")
    from ..ctr.systems import check_models, compared

    chosen = check_models(common.names(models))
    settings = _settings(
        epochs=epochs, patience=patience, batch_size=batch_size, learning_rate=learning_rate,
        adversarial_rate=learning_rate / 10, max_history=max_history, monitor=monitor, precision=precision,
        compile=compile_model,
    )  # fmt: skip
    _check(out, markdown, seeds=seeds, trials=trials)
    _use_threads(threads)
    data, features = ctr_data.prepared_of(folder, recipe, out)
    from ..ctr.comparison import run_comparison

    table = run_comparison(
        compared(chosen, recipe=data.recipe, modalities=list(features.vectors)),
        data, features=features, out=out, settings=settings, seeds=seeds, trials=trials,
        device=ctr_data.device_of(device), progress=terminal,
    )  # fmt: skip
    _print(table, json, markdown)


def ablate(
    folder: ctr_data.DataOrPrepared,
    out: Out,
    recipe: ctr_data.Recipe = None,
    seeds: Seeds = 5,
    trials: Trials = 6,
    epochs: ctr_data.Epochs = 30,
    patience: ctr_data.Patience = 2,
    batch_size: ctr_data.CtrBatch = 1024,
    learning_rate: ctr_data.Rate = 1e-3,
    max_history: ctr_data.MaxHistory = 50,
    monitor: ctr_data.Monitor = "",
    precision: ctr_data.Precision = "float32",
    compile_model: ctr_data.Compile = False,
    device: ctr_data.CtrDevice = "auto",
    threads: Threads = None,
    markdown: Markdown = None,
    json: common.Json = False,
) -> None:
    """Train GMMF with its parts taken away and print the paper's Table 3, each row paired against the base.

    Takes the same OUT as `ctr compare`, and the runs of GMMF that are there.

    Example: trimodal ctr ablate prepared/ -o runs/ --seeds 3
    """
    ctr_data.check_torch("comparing systems")
    from ..ctr.systems import ablated

    settings = _settings(
        epochs=epochs, patience=patience, batch_size=batch_size, learning_rate=learning_rate,
        adversarial_rate=learning_rate / 10, max_history=max_history, monitor=monitor, precision=precision,
        compile=compile_model,
    )  # fmt: skip
    _check(out, markdown, seeds=seeds, trials=trials)
    _use_threads(threads)
    data, features = ctr_data.prepared_of(folder, recipe, out)
    from ..ctr.comparison import run_comparison

    table = run_comparison(
        ablated(recipe=data.recipe, modalities=list(features.vectors)), data,
        features=features, out=out, settings=settings, seeds=seeds, trials=trials, against="base",
        device=ctr_data.device_of(device), progress=terminal,
    )  # fmt: skip
    _print(table, json, markdown)


def _settings(**values: object) -> TrainingSettings:
    from ..ctr.training import TrainingSettings

    return TrainingSettings(**values)  # type: ignore[arg-type]


def _check(out: Path, markdown: Path | None, *, seeds: int, trials: int) -> None:
    from ..errors import ParameterError, check_int

    check_int("--seeds", seeds, low=1)
    check_int("--trials", trials, low=0)
    if out.exists() and not out.is_dir():
        raise ParameterError(f"--out {out}, must be a folder.")
    if markdown is not None and (markdown.is_dir() or not markdown.parent.is_dir()):
        raise ParameterError(f"--markdown {markdown}, must be a file in a folder that is there.")


def _use_threads(threads: int | None) -> None:
    from ..encoders.base import import_torch
    from ..errors import check_int

    if threads is not None:
        import_torch("training", "ctr").set_num_threads(check_int("--threads", threads, low=1))


def _print(table: ComparisonTable, json: bool, markdown: Path | None) -> None:
    from ..files import atomic

    if markdown is not None:
        with atomic(markdown) as temporary:
            temporary.write_text(table.markdown() + "\n", encoding="utf-8")
        say(f"table: {markdown}")
    if json:
        print_json(table.to_dict())
    else:
        typer.echo(str(table))
