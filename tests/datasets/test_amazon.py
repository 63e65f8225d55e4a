"""The three releases of Amazon's reviews, in lines as they are written, become one input format."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from trimodal.catalog import Catalog
from trimodal.ctr.source import VisitorEvents
from trimodal.datasets import _lines, amazon
from trimodal.datasets.amazon import convert
from trimodal.errors import DataError


def packed(path, lines):
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return path


def old_review(user, product, time, rating=5.0):
    return {"reviewerID": user, "asin": product, "overall": rating, "unixReviewTime": time, "reviewText": "Good.\n"}


def files(folder, release):
    if release == 2023:
        reviews = [
            {"user_id": "AE1", "parent_asin": "B1", "asin": "B9", "rating": 4.0, "timestamp": 1_400_000_000_123},
            {"user_id": "AE2", "parent_asin": "B2", "asin": "B2", "rating": 1.0, "timestamp": 1_400_000_001_000},
            {"user_id": "AE2", "parent_asin": "B3", "asin": "B3", "rating": 2, "timestamp": 1_400_000_002_000},
        ]
        meta = [
            {"parent_asin": "B2", "title": "Pen", "main_category": "Office", "categories": [], "images": []},
            {"parent_asin": "B1", "title": "Red &amp; round", "main_category": "All", "categories": ["Toys", "Balls"],
             "images": [{"hi_res": None, "large": "https://x/1.jpg"}], "price": 3.5},
            {"parent_asin": "B7", "title": "Nobody's"},
        ]  # fmt: skip
        return packed(folder / "T.jsonl.gz", reviews), packed(folder / "meta_T.jsonl.gz", meta)
    reviews = [old_review("A1", "B1", 1_400_000_000, 4.0), old_review("A2", "B2", 1_400_000_001, 1.0)]
    reviews.append(old_review("A2", "B3", 1_400_000_002, 2.0))
    if release == 2014:
        meta = [
            "{'asin': 'B2', 'categories': [['Office']], 'title': 'Pen', 'related': {'also_bought': ['B1']}}",
            "{'asin': 'B1', 'categories': [['Toys'], ['Toys', 'Balls']], 'title': \"Red & round\", 'price': 3.5, "
            "'imUrl': 'https://x/1.jpg', 'description': 'It\\'s \\d red'}",
            "{'asin': 'B7', 'title': 'Nobody', 'categories': [['Toys']]}",
        ]
    else:
        meta = [
            {"asin": "B2", "category": ["Office"], "title": "Pen", "imageURLHighRes": []},
            {"asin": "B1", "category": ["Toys", "Balls"], "title": "Red &amp; round",
             "imageURLHighRes": ["https://x/1.jpg", "https://x/2.jpg"]},
            {"asin": "B1", "category": ["Toys"], "title": "the same once more"},
            {"asin": "B7", "category": [], "title": "var aPageStart = (new Date()).getTime();"},
        ]  # fmt: skip
    return packed(folder / "T_5.json.gz", reviews), packed(folder / "meta_T.json.gz", meta)


@pytest.mark.parametrize("release", [2014, 2018, 2023])
def test_every_release_becomes_products_and_clicks(tmp_path, release):
    done = convert(*files(tmp_path, release), tmp_path / "out")
    assert done.release == release
    assert (done.reviews, done.products, done.without_meta, done.not_reviewed) == (3, 3, 1, 1)
    assert done.rejections.total == 0
    products = pl.read_parquet(tmp_path / "out" / "products.parquet")
    assert products.select("product_id", "title", "category", "image").rows() == [
        ("B2", "Pen", "Office", None),
        ("B1", "Red & round", "Balls", "https://x/1.jpg"),
        ("B3", None, None, None),
    ]
    clicks = pl.read_parquet(tmp_path / "out" / "clicks.parquet")
    assert clicks["product_id"].to_list() == ["B1", "B2", "B3"]
    assert clicks["rating"].to_list() == [4, 1, 2]
    millisecond = 123_000 if release == 2023 else 0
    assert clicks["timestamp"][0] == datetime.fromtimestamp(1_400_000_000, UTC).replace(microsecond=millisecond)
    source = VisitorEvents.read(tmp_path / "out")
    assert len(source) == 3
    assert source.rejections.rows_lost("clicks.parquet") == 0


def test_titles_that_are_pieces_of_a_script_are_no_titles(tmp_path):
    reviews = packed(tmp_path / "r.json.gz", [old_review("A1", "B7", 1_400_000_000)])
    _, meta = files(tmp_path, 2018)
    done = convert(reviews, meta, tmp_path / "out")
    assert (done.products, done.titles) == (1, 0)
    assert Catalog.read(tmp_path / "out").titles == [None]


def test_pictures_as_a_table_of_columns_are_read(tmp_path):
    reviews, _ = files(tmp_path, 2023)
    images = {"hi_res": [None, "https://x/h.jpg"], "large": ["https://x/l.jpg"]}
    meta = packed(tmp_path / "m.jsonl.gz", [{"parent_asin": "B1", "title": "x", "images": images}])
    convert(reviews, meta, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "products.parquet")["image"][0] == "https://x/h.jpg"


def test_bad_lines_are_counted_by_reason_and_listed_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(_lines, "MAX_LINE", 400)
    monkeypatch.setattr(_lines, "MAX_LITERAL", 300)
    good = [old_review(f"A{n}", "B1", 1_400_000_000 + n) for n in range(30)]
    bad = [
        "{'reviewerID': __import__('os')}",
        '"text"',
        json.dumps(old_review("A", "B1", 1))[:-5],
        old_review("", "B1", 1),
        old_review("A", 7, 1),
        old_review("A", "B1", "x"),
        old_review("A", "B1", 1, None),
        "{'a': '" + "x" * 350 + "'}",
        json.dumps({"a": "x" * 5000}),
        "[" * 250,
    ]
    reviews = packed(tmp_path / "r.json.gz", [*good, "", *bad, old_review("A99", "B1", 1_400_000_000)])
    _, meta = files(tmp_path, 2014)
    done = convert(reviews, meta, tmp_path / "out", max_rejected=0.3)
    assert done.reviews == 31
    assert {reason: n for _, reason, n in done.rejections.reasons()} == {
        "neither a JSON object nor a Python literal on one line": 4,
        "reviewerID is missing or no id": 1,
        "asin is missing or no id": 1,
        "unixReviewTime is missing or no time": 1,
        "overall is missing or no number": 1,
        "not JSON, and longer than 300 bytes": 1,
        "longer than 400 bytes": 1,
    }
    assert [r.row for r in done.rejections] == list(range(32, 42))
    with pytest.raises(DataError, match="10 of 42 rows were rejected"):
        convert(reviews, meta, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_lines_that_are_not_utf8_are_rejected(tmp_path):
    reviews, meta = files(tmp_path, 2018)
    path = tmp_path / "plain.json"
    path.write_bytes(gzip.decompress(reviews.read_bytes()) + b'{"asin": "\xff"}\n')
    done = convert(path, meta, tmp_path / "out", max_rejected=0.5)
    assert [r.reason for r in done.rejections] == ["bytes that are not UTF-8"]


def test_more_than_one_batch_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(amazon, "BATCH", 2)
    convert(*files(tmp_path, 2014), tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "clicks.parquet").height == 3
    assert pl.read_parquet(tmp_path / "out" / "products.parquet").height == 3


def test_input_that_cannot_be_used_is_refused_and_leaves_no_files(tmp_path):
    reviews, meta = files(tmp_path, 2018)
    out = tmp_path / "out"

    def refused(message, reviews=reviews, meta=meta):
        with pytest.raises(DataError, match=message):
            convert(reviews, meta, out)
        assert list(out.iterdir()) == []

    refused("does not exist", reviews=tmp_path / "none")
    refused(r"order REVIEWS META", reviews=meta, meta=reviews)
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(reviews.read_bytes()[:-9])
    refused("not fetched to its end", reviews=cut)
    refused("holds no usable review", reviews=packed(tmp_path / "empty.json.gz", []))
    refused(
        "none of the 3 products", meta=packed(tmp_path / "m.json.gz", [{"asin": "X", "title": "x", "category": []}])
    )
    convert(reviews, meta, out)
    with pytest.raises(DataError, match=r"products.parquet is there already"):
        convert(reviews, meta, out)
