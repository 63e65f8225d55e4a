"""Checkpoints: model, optimisers and the state of a training in one safetensors file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import DataError
from ..files import atomic
from .models.base import CtrModel

if TYPE_CHECKING:
    from .training import TrainingState


def save_state(
    path: Path,
    model: CtrModel,
    optimisers: Mapping[str, torch.optim.Optimizer],
    state: TrainingState,
    *,
    fingerprint: str,
) -> None:
    """Write a checkpoint; `fingerprint` says what training it belongs to."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for name, optimiser in optimisers.items():
        for number, values in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{number}/{key}": torch.as_tensor(value) for key, value in values.items()}
    metadata = {"fingerprint": fingerprint, "state": json.dumps(state.numbers())}
    with atomic(path) as temporary:
        save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, temporary, metadata)


def load_state(
    path: Path,
    model: CtrModel,
    optimisers: Mapping[str, torch.optim.Optimizer],
    state: TrainingState,
    *,
    fingerprint: str,
) -> bool:
    """Read a checkpoint into all of these, if there is one.

    Raises
    ------
    DataError
        It is damaged, or belongs to another training.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it to begin again.") from error
    if metadata.get("fingerprint") != fingerprint:
        raise DataError(
            f"{path} is of a training with other data, model or settings; remove its folder or give another one."
        )

    def below(prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    model.load_state_dict(below("model/"))
    for name, optimiser in optimisers.items():
        whole = optimiser.state_dict()
        found: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in below(f"{name}/").items():
            number, _, entry = key.partition("/")
            found.setdefault(int(number), {})[entry] = value
        optimiser.load_state_dict({**whole, "state": found})
    for key, value in json.loads(metadata["state"]).items():
        setattr(state, key, value)
    device = next(model.parameters()).device
    state.best = {key: value.to(device) for key, value in below("best/").items()}
    return True
