"""Systems that predict clicks, a file each, under the contract of `base.py`; chosen by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...errors import ParameterError, check_choice
from ..batches import ModelInputs
from .base import CtrModel
from .deepfm import DeepFM
from .din import DIN
from .fm import FM
from .gmmf import GMMF
from .item_only import ItemOnly
from .lmf import LMF
from .lr import LR
from .marn import MARN
from .mtfn import MTFN
from .naml import NAML
from .youtubenet import YoutubeNet

MODELS: dict[str, type[CtrModel]] = {
    model.name: model for model in (LR, FM, DeepFM, YoutubeNet, DIN, LMF, MTFN, NAML, MARN, GMMF)
}
"""All systems by name, in the order of the GMMF paper's Table 2."""

_BUILDABLE: dict[str, type[CtrModel]] = {**MODELS, ItemOnly.name: ItemOnly}


def options(name: str) -> dict[str, Any]:
    """A system's options with their defaults, as JSON holds them (a tuple is a list).

    Raises
    ------
    ParameterError
        There is no such system.
    """
    check_choice("model", name, tuple(_BUILDABLE))
    parameters = list(inspect.signature(_BUILDABLE[name]).parameters.values())[1:]
    return {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in parameters}


def build(name: str, inputs: ModelInputs, **choices: Any) -> CtrModel:
    """A new system by name, with options other than its defaults.

    Raises
    ------
    ParameterError
        There is no such system, or it has no such option, or an option has a value that it cannot have.
    """
    known = options(name)
    for option in choices:
        if option not in known:
            raise ParameterError(f"model {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}.")
    make: Callable[..., CtrModel] = _BUILDABLE[name]
    return make(inputs, **choices)
