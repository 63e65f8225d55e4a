"""Click-through prediction on real data: the paper's Tables 2 and 3 and the masking of modalities, from one command.

    python benchmarks/ctr_tables.py --data FOLDER [--out out/ctr --markdown docs/ctr-results.md] [--again]

FOLDER holds movielens100k_posters and amazon_beauty as their READMEs describe them; neither is part of this project.
Everything runs through the command line, as a user would run it, in two processes at once. Runs are kept in OUT: a
stopped benchmark goes on with the same command. `--again` makes no run, and writes the page from those that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from ctr_data import SETS
from ctr_floors import floors
from trimodal.ctr.data import CtrData


@dataclass(frozen=True)
class Study:
    """A set, how it is prepared, and how long it is trained."""

    name: str
    short: str
    title: str
    prepare: Sequence[str]
    settings: Sequence[str]
    robust: Sequence[str]


STUDIES = (
    Study(
        "movielens100k_posters",
        "movielens",
        "MovieLens-100K with posters, plots and genres (`temporal`: a click is a rating of 4 or 5)",
        ("--recipe", "temporal"),
        ("--seeds", "5", "--trials", "4", "--max-history", "30"),
        ("gmmf", "gmmf-match", "naml", "din"),
    ),
    Study(
        "amazon_beauty",
        "beauty",
        "Amazon Beauty, a fixed sample of 6,000 of its 22,363 visitors (`din-2018`)",
        ("--recipe", "din-2018", "--sample-users", "6000", "--vectors", "attributes={data}/attributes.parquet"),
        ("--seeds", "3", "--trials", "4", "--max-history", "20"),
        ("gmmf", "gmmf-match", "din", "youtubenet"),
    ),
)


def trimodal(*arguments: str) -> str:
    """Run a command of trimodal; what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "trimodal", *arguments], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return done.stdout


def made(study: Study, source: Path, out: Path, *, again: bool) -> list[str]:
    """Prepare a set, make what runs are missing, and return its part of the page."""
    data, prepared, runs = out / study.name, out / study.short, out / f"runs-{study.short}"
    if not (prepared / "manifest.json").is_file() and not again:
        SETS[study.name](source / study.name, data)
        options = [option.format(data=data) for option in study.prepare]
        trimodal("ctr", "prepare", str(data), "-o", str(prepared), *options)
    parts = [f"## {study.title}", "", _counts(CtrData.read(prepared)), ""]
    for command, title in (("compare", "All systems"), ("ablate", "GMMF's parts")):
        table = out / f"{study.short}-{command}.md"
        if not again:
            arguments = [str(prepared), "-o", str(runs), *study.settings, "--threads", "1", "--markdown", str(table)]
            # A second process takes a share of the runs.
            second = [sys.executable, "-m", "trimodal", "ctr", command, *arguments]
            other = subprocess.Popen(second, stdout=subprocess.DEVNULL)
            try:
                trimodal("ctr", command, *arguments)
            finally:
                failed = other.wait()
            if failed:
                sys.exit(f"the second process of ctr {command} failed")
        parts += [f"### {title}", "", table.read_text(encoding="utf-8").rstrip(), ""]
    masked = out / f"{study.short}-masked.txt"
    if not again:
        models = [f"{name}={_ranker(runs, name)}" for name in study.robust]
        masked.write_text(trimodal("ctr", "robustness", str(prepared), *models), encoding="utf-8")
    return [*parts, "### Masked modalities (seed 0)", "", "```", masked.read_text(encoding="utf-8").rstrip(), "```", ""]


def _ranker(runs: Path, system: str) -> str:
    """The kept model of a system: of runs with several settings, the newest."""
    found = [path for path in runs.glob(f"runs/{system}-*/0") if _name(path) == system]
    return str(max(found, key=lambda path: path.stat().st_mtime) / "ranker")


def _name(folder: Path) -> str:
    record = folder / "run.json"
    return str(json.loads(record.read_text(encoding="utf-8"))["system"]) if record.is_file() else ""


def _counts(data: CtrData) -> str:
    counts = data.manifest["counts"]
    clicks = counts["positives"]
    events = ", ".join(f"{part} {n:,} ({clicks[part] / n:.1%} clicks)" for part, n in counts["events"].items())
    sizes = f"{counts['users']:,} visitors, {counts['items']:,} products; events: {events}"
    text = f"{sizes}; data {data.fingerprint[:12]}."
    if data.recipe == "temporal":
        marks = {name: found["auc_pooled"] for name, found in floors(data).items()}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in marks.items())
        text += f" Marks, pooled AUC of means over train and validation: {shown}."
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/ctr"))
    parser.add_argument("--markdown", type=Path, default=Path("out/ctr/ctr-results.md"))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if not options.again and options.data is None:
        parser.error("--data FOLDER is needed, but with --again")
    page = [
        "# Click-through prediction on real data",
        "",
        f"Made by `python benchmarks/ctr_tables.py --data FOLDER`, {datetime.now(UTC).date().isoformat()}, on"
        f" {os.cpu_count()} processors; Python {platform.python_version()}, PyTorch {torch.__version__}."
        " Rows in brackets are controls. What is to be said about these tables stands in"
        " [click-through prediction](ctr.md#what-was-found).",
        "",
    ]
    for study in STUDIES:
        page += made(study, options.data, options.out, again=options.again)
    options.markdown.write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")
    print(f"{options.markdown}")


if __name__ == "__main__":
    main()
