"""The README's commands and its library example run exactly as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import trimodal

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder where the console block has run, command by command."""
    folder = tmp_path_factory.mktemp("readme")
    for line in "".join(blocks("console")).splitlines():
        prompt, program, *arguments = shlex.split(line)
        assert (prompt, program) == ("$", "trimodal")
        done = subprocess.run(
            [sys.executable, "-m", "trimodal", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip(), line
    return folder


def test_the_commands_run_and_leave_what_they_say(place):
    assert (place / "page.html").stat().st_size > 10_000
    assert (place / "neighbours.parquet").is_file()
    assert (place / "market.bundle" / "CURRENT").read_text() == "000001\n"


def test_the_library_example_runs(place):
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "similar to p0000007" in done.stdout
    assert "similar to new" in done.stdout


def run_block(naming, folder):
    """Run the shell block that names a group of commands, line by line, in a folder."""
    (block,) = (b for b in blocks("sh") if naming in b)
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "trimodal"
        done = subprocess.run(
            [sys.executable, "-m", "trimodal", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip(), line


@pytest.mark.slow
def test_the_evaluations_run(place):
    run_block("trimodal evaluate", place)
    assert (place / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_click_through_prediction_runs(tmp_path):
    run_block("trimodal ctr", tmp_path)
    assert (tmp_path / "heat.png").stat().st_size > 5_000


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_the_package_shows_what_it_says():
    visible = {name for name in vars(trimodal) if not name.startswith("_")}
    assert set(trimodal.__all__) <= visible
    assert trimodal.__all__ == sorted(trimodal.__all__)


def test_nothing_is_reported_to_anybody():
    code = (
        "import trimodal, daft.scarf_telemetry as daft, huggingface_hub.constants as hub; "
        "print(daft.opted_out(), hub.HF_HUB_DISABLE_TELEMETRY)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
