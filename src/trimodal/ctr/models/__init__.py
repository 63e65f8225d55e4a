"""Systems that predict clicks, a file each, under the contract of `base.py`; chosen by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from ...errors import ParameterError, check_choice, check_int, check_share
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
        _check(option, choices[option], known[option])
    make: Callable[..., CtrModel] = _BUILDABLE[name]
    return make(inputs, **choices)


def _check(option: str, value: Any, default: Any) -> None:
    """Refuse a value of another kind than the default: a size is at least 1, dropout a share, a choice a string."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, float) and not (number and math.isfinite(value) and value >= 0):
        raise ParameterError(f"{option} == {value!r}, must be a number >= 0.")
    if option == "dropout":
        check_share(option, value)
    elif isinstance(default, list):
        if not isinstance(value, (list, tuple)):
            raise ParameterError(f"{option} == {value!r}, must be a list of sizes, such as {default}.")
        for size in value:
            check_int(option, size, low=1)
    elif isinstance(default, (bool, str)) and type(value) is not type(default):
        raise ParameterError(f"{option} == {value!r}, must be a {type(default).__name__}, such as {default!r}.")
    elif type(default) is int:
        check_int(option, value, low=1)
