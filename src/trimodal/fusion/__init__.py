"""Fusion strategies: how the distances of several modalities become one."""

from __future__ import annotations

from inspect import signature
from typing import Any

from ..errors import ParameterError
from .adaptive import AdaptiveFusion
from .base import Fusion, Neighbors
from .click_text import ClickText
from .covisit import CoVisitFusion
from .early import EarlyFusion
from .intermediate import IntermediateFusion
from .late import LateFusion

STRATEGIES: dict[str, type[Fusion]] = {
    cls.name: cls for cls in (EarlyFusion, IntermediateFusion, LateFusion, AdaptiveFusion, CoVisitFusion, ClickText)
}


def fusion_strategy(name: str, **settings: Any) -> Fusion:
    """Make a strategy by name. Raises `ParameterError` for an unknown name or setting."""
    if name not in STRATEGIES:
        raise ParameterError(f"fusion == {name!r}, must be one of {', '.join(STRATEGIES)}.")
    known = list(signature(STRATEGIES[name]).parameters)
    for setting in settings:
        if setting not in known:
            raise ParameterError(f"{setting!r} is no parameter of fusion {name}; it has: {', '.join(known) or 'none'}.")
    return STRATEGIES[name](**settings)


__all__ = [
    "STRATEGIES",
    "AdaptiveFusion",
    "ClickText",
    "CoVisitFusion",
    "EarlyFusion",
    "Fusion",
    "IntermediateFusion",
    "LateFusion",
    "Neighbors",
    "fusion_strategy",
]
