"""What commands that judge on later sessions share: their options, and the data fitted on the earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError
from . import common
from .common import say, terminal

if TYPE_CHECKING:
    from ..clicks import ClickLog
    from ..evaluation.retrieval import NextClicks
    from ..recommender import Recommender

HeldOut = Annotated[float, typer.Option(help="Share of the sessions, the last ones, to ask about.")]
Questions = Annotated[int, typer.Option(help="At most so many questions.")]
Modalities = Annotated[str | None, typer.Option(help="Which to use, comma-separated.", show_default="all")]


@dataclass(frozen=True)
class HeldOutData:
    """A recommender fitted on the earlier sessions, these sessions, and questions about the later ones."""

    recommender: Recommender
    train: ClickLog
    questions: NextClicks


def held_out_data(
    folder: Path,
    share: float,
    questions: int,
    *,
    modalities: str | None,
    click_option: list[str] | None,
    vectors: list[str] | None,
    limits: tuple[int, int],
    max_rejected: float,
    seed: int,
) -> HeldOutData:
    """Read a data folder, hold out its last sessions, and fit on the rest."""
    from ..data import read_data
    from ..evaluation.retrieval import NextClicks
    from ..recommender import Recommender

    data = read_data(folder, min_clicks=limits[0], max_clicks=limits[1], max_rejected=max_rejected)
    if data.clicks is None or len(data.clicks) < 2:
        raise DataError(f"{folder} has no clean sessions to hold out.")
    train, later = data.clicks.split(share)
    recommender = Recommender(
        modalities=common.names(modalities), click_parameters=common.click_parameters(click_option), seed=seed
    )
    given = common.read_vectors(vectors, data.catalog.ids)
    recommender.fit(data.catalog, train, vectors=given, store=common.store_of(folder, None), progress=terminal)
    common.report_runs(recommender.runs_)
    say(f"trained on {len(train):,} sessions, asking about {len(later):,} later ones")
    return HeldOutData(recommender, train, NextClicks.of(later, limit=questions, seed=seed))
