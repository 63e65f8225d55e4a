"""The map is drawn for real, as PNG and SVG, the same from the same input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from trimodal import Catalog, Embedding, Provenance, Recommender
from trimodal.errors import DataError, MissingExtraError, ParameterError
from trimodal.evaluation.plots import draw_map


@pytest.fixture
def recommender(tmp_path):
    """Ninety products of three categories, far apart; pictures of one colour a category."""
    rng = np.random.default_rng(0)
    rows, colors = [], ((220, 20, 20), (20, 200, 20), (20, 20, 220))
    for i in range(90):
        Image.new("RGB", (20, 20), colors[i % 3]).save(tmp_path / f"{i}.png")
        row = {"product_id": f"p{i}", "title": f"t{i}", "category": f"category {i % 3}", "image": f"{i}.png"}
        rows.append(row)
    catalog = Catalog.from_records(rows, root=tmp_path)
    vectors = (6 * np.eye(3, 8)[np.arange(90) % 3] + rng.normal(size=(90, 8))).astype(np.float32)
    text = Embedding.join("text", catalog.ids, list(catalog.ids), vectors, Provenance("blobs"))
    return Recommender(modalities=["text"]).fit(catalog, vectors={"text": text})


def test_png_shows_points_and_pictures(recommender, tmp_path):
    draw_map(tmp_path / "map.png", recommender, categories=3)
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.size == (1440, 960)
        picture = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    for color in ((220, 20, 20), (20, 200, 20), (20, 20, 220)):
        assert (np.abs(picture.astype(int) - color).max(1) < 12).sum() > 100


def test_svg_is_the_same_from_the_same_input(recommender, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_map(tmp_path / name, recommender, categories=3, strategy="early")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "<svg" in text
    assert text.count("<image") == 3


def test_what_cannot_be_drawn(recommender, tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="must end in one of"):
        draw_map(tmp_path / "map.jpg", recommender)
    few = Recommender(modalities=["text"]).fit(
        recommender.catalog_.without([f"p{i}" for i in range(5, 90)]), vectors={"text": recommender.embeddings_["text"]}
    )
    with pytest.raises(DataError, match="only 5 products"):
        draw_map(tmp_path / "map.png", few)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        draw_map(tmp_path / "map.png", recommender)
    assert list(tmp_path.glob("*map*")) == []
