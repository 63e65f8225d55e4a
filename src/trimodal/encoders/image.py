"""Encoders of product pictures, and the factory that finds one by its name."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import EncoderError, MissingExtraError, ParameterError, check_choice, check_int
from .base import DEVICES, Encoder, available_threads, import_torch, resolve_device, weights_digest
from .efficientnet import DIMENSION, SIZE, lite0_onnx
from .hub import first_line, model_folder
from .pictures import PictureSource

DEFAULT_IMAGE = "efficientnet-lite0"
DEFAULT_CLIP = "openai/clip-vit-base-patch32"
ONNX_BATCH = 8  # pictures: the activations of more do not fit the processor's cache, and it slows down

_quiet = threading.Lock()


def image_encoder(
    name: str = DEFAULT_IMAGE,
    *,
    source: PictureSource | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
) -> PictureEncoder:
    """Make the image encoder of this name.

    Parameters
    ----------
    name
        `efficientnet-lite0`, whose weights arrive by pip; `vgg16` or `vgg16:PATH_OR_HUB_NAME`; `clip:NAME`,
        or any other hub name or local directory of a CLIP model, such as `openai/clip-vit-base-patch32`.
    source
        Where `image` values are read from. None reads any path, relative ones from the working folder, and
        URLs: right for values of your own; for a catalogue pass `PictureSource(folder)`.
    device
        `auto`, `cpu` or `cuda`.
    batch_size
        Pictures per batch; None takes the encoder's own.
    threads
        Processor threads of the model; None takes all that this process may use. For `vgg16` and CLIP it
        sets PyTorch's number, which the whole process shares.

    Raises
    ------
    EncoderError
        The model cannot be loaded.
    MissingExtraError
        A library is not installed.
    ParameterError
        A name, device or number outside its range.
    """
    family, colon, place = name.partition(":")
    options: dict[str, Any] = {
        "source": source,
        "device": device,
        "batch_size": batch_size,
        "threads": threads,
    }
    if name == DEFAULT_IMAGE:
        return EfficientNetLite(**options)
    if family == "vgg16" and bool(colon) == bool(place):
        from .vgg import DEFAULT_VGG, VGG16

        return VGG16(place or DEFAULT_VGG, **options)
    if family == "clip" and place:
        return ClipImage(place, **options)
    if not name.strip() or family in ("vgg16", "clip"):
        raise ParameterError(
            f"image encoder == {name!r}, must be {DEFAULT_IMAGE}, vgg16, vgg16:PATH_OR_HUB_NAME, "
            "clip:NAME or the name or directory of a CLIP model."
        )
    return ClipImage(name, **options)


class PictureEncoder(Encoder):
    """What all encoders of pictures share: where the pictures come from.

    Attributes
    ----------
    source
        Turns an `image` value into a picture.
    """

    modality: ClassVar[str] = "image"

    def __init__(self, source: PictureSource | None, batch_size: int | None, default_batch: int) -> None:
        self.source = PictureSource(allow_outside=True) if source is None else source
        self.batch_size = default_batch if batch_size is None else check_int("batch_size", batch_size, low=1)

    def reading(self, source: PictureSource) -> Self:
        """The same model with pictures from elsewhere; the two share everything but the source."""
        other = copy(self)
        other.source = source
        return other

    def prepare(self, value: str) -> NDArray[Any]:
        """Read, decode and resize the picture of one `image` value into an array for `encode_prepared`."""
        return self.prepare_picture(self.source.open(value))

    @abstractmethod
    def prepare_picture(self, picture: Image.Image) -> NDArray[Any]:
        """Resize an upright RGB picture into an array for `encode_prepared`."""

    def fingerprint(self, value: str) -> str:
        """Size and time of change of a local picture, the URL of one on the web; see `PictureSource`."""
        return self.source.fingerprint(value)


class EfficientNetLite(PictureEncoder):
    """EfficientNet-Lite0 (ImageNet), 1280-d: the mean over the last feature map. Runs in ONNX Runtime.

    The whole picture is squeezed into 224 x 224 pixels, bicubic: a product fills its picture, and a centre
    crop would cut off its ends. Vectors are float32, not normalised.
    """

    def __init__(
        self,
        *,
        source: PictureSource | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(source, batch_size, 32)
        check_choice("device", device, DEVICES)
        threads = available_threads() if threads is None else check_int("threads", threads, low=1)
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("the image encoder efficientnet-lite0", "embedded") from error
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if device == "cuda" and not cuda:
            raise ParameterError(
                "device == 'cuda', but this ONNX Runtime has no CUDA provider; use --device cpu or auto, "
                "or install onnxruntime-gpu in place of onnxruntime."
            )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3  # errors: a missing CUDA library is told below, once
        providers = ["CUDAExecutionProvider"] if cuda and device != "cpu" else []
        model, self.revision = lite0_onnx()
        self._session = onnxruntime.InferenceSession(model, settings, providers=[*providers, "CPUExecutionProvider"])
        if device == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise ParameterError(
                "device == 'cuda', but ONNX Runtime cannot start its CUDA provider; use --device cpu, "
                "or install the CUDA and cuDNN versions that onnxruntime-gpu asks for."
            )
        self.name = DEFAULT_IMAGE
        self.dimension = DIMENSION

    def prepare_picture(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Resize an upright RGB picture: uint8 [224, 224, 3]."""
        return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC))

    def encode_prepared(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Encode n uint8 [224, 224, 3] -> float32 [n, 1280]."""
        vectors = np.empty((len(items), self.dimension), np.float32)
        for start in range(0, len(items), ONNX_BATCH):
            pictures = np.stack(items[start : start + ONNX_BATCH])
            vectors[start : start + len(pictures)] = self._session.run(None, {"pictures": pictures})[0]
        return vectors


class ClipImage(PictureEncoder):
    """The image half of a CLIP model from the hub or a local directory; vectors as projected, not normalised.

    Parameters
    ----------
    model
        Hub name, or a directory that holds `config.json`, `preprocessor_config.json` and the weights.
    source, device, batch_size, threads
        As in `image_encoder`. On a GPU the model runs in bfloat16 or float16.
    """

    def __init__(
        self,
        model: str = DEFAULT_CLIP,
        *,
        source: PictureSource | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(source, batch_size, 32)
        self._torch = import_torch("CLIP")
        set_torch_threads(self._torch, threads)
        self._device, dtype = resolve_device(device, "CLIP")
        try:
            import transformers
        except ImportError as error:
            raise MissingExtraError("CLIP", "hub") from error
        patterns = ("config.json", "*processor_config.json", "model*.safetensors*")
        folder, commit = model_folder(model, patterns, fallback=("pytorch_model*.bin*",))
        self._model, self._processor = _load_clip(transformers, model, folder, dtype)
        self._model.to(self._device)
        revision = commit or weights_digest([f for p in (*patterns, "*.bin") for f in folder.glob(p)])
        self.name = f"clip:{model}"
        self.revision = f"{revision}-{str(dtype).removeprefix('torch.')}"
        self.dimension = int(self._model.visual_projection.out_features)

    def prepare_picture(self, picture: Image.Image) -> NDArray[np.float32]:
        """Resize, crop and normalise as the model's own processor says: float32 [3, height, width]."""
        pixels = self._processor(images=[picture], return_tensors="np")["pixel_values"]
        return np.asarray(pixels[0], np.float32)

    def encode_prepared(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Encode n float32 [3, height, width] -> float32 [n, dimension]."""
        if not items:
            return np.empty((0, self.dimension), np.float32)
        with self._torch.inference_mode():
            pixels = self._torch.from_numpy(np.stack(items)).to(self._device, self._model.dtype)
            vectors = self._model(pixel_values=pixels).image_embeds
            return np.asarray(vectors.float().cpu().numpy(), np.float32)


def _load_clip(transformers: Any, name: str, folder: Path, dtype: Any) -> tuple[Any, Any]:
    """The vision model and the image processor of a local CLIP directory."""
    try:
        with _no_progress_bars(transformers):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in ("clip", "clip_vision_model"):
                raise EncoderError(f"{name!r} is a {config.model_type!r} model, must be a CLIP model.")
            if config.model_type == "clip":
                # The projection's size stands in the outer config; the inner one keeps its default.
                size, config = config.projection_dim, config.vision_config
                config.projection_dim = size
            ignored = {"_keys_to_ignore_on_load_unexpected": [r"^text_", r"^logit_scale$", r"position_ids$"]}
            kind = type("_Vision", (transformers.CLIPVisionModelWithProjection,), ignored)
            model, report = kind.from_pretrained(  # type: ignore[attr-defined]
                folder, config=config, dtype=dtype, local_files_only=True, output_loading_info=True
            )
            processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except EncoderError:
        raise
    except Exception as error:  # transformers raises many kinds for files that are missing or damaged
        raise EncoderError(f"{name!r} cannot be loaded as a CLIP model: {first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise EncoderError(f"{name!r} lacks {len(missing)} weights of a CLIP image model, first {missing[0]}.")
    return model.eval(), processor


@contextmanager
def _no_progress_bars(transformers: Any) -> Iterator[None]:
    """Load without transformers' bars; its switch is one for the whole process, so it is put back."""
    switch = transformers.utils.logging
    with _quiet:
        before = switch.is_progress_bar_enabled()
        switch.disable_progress_bar()
        try:
            yield
        finally:
            if before:
                switch.enable_progress_bar()


def set_torch_threads(torch: Any, threads: int | None) -> None:
    """Set PyTorch's number of threads, which the whole process shares; None leaves it alone."""
    if threads is not None:
        torch.set_num_threads(check_int("threads", threads, low=1))
