"""Shaped lists on the command line, and through `Recommender`."""

from __future__ import annotations

import json

import polars as pl
import pytest

from trimodal import Catalog, Recommender, Shaping, read_data
from trimodal.cli import run

FAST = ["--click-option", "dimension=16", "--click-option", "epochs=10"]


@pytest.fixture
def priced(shop):
    """The shop with a price that tells the colours apart, and things as groups."""
    frame = pl.read_csv(shop / "products.csv", infer_schema=False)
    color = pl.col("product_id").str.split("-").list.first()
    prices = color.replace_strict({"red": "10", "green": "15", "blue": "40"})
    frame = frame.with_columns(price=prices, group_id=pl.col("category"), brand=color)
    frame.write_csv(shop / "products.csv")
    return shop


@pytest.fixture
def bundle(priced, tmp_path):
    data = read_data(priced)
    parameters = {"dimension": 16, "epochs": 10, "sample": 0.0}
    Recommender(click_parameters=parameters).fit(data.catalog, data.clicks).save(tmp_path / "b")
    return tmp_path / "b"


def command(capsys, *arguments):
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def found(capsys, *arguments):
    code, out, err = command(capsys, "similar", *arguments, "--json")
    assert code == 0, err
    return [n["product_id"] for n in json.loads(out)["neighbors"]]


def test_options_shape_the_list(bundle, capsys):
    plain = found(capsys, bundle, "red-shoe", "-k", 8)
    assert len(plain) == 8
    one = found(capsys, bundle, "red-shoe", "-k", 8, "--max-per-group", 1)
    assert [p.split("-")[1] for p in one] == list(dict.fromkeys(p.split("-")[1] for p in plain))
    other = found(capsys, bundle, "red-shoe", "-k", 8, "--other-groups")
    assert other == [p for p in plain if "shoe" not in p]
    assert found(capsys, bundle, "red-shoe", "--same-category") == [p for p in plain if "shoe" in p]
    assert found(capsys, bundle, "red-shoe", "--category", "cup", "--category", "lamp") == other
    assert found(capsys, bundle, "red-shoe", "--not-category", "shoe") == other
    assert found(capsys, bundle, "red-shoe", "--brand", "blue") == [p for p in plain if "blue" in p]
    assert found(capsys, bundle, "red-shoe", "--price-from", 20) == [p for p in plain if "blue" in p]
    assert found(capsys, bundle, "red-shoe", "--price-to", 12) == [p for p in plain if "red" in p]
    near = ["--price-times-from", 0.5, "--price-times-to", 2]
    assert found(capsys, bundle, "red-shoe", *near) == [p for p in plain if "blue" not in p]
    assert len(found(capsys, bundle, "red-shoe", "--max-per-duplicate", 1, "--duplicate-distance", 2)) == 1
    mixed = found(capsys, bundle, "red-shoe", "-k", 4, "--diversity", 0.9, "--pool", 8)
    assert mixed[0] == plain[0]
    assert mixed != plain[:4]
    assert found(capsys, bundle, "--title", "a red shoe", "--category", "cup", "-k", 2) == found(
        capsys, bundle, "--title", "a red shoe", "--category", "cup", "--max-per-group", 9, "-k", 2
    )


def test_shares_and_distances_stay(bundle):
    recommender = Recommender.load(bundle)
    plain = {n.product_id: n for n in recommender.similar("red-cup", 8)}
    for neighbor in recommender.similar("red-cup", 5, shaping=Shaping(diversity=0.5, max_per_group=2)):
        assert neighbor == plain[neighbor.product_id]


def test_the_page_and_the_empty_list(bundle, tmp_path, capsys):
    page = tmp_path / "page.html"
    code, out, err = command(capsys, "similar", bundle, "red-cup", "--other-groups", "--html", page)
    assert code == 0, err
    assert "blue cup" not in out + page.read_text()
    assert "blue shoe" in out
    assert "blue shoe" in page.read_text()
    code, out, _ = command(capsys, "similar", bundle, "red-cup", "--price-from", 100)
    assert code == 0
    assert "no product passes the filters" in out


def test_all_products_into_a_file(bundle, tmp_path, capsys):
    options = ["--max-per-group", 1, "--diversity", 0.2, "-k", 3]
    code, _, err = command(capsys, "similar", bundle, "--all", "-o", tmp_path / "n.parquet", *options)
    assert code == 0, err
    table = pl.read_parquet(tmp_path / "n.parquet")
    recommender = Recommender.load(bundle)
    shaping = Shaping(max_per_group=1, diversity=0.2)
    for product_id in recommender.catalog_.ids:
        rows = table.filter(pl.col("product_id") == product_id).sort("rank")
        wanted = recommender.similar(product_id, 3, shaping=shaping)
        assert rows["neighbor_id"].to_list() == [n.product_id for n in wanted]
        assert product_id not in rows["neighbor_id"]


def test_facts_follow_the_catalogue(bundle):
    recommender = Recommender.load(bundle)
    cheap = Shaping(price=(None, 1))
    assert len(recommender.similar("red-cup", 5, shaping=cheap)) == 0
    recommender.add(Catalog.from_records([{"product_id": "new", "title": "red cup", "price": 0.5}]))
    assert [n.product_id for n in recommender.similar("red-cup", 5, shaping=cheap)] == ["new"]


def test_bad_options_are_one_clear_line(bundle, capsys):
    bad = [
        (["red-cup", "--max-per-group", "0"], "max_per_group == 0, must be >= 1"),
        (["red-cup", "--diversity", "2"], "diversity == 2.0"),
        (["red-cup", "--duplicate-distance", "0.1"], "goes with max_per_duplicate"),
        (["red-cup", "--diversity", "0.1", "--pool", "3"], "pool == 3, must be at least the length of the list, 15"),
        (["red-cup", "--price-from", "3", "--price-to", "2"], "the lowest is above the highest"),
        (["red-cup", "--category", "cups"], "no product has the category 'cups'; near it: cup"),
        (["--title", "cup", "--same-category"], "not in the catalogue"),
    ]
    for options, message in bad:
        code, out, err = command(capsys, "similar", bundle, *options)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


def test_evaluate_shaping(priced, capsys):
    clicks = ["--modalities", "click", "-k", 2, *FAST, "--click-option", "sample=0"]
    code, out, err = command(capsys, "evaluate", "shaping", priced, *clicks, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert [row["shaping"] for row in report["rows"]][:2] == ["plain", "1 of a group"]
    assert report["rows"][0]["hit_rate"] == 1  # the two other colours are the nearest, and the next click
    assert report["left_out"] == []
    code, out, _ = command(capsys, "evaluate", "shaping", priced, "-k", 3, *FAST)
    assert code == 0
    assert "price x 0.5 to 2" in out
    code, _, err = command(capsys, "evaluate", "shaping", priced, "--duplicate-distance", 3)
    assert code == 2
    assert "must be in [0, 2]" in err
