"""`trimodal ctr prepare` and `trimodal ctr convert-amazon` as a user meets them."""

from __future__ import annotations

import gzip
import json

import pytest

from trimodal.cli import run
from trimodal.ctr.data import CtrData


@pytest.fixture
def visitors(tmp_path):
    """Forty visitors who rate twelve of twenty items each."""
    folder = tmp_path / "data"
    folder.mkdir()
    products = "".join(f"p{n},title {n},c{n % 3}\n" for n in range(20))
    (folder / "products.csv").write_text("product_id,title,category\n" + products)
    rows = [
        f"u{u},p{(u + 3 * k) % 20},{1_500_000_000 + 60 * k},{1 + (u * k) % 5}\n" for u in range(40) for k in range(12)
    ]
    (folder / "clicks.csv").write_text("user_id,product_id,timestamp,rating\n" + "".join(rows) + "u0,nothing,1,2\n")
    return folder


def output(capsys, *arguments):
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_prepare_writes_what_it_prints(visitors, tmp_path, capsys):
    command = ["ctr", "prepare", visitors, "-o", tmp_path / "p", "--recipe", "din-2018", "--sample-users", 30]
    manifest = json.loads(output(capsys, *command, "--json"))
    assert manifest == CtrData.read(tmp_path / "p").manifest
    assert manifest["counts"]["samples"] == 2 * (30 * 12 - 2 * 30) + 30
    assert manifest["counts"]["rejected"] == 1
    table = output(capsys, *command, "--seed", 4)
    assert "din-2018 (seed 4, validation held-out, sample_users 30)" in table
    assert "clicks.csv: product is not in the catalogue" in table
    assert f"{'samples':<24}{630:>12,}" in table


def test_prepare_takes_the_options_of_temporal(visitors, tmp_path, capsys):
    command = ["ctr", "prepare", visitors, "-o", tmp_path / "p", "--recipe", "temporal", "--json"]
    options = ["--by", "time", "--test", 0.25, "--validation", 0.2, "--threshold", 3, "--history", "frozen"]
    manifest = json.loads(output(capsys, *command, *options))
    assert manifest["parameters"] == {
        "threshold": 3.0, "by": "time", "test": 0.25, "validation": 0.2, "history": "frozen",
    }  # fmt: skip
    assert manifest["counts"]["events"]["test"] == 120
    assert manifest["monitor"] == "auc_pooled"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "din"], "--recipe == 'din', must be one of din-2018, temporal"),
        (["--recipe", "din-2018", "--by", "time"], "--by: an option of the recipe temporal"),
        (["--recipe", "temporal", "--sample-users", "3"], "--sample-users: an option of the recipe din-2018"),
        (["--recipe", "temporal", "--test", "2"], "test == 2.0, must be in [0, 1]"),
        (["--recipe", "temporal", "--threshold", "9"], "use the recipe din-2018, which samples negatives"),
        (["--recipe", "temporal", "--max-rejected", "0"], "1 of 481 rows were rejected"),
        ([], "Missing option '--recipe'"),
    ],
)
def test_bad_input_is_exit_2_and_one_clear_line(visitors, tmp_path, capsys, options, message):
    code = run(["ctr", "prepare", str(visitors), "-o", str(tmp_path / "p"), *options])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert message in " ".join(captured.err.split())
    assert not (tmp_path / "p").exists()


def test_amazon_goes_from_its_files_to_prepared_data(tmp_path, capsys):
    with gzip.open(tmp_path / "r.json.gz", "wt") as stream:
        for u in range(5):
            for k in range(6):
                row = {
                    "reviewerID": f"A{u}",
                    "asin": f"B{(u + k) % 8}",
                    "overall": 5.0,
                    "unixReviewTime": 1_400_000_000 + k,
                }
                stream.write(json.dumps(row) + "\n")
    with gzip.open(tmp_path / "m.json.gz", "wt") as stream:
        stream.writelines(f"{{'asin': 'B{n}', 'title': 'thing {n}', 'categories': [['C']]}}\n" for n in range(7))
    command = ["ctr", "convert-amazon", tmp_path / "r.json.gz", tmp_path / "m.json.gz", "-o"]
    done = json.loads(output(capsys, *command, tmp_path / "data", "--json"))
    assert (done["release"], done["reviews"], done["products"], done["without_meta"]) == (2014, 30, 8, 1)
    assert "release of 2014" in output(capsys, *command, tmp_path / "again")
    output(capsys, "ctr", "prepare", tmp_path / "data", "-o", tmp_path / "p", "--recipe", "din-2018")
    assert CtrData.read(tmp_path / "p").manifest["counts"]["samples"] == 2 * (30 - 10) + 5


def test_both_have_help_with_an_example(capsys):
    for command in ("prepare", "convert-amazon"):
        assert f"Example: trimodal ctr {command}" in " ".join(output(capsys, "ctr", command, "--help").split())
