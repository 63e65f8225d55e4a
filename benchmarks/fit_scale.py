"""Time and peak memory of `fit` on a simulated market with ready-made text and image vectors.

    python benchmarks/fit_scale.py --products 50000 --sessions 250000

The market is written first; then `fit`, saving, loading and the neighbours of every product run in one fresh
process each stage of which is timed. Vectors are given, so encoders are aside. Prints a table and writes
OUT/fit_scale.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimodal import Embedding, Recommender, read_data
from trimodal.datasets.simulate import simulate
from trimodal.progress import Advance


class Stages:
    """Seconds per stage, and the process's peak memory so far at its end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def run(self, name: str, job: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = job()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        self.rows.append({"stage": name, "seconds": time.perf_counter() - start, "peak_gb": peak})
        return result


def measure(market: Path, bundle: Path) -> list[dict[str, Any]]:
    training = 0.0

    @contextmanager
    def progress(title: str, total: int | None) -> Iterator[Advance]:
        nonlocal training
        start = time.perf_counter()
        yield lambda steps=1: None
        if "Prod2Vec" in title:
            training += time.perf_counter() - start

    stages = Stages()
    data = stages.run("read and clean", lambda: read_data(market))
    vectors = stages.run(
        "read vectors",
        lambda: {
            name: Embedding.read(market / "vectors" / f"{name}.parquet", name, data.catalog.ids)
            for name in ("text", "image")
        },
    )
    recommender = Recommender()
    stages.run("fit", lambda: recommender.fit(data.catalog, data.clicks, vectors=vectors, progress=progress))
    stages.rows[-1]["stage"] = "fit, Prod2Vec aside"
    stages.rows[-1]["seconds"] -= training
    stages.rows.append({"stage": "fit, Prod2Vec", "seconds": training, "peak_gb": stages.rows[-1]["peak_gb"]})
    stages.run("save", lambda: recommender.save(bundle))
    stages.run(
        "neighbours of every product",
        lambda: recommender.write_neighbors(bundle.parent / "neighbours.parquet"),
    )
    return stages.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--sessions", type=int, default=250_000)
    parser.add_argument("--out", type=Path, default=Path("out/scale"))
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    market = options.out / f"market-{options.products}"
    if options.measure:
        print(json.dumps(measure(market, options.out / "bundle")))
        return
    if not market.is_dir():
        simulate(
            market,
            products=options.products,
            sessions=options.sessions,
            categories=50,
            pictures=False,
            vectors=True,
            format="parquet",
        )
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            "--measure",
            "--products",
            str(options.products),
            "--out",
            str(options.out),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    rows = json.loads(done.stdout.splitlines()[-1])
    print(f"simulated market of {options.products:,} products, {options.sessions:,} sessions; {os.cpu_count()} cores")
    print(f"{'stage':<32}{'seconds':>10}{'peak GB':>10}")
    for row in rows:
        print(f"{row['stage']:<32}{row['seconds']:>10.1f}{row['peak_gb']:>10.2f}")
    fit = [row for row in rows if row["stage"] not in ("fit, Prod2Vec", "neighbours of every product")]
    print(f"{'fit and save, Prod2Vec aside':<32}{sum(r['seconds'] for r in fit):>10.1f}")
    note = {"python": platform.python_version(), "products": options.products, "sessions": options.sessions}
    (options.out / "fit_scale.json").write_text(json.dumps({**note, "stages": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
