"""VGG16 (Simonyan and Zisserman 2015), whose vectors the click-through paper GMMF was published with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import EncoderError, MissingExtraError
from .base import import_torch, resolve_device, weights_digest
from .hub import model_folder
from .image import PictureEncoder, set_torch_threads
from .pictures import PictureSource

DEFAULT_VGG = "timm/vgg16.tv_in1k"
RESIZED = 256  # pixels: the short side, before the centre crop
SIZE = 224  # pixels: the centre crop
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet's, of values in [0, 1]
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
GRID = 7  # the last feature map is pooled to 7 x 7

# Where the 13 convolutions stand in the list `features` of timm and torchvision; a max-pool ends each stage.
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
TIMM = (("pre_logits.fc1", "pre_logits.fc2"), ("head.fc.weight", "head.fc.bias"))
TORCHVISION = (("classifier.0", "classifier.3"), ("classifier.6.weight", "classifier.6.bias"))


class VGG16(PictureEncoder):
    """VGG16 without its classifier: the second fully connected layer (fc7) after its ReLU, 4096-d.

    The GMMF paper writes "VGG16 without its two classification layers" and 4096-d. Both fully connected
    layers before the 1000 classes have 4096 outputs; this is the last of them, what remains when the class
    scores and their softmax are taken away. The picture is resized to 256 pixels on its short side (bilinear)
    and the middle 224 x 224 is taken, as the weights were trained. Vectors are float32, not normalised.

    Parameters
    ----------
    weights
        A safetensors file in timm's or torchvision's layout, a directory that holds one, or a hub name.
    source, device, batch_size, threads
        As in `image_encoder`. On a GPU the model runs in bfloat16 or float16.

    Raises
    ------
    EncoderError
        The weights cannot be found, or a tensor is missing, unknown or of another shape.
    """

    def __init__(
        self,
        weights: str = DEFAULT_VGG,
        *,
        source: PictureSource | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(source, batch_size, 16)
        self._torch = import_torch("VGG16")
        set_torch_threads(self._torch, threads)
        self._device, self._dtype = resolve_device(device, "VGG16")
        file, revision = _find_weights(weights)
        stages, layers = arrange(_read(file))
        self._stages = [[self._place(pair) for pair in stage] for stage in stages]
        self._layers = [self._place(pair) for pair in layers]
        self.name = "vgg16"
        self.revision = f"{revision}-fc7-{str(self._dtype).removeprefix('torch.')}"
        self.dimension = int(self._layers[-1][0].shape[0])

    def prepare_picture(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an upright RGB picture: uint8 [224, 224, 3]."""
        width, height = picture.size
        scale = RESIZED / min(width, height)
        size = (max(RESIZED, round(width * scale)), max(RESIZED, round(height * scale)))
        left, top = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
        resized = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)))

    def encode_prepared(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Encode n uint8 [224, 224, 3] -> float32 [n, dimension]."""
        if not items:
            return np.empty((0, self.dimension), np.float32)
        torch, functional = self._torch, self._torch.nn.functional
        pixels = (np.stack(items).astype(np.float32) / 255 - MEAN) / DEVIATION
        with torch.inference_mode():
            x = torch.from_numpy(pixels).to(self._device, self._dtype).permute(0, 3, 1, 2)
            for stage in self._stages:
                for weight, bias in stage:
                    x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
                x = functional.max_pool2d(x, 2)
            x = functional.adaptive_avg_pool2d(x, GRID).flatten(1)
            for weight, bias in self._layers:
                x = functional.relu(functional.linear(x, weight, bias))
            return np.asarray(x.float().cpu().numpy(), np.float32)

    def _place(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        weight, bias = (tensor.to(self._device, self._dtype) for tensor in pair)
        return weight, bias


Pair = tuple[Any, Any]


def arrange(tensors: Mapping[str, Any]) -> tuple[list[list[Pair]], list[Pair]]:
    """Sort the tensors of a VGG16 file into its layers, checking every name and shape.

    Widths are taken from the tensors, so a narrower network of the same form is read too.

    Returns
    -------
    stages
        Five lists of (weight [out, in, 3, 3], bias [out]).
    layers
        fc6 as (weight [out, channels * 49], bias [out]) and fc7 as (weight [out, in], bias [out]).

    Raises
    ------
    EncoderError
        A tensor is missing, unknown or of another shape; the message names it.
    """
    names, classifier = TIMM if any(key.startswith("pre_logits.") for key in tensors) else TORCHVISION
    left = set(tensors) - set(classifier)

    def take(key: str, sizes: Sequence[int | None], other: Sequence[int | None] | None = None) -> Any:
        """One tensor of the given shape; None stands for a size that the file decides."""
        if key not in left:
            raise EncoderError(f"the VGG16 weights lack {key}.")
        left.discard(key)
        shape = list(tensors[key].shape)
        for wanted in (sizes, other):
            if wanted is None or len(wanted) != len(shape):
                continue
            if all(size in (None, got) for size, got in zip(wanted, shape, strict=True)):
                return tensors[key]
        asked = " or ".join(str(["any" if n is None else n for n in w]) for w in (sizes, other) if w)
        raise EncoderError(f"the VGG16 weights hold {key} of shape {shape}, must be {asked}.")

    channels = 3
    stages: list[list[Pair]] = []
    for stage in STAGES:
        stages.append([])
        for number in stage:
            weight = take(f"features.{number}.weight", (None, channels, 3, 3))
            channels = int(weight.shape[0])
            stages[-1].append((weight, take(f"features.{number}.bias", (channels,))))
    layers: list[Pair] = []
    width, grid = channels, GRID
    for name in names:
        # timm keeps a fully connected layer as a convolution over the whole map; the numbers are the same.
        weight = take(f"{name}.weight", (None, width * grid * grid), (None, width, grid, grid))
        layers.append((weight.flatten(1), take(f"{name}.bias", (int(weight.shape[0]),))))
        width, grid = int(weight.shape[0]), 1
    if left:
        raise EncoderError(f"the VGG16 weights hold an unknown tensor: {min(left)}.")
    return stages, layers


def _find_weights(name: str) -> tuple[Path, str]:
    """The weights file of a path or hub name, and its revision."""
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise EncoderError(
                f"the VGG16 weights {name!r} must be a .safetensors file; convert others once with "
                "safetensors.torch.save_file(torch.load(file, weights_only=True), 'vgg16.safetensors')."
            )
        return path, weights_digest([path])
    folder, commit = model_folder(name, ("*.safetensors" if path.is_dir() else "model.safetensors",))
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        raise EncoderError(f"the directory {name!r} holds {len(files)} .safetensors files; name one of them.")
    return files[0], commit or weights_digest(files)


def _read(file: Path) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("VGG16", "hub") from error
    try:
        return dict(load_file(file))
    except Exception as error:  # safetensors raises its own error and OSError for a damaged file
        raise EncoderError(f"the VGG16 weights {str(file)!r} cannot be read: {error}") from error
