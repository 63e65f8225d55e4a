"""How long shaped lists take beside plain ones, on a simulated market with ready-made text and image vectors.

    python benchmarks/shaped_lists.py --products 20000 --queries 1000

Each way of shaping answers the same products at once, as `write_neighbors` does, and a part of them one by one, as a
server does; medians of some turns. Prints a table and writes OUT/shaped_lists.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trimodal import Catalog, Embedding, Recommender, Shaping
from trimodal.datasets.simulate import simulate
from trimodal.shaping import Facts, shaped_neighbors

WAYS = {
    "no shaping asked for": Shaping(),
    "1 of a group": Shaping(max_per_group=1),
    "1 of duplicates": Shaping(max_per_duplicate=1),
    "diversity 0.1": Shaping(diversity=0.1),
    "diversity 0.3": Shaping(diversity=0.3),
    "diversity 0.5": Shaping(diversity=0.5),
    "same category": Shaping(same_category=True),
    "price x 0.5 to 2": Shaping(relative_price=(0.5, 2.0)),
    "price, 0.1 % pass": Shaping(price=(0.0, 0.0)),  # its upper bound is set to the market's prices
    "all of these": Shaping(
        max_per_group=1, max_per_duplicate=1, diversity=0.3, same_category=True, relative_price=(0.5, 2.0)
    ),
}


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/shaped"))
    options = parser.parse_args()
    market = options.out / f"market-{options.products}"
    if not market.is_dir():
        simulate(market, products=options.products, sessions=1000, pictures=False, vectors=True, format="parquet")
    catalog = Catalog.read(market)
    vectors = {
        name: Embedding.read(market / "vectors" / f"{name}.parquet", name, catalog.ids) for name in ("text", "image")
    }
    recommender = Recommender(modalities=list(vectors)).fit(catalog, vectors=vectors)
    fusion, facts = recommender.fusion_, Facts.of(catalog)
    ways = dict(WAYS)
    ways["price, 0.1 % pass"] = Shaping(price=(None, float(np.nanquantile(facts.price, 0.001))))
    rng = np.random.default_rng(0)
    asked = np.sort(rng.choice(len(catalog), min(options.queries, len(catalog)), replace=False))
    few = [catalog.ids[i] for i in asked[:: max(1, len(asked) // 50)]]

    def together(shaping: Shaping | None) -> None:
        lists = (
            fusion.iter_neighbors(asked, options.k)
            if shaping is None
            else shaped_neighbors(fusion, facts, asked, options.k, shaping)
        )
        for _ in lists:
            pass

    def one_by_one(shaping: Shaping | None) -> None:
        for product_id in few:
            recommender.similar(product_id, options.k, shaping=shaping)

    plan: dict[str, Shaping | None] = {"plain": None, **ways}
    times = np.empty((options.repeats, len(plan), 2))
    for turn in range(options.repeats):  # in turns: what else the machine does falls on all alike
        for i, shaping in enumerate(plan.values()):
            times[turn, i, 0] = seconds(partial(together, shaping))
            times[turn, i, 1] = seconds(partial(one_by_one, shaping)) * 1000 / len(few)
    rows: list[dict[str, Any]] = [
        {"shaping": name, "seconds": float(at_once), "milliseconds_one": float(one)}
        for name, (at_once, one) in zip(plan, np.median(times, axis=0), strict=True)
    ]
    print(f"simulated market of {len(catalog):,} products, k = {options.k}; {os.cpu_count()} cores")
    print(f"{'shaping':<24}{f'{len(asked):,} at once, s':>18}{'ratio':>8}{'one, ms':>10}{'ratio':>8}")
    for row in rows:
        at_once, one = (row[key] / rows[0][key] for key in ("seconds", "milliseconds_one"))
        print(f"{row['shaping']:<24}{row['seconds']:>18.2f}{at_once:>8.2f}{row['milliseconds_one']:>10.1f}{one:>8.2f}")
    note = {"python": platform.python_version(), "products": len(catalog), "queries": len(asked), "k": options.k}
    (options.out / "shaped_lists.json").write_text(json.dumps({**note, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
