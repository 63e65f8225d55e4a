"""A ranker's folder on disk: written beside its place, then renamed into it; every file has a checksum.

model.safetensors   the model's parameters
items.safetensors   what scoring needs of every item, by name [n, ...]
ids.json            `items` (n product ids in that order), `users` (of the embedding rows 1, 2, ...), `categories`
manifest.json       format, model and options, settings, metrics, where data and features come from, checksums
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import DataError
from ..files import flush, sha256
from .batches import ModelInputs
from .models import build
from .models.base import CtrModel

FORMAT = 1
KIND = "trimodal ranker"
_MODEL, _ITEMS, _IDS, _MANIFEST = "model.safetensors", "items.safetensors", "ids.json", "manifest.json"
_NAMES = ("items", "users", "categories")


@dataclass(frozen=True)
class RankerFiles:
    """What a ranker's folder holds.

    Attributes
    ----------
    state
        The model's state.
    encoded
        By name [n, ...], the encoded items.
    names
        `items`, `users` and `categories`.
    manifest
        Everything else, as JSON holds it.
    """

    state: Mapping[str, Tensor]
    encoded: Mapping[str, Tensor]
    names: Mapping[str, Sequence[str]]
    manifest: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write to a folder, in the place of a ranker that is there.

        A reader sees the old ranker or the new one, never a part; between two renames there is none for a moment.

        Raises
        ------
        DataError
            Something else than a ranker stands there.
        """
        check_place(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft, old = (folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.{end}") for end in ("draft", "old"))
        draft.mkdir()
        try:
            save_file({name: _plain(tensor) for name, tensor in self.state.items()}, draft / _MODEL)
            save_file({name: _plain(tensor) for name, tensor in self.encoded.items()}, draft / _ITEMS)
            names = {name: list(self.names[name]) for name in _NAMES}
            (draft / _IDS).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
            files = {name: sha256(draft / name) for name in (_MODEL, _ITEMS, _IDS)}
            manifest = {"kind": KIND, "format": FORMAT, **self.manifest, "files": files}
            (draft / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            for path in (*draft.iterdir(), draft):
                flush(path)
            if folder.exists():
                os.rename(folder, old)
            os.rename(draft, folder)
            flush(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def read(cls, folder: Path, *, device: str = "cpu") -> RankerFiles:
        """Read a folder, tensors to a device.

        Raises
        ------
        DataError
            Not a ranker, of another format, or a file of it was changed.
        """
        manifest = _read_manifest(folder)
        try:
            for name, expected in manifest.pop("files").items():
                if sha256(folder / name) != expected:
                    raise DataError(f"{folder / name} is damaged: it is not what the manifest says; train it again.")
            names = json.loads((folder / _IDS).read_text(encoding="utf-8"))
            names = {name: names[name] for name in _NAMES}
            state, encoded = (load_file(folder / file, device=device) for file in (_MODEL, _ITEMS))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise DataError(f"{folder} is a damaged ranker ({error}); train it again.") from error
        return cls(state, encoded, names, manifest)

    def model(self) -> CtrModel:
        """The model, in evaluation, on the device of `state`; it shares the tensors.

        Raises
        ------
        ParameterError, RuntimeError, LookupError
            Manifest and state do not fit each other.
        """
        with torch.device("meta"):  # no first weights are drawn: neither time nor a number of the random generator
            model = build(self.manifest["model"], ModelInputs(**self.manifest["inputs"]), **self.manifest["options"])
        model.load_state_dict(dict(self.state), assign=True)
        return model.eval()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} holds no ranker ({_MANIFEST} is missing); train one.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); train the ranker again.") from error
    if not isinstance(manifest, dict) or manifest.pop("kind", None) != KIND:
        raise DataError(f"{folder} holds no ranker, but something else with a {_MANIFEST}.")
    found = manifest.pop("format", None)
    if found != FORMAT:
        raise DataError(f"{folder} is of ranker format {found}, this trimodal reads format {FORMAT}; train it again.")
    return manifest


def check_place(folder: Path) -> None:
    """Raise `DataError` where something else than a ranker or an empty folder stands."""
    if folder.exists() and not _replaceable(folder):
        raise DataError(f"{folder} is there and is not a ranker; choose another place or empty it.")


def _replaceable(folder: Path) -> bool:
    """Whether a folder is empty or holds a ranker, even a damaged one, and nothing else."""
    if not folder.is_dir():
        return False
    there = {path.name for path in folder.iterdir()}
    return there <= {_MODEL, _ITEMS, _IDS, _MANIFEST} and (not there or _MANIFEST in there)


def _plain(tensor: Tensor) -> Tensor:
    """A copy of its own, as the file format needs it."""
    return tensor.detach().cpu().clone().contiguous()
