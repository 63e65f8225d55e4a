"""The heat map is drawn for real: the darker cell is the more important one, and the numbers are the values."""

from __future__ import annotations

import re
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from trimodal.ctr.heat_map import ABOUT, draw_heat_map
from trimodal.ctr.importance import MEASURES, Importance
from trimodal.ctr.interpretation import Explanation
from trimodal.errors import DataError, MissingExtraError, ParameterError

PARTS = ("id", "image", "text")


def explanation(items: int = 40) -> Explanation:
    """Two categories, cups and phones: pictures count for the first, ids for the second."""
    removal = np.array([[0.1, 0.8, 0.1], [0.7, 0.0, 0.3]])
    loss = np.array([[0.0, 0.03, 0.01], [0.2, -0.004, np.nan]])
    values = {"gate": np.full((2, 3), 1 / 3), "removal": removal, "loss": loss}
    categories = Importance(PARTS, ("cups", "phones"), ("cups", "phones"), np.array([50, 70]), values)
    own = np.arange(items) % 2
    of_items = {"removal": removal[own], "loss": loss[own]}
    names = tuple(f"p{i:02d}" for i in range(items))
    kinds = tuple(categories.names[i] for i in own)
    rows = Importance(PARTS, names, kinds, np.arange(items), of_items)
    return Explanation("gmmf", "test", 0.7, dict.fromkeys(PARTS, 0.6), categories, rows, ())


def center(picture: np.ndarray, share: float) -> np.ndarray:
    """Middle (row, column) of the pixels in the colour of a share, left of the colour bar."""
    color = np.array(matplotlib.colormaps["Blues"](share)[:3]) * 255
    near = np.abs(picture[:, : int(picture.shape[1] * 0.82)] - color).max(-1) < 2
    assert near.sum() > 500
    return np.argwhere(near).mean(0)


def test_the_darkest_cells_are_the_most_important_ones(tmp_path):
    draw_heat_map(tmp_path / "map.png", explanation(), by="removal")
    with Image.open(tmp_path / "map.png") as drawn:
        picture = np.asarray(drawn.convert("RGB")).astype(int)
    cups_image, phones_id, phones_text = (center(picture, share) for share in (0.8, 0.7, 0.3))
    assert cups_image[0] < phones_id[0]  # cups stand above phones
    assert phones_id[0] == pytest.approx(phones_text[0], abs=4)
    assert phones_id[1] < cups_image[1] < phones_text[1]  # id, image, text


def texts(path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_numbers_are_the_values_and_rows_and_columns_have_names(tmp_path):
    draw_heat_map(tmp_path / "map.svg", explanation(), by="removal")
    found = texts(tmp_path / "map.svg")
    for text in (*PARTS, "cups", "phones", "0.10", "0.80", "0.70", "0.00", "0.30"):
        assert text in found
    assert f"numbers: {ABOUT['removal']}" in found


def test_loss_is_in_thousandths_below_zero_is_pale_and_nan_is_a_dash(tmp_path):
    draw_heat_map(tmp_path / "map.svg", explanation())
    found = texts(tmp_path / "map.svg")
    for text in ("30.0", "200.0", "\N{HYPHEN-MINUS}4.0", "0.0"):
        assert text in found
    assert "-0.0" not in found
    draw_heat_map(tmp_path / "map.png", explanation())
    with Image.open(tmp_path / "map.png") as drawn:
        picture = np.asarray(drawn.convert("RGB")).astype(int)
    assert center(picture, 1.0)[1] < center(picture, 0.75)[1]  # all that phones gain is the id's
    assert center(picture, 0.0)[0] == pytest.approx(picture.shape[0] / 2, rel=0.3)


def test_items_are_a_sample_with_titles_and_categories(tmp_path):
    titles = {f"p{i:02d}": f"$5 thing no. {i}" for i in range(40)}
    draw_heat_map(
        tmp_path / "map.svg", explanation(), by="removal", level="items", rows=12, least=10, titles=titles, seed=3
    )
    names = [text for text in texts(tmp_path / "map.svg") if text.startswith("$5")]
    assert len(names) == 12
    kinds = [name.rsplit("(", 1)[1] for name in names]
    assert kinds == sorted(kinds)
    assert all(int(name.split("no. ")[1].split()[0]) >= 10 for name in names)


def test_only_the_largest_categories_are_drawn(tmp_path):
    draw_heat_map(tmp_path / "map.svg", explanation(), rows=1)
    found = texts(tmp_path / "map.svg")
    assert "phones" in found
    assert "cups" not in found


def test_svg_is_the_same_from_the_same_input(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_heat_map(tmp_path / name, explanation(), level="items")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_every_measure_says_what_its_numbers_are():
    assert set(ABOUT) == set(MEASURES)


def test_what_cannot_be_drawn(tmp_path, monkeypatch):
    path = tmp_path / "map.png"
    with pytest.raises(ParameterError, match="must end in one of"):
        draw_heat_map(tmp_path / "map.jpg", explanation())
    with pytest.raises(ParameterError, match="must be one of gate, removal, loss"):
        draw_heat_map(path, explanation(), by="size")
    with pytest.raises(ParameterError, match="must be one of removal, loss"):
        draw_heat_map(path, explanation(), by="gate", level="items")
    with pytest.raises(ParameterError, match="level == 'shops'"):
        draw_heat_map(path, explanation(), level="shops")
    with pytest.raises(DataError, match=r"no item has 99 events \(the most is 39\)"):
        draw_heat_map(path, explanation(), level="items", least=99)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        draw_heat_map(path, explanation())
    assert list(tmp_path.iterdir()) == []
