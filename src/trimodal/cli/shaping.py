"""What shaped lists need on the command line: evaluate shaping, and the settings from `similar`'s options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..clicks import MAX_CLICKS, MIN_CLICKS
from ..errors import ParameterError, check_int
from ..rejections import MAX_REJECTED
from . import common, evaluate
from .common import print_json, terminal
from .held_out import HeldOut, Modalities, Questions, held_out_data

if TYPE_CHECKING:
    from ..shaping import Shaping

PANEL = "Shaping"

MaxPerGroup = Annotated[
    int | None, typer.Option(metavar="N", help="At most N products of one group_id.", rich_help_panel=PANEL)
]
OtherGroups = Annotated[
    bool, typer.Option("--other-groups", help="No other product of ID's own group_id.", rich_help_panel=PANEL)
]
MaxPerDuplicate = Annotated[
    int | None, typer.Option(metavar="N", help="At most N near-duplicates.", rich_help_panel=PANEL)
]
DuplicateDistance = Annotated[
    float | None,
    typer.Option(metavar="X", help="Distance up to which products are near-duplicates; 0.05 if not given.",
                 rich_help_panel=PANEL),
]  # fmt: skip
Diversity = Annotated[
    float,
    typer.Option(metavar="X", help="0 (plain) to 1: 1 - lambda of maximal marginal relevance.", rich_help_panel=PANEL),
]
Pool = Annotated[
    int | None,
    typer.Option(metavar="N", help="Diversity chooses from the N nearest; 10 k if not given.", rich_help_panel=PANEL),
]
Category = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this category. Repeatable.", rich_help_panel=PANEL)
]
NotCategory = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Not this category. Repeatable.", rich_help_panel=PANEL)
]
SameCategory = Annotated[bool, typer.Option("--same-category", help="Only ID's category.", rich_help_panel=PANEL)]
Brand = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this brand. Repeatable.", rich_help_panel=PANEL)
]
PriceFrom = Annotated[float | None, typer.Option(metavar="X", help="Lowest price.", rich_help_panel=PANEL)]
PriceTo = Annotated[float | None, typer.Option(metavar="X", help="Highest price.", rich_help_panel=PANEL)]
PriceTimesFrom = Annotated[
    float | None, typer.Option(metavar="X", help="Lowest price, as a multiple of ID's.", rich_help_panel=PANEL)
]
PriceTimesTo = Annotated[
    float | None, typer.Option(metavar="X", help="Highest price, as a multiple of ID's.", rich_help_panel=PANEL)
]


def register(app: typer.Typer) -> None:
    """Add the command to the group of `evaluate`; the application itself gets none."""
    evaluate.group.command()(shaping)


def bounds(low: float | None, high: float | None) -> tuple[float | None, float | None] | None:
    """Two options as one setting; None where neither was given."""
    return None if low is None and high is None else (low, high)


def asked(settings: Shaping, k: int) -> Shaping | None:
    """The settings if they shape anything, checked against the length of the list; None: the plain list."""
    settings.first_pool(check_int("-k", k, low=1))
    return settings if settings.filters or settings.chooses else None


def shaping(
    folder: common.DataFolder,
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 15,
    duplicate_distance: Annotated[
        float | None,
        typer.Option(metavar="X", help="Distance up to which products are near-duplicates; 0.05 if not given."),
    ] = None,
    held_out: HeldOut = 0.2,
    questions: Questions = 20000,
    modalities: Modalities = None,
    click_option: common.ClickOption = None,
    vectors: common.Vectors = None,
    min_clicks: common.MinClicks = MIN_CLICKS,
    max_clicks: common.MaxClicks = MAX_CLICKS,
    max_rejected: common.MaxRejected = MAX_REJECTED,
    seed: common.Seed = 0,
    json: common.Json = False,
) -> None:
    """What shaping the lists costs in hits and gives in variety, on the last sessions.

    Compares plain lists with: one offer of a group, one of near-duplicates, maximal marginal relevance, the same
    category, prices of half to twice. What the data do not have is left out, and said so.

    Example: trimodal evaluate shaping shop/ -k 15 --click-option epochs=20
    """
    from ..evaluation.shaping import evaluate_shaping
    from ..shaping import DUPLICATE_DISTANCE, Facts

    check_int("-k", k, low=1)
    near = DUPLICATE_DISTANCE if duplicate_distance is None else duplicate_distance
    if not 0 <= near <= 2:
        raise ParameterError(f"--duplicate-distance == {near}, must be in [0, 2].")
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
    recommender = held.recommender
    report = evaluate_shaping(
        recommender.fusion_,
        Facts.of(recommender.catalog_),
        held.questions,
        k=k,
        duplicate_distance=near,
        seed=seed,
        progress=terminal,
    )
    if json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))
