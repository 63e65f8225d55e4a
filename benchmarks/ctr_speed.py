"""Training speed of DIN and GMMF: distinct items once a batch, beside a plain implementation that works per position.

    python benchmarks/ctr_speed.py [--batch 1024 --history 50 --items 20000 --steps 8 --threads 2 --out FILE.json]

Simulated events: items drawn by a Zipf law, text of 768 and pictures of 1,280 random numbers. The plain way gathers
the features of every position of every history, sends each through all layers, and computes the equations as they are
printed. The plain way's logits are compared with the model's, which has the same parameters, after its steps. Each cell
runs in a process of its own, alternately; steps are forward, backward and Adam. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from trimodal.ctr.batches import Batch, Placed, Tables
from trimodal.ctr.data import CtrData, Events
from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.models import build
from trimodal.ctr.models.din import DIN
from trimodal.ctr.models.gmmf import GMMF
from trimodal.ids import ProductIds

MODALITIES = {"image": 1280, "text": 768}


class PlainDIN(nn.Module):
    """DIN per position: the features of each entry through the projections, the attention unit on [h, c, h*c, h-c]."""

    def __init__(self, model: DIN) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        model, (b, length) = self.model, batch.history.shape
        every = torch.cat([batch.candidate[:, None], batch.history], 1).reshape(-1)
        rows = _rows(batch, every)
        vector = model.item.concatenated(rows).view(b, length + 1, -1)
        target, past = vector[:, :1].expand(-1, length, -1), vector[:, 1:]
        unit = model.attention
        w = torch.cat(
            [unit.keys.weight, unit.queries.weight, unit.products.weight, torch.zeros_like(unit.keys.weight)], 1
        )
        pair = torch.cat([past, target, past * target, past - target], 2)
        hidden = nn.functional.linear(pair, w, unit.queries.bias)
        real = batch.mask.reshape(-1)
        active = torch.zeros_like(hidden.reshape(b * length, -1)).index_copy(
            0, real.nonzero()[:, 0], unit.activation(hidden.reshape(b * length, -1)[real])
        )
        weight = unit.output(active).view(b, length) * batch.mask
        pooled = (weight[:, :, None] * past).sum(1)
        return model.tower(torch.cat([model.user(batch.user), pooled, vector[:, 0]], 1))


class PlainGMMF(nn.Module):
    """GMMF per position: auto-encoder, generator and difference for each entry, the interest of (10) part by part."""

    def __init__(self, model: GMMF) -> None:
        super().__init__()
        self.model = model
        self.losses: list[Tensor] = []

    def forward(self, batch: Batch) -> Tensor:
        model, (b, length) = self.model, batch.history.shape
        every = torch.cat([batch.candidate[:, None], batch.history], 1).reshape(-1)
        rows = _rows(batch, every)
        identity = model.id(rows.id)
        parts, self.losses = [identity.view(b, length + 1, -1)], []
        for name in model.modalities:
            hidden = model.autoencoders[name](rows.features[name])
            generated = model.generator[name](identity)
            pair = torch.cat([hidden, generated, hidden * generated, hidden - generated], 1)
            parts.append((hidden - model.differences[name].weight(pair) * generated).view(b, length + 1, -1))
            error = (model.autoencoders[name].decoder(hidden) - rows.features[name]).square().mean()
            self.losses.append(model.reconstruction * error)
        parts.append(model.category(rows.category).view(b, length + 1, -1))
        pooled = []
        for part in parts:
            target, past = part[:, :1], part[:, 1:]
            scores = (target * past).sum(2) / part.shape[2] ** 0.5
            weight = torch.softmax(scores.masked_fill(~batch.mask, -1e30), 1) * batch.mask
            pooled.append((weight[:, :, None] * past).sum(1))
        assert model.gates is not None
        gates = torch.softmax(model.gates(model.user(batch.user)).view(b, len(parts) - 1, -1), 1)
        gated = torch.cat([*(gates[:, i] * pooled[i] for i in range(len(parts) - 1)), pooled[-1]], 1)
        target = torch.cat([part[:, 0] for part in parts], 1)
        return model.tower(torch.cat([gated, model.user(batch.user), target], 1))


PLAIN: dict[str, Callable[[Any], nn.Module]] = {"din": PlainDIN, "gmmf": PlainGMMF}


def _rows(batch: Batch, index: Tensor) -> Any:
    """Features and ids of every position, one row each."""
    items = batch.items
    return type(items)(
        items.id[index],
        items.category[index],
        {name: matrix[index] for name, matrix in items.features.items()},
        {name: here[index] for name, here in items.present.items()},
    )


def simulated(items: int, users: int, history: int, events: int, seed: int = 0) -> tuple[CtrData, ItemFeatures]:
    """Users with full histories over Zipf-drawn items; every event sees the last `history` clicks."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, items + 1)
    drawn = rng.choice(items, users * history, p=chance / chance.sum()).astype(np.int32)
    starts = np.arange(users + 1, dtype=np.int64) * history

    def part(n: int) -> Events:
        seen = np.full(n, history, np.int32)
        user = rng.integers(0, users, n).astype(np.int32)
        return Events(user, rng.choice(drawn, n), rng.integers(0, 2, n).astype(np.uint8), seen)

    ids = ProductIds([f"p{i}" for i in range(items)])
    parts = {"train": part(events), "valid": part(1024), "test": part(1024)}
    category = rng.integers(1, 101, items).astype(np.int32)
    names = tuple(f"c{i}" for i in range(100))
    visitors = tuple(f"u{i}" for i in range(users))
    data = CtrData(ids, visitors, category, names, drawn, starts, parts, {"recipe": "speed"})
    vectors = {name: rng.standard_normal((items, d), np.float32) for name, d in MODALITIES.items()}
    return data, ItemFeatures(ids, vectors, {name: np.ones(items, bool) for name in MODALITIES})


