"""The page of neighbours is whole, needs no network, and does not run what a title says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from trimodal import Catalog, Embedding, Provenance, Recommender
from trimodal.evaluation.clustering import clustering_table
from trimodal.evaluation.gallery import write_gallery


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data.strip())


@pytest.fixture
def recommender(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = []
    for i in range(24):
        Image.new("RGB", (300, 200), (10 * i, 80, 200)).save(folder / f"{i}.jpg")
        title = "<script>alert(1)</script>" if i == 1 else f"thing {i} & more"
        rows.append({"product_id": f"p{i}", "title": title, "category": f"c{i % 2}", "image": f"{i}.jpg", "price": 9.9})
    rows[2]["image"] = None
    rows[3]["image"] = "https://shop.example/3.jpg"
    rows[4]["image"] = "../outside.jpg"
    Image.new("RGB", (30, 20)).save(tmp_path / "outside.jpg")
    catalog = Catalog.from_records(rows, root=folder)
    rng = np.random.default_rng(0)
    vectors = (5 * np.eye(2, 6)[np.arange(24) % 2] + rng.normal(size=(24, 6))).astype(np.float32)
    text = Embedding.join("text", catalog.ids, list(catalog.ids), vectors, Provenance("x"))
    click = Embedding.join("click", catalog.ids, list(catalog.ids)[5:], vectors[5:], Provenance("x"))
    return Recommender(modalities=["text", "click"]).fit(catalog, vectors={"text": text, "click": click})


def test_the_page(recommender, tmp_path):
    table = clustering_table(recommender.embeddings_, recommender.catalog_.categories)
    write_gallery(tmp_path / "page.html", recommender, ["p0", "p7"], k=23, note="A note.", table=table)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Reader()
    page.feed(html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    pictures = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    # Two pages of all 24 products; no picture for the one without, the remote one, and the one outside the folder.
    assert len(pictures) == 2 * 21
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)
    text = " ".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "no picture" in text
    assert "no click" in text
    assert "text + click" in text
    assert "A note." in text
    distances = re.findall(r'class="distance">([\d.]+)<', html)
    assert len(distances) == 46
    assert distances[:23] == sorted(distances[:23], key=float)
