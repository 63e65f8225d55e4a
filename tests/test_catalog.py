"""Bad products are kept out with a reason; the others come through whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from trimodal.catalog import Catalog
from trimodal.errors import DataError

ROWS = [
    {"product_id": " a ", "title": "one", "price": "1.5", "color": "red"},
    {"product_id": "b", "title": "  ", "price": "x"},
    {"product_id": "a", "title": "again", "price": ""},
    {"product_id": "", "title": "no id"},
    {"product_id": None, "title": "no id"},
    {"product_id": "c", "title": "y" * 10_001},
    {"product_id": "d" * 300, "title": "long id"},
    {"product_id": "e\x00", "title": "control"},
    {"product_id": "f", "title": "fine", "price": "-3"},
]


def test_every_row_is_kept_or_named():
    catalog = Catalog.from_records(ROWS, max_rejected=1.0)
    assert list(catalog.ids) == ["a", "b", "f"]
    assert catalog.titles == ["one", None, "fine"]
    assert catalog.frame["price"].to_list() == [1.5, None, None]
    assert catalog.frame["color"].to_list()[0] == "red"
    rejected = {(r.row, r.kept): r.reason for r in catalog.rejections}
    assert rejected[(3, False)] == "product_id occurs twice; the first row is kept"
    assert rejected[(4, False)] == rejected[(5, False)] == "product_id is empty"
    assert "quote left open" in rejected[(6, False)]
    assert "longer than 256" in rejected[(7, False)]
    assert "control character" in rejected[(8, False)]
    assert "kept without text" in rejected[(2, True)]
    assert catalog.rejections.rows_lost("products") == 6
    assert catalog.title_words() == {"min": 1, "max": 1, "mean": 1.0}


def test_too_many_bad_rows_fail_with_the_reason():
    with pytest.raises(DataError, match=r"6 of 9 rows were rejected.*--max-rejected"):
        Catalog.from_records(ROWS)
    with pytest.raises(DataError, match="no usable product"):
        Catalog.from_records([{"product_id": "", "title": "x"}])
    with pytest.raises(DataError, match="no column 'title'"):
        Catalog.from_records([{"product_id": "a"}])


def test_ids_are_text_whatever_the_file_holds():
    assert list(Catalog.from_records(pl.DataFrame({"product_id": [3, 1], "title": ["x", "y"]})).ids) == [
        "3",
        "1",
    ]
    with pytest.raises(DataError, match=r"12\.0 is not 12"):
        Catalog.from_records(pl.DataFrame({"product_id": [3.0], "title": ["x"]}))
    with pytest.raises(DataError, match="must be text"):
        Catalog.from_records(pl.DataFrame({"product_id": [["a"]], "title": ["x"]}))


@pytest.mark.parametrize("price", [[[1.0]], [True], [b"1"]])
def test_prices_of_a_wrong_type_are_refused(price):
    with pytest.raises(DataError, match="'price' is of type"):
        Catalog.from_records(pl.DataFrame({"product_id": ["a"], "title": ["x"], "price": price}))


def test_prices_with_a_decimal_comma():
    prices = ["9,90", "1,234", "10", " 3,5 "]
    catalog = Catalog.from_records([{"product_id": str(i), "title": "x", "price": p} for i, p in enumerate(prices)])
    assert catalog.frame["price"].to_list() == [9.9, None, 10.0, 3.5]


def test_other_columns_are_carried_along_whatever_their_name():
    catalog = Catalog.from_records([{"product_id": "a", "title": "x", "row": "A7"}])
    assert catalog.frame["row"].to_list() == ["A7"]
    other = Catalog.from_records(pl.DataFrame({"product_id": ["b"], "title": ["y"], "row": [["list"]]}))
    with pytest.raises(DataError, match="differs in type"):
        catalog.extended(other)


def test_extended_replaces_and_points_pictures_at_their_own_folder(tmp_path):
    first = Catalog.from_records(
        [{"product_id": "a", "title": "x", "image": "a.jpg"}, {"product_id": "b", "title": "y"}],
        root=tmp_path,
    )
    other = Catalog.from_records(
        [
            {"product_id": "b", "title": "new", "image": "b.jpg"},
            {"product_id": "c", "title": "z", "image": "https://shop.example/c.jpg"},
        ],
        root=tmp_path / "new",
    )
    both = first.extended(other)
    assert list(both.ids) == ["a", "b", "c"]
    assert both.titles == ["x", "new", "z"]
    assert both.images == ["a.jpg", "b.jpg", "https://shop.example/c.jpg"]
    assert both.image_roots() == [tmp_path, tmp_path / "new", tmp_path / "new"]
    assert list(both.without(["a"]).ids) == ["b", "c"]
    here = Catalog.from_records([{"product_id": "d", "title": "w", "image": "d.jpg"}])
    assert both.extended(here).image_roots()[3] == Path.cwd()
    assert here.extended(both).image_roots() == [None, tmp_path, tmp_path / "new", tmp_path / "new"]
    with pytest.raises(DataError, match="reserved"):
        Catalog.from_records([{"product_id": "d", "title": "w", "__root__": "/"}])


def test_read_takes_a_folder_or_a_file(shop):
    assert len(Catalog.read(shop)) == len(Catalog.read(shop / "products.csv")) == 9
    with pytest.raises(DataError, match="holds no products"):
        Catalog.read(shop / "images")
