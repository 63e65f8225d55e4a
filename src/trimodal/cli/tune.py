"""Commands that choose settings on held-out clicks: tune weights."""

from __future__ import annotations

from typing import Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import check_int
from ..rejections import MAX_REJECTED
from . import common
from .common import print_json, terminal
from .held_out import HeldOut, Modalities, Questions, held_out_data

group = typer.Typer(help="Choose settings on held-out clicks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(group, name="tune")


@group.callback()
def _group() -> None:
    """Choose settings on held-out clicks, never on those that they are judged on."""


@group.command()
def weights(
    folder: common.DataFolder,
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    held_out: HeldOut = 0.3,
    questions: Questions = 10000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """Choose how much each modality counts in intermediate fusion.

    Trains on the earlier sessions, chooses on the first half of the later ones, and says on the second half what the
    weights gain over equal ones, with an interval. Give the weights to `trimodal fit --weight`.

    Example: trimodal tune weights shop/ --click-option epochs=20
    """
    from ..evaluation.weights import learn_weights

    check_int("k", k, low=1)
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
    found = learn_weights(held.recommender.embeddings_, held.train, held.questions, k=k, seed=seed, progress=terminal)
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))
