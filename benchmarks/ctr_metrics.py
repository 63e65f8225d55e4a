"""Time of the AUC per user: one sort for all users, beside scikit-learn's `roc_auc_score` in a loop over users.

    python benchmarks/ctr_metrics.py --users 20000 --events 50

Scores are drawn at random. Both ways must agree on every user; the script fails where they do not. Prints a table
and writes OUT/ctr_metrics.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from trimodal.ctr.metrics import measure, user_auc


def in_a_loop(user: NDArray[np.int64], label: NDArray[np.bool_], score: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(user, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(user))[:-1])
    both = [rows for rows in groups if 0 < np.count_nonzero(label[rows]) < len(rows)]
    return np.array([roc_auc_score(label[rows], score[rows]) for rows in both])


def fastest(repeats: int, job: Callable[[], Any]) -> tuple[float, Any]:
    seconds, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = job()
        seconds = min(seconds, time.perf_counter() - start)
    return float(seconds), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=50, help="per user")
    parser.add_argument("--repeats", type=int, default=5, help="of which the fastest counts; the loop runs once")
    parser.add_argument("--out", type=Path, default=Path("out/ctr"))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    user = rng.permutation(np.repeat(np.arange(options.users), options.events))
    score = rng.normal(size=len(user)).round(2)  # with ties
    label = rng.random(len(user)) < 1 / (1 + np.exp(-score))
    probability = 1 / (1 + np.exp(-score))
    ours, found = fastest(options.repeats, lambda: user_auc(user, label, score=score))
    aucs, _ = fastest(options.repeats, lambda: measure(user, label, score=score))
    every, _ = fastest(options.repeats, lambda: measure(user, label, score=score, probability=probability))
    loop, expected = fastest(1, lambda: in_a_loop(user, label, score))
    np.testing.assert_allclose(found.auc, expected, atol=1e-12)
    rows = {
        "AUC per user, trimodal": ours,
        "the four AUCs, trimodal": aucs,
        "the same, log loss and calibration": every,
        "AUC per user, scikit-learn in a loop": loop,
    }
    print(f"{options.users:,} users x {options.events} events; {os.cpu_count()} cores")
    print(f"{'':<38}{'seconds':>10}")
    for name, seconds in rows.items():
        print(f"{name:<38}{seconds:>10.3f}")
    options.out.mkdir(parents=True, exist_ok=True)
    note = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    text = json.dumps({**note, "users": options.users, "events_per_user": options.events, "seconds": rows}, indent=2)
    (options.out / "ctr_metrics.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
