"""Next click on the published DIGINETICA split: P@20 and MRR@20 of click strategies and controls.

    python benchmarks/next_click.py --data FOLDER --click-option epochs=20

Trains on the published training sessions and answers the published 60,858 test prefixes, so the figures stand
beside those of the session literature. Prints a table and writes OUT/next_click.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np

from real_data import diginetica_sessions
from trimodal import read_data
from trimodal.cli.common import click_parameters
from trimodal.encoders.click import Prod2Vec, click_settings
from trimodal.evaluation.retrieval import NextClicks, evaluate_retrieval
from trimodal.ids import ProductIds

PUBLISHED = {"POP": (0.89, 0.20), "Item-KNN": (35.75, 11.57), "NARM": (49.70, 16.17), "SR-GNN": (50.73, 17.59)}
"""P@20 and MRR@20 in per cent, as quoted in SR-GNN (AAAI 2019), table 2; from the data set's notes."""


def published_questions(path: Path, ids: ProductIds) -> NextClicks:
    """The published test: each line is a prefix of product ids, a tab, and the product clicked next.

    Lines that follow each other are the shrinking prefixes of one session, the longest first.
    """
    sessions: list[list[str]] = []
    previous: list[str] = []
    with gzip.open(path, "rt") as stream:
        for line in stream:
            session = line.replace("\t", " ").split()
            if session != previous[:-1]:
                sessions.append(session)
            previous = session
    bounds = np.cumsum([0, *map(len, sessions)])
    asks = np.ones(bounds[-1], bool)
    asks[bounds[1:] - 1] = False
    clicks = ids.positions(product for session in sessions for product in session)
    return NextClicks(clicks.astype(np.int32), bounds, np.flatnonzero(asks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/next_click"))
    parser.add_argument("--click-option", action="append", metavar="NAME=VALUE")
    options = parser.parse_args()
    folder = options.out / "data"
    diginetica_sessions(options.data / "diginetica_sessions", folder)
    # Every training click counts, and sessions as published: single clicks and long ones too.
    data = read_data(folder, min_clicks=1, max_clicks=10_000)
    assert data.clicks is not None
    settings = click_settings(**click_parameters(options.click_option))
    embeddings = {"click": Prod2Vec(settings).fit(data.clicks)}
    file = options.data / "diginetica_sessions" / "benchmark_test_prefix_target.tsv.gz"
    questions = published_questions(file, data.catalog.ids)
    report = evaluate_retrieval(embeddings, data.clicks, questions, ks=(20,), repeats=True)
    print(f"{len(questions):,} questions of {report.sessions:,} sessions; half-widths of 95 % intervals over sessions")
    print(f"{'':<44}{'P@20':>8}{'MRR@20':>8}")
    for name, (hit, rank) in PUBLISHED.items():
        print(f"{name + ' (published)':<44}{hit:>8.2f}{rank:>8.2f}")
    for row in report.rows:
        name = f"{row.strategy} {'+'.join(row.modalities)}, {row.query}"
        spread = 50 * (row.hit_rate_high - row.hit_rate_low)
        print(f"{name:<44}{100 * row.hit_rate:>8.2f}{100 * row.mrr:>8.2f}   +-{spread:.2f}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "next_click.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n")


if __name__ == "__main__":
    main()
