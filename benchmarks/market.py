"""The simulated market: how well each modality tells its categories apart, and what simulating costs.

    python benchmarks/market.py

Adjusted Rand index of k-means (10 restarts) on unit vectors and on their concatenation, over the
products that have all three modalities; before it seconds and peak memory of `simulate`, each size in a process of
its own. Writes OUT/market.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

from trimodal import Recommender, read_data
from trimodal.datasets.simulate import simulate
from trimodal.evaluation.clustering import clustering_table

MODALITIES = ("text", "image", "click")
SUBSETS = [s for size in (1, 2, 3) for s in combinations(MODALITIES, size)]
# products, sessions, categories, seed, epochs of Prod2Vec
MARKETS = (
    (1200, 40_000, 20, 0, 5),
    (1200, 40_000, 20, 1, 5),
    (1200, 40_000, 20, 2, 5),
    (1200, 40_000, 3, 0, 5),
    (1200, 40_000, 50, 0, 5),
    (600, 16_000, 20, 0, 5),
    (600, 8_000, 20, 0, 20),
    (600, 8_000, 20, 0, 5),
)
# products, sessions, pictures
SIZES = ((5_000, 5_000, True), (200_000, 500_000, False), (1_000_000, 3_000_000, False))


def tell_apart(out: Path, products: int, sessions: int, categories: int, seed: int, epochs: int) -> dict[str, Any]:
    market = out / f"{products}-{sessions}-{categories}-{seed}"
    simulate(market, products=products, sessions=sessions, categories=categories, seed=seed, overwrite=True)
    data = read_data(market)
    assert data.clicks is not None
    fitted = Recommender(click_parameters={"epochs": epochs}).fit(data.catalog, data.clicks, store=out / "store")
    cells = [(subset, "intermediate") for subset in SUBSETS]
    table = clustering_table(fitted.embeddings_, data.catalog.categories, cells=cells, sample=products)
    counts = data.clicks.counts()
    return {
        "market": f"{products:,} / {sessions:,}",
        "categories": categories,
        "seed": seed,
        "epochs": epochs,
        "clicks_per_hot_product": float(counts[counts >= 5].mean()),
        "ari": {"+".join(row.modalities): row.ari_without_tsne for row in table.rows},
    }


def cost(out: Path, products: int, sessions: int, pictures: bool) -> dict[str, float]:
    start = time.perf_counter()
    simulate(
        out / "size",
        products=products,
        sessions=sessions,
        categories=50,
        pictures=pictures,
        format="parquet",
        overwrite=True,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": time.perf_counter() - start, "peak_gb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/market"))
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size is not None:
        print(json.dumps(cost(options.out, *SIZES[options.size])))
        return
    # Costs first: a process starts with the peak memory of the one that it came from.
    costs = []
    for i, (products, sessions, pictures) in enumerate(SIZES):
        command = [sys.executable, __file__, "--out", str(options.out), "--size", str(i)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        costs.append({"products": products, "sessions": sessions, "pictures": pictures, **found})
        words = "with pictures" if pictures else "without pictures"
        size = f"{products:,} products, {sessions:,} sessions, {words}"
        print(f"{size:<64}{found['seconds']:>8.1f} s{found['peak_gb']:>8.2f} GB")
    names = ["+".join(subset) for subset in SUBSETS]
    print(f"{'market':<18}{'K':>4}{'seed':>6}{'epochs':>8}{'clicks':>8}" + "".join(f"{name:>18}" for name in names))
    markets = []
    for market in MARKETS:
        row = tell_apart(options.out, *market)
        markets.append(row)
        label = f"{row['market']:<18}{row['categories']:>4}{row['seed']:>6}{row['epochs']:>8}"
        cells = "".join(f"{row['ari'][name]:>18.3f}" for name in names)
        print(f"{label}{row['clicks_per_hot_product']:>8.0f}{cells}", flush=True)
    (options.out / "market.json").write_text(json.dumps({"markets": markets, "costs": costs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
