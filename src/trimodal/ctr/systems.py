"""Systems: the rows of a comparison, each a model with its options, or a control."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError
from .controls import SCORES
from .models import MODELS
from .models.gmmf import ABLATIONS

MEANS = ("item mean", "item + user mean")
SAMPLED = ("din-2018",)
"""Recipes whose negatives are sampled, so that an item's share of clicks says nothing."""


@dataclass(frozen=True)
class System:
    """A row of a comparison.

    Attributes
    ----------
    name
        What the table calls it.
    model
        Name of the model that is trained; empty for a control that needs none.
    options
        The model's options that are not the defaults.
    control
        Whether it is there to be beaten.
    shuffled
        `history` or `modality` where these are dealt to others, in training and in the test; else empty.
    tuned_as
        The system whose tuned settings it takes; itself if empty.
    """

    name: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False
    shuffled: str = ""
    tuned_as: str = ""

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def check_models(models: Sequence[str] | None) -> list[str]:
    """The models asked for, all for None; `ParameterError` for an unknown one, for one twice, and for none."""
    chosen = list(MODELS) if models is None else list(models)
    unknown = [name for name in chosen if name not in MODELS]
    if unknown or not chosen:
        raise ParameterError(f"models == {', '.join(unknown) or 'none'}, must be of {', '.join(MODELS)}.")
    if len(set(chosen)) < len(chosen):
        raise ParameterError(f"models == {','.join(chosen)}, a model stands there twice.")
    return chosen


def compared(models: Sequence[str] | None, *, recipe: str, modalities: Sequence[str]) -> list[System]:
    """The rows of Table 2: models by name (None: all), then every control that the recipe allows.

    Raises
    ------
    ParameterError
        As for `check_models`.
    """
    chosen = check_models(models)
    rows = [System(name, name) for name in chosen]
    means = () if recipe in SAMPLED else MEANS
    rows += [System(name, "", control=True) for name in SCORES if name not in MEANS or name in means]
    # The shuffled rows take the system that the table is about, or the last one asked for.
    about = "gmmf" if "gmmf" in chosen else next((m for m in reversed(chosen) if MODELS[m].uses_history), "")
    rows.append(System("item only", "item-only", control=True))
    if about:
        rows.append(System(f"{about}, shuffled history", about, control=True, shuffled="history", tuned_as=about))
        if modalities:
            rows.append(System(f"{about}, shuffled modality", about, control=True, shuffled="modality", tuned_as=about))
    return rows


def ablated() -> list[System]:
    """The eight rows of Table 3, GMMF last."""
    return [System(name, "gmmf", options) for name, options in ABLATIONS.items()]
