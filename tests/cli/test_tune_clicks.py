"""`trimodal tune clicks` as a user meets it: a killed search goes on, and what is found can be given to `fit`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from trimodal.cli import run
from trimodal.cli.common import click_parameters
from trimodal.encoders.click import click_settings

CHEAP = ["--max-cost", "1", "-k", "2"]


def output(capsys, *arguments):
    """Standard output and standard error of a command that succeeds."""
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


def steady(trials):
    return [{**trial, "seconds": None} for trial in trials]


def test_what_is_found_can_be_given_to_fit(shop, tmp_path, capsys):
    command = ["tune", "clicks", shop, "--trials", 4, "--objective", "hit-rate", *CHEAP]
    out, err = output(capsys, *command, "-o", tmp_path / "f.json", "--json")
    found = json.loads(out)
    assert len(found["trials"]) == 4
    assert "trial 4: hit rate" in err
    assert (shop / ".trimodal" / "clicks.study").is_file()
    assert json.loads((tmp_path / "f.json").read_text()) == found["found"]
    options = found["options"].split()
    assert click_settings(**click_parameters(options[1::2])) == click_settings(**found["found"])
    output(capsys, "fit", shop, "-o", tmp_path / "b", "--modalities", "click", *options)
    table, err = output(capsys, *command)
    assert "trial 4" not in err  # kept from before
    assert "test: " in table
    assert found["verdict"] in table


def test_a_search_killed_at_once_goes_on_and_repeats_nothing(shop, tmp_path, capsys):
    study = tmp_path / "study"
    command = ["tune", "clicks", str(shop), "--study", str(study), *CHEAP, "--json", "--trials"]
    running = subprocess.Popen(
        [sys.executable, "-m", "trimodal", *command, "5000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        for line in running.stderr:
            if line.startswith("trial 5:"):
                break
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert running.returncode == -signal.SIGKILL
    kept = study.read_bytes()
    ran = kept.count(b'"state":1')
    assert ran >= 5
    out, err = output(capsys, *command, ran + 3)
    numbers = [line.split()[1] for line in err.splitlines() if line.startswith("trial ")]
    assert numbers == [f"{ran + n}:" for n in (1, 2, 3)]
    assert study.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    found = json.loads(out)
    settings = [json.dumps(trial["settings"]) for trial in found["trials"] if trial["seconds"] > 0]
    assert len(found["trials"]) == ran + 3
    assert len(set(settings)) == len(settings)
    whole, _ = output(capsys, *command, ran + 3, "--study", tmp_path / "whole")
    assert steady(json.loads(whole)["trials"]) == steady(found["trials"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "auc"], "objective == 'auc', must be one of hit-rate, mrr, ndcg"),
        (["--trials", "0"], "trials == 0"),
        (["--held-out", "2"], "share == 2"),
        (["--held-out", "0"], "test: 0 sessions"),
        (["-o", "nowhere/at/all.json"], "must be a file in a folder that is there"),
        (["--study", "SHOP/clicks.csv"], "is not the journal of a search"),
    ],
)
def test_bad_input_is_exit_2_and_one_clear_line(shop, capsys, arguments, message):
    code = run(["tune", "clicks", str(shop), *(a.replace("SHOP", str(shop)) for a in arguments)])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert message in " ".join(captured.err.split())


def test_it_has_help_with_an_example(capsys):
    out, _ = output(capsys, "tune", "clicks", "--help")
    assert "Example: trimodal tune clicks" in " ".join(out.split())