def cell(model_name: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train some steps one way; samples a second, peak memory, distinct items, and the difference of the logits."""
    device = torch.device(options.device)
    data, features = simulated(options.items, 5000, options.history, options.batch * (options.steps + 2))
    tables = Tables(data, features, max_history=options.history, device=device)
    torch.manual_seed(0)
    model = build(model_name, tables.inputs).to(device)
    plain = PLAIN[model_name](model)
    placed: Placed = tables.place(data.parts["train"])
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = _peak(device)
    seconds, distinct = [], []
    for n, rows in enumerate(placed.epoch(options.batch, seed=0)):
        start = time.perf_counter()
        batch = tables.batch(placed, rows)
        if way == "distinct":
            output = model(batch)
            logits, extra = output.logits, list(output.losses.values())
        else:
            logits = plain(batch)
            extra = getattr(plain, "losses", [])
        loss = binary_cross_entropy_with_logits(logits, batch.label) + sum(extra)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if n >= 2:
            seconds.append(time.perf_counter() - start)
            distinct.append(len(batch.items))
    batch = tables.batch(placed, torch.arange(256, device=device))
    difference = None
    if way == "plain":
        with torch.no_grad():
            difference = float((plain(batch) - model(batch).logits).abs().max())
    return {
        "model": model_name,
        "way": way,
        "samples_per_second": options.batch / float(np.median(seconds)),
        "distinct_items": float(np.mean(distinct)),
        "peak_gb": _peak(device),
        "before_gb": before,
        "largest_difference_of_logits": difference,
    }


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("batch", 1024), ("history", 50), ("items", 20_000), ("steps", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("out/ctr_speed.json"))
    parser.add_argument("--cell", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cell:
        name, way = options.cell
        print(json.dumps(cell(name, way, options)))
        return
    rows = []
    for model in PLAIN:
        for way in ("distinct", "plain"):
            arguments = [sys.executable, __file__, *sys.argv[1:], "--cell", model, way]
            done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout))
    print(f"batch {options.batch:,}, history {options.history}, {options.items:,} items, {options.threads} threads")
    columns = ("model", "way", "samples/s", "ratio", "peak GB", "distinct", "logits differ")
    print("".join(f"{name:>15}" for name in columns))
    for row in rows:
        base = next(r for r in rows if r["model"] == row["model"] and r["way"] == "plain")["samples_per_second"]
        off = row["largest_difference_of_logits"]
        cells = (
            row["model"], row["way"], f"{row['samples_per_second']:,.0f}", f"{row['samples_per_second'] / base:.1f}",
            f"{row['peak_gb']:.2f}", f"{row['distinct_items']:,.0f}", "" if off is None else f"{off:.1e}",
        )  # fmt: skip
        print("".join(f"{value:>15}" for value in cells))
        if off is not None and off > 1e-3:
            sys.exit(f"the two ways of {row['model']} disagree by {off}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    note = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__, "device": options.device}
    sizes = {name: getattr(options, name) for name in ("batch", "history", "items", "steps", "threads")}
    options.out.write_text(json.dumps({**note, **sizes, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
