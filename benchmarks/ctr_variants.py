"""Why GMMF gains or loses: its options one by one, on validation alone, with one setting of training for all.

    python benchmarks/ctr_variants.py out/ctr/beauty [out/ctr/movielens ...] [--seeds 2 --markdown FILE]

The folders are those that `trimodal ctr prepare` wrote (see `benchmarks/ctr_tables.py`). Nothing is tuned and the test
parts are not read, so that what is seen here may decide on defaults and variants. Prints the validation AUC that the
recipe watches, and the AUC per visitor, as means over the seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimodal.ctr.batches import Tables
from trimodal.ctr.models import build
from trimodal.ctr.prepared import read_prepared
from trimodal.ctr.training import Trainer, TrainingSettings

SETTINGS = TrainingSettings(learning_rate=1.4e-3, weight_decay=0.1, patience=2, max_history=20)
DROPOUT = 0.3
SUMMED = {"match": True, "merge": "sum"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "din": ("din", {}),
    "gmmf": ("gmmf", {}),
    "gmmf, pooling as printed in (10)": ("gmmf", {"pooling": "paper"}),
    "gmmf, mean in place of attention": ("gmmf", {"pooling": "mean"}),
    "gmmf, gate within": ("gmmf", {"gate": "within"}),
    "gmmf, scalar difference": ("gmmf", {"difference_weights": "scalar"}),
    "gmmf, no candidate in the tower": ("gmmf", {"candidate": False}),
    "gmmf, match": ("gmmf", {"match": True}),
    "gmmf, sum": ("gmmf", {"merge": "sum"}),
    "gmmf, match and sum (gmmf-match)": ("gmmf", SUMMED),
    "the same with the mean (gmmf-mean)": ("gmmf", {**SUMMED, "pooling": "mean"}),
    "gmmf-match without auto-encoder": ("gmmf", {**SUMMED, "autoencoder": False}),
    "gmmf-match without difference": ("gmmf", {**SUMMED, "difference": False}),
}


def measured(folder: Path, seeds: int) -> list[list[str]]:
    """A row a variant: its name, the watched AUC, the AUC per visitor, and the epochs of the best."""
    data, features = read_prepared(folder)
    data = replace(data, parts={part: data.parts[part] for part in ("train", "valid")})
    tables = Tables(data, features, max_history=SETTINGS.max_history)
    rows = []
    for name, (model_name, options) in VARIANTS.items():
        found = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = build(model_name, tables.inputs, dropout=DROPOUT, **options)
            trainer = Trainer(model, data, tables=tables, settings=replace(SETTINGS, seed=seed))
            valid = trainer.run()
            found.append((getattr(valid, trainer.monitor), valid.auc_user, trainer.state.best_epoch))
        watched, per_user, epochs = np.mean(found, axis=0)
        rows.append([name, f"{watched:.4f}", f"{per_user:.4f}", f"{epochs:.1f}"])
        print(
            f"{folder.name:<12} " + "  ".join(f"{cell:<36}" if n == 0 else cell for n, cell in enumerate(rows[-1])),
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PREPARED")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = []
    for folder in options.folders:
        lines += [
            f"### {folder.name}, validation",
            "",
            "| system | watched AUC | AUC (user) | best epoch |",
            "|---|---:|---:|---:|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in measured(folder, options.seeds)] + [""]
    if options.markdown:
        options.markdown.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
