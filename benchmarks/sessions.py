"""Sessions: ClickLog.read (Daft) against the same cleaning in plain Polars, on the same Parquet file.

    python benchmarks/sessions.py --clicks 14000000

Each runs in a process of its own, alternately, so that their peak memories are their own; compare the ratio of
the two, not the seconds. Checks that both give the same sessions. Prints a table and writes OUT/sessions.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from trimodal.clicks import MAX_CLICKS, MIN_CLICKS, ClickLog
from trimodal.ids import ProductIds

PRODUCTS = 900_000


def write_clicks(path: Path, clicks: int) -> None:
    """A log in order of time, sessions of about four clicks interleaved, products by a power law."""
    rng = np.random.default_rng(0)
    length = 1 + rng.geometric(0.32, clicks // 4)
    session = np.repeat(np.arange(len(length)), length)
    start = rng.integers(0, 60 * 86400, len(length))
    second = np.repeat(start, length) + rng.integers(0, 600, len(session))
    product = rng.zipf(1.3, len(session)) % PRODUCTS
    pl.DataFrame(
        {
            "session_id": pl.Series(session).cast(pl.String),
            "product_id": "p" + pl.Series(product).cast(pl.String),
            "timestamp": pl.from_epoch(pl.Series(1_700_000_000 + second), time_unit="s").cast(pl.Datetime("us")),
        }
    ).sort("timestamp").write_parquet(path)


def with_daft(path: Path) -> list[int]:
    log = ClickLog.read(path, ProductIds([f"p{i}" for i in range(PRODUCTS)]))
    return [len(log), log.cleaning.clicks]


def with_polars(path: Path) -> list[int]:
    """The same job by hand: product ids to positions, order, collapse runs, limits."""
    known = pl.LazyFrame({"product_id": [f"p{i}" for i in range(PRODUCTS)]}).with_row_index("product")
    sessions = (
        pl.scan_parquet(path)
        .with_row_index("row")
        .join(known, on="product_id", how="inner")
        .sort("session_id", "timestamp", "row")
        .filter(
            (pl.col("product") != pl.col("product").shift()).fill_null(True)
            | (pl.col("session_id") != pl.col("session_id").shift()).fill_null(True)
        )
        .group_by("session_id", maintain_order=True)
        .agg("product", pl.col("timestamp").first())
        .filter(pl.col("product").list.len().is_between(MIN_CLICKS, MAX_CLICKS))
        .sort("timestamp", "session_id")
        .collect()
    )
    return [sessions.height, int(sessions["product"].list.len().sum())]


def once(way: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--file", str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=14_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/sessions"))
    parser.add_argument("--way", choices=("daft", "polars"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        start = time.perf_counter()
        result = with_daft(options.file) if options.way == "daft" else with_polars(options.file)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"seconds": time.perf_counter() - start, "peak_gb": peak, "sessions": result}))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"clicks-{options.clicks}.parquet"
    if not path.is_file():
        write_clicks(path, options.clicks)
    runs: dict[str, list[dict[str, Any]]] = {"daft": [], "polars": []}
    for _ in range(options.repeats):
        for way, results in runs.items():
            results.append(once(way, path))
    assert runs["daft"][0]["sessions"] == runs["polars"][0]["sessions"], "the two do not agree"
    seconds = {way: median(r["seconds"] for r in results) for way, results in runs.items()}
    print(f"{'way':<10}{'seconds':>10}{'peak GB':>10}")
    for way, results in runs.items():
        print(f"{way:<10}{seconds[way]:>10.1f}{max(r['peak_gb'] for r in results):>10.2f}")
    print(f"daft / polars, medians of {options.repeats}: {seconds['daft'] / seconds['polars']:.2f}")
    print(f"sessions and clicks, the same from both: {runs['daft'][0]['sessions']}")
    (options.out / "sessions.json").write_text(json.dumps({"clicks": options.clicks, **runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
