"""The command line as a user meets it: real processes, JSON shapes, exit codes, one clear line on bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest

from trimodal.cli import run

FAST = ["--click-option", "dimension=16", "--click-option", "epochs=20"]


def command(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def data_of(capsys, *arguments):
    code, out, err = command(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def bundle(shop, tmp_path, capsys):
    code, _, err = command(capsys, "fit", shop, "-o", tmp_path / "b", *FAST)
    assert code == 0, err
    return tmp_path / "b"


def test_check_prints_table_one(shop, capsys):
    report = data_of(capsys, "check", shop)
    assert (report["products"], report["clicks"], report["sessions"], report["visitors"]) == (
        9,
        720,
        240,
        None,
    )
    assert report["clicks_per_session"] == {"min": 3, "max": 3, "mean": 3.0}
    assert report["title_words"] == {"min": 2, "max": 2, "mean": 2.0}
    assert report["coverage"] == {"text": 1.0, "image": 1.0, "click": 1.0}
    assert (report["rejected"], report["rejected_total"]) == ([], 0)
    code, out, _ = command(capsys, "check", shop)
    assert code == 0
    assert "clicks per session, min / max / mean" in out


def test_check_names_everything_that_is_wrong(shop, capsys):
    (shop / "images/red-shoe.png").write_bytes((shop / "images/blue-shoe.png").read_bytes()[:60])
    (shop / "images/red-cup.png").unlink()
    with open(shop / "products.csv", "a") as stream:
        stream.write("red-shoe,again,shoe,,1\nuntitled,,cup,images/blue-cup.png,1\nwide,too,many,fields,1,2\n")
    with open(shop / "clicks.csv", "a") as stream:
        stream.write("s1,nobody,2024-01-01T00:00:00Z\ns1,red-cup,whenever\n")
    report = data_of(capsys, "check", shop)
    reasons = {(r["file"], r["row"]): (r["reason"], r["kept"]) for r in report["rejected"]}
    assert reasons[("products.csv", 10)] == ("product_id occurs twice; the first row is kept", False)
    assert reasons[("products.csv", 11)] == ("title is empty; the product is kept without text", True)
    assert reasons[("products.csv", 12)] == ("6 fields where the header has 5", False)
    assert "picture: " in reasons[("products.csv", 1)][0]
    assert reasons[("products.csv", 1)][1]
    assert "no such file" in reasons[("products.csv", 7)][0].lower()
    assert reasons[("clicks.csv", 721)][0] == "product is not in the catalogue"
    assert reasons[("clicks.csv", 722)][0].startswith("timestamp does not parse")
    assert report["rejected_total"] == len(report["rejected"]) == 7
    assert report["coverage"]["image"] == 0.8
    code, out, _ = command(capsys, "check", shop)
    assert code == 0
    assert "rejected: 7" in out


def test_embed_fit_and_similar(shop, tmp_path, capsys):
    first = data_of(capsys, "embed", shop, "-o", tmp_path / "vectors")
    assert (first["text"]["encoded"], first["image"]["encoded"]) == (9, 9)
    assert pl.read_parquet(tmp_path / "vectors/image.parquet").height == 9
    again = data_of(capsys, "embed", shop)
    assert (again["text"]["encoded"], again["text"]["reused"], again["image"]["reused"]) == (0, 9, 9)
    manifest = data_of(capsys, "fit", shop, "-o", tmp_path / "b", *FAST)
    assert manifest["modalities"]["click"]["dimension"] == 16
    result = data_of(capsys, "similar", tmp_path / "b", "red-shoe", "-k", 3)
    assert (result["product_id"], result["strategy"], len(result["neighbors"])) == (
        "red-shoe",
        "intermediate",
        3,
    )
    assert set(result["neighbors"][0]) == {"product_id", "distance", "shares", "state"}
    assert set(result["neighbors"][0]["shares"]) == {"text", "image", "click"}
    code, out, _ = command(capsys, "similar", tmp_path / "b", "red-shoe", "--html", tmp_path / "page.html")
    assert code == 0
    assert "green shoe" in out
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()
    data_of(capsys, "similar", tmp_path / "b", "--all", "-o", tmp_path / "all.parquet", "-k", 4)
    assert pl.read_parquet(tmp_path / "all.parquet").height == 36
    query = data_of(capsys, "similar", tmp_path / "b", "--title", "green cup", "--image", shop / "images/green-cup.png")
    assert query["product_id"] is None
    assert query["neighbors"][0]["product_id"] == "green-cup"


def test_change_a_bundle(shop, bundle, tmp_path, capsys):
    new = tmp_path / "new"
    new.mkdir()
    (new / "products.csv").write_text("product_id,title\nnew,red shoe\nred-cup,red cup anew\nnew,twice\n")
    code, out, err = command(capsys, "add", bundle, new, "--max-rejected", "0.5", "--json")
    added = json.loads(out)
    assert (added["added"], added["replaced"], added["rejected"], added["version"]) == (1, 1, 1, "000002")
    assert "1 product_id occurs twice" in err
    near = data_of(capsys, "similar", bundle, "new", "-k", 1)["neighbors"][0]
    assert near["product_id"] == "red-shoe"
    assert data_of(capsys, "remove", bundle, "new", "new")["removed"] == 1
    assert command(capsys, "similar", bundle, "new")[0] == 2
    assert data_of(capsys, "refresh", bundle, shop)["sessions"] == 240
    info = data_of(capsys, "info", bundle)
    assert (info["version"], info["products"], info["versions"]) == (
        "000004",
        9,
        ["000002", "000003", "000004"],
    )
    assert data_of(capsys, "rollback", bundle)["version"] == "000003"
    for name in ("info", "rollback"):
        code, out, _ = command(capsys, name, bundle)
        assert code == 0
        assert "00000" in out


def test_evaluate_on_a_simulated_market(tmp_path, capsys):
    size = ["--products", 200, "--sessions", 4000, "--categories", 4, "--seed", 3]
    data_of(capsys, "simulate", tmp_path / "m", *size)
    options = ["--click-option", "dimension=16", "--modalities", "text,click"]
    clicks = data_of(capsys, "evaluate", "clicks", tmp_path / "m", "-k", "10", "--questions", 500, *options)
    keys = {"strategy", "modalities", "query", "k", "hit_rate", "hit_rate_low", "hit_rate_high", "mrr", "ndcg"}
    assert all(keys <= set(row) and row["k"] == 10 for row in clicks["rows"])
    assert {row["query"] for row in clicks["rows"]} == {"last", "session"}
    learned = data_of(capsys, "tune", "weights", tmp_path / "m", "-k", 10, *options)
    assert set(learned["weights"]) == {"text", "click"}
    assert learned["difference_low"] <= learned["difference"] <= learned["difference_high"]
    ladder = data_of(capsys, "evaluate", "cold-start", tmp_path / "m", "--levels", "0,5", *options)
    assert {row["clicks"] for row in ladder["rows"]} == {0, 5}
    data_of(capsys, "fit", tmp_path / "m", "-o", tmp_path / "b", *options)
    small = ["--categories", "2,4", "--seeds", 1, "--sample", 100, "--figure", tmp_path / "map.png"]
    table = data_of(capsys, "evaluate", "clustering", tmp_path / "b", *small)
    assert (tmp_path / "map.png").stat().st_size > 10_000
    keys = {"modalities", "strategy", "categories", "products", "ari", "ari_low", "ari_high", "ari_without_tsne"}
    assert all(keys <= set(row) for row in table["rows"])
    assert {row["categories"] for row in table["rows"]} == {2, 4}
    assert abs(table["chance"]) < 0.05


def test_our_own_strategy_on_a_simulated_market(tmp_path, capsys):
    size = ["--products", 120, "--sessions", 1500, "--categories", 4, "--seed", 4]
    data_of(capsys, "simulate", tmp_path / "m", *size)
    options = ["--click-option", "dimension=8", "--click-option", "min_count=15", "--modalities", "text,click"]
    asked = ["--fusion", "covisit", "--query", "session", "--every-subset", "-k", 10, "--questions", 120]
    learned = data_of(capsys, "tune", "weights", tmp_path / "m", *asked, *options)
    assert [row["modalities"] for row in learned["rows"]] == [["click"], ["text", "click"]]
    for row in learned["rows"]:
        assert (row["strategy"], row["query"], row["k"]) == ("covisit", "session", 10)
        assert set(row["parameters"]) == {"shrinkage", "inferred", "prior", "covisits", "popularity"}
    strategy = ["--fusion", "covisit", "--fusion-option", "covisits=4", "--infer-clicks"]
    note = data_of(capsys, "fit", tmp_path / "m", "-o", tmp_path / "b", *strategy, *options)
    assert note["fusion"]["settings"]["covisits"] == 4
    assert note["settings"]["infer_clicks"] is True
    click = note["modalities"]["click"]
    assert click["inferred"] > 0
    assert click["missing"] == 0
    products = pl.read_csv(tmp_path / "m" / "products.csv", infer_schema=False)["product_id"]
    found = data_of(capsys, "similar", tmp_path / "b", products[0], "-k", 120)
    assert found["strategy"] == "covisit"
    assert {n["state"]["click"] for n in found["neighbors"]} == {"known", "inferred"}
    code, _, err = command(capsys, "refresh", tmp_path / "b", tmp_path / "m", "--min-coverage", 0)
    assert code == 0, err
    assert data_of(capsys, "similar", tmp_path / "b", products[0], "-k", 120) == found


def test_too_few_clicks_to_infer_from_is_said(shop, tmp_path, capsys):
    code, _, err = command(capsys, "fit", shop, "-o", tmp_path / "b", "--infer-clicks", *FAST)
    assert code == 0
    assert "no click vector was inferred" in err


@pytest.mark.parametrize("fusion", ["early", "late", "click-text"])
def test_other_strategies_and_subsets(shop, tmp_path, capsys, fusion):
    data_of(capsys, "fit", shop, "-o", tmp_path / "b", "--fusion", fusion, *FAST)
    assert data_of(capsys, "similar", tmp_path / "b", "red-cup")["strategy"] == fusion
    data_of(capsys, "fit", shop, "-o", tmp_path / "c", "--modalities", "text,image", "--weight", "text=2")
    assert set(data_of(capsys, "similar", tmp_path / "c", "red-cup")["neighbors"][0]["shares"]) == {
        "text",
        "image",
    }


def test_vectors_of_the_users_own(shop, tmp_path, capsys):
    frame = pl.DataFrame({"product_id": ["red-cup", "blue-cup"], "vector": [[1.0, 0.0], [1.0, 0.1]]})
    frame.write_parquet(tmp_path / "style.parquet")
    vectors = ["--vectors", f"style={tmp_path / 'style.parquet'}"]
    code, _, err = command(capsys, "fit", shop, "-o", tmp_path / "b", "--modalities", "text,style", *vectors)
    assert code == 0
    assert "style: 2 of 9 products" in err
    assert data_of(capsys, "similar", tmp_path / "b", "red-cup", "-k", 1)["neighbors"][0]["shares"]["style"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere is not a folder"),
        (["fit", "SHOP", "-o", "OUT", "--fusion", "middle"], "fusion == 'middle', must be one of"),
        (["fit", "SHOP", "-o", "OUT", "--click", "best"], "must be one of paper"),
        (["fit", "SHOP", "-o", "OUT", "--click-option", "epochs"], "must be NAME=VALUE"),
        (["fit", "SHOP", "-o", "OUT", "--click-option", "epochs=many"], "must be a number"),
        (["fit", "SHOP", "-o", "OUT", "--click-option", "epoch=3"], "unknown click parameter"),
        (["fit", "SHOP", "-o", "OUT", "--modalities", "sound"], "unknown modality 'sound'"),
        (["fit", "SHOP", "-o", "OUT", "--weight", "text=-1"], "must be 0 or in"),
        (["fit", "SHOP", "-o", "OUT", "--weight", "sound=1"], "'sound'"),
        (["fit", "SHOP", "-o", "OUT", "--fusion-option", "covisits"], "must be NAME=VALUE"),
        (["fit", "SHOP", "-o", "OUT", "--fusion-option", "prior=some"], "--fusion-option 'some', must be a number"),
        (["fit", "SHOP", "-o", "OUT", "--fusion-option", "prior=1"], "'prior' is no parameter of fusion intermediate"),
        (
            ["fit", "SHOP", "-o", "OUT", "--fusion", "covisit", "--fusion-option", "covisit=1"],
            "'covisit' is no parameter of fusion covisit; it has: modalities, weights, shrinkage",
        ),
        (
            ["fit", "SHOP", "-o", "OUT", "--fusion", "covisit", "--fusion-option", "prior=2"],
            "prior == 2.0, must be in [0, 1]",
        ),
        (["fit", "SHOP", "-o", "OUT", "--fusion", "covisit", "--modalities", "text"], "needs the modality 'click'"),
        (["fit", "SHOP", "-o", "OUT", "--modalities", "text", "--infer-clicks"], "inferring clicks needs"),
        (["tune", "weights", "SHOP", "--fusion", "late"], "must be one of intermediate, adaptive, covisit"),
        (["tune", "weights", "SHOP", "--query", "first"], "must be one of last, session"),
        (["fit", "SHOP", "-o", "OUT", "--clusters", "0", "--fusion", "late"], "clusters == 0"),
        (["fit", "SHOP", "-o", "OUT", "--clusters", "5"], "clusters go with late"),
        (["fit", "SHOP", "-o", "OUT", "--batch-size", "0"], "batch_size == 0"),
        (
            ["fit", "SHOP", "-o", "OUT", "--click-option", "min_count=999", "--modalities", "click"],
            "not one product has",
        ),
        (["embed", "SHOP", "--modalities", ""], "--modalities is empty"),
        (["refresh", "BUNDLE", "SHOP", "--min-coverage", "nan"], "min_coverage == nan"),
        (["similar", "BUNDLE", "red-cup", "--device", "tpu"], "must be one of auto, cpu, cuda"),
        (["check", "SHOP", "--encoding", "rot13"], "unknown encoding"),
        (["check", "SHOP", "--max-clicks", "20000"], "must be <= 10000"),
        (["evaluate", "clicks", "SHOP", "--held-out", "2"], "share == 2"),
        (["evaluate", "clicks", "SHOP", "--held-out", "0"], "no held-out session"),
        (["evaluate", "clustering", "BUNDLE", "--categories", "some"], "must be whole numbers"),
        (["evaluate", "clustering", "BUNDLE", "--figure", "map.jpg"], "must end in one of"),
        (["evaluate", "clicks", "SHOP", "-k", "0"], "-k == 0, must be >= 1"),
        (["evaluate", "clustering", "BUNDLE", "--modalities", "sound"], "'sound' is not in"),
        (["fit", "SHOP", "-o", "OUT", "--device", "tpu"], "must be one of auto, cpu, cuda"),
        (["fit", "SHOP", "-o", "OUT", "--image", "vgg16:nowhere/at/all"], "no such directory"),
        (["fit", "SHOP", "-o", "SHOP"], "is there and is not a bundle"),
        (["fit", "SHOP"], "Missing option"),
        (["similar", "SHOP", "a"], "is not a bundle"),
        (["similar", "BUNDLE"], "give one of"),
        (["similar", "BUNDLE", "nope"], "'nope' is not among the 9"),
        (["similar", "BUNDLE", "red-cup", "-k", "0"], "k == 0, must be >= 1"),
        (["similar", "BUNDLE", "--all"], "go together"),
        (["similar", "BUNDLE", "--title", " "], "title is empty"),
        (["refresh", "BUNDLE", "nowhere.csv"], "does not exist"),
        (["rollback", "BUNDLE"], "no version before"),
        (["remove", "BUNDLE", "nope"], "'nope'"),
        (["simulate", "OUT", "--products", "-3"], "products == -3"),
        (["frobnicate"], "No such command"),
    ],
)
def test_bad_input_is_exit_2_and_one_clear_line(shop, bundle, tmp_path, capsys, arguments, message):
    places = {"SHOP": str(shop), "OUT": str(tmp_path / "out"), "BUNDLE": str(bundle)}
    code, out, err = command(capsys, *(places.get(a, a) for a in arguments))
    assert code == 2
    assert out == ""
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["evaluate clustering", "evaluate clicks", "evaluate cold-start", "tune weights"])
def test_groups_have_help_with_an_example(capsys, name):
    code, out, _ = command(capsys, *name.split(), "--help")
    assert code == 0
    assert f"Example: trimodal {name}" in " ".join(out.split())


@pytest.mark.parametrize(
    "name",
    ["check", "embed", "simulate", "fit", "similar", "refresh", "add", "remove", "rollback", "info", "demo"],
)
def test_every_command_has_help_with_an_example(capsys, name):
    code, out, _ = command(capsys, name, "--help")
    assert code == 0
    assert f"trimodal {name}" in " ".join(out.split())
    assert "Example" in out


def test_json_is_all_there_is_on_standard_output(shop):
    done = subprocess.run(
        [sys.executable, "-m", "trimodal", "check", str(shop), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["products"] == 9
    assert done.stderr == ""
    failed = subprocess.run(
        [sys.executable, "-m", "trimodal", "check", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (failed.returncode, failed.stdout, len(failed.stderr.splitlines())) == (2, "", 1)
