"""Systems: the rows of a comparison, each a model with its options, or a control."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ParameterError, check_choice
from .controls import SCORES
from .models import MODELS
from .models.gmmf import ABLATIONS

MEANS = ("item mean", "item + user mean")
SAMPLED = ("din-2018",)
"""Recipes whose negatives are sampled, so that an item's share of clicks says nothing."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gmmf-match": ("gmmf", {"match": True, "merge": "sum"}),
    "gmmf-mean": ("gmmf", {"match": True, "merge": "sum", "pooling": "mean"}),
}
"""Systems of our own as settings of another one: its name and the options that differ from its defaults."""
NAMES = (*MODELS, *VARIANTS)
"""Every system that can be asked for by name."""


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


def system_named(name: str, options: Mapping[str, Any] | None = None) -> System:
    """A model or a variant by name, with options that differ from its defaults."""
    check_choice("model", name, NAMES)
    model, own = VARIANTS.get(name, (name, {}))
    return System(name, model, {**own, **(options or {})})


def check_models(models: Sequence[str] | None) -> list[str]:
    """The systems asked for, all for None; `ParameterError` for an unknown one, for one twice, and for none."""
    chosen = list(NAMES) if models is None else list(models)
    unknown = [name for name in chosen if name not in NAMES]
    if unknown or not chosen:
        raise ParameterError(f"models == {', '.join(unknown) or 'none'}, must be of {', '.join(NAMES)}.")
    if len(set(chosen)) < len(chosen):
        raise ParameterError(f"models == {','.join(chosen)}, a model stands there twice.")
    return chosen


def compared(models: Sequence[str] | None, *, recipe: str, modalities: Sequence[str]) -> list[System]:
    """The rows of Table 2: models and variants by name (None: all), then every control that the recipe allows.

    Raises
    ------
    ParameterError
        As for `check_models`.
    """
    chosen = check_models(models)
    rows = [system_named(name) for name in chosen]
    means = () if recipe in SAMPLED else MEANS
    rows += [System(name, "", control=True) for name in SCORES if name not in MEANS or name in means]
    # The shuffled rows take the system that the table is about, or the last one asked for.
    with_history = [row.name for row in rows if not row.control and MODELS[row.model].uses_history]
    about = "gmmf" if "gmmf" in chosen else next(reversed(with_history), "")
    rows.append(System("item only", "item-only", control=True))
    if about:
        same = system_named(about)
        kinds = ("history", "modality") if modalities else ("history",)
        rows += [
            replace(same, name=f"{about}, shuffled {kind}", control=True, shuffled=kind, tuned_as=about)
            for kind in kinds
        ]
    return rows


def is_baseline(system: System) -> bool:
    """Whether a row is one that GMMF and its variants are held against."""
    return not system.control and system.model != "gmmf"


def ablated(*, recipe: str, modalities: Sequence[str]) -> list[System]:
    """The eight rows of Table 3, GMMF last, then the controls of Table 2; GMMF and controls share its runs."""
    rows = [System(name, "gmmf", options) for name, options in ABLATIONS.items() if name != "gmmf"]
    return rows + compared(["gmmf"], recipe=recipe, modalities=modalities)
