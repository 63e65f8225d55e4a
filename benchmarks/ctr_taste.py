"""What measures of importance find of a planted taste: a simulated market, GMMF, several seeds.

    python benchmarks/ctr_taste.py [--seeds 5 --out out/ctr/taste.json]

In the simulated market visitors like some categories by picture and some by text. A measure finds it where a picture
counts for more in the former than in the latter, and a text the other way round. Prints, by measure, in how many seeds
both contrasts have the right sign and the smallest of them, and the AUC beside popularity. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimodal.catalog import Catalog
from trimodal.ctr.batches import Tables
from trimodal.ctr.controls import popularity
from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.interpretation import explain
from trimodal.ctr.metrics import pooled_auc
from trimodal.ctr.models import build
from trimodal.ctr.recipes import temporal
from trimodal.ctr.source import VisitorEvents
from trimodal.ctr.training import Trainer, TrainingSettings
from trimodal.datasets.taste import simulate_taste

# Few dimensions and much decay: with 50,000 events the defaults learn the visitors by heart.
SIZES: dict[str, Any] = {
    "dimension": 8, "user_dimension": 4, "category_dimension": 8, "autoencoder_hidden": 16, "hidden": (32, 16),
}  # fmt: skip
SETTINGS: dict[str, Any] = {"batch_size": 512, "learning_rate": 7e-3, "weight_decay": 0.3, "patience": 6, "epochs": 12}


def found(seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """One market, one training: AUCs, and by measure the contrasts of image and of text."""
    market = simulate_taste(1000, 800, events_per_user=80, seed=seed)
    data = temporal(VisitorEvents.from_frames(Catalog.from_records(market.products), market.clicks))
    features = ItemFeatures.join(data.items, market.vectors)
    tables = Tables(data, features)
    torch.manual_seed(seed)
    model = build("gmmf", tables.inputs, **SIZES, **options)
    Trainer(model, data, tables=tables, settings=TrainingSettings(seed=seed, **SETTINGS)).run()
    explanation = explain(model, tables, data, draws=100)
    rows = explanation.categories
    kind = np.array([name.split("-")[1] for name in rows.names])
    image, text = rows.parts.index("image"), rows.parts.index("text")
    contrasts = {
        by: (
            float(values[kind == "image", image].mean() - values[kind == "text", image].mean()),
            float(values[kind == "text", text].mean() - values[kind == "image", text].mean()),
        )
        for by, values in rows.values.items()
    }
    test = data.parts["test"]
    return {
        "pooled_auc": explanation.auc,
        "popularity": pooled_auc(test.label, popularity(data, "test", 0)),
        "contrasts": contrasts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/ctr/taste.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases: dict[str, dict[str, Any]] = {"gmmf": {}, "gmmf with match": {"match": True}}
    results = {}
    for name, chosen in cases.items():
        runs = [found(seed, chosen) for seed in range(options.seeds)]
        results[name] = runs
        auc, popular = (np.array([run[key] for run in runs]) for key in ("pooled_auc", "popularity"))
        print(f"{name} (simulated market): AUC {auc.min():.3f}-{auc.max():.3f}, popularity {popular.max():.3f} at most")
        for by in ("gate", "share", "removal", "loss", "auc"):
            pairs = np.array([run["contrasts"][by] for run in runs])
            print(f"  {by:<8} found in {(pairs > 0).all(1).sum()} of {len(pairs)}, smallest {pairs.min():+.4f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    note = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__}
    options.out.write_text(json.dumps({**note, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
