"""The contract of text and image encoders, and the device and precision they run in."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, ParameterError, check_choice

DEVICES = ("auto", "cpu", "cuda")


class Encoder(ABC):
    """One modality's encoder: values in, one float32 vector each out.

    Work is split in two so that one bad value never costs a batch: `prepare` turns one value into
    model input and may raise `ItemError`; it is cheap, thread-safe and run in a pool. `encode_prepared`
    runs the model on a batch of prepared inputs. The same values give the same vectors on the same
    machine, whatever the batch they come in, up to the rounding of the float type in use.

    Attributes
    ----------
    modality
        `text` or `image`.
    name, revision
        Which model and which weights; together with the value they key the store, so both must change
        when the vectors do (weights, image size, pooling, precision).
    dimension
        Length of a vector.
    batch_size
        How many values `encode_prepared` is given at once.
    """

    modality: ClassVar[str]
    name: str
    revision: str
    dimension: int
    batch_size: int = 64

    @abstractmethod
    def prepare(self, value: str) -> Any:
        """Turn one value (a title; a picture's path or URL) into model input.

        Raises
        ------
        ItemError
            The value cannot be encoded; the message is a short reason for the ledger.
        """

    @abstractmethod
    def encode_prepared(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Encode prepared inputs: n items -> float32 [n, dimension]."""

    def encode(self, values: Sequence[str]) -> NDArray[np.float32]:
        """Encode values: n -> float32 [n, dimension]. A value that cannot be encoded raises `ItemError`."""
        vectors = np.empty((len(values), self.dimension), np.float32)
        for start in range(0, len(values), self.batch_size):
            batch = values[start : start + self.batch_size]
            vectors[start : start + len(batch)] = self.encode_prepared([self.prepare(v) for v in batch])
        return vectors

    def fingerprint(self, value: str) -> str:
        """What decides whether a stored vector of this value is still good; the value itself by default."""
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, revision={self.revision!r})"


def import_torch(what: str, extra: str = "hub") -> Any:
    """Import torch, or raise `MissingExtraError` for `what`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(what, extra) from error
    return torch


def resolve_device(device: str, what: str = "running a model") -> tuple[Any, Any]:
    """Turn `auto`, `cpu` or `cuda` into (torch device, dtype): bfloat16 or float16 on a GPU, float32 on a CPU.

    Raises
    ------
    ParameterError
        `cuda` is asked for and there is none, or `device` is none of the three.
    """
    check_choice("device", device, DEVICES)
    torch = import_torch(what)
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ParameterError(
            "device == 'cuda', but this PyTorch sees no CUDA device; use --device cpu or auto, "
            "or install a CUDA build of PyTorch (make CUDA=1)."
        )
    if device == "cpu" or not available:
        return torch.device("cpu"), torch.float32
    return torch.device("cuda"), torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def weights_digest(files: Sequence[Path]) -> str:
    """Short hash over the names, sizes and contents of weight and config files: the revision of a local model."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        digest.update(f"{file.name}:{file.stat().st_size}".encode())
        with open(file, "rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def available_threads() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
