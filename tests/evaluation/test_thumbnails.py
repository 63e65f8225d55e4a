"""Thumbnails are small, upright and local; what cannot be read has none."""

from __future__ import annotations

import base64
import io

from PIL import Image

from trimodal import Catalog
from trimodal.evaluation.thumbnails import Thumbnails


def test_thumbnails(tmp_path):
    Image.new("RGB", (300, 150), (200, 30, 30)).save(tmp_path / "wide.png")
    Image.new("RGB", (8, 4), (200, 30, 30)).save(tmp_path / "None", "PNG")
    names = ["wide.png", "gone.png", "https://shop.example/a.png", "../outside.png", None, "wide.png"]
    rows = [{"product_id": str(i), "title": "t", "image": name} for i, name in enumerate(names)]
    found = Thumbnails(Catalog.from_records(rows, root=tmp_path), 60)
    picture = found.picture(0)
    assert picture is not None
    assert picture.size == (60, 30)
    assert [found.uri(i) is not None for i in range(6)] == [True, False, False, False, False, True]
    assert found.uri(0) == found.uri(5)
    data = base64.b64decode(found.uri(0).removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (60, 30))
