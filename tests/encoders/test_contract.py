"""What every text and image encoder must do; the hub's ones are in their own files, on tiny models."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trimodal.encoders import image_encoder, text_encoder
from trimodal.encoders.pictures import PictureSource
from trimodal.errors import ItemError


@pytest.fixture(params=["text", "image"])
def case(request, tmp_path):
    """An encoder, seven good values and a bad one."""
    if request.param == "text":
        return text_encoder(), [f"product number {i}" for i in range(7)], "  "
    rng = np.random.default_rng(0)
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (40 + i, 50, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    encoder = image_encoder(source=PictureSource(tmp_path), threads=1)
    return encoder, [f"{i}.png" for i in range(7)], "bad.png"


def test_shape_type_and_identity(case):
    encoder, values, _ = case
    vectors = encoder.encode(values)
    assert vectors.shape == (7, encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) > 0).all()
    assert encoder.modality in ("text", "image")
    assert encoder.name
    assert encoder.revision
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_deterministic_and_free_of_the_batch(case):
    encoder, values, _ = case
    whole = encoder.encode(values)
    np.testing.assert_array_equal(encoder.encode(values), whole)
    alone = np.concatenate([encoder.encode([value]) for value in values])
    np.testing.assert_allclose(alone, whole, atol=2e-4)


def test_a_bad_value_is_an_item_error(case):
    encoder, values, bad = case
    with pytest.raises(ItemError):
        encoder.prepare(bad)
    with pytest.raises(ItemError):
        encoder.encode([values[0], bad])


def test_fingerprints_tell_values_apart(case):
    encoder, values, _ = case
    assert len({encoder.fingerprint(value) for value in values}) == 7
    assert encoder.fingerprint(values[0]) == encoder.fingerprint(values[0])
