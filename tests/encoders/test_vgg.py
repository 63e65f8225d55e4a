from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from safetensors.torch import save_file

from trimodal.encoders.image import image_encoder
from trimodal.encoders.pictures import PictureSource
from trimodal.encoders.vgg import DEVIATION, MEAN, STAGES, VGG16, arrange
from trimodal.errors import EncoderError, ItemError

WIDTHS = (3, 4, 5, 6, 4)  # of the five stages; the real ones are 64, 128, 256, 512, 512
HIDDEN = 10  # 4096


def narrow(layout: str) -> dict[str, torch.Tensor]:
    """Random weights of a narrow VGG16; the same numbers in both layouts."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / (np.prod(shape[1:]) or 1) ** 0.5

    tensors, before = {}, 3
    for numbers, width in zip(STAGES, WIDTHS, strict=True):
        for number in numbers:
            tensors[f"features.{number}.weight"] = random(width, before, 3, 3) * 2
            tensors[f"features.{number}.bias"] = random(width) * 0.1
            before = width
    fc6, fc7 = random(HIDDEN, before, 7, 7), random(HIDDEN, HIDDEN, 1, 1)
    biases, head = (random(HIDDEN) * 0.1, random(HIDDEN) * 0.1), (random(8, HIDDEN), random(8))
    if layout == "timm":
        names = ("pre_logits.fc1", "pre_logits.fc2", "head.fc")
    else:
        names = ("classifier.0", "classifier.3", "classifier.6")
        fc6, fc7 = fc6.flatten(1), fc7.flatten(1)
    for name, weight, bias in zip(names, (fc6, fc7, head[0]), (*biases, head[1]), strict=True):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight.contiguous(), bias
    return tensors


@pytest.fixture
def write(tmp_path):
    def write(tensors, name="model.safetensors"):
        path = tmp_path / "weights" / name
        path.parent.mkdir(exist_ok=True)
        save_file(tensors, path)
        return path

    return write


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(1)
    for name, size in (("a", (300, 260)), ("b", (240, 500)), ("c", (256, 256))):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize(size).save(tmp_path / f"{name}.png")
    return PictureSource(tmp_path)


def by_numpy(tensors: dict[str, torch.Tensor], pixels: np.ndarray) -> np.ndarray:
    """The same network written with numpy alone, from one picture uint8 [224, 224, 3]."""
    x = ((pixels / 255.0 - MEAN) / DEVIATION).transpose(2, 0, 1)
    for numbers in STAGES:
        for number in numbers:
            weight = tensors[f"features.{number}.weight"].double().numpy()
            windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
            x = np.einsum("ihwkl,oikl->ohw", windows, weight, optimize=True)
            x = np.maximum(x + tensors[f"features.{number}.bias"].numpy()[:, None, None], 0)
        channels, side, _ = x.shape
        x = x.reshape(channels, side // 2, 2, side // 2, 2).max((2, 4))
    for name in ("classifier.0", "classifier.3"):
        x = np.maximum(tensors[f"{name}.weight"].double().numpy() @ x.ravel() + tensors[f"{name}.bias"].numpy(), 0)
    return x


def test_forward_pass_against_numpy(write, pictures):
    tensors = narrow("torchvision")
    encoder = VGG16(str(write(tensors)), source=pictures, device="cpu")
    assert encoder.dimension == HIDDEN
    vectors = encoder.encode(["a.png", "b.png", "c.png"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, HIDDEN)
    expected = np.stack([by_numpy(tensors, encoder.prepare(name)) for name in ("a.png", "b.png", "c.png")])
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)
    assert (expected > 0).any(axis=1).all()
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_both_layouts_give_the_same_vectors(write, pictures):
    values = ["a.png", "b.png"]
    timm = VGG16(str(write(narrow("timm"), "t.safetensors")), source=pictures, device="cpu")
    other = VGG16(str(write(narrow("torchvision"), "v.safetensors")), source=pictures, device="cpu")
    np.testing.assert_array_equal(timm.encode(values), other.encode(values))
    assert timm.revision != other.revision


def test_prepare_takes_the_middle(write, tmp_path):
    picture = Image.new("RGB", (1000, 500), (0, 0, 255))
    picture.paste((255, 0, 0), (300, 40, 700, 460))
    picture.save(tmp_path / "wide.png")
    encoder = VGG16(str(write(narrow("timm"))), source=PictureSource(tmp_path), device="cpu")
    pixels = encoder.prepare("wide.png")
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    # 500 -> 256 pixels: the red part is 204.8 x 215.04, so a margin of 9.6 and 4.48 pixels is blue.
    assert (pixels[8:-8, 13:-13] == (255, 0, 0)).all()
    assert (pixels[:2] == (0, 0, 255)).all()
    assert (pixels[:, :7] == (0, 0, 255)).all()
    assert (pixels[:, -7:] == (0, 0, 255)).all()


def test_prepare_resizes_as_the_weights_were_trained(write, pictures):
    encoder = VGG16(str(write(narrow("timm"))), source=pictures, device="cpu")
    picture = pictures.open("b.png").resize((512, 512), Image.Resampling.NEAREST)
    resized = picture.resize((256, 256), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(encoder.prepare_picture(picture), np.asarray(resized)[16:240, 16:240])


def test_by_file_by_directory_and_by_the_factory(write, pictures):
    path = write(narrow("timm"))
    encoders = [
        image_encoder(f"vgg16:{place}", source=pictures, device="cpu", batch_size=2) for place in (path, path.parent)
    ]
    assert [type(e) for e in encoders] == [VGG16, VGG16]
    assert [e.name for e in encoders] == ["vgg16", "vgg16"]
    assert encoders[0].revision == encoders[1].revision
    assert encoders[0].revision.endswith("-fc7-float32")
    np.testing.assert_array_equal(encoders[0].encode(["a.png"]), encoders[1].encode(["a.png"]))


def test_revision_follows_the_weights(write, pictures):
    tensors = narrow("timm")
    before = VGG16(str(write(tensors)), device="cpu").revision
    tensors["features.0.bias"] = tensors["features.0.bias"] + 1
    assert VGG16(str(write(tensors)), device="cpu").revision != before


def test_a_bad_picture_costs_only_itself(write, pictures):
    encoder = VGG16(str(write(narrow("timm"))), source=pictures, device="cpu")
    with pytest.raises(ItemError, match="no such file"):
        encoder.prepare("none.png")
    assert encoder.encode([]).shape == (0, HIDDEN)
    assert encoder.encode_prepared([]).shape == (0, HIDDEN)


@pytest.mark.parametrize("layout", ["timm", "torchvision"])
def test_every_missing_tensor_is_named(layout):
    whole = narrow(layout)
    arrange(whole)
    heads = {key for key in whole if key.startswith(("head.", "classifier.6"))}
    for key in whole:
        rest = {k: v for k, v in whole.items() if k != key}
        if key in heads:
            arrange(rest)
            continue
        with pytest.raises(EncoderError, match=rf"lack {key}\."):
            arrange(rest)


def test_unknown_and_wrongly_shaped_tensors_are_named():
    tensors = narrow("timm")
    with pytest.raises(EncoderError, match=r"unknown tensor: features\.1\.running_mean"):
        arrange({**tensors, "features.1.running_mean": torch.zeros(3)})  # of VGG16 with batch normalisation
    for key, shape, asked in (
        ("features.5.weight", (4, 9, 3, 3), r"\['any', 3, 3, 3\]"),
        ("features.5.bias", (5,), r"\[4\]"),
        ("pre_logits.fc1.weight", (10, 4, 5, 5), r"\['any', 196\] or \['any', 4, 7, 7\]"),
        ("pre_logits.fc2.weight", (10, 11), r"\['any', 10\]"),
    ):
        with pytest.raises(EncoderError, match=rf"hold {key} of shape .*, must be {asked}"):
            arrange({**tensors, key: torch.zeros(shape)})


def test_files_that_are_no_weights(write, tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"pickle")
    with pytest.raises(EncoderError, match=r"must be a \.safetensors file"):
        VGG16(str(tmp_path / "vgg.pth"))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="cannot be read"):
        VGG16(str(tmp_path / "bad.safetensors"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match=r"holds no file \*\.safetensors"):
        VGG16(str(tmp_path / "empty"))
    with pytest.raises(EncoderError, match="no such directory"):
        VGG16(str(tmp_path / "none"))
    write(narrow("timm"), "a.safetensors")
    with pytest.raises(EncoderError, match=r"holds 2 \.safetensors files"):
        VGG16(str(write(narrow("timm"), "b.safetensors").parent))


def test_against_torchvision(write, pictures):
    try:  # its wheel may fail in other ways than by being absent
        import torchvision
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    model = torchvision.models.vgg16(weights=None).eval()
    save = {key: value.contiguous() for key, value in model.state_dict().items()}
    encoder = VGG16(str(write(save)), source=pictures, device="cpu")
    pixels = encoder.prepare("a.png")
    x = torch.from_numpy(((pixels / 255.0 - MEAN) / DEVIATION).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        middle = model.avgpool(model.features(x)).flatten(1)
        expected = model.classifier[:5](middle).numpy()
    np.testing.assert_allclose(encoder.encode(["a.png"]), expected, rtol=1e-3, atol=1e-4)
