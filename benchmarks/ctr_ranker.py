"""Time to score candidates for one visitor with a ranker: the least, p50 and p99 over many visitors.

    python benchmarks/ctr_ranker.py --models din,gmmf,naml --candidates 1000 --history 50

The models are not trained, which changes no time. Each call has another visitor's candidates and history, drawn at
random. Prints a table and writes OUT/ctr_ranker.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.batches import ItemRows, ModelInputs
from trimodal.ctr.models import build
from trimodal.ctr.ranker import Ranker
from trimodal.ctr.ranker_files import RankerFiles


def untrained(name: str, items: int, users: int, modalities: dict[str, int], history: int, folder: Path) -> Ranker:
    """A ranker over random items, as it is after loading from disk."""
    inputs = ModelInputs(users + 1, items + 1, 101, modalities)
    torch.manual_seed(0)
    model = build(name, inputs).eval()
    rows = torch.arange(items)
    features = {m: torch.randn(items, length) for m, length in modalities.items()}
    present = {m: torch.rand(items) < 0.95 for m in modalities}
    with torch.inference_mode():
        encoded = model.encode(ItemRows(rows + 1, rows % 100 + 1, features, present))
    names = {
        "items": [f"p{n}" for n in range(items)],
        "users": [f"u{n}" for n in range(users)],
        "categories": [f"c{n}" for n in range(100)],
    }
    manifest = {
        "model": name,
        "options": {},
        "inputs": {"users": users + 1, "items": items + 1, "categories": 101, "modalities": modalities},
        "settings": {"max_history": history},
    }
    RankerFiles(model.state_dict(), encoded, names, manifest).write(folder)
    return Ranker.load(folder)


def timed(ranker: Ranker, candidates: int, history: int, calls: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    ids, milliseconds = list(ranker.ids), []
    for call in range(calls + 10):
        drawn = [ids[i] for i in rng.integers(0, len(ids), candidates + history).tolist()]
        start = time.perf_counter()
        scores = ranker.score(drawn[:candidates], drawn[candidates:], visitor=f"u{call}")
        milliseconds.append(1000 * (time.perf_counter() - start))
        assert len(scores) == candidates
    times = np.array(milliseconds[10:])  # the first calls warm up
    return {"least": float(times.min()), "p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="din,gmmf,naml")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--history", type=int, default=50)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/ctr"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    modalities, rows = {"text": 512, "image": 1280}, {}
    print(f"{options.candidates:,} candidates, history of {options.history}, {options.threads} thread(s)")
    print(f"{'milliseconds':<14}{'least':>8}{'p50':>8}{'p99':>8}")
    for name in options.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            ranker = untrained(name, options.items, options.users, modalities, options.history, Path(folder) / "ranker")
            rows[name] = timed(ranker, options.candidates, options.history, options.calls)
        print(f"{name:<14}" + "".join(f"{value:>8.2f}" for value in rows[name].values()), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    note = {
        "python": platform.python_version(), "torch": torch.__version__, "processor": platform.processor(),
        "cores": os.cpu_count(), "threads": options.threads, "candidates": options.candidates,
        "history": options.history, "items": options.items,
    }  # fmt: skip
    text = json.dumps({**note, "milliseconds": rows}, indent=2)
    (options.out / "ctr_ranker.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
