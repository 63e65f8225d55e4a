"""Plain dense NumPy definitions of every strategy, written from the equations; for small data only."""

from __future__ import annotations

import numpy as np


def cosines(vectors: dict[str, np.ndarray], present: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    out = {}
    for name, v in vectors.items():
        v = v.astype(np.float64)
        length = np.linalg.norm(v, axis=1)
        length[length == 0] = 1
        out[name] = (v @ v.T) / np.outer(length, length)
    return out


def intermediate(vectors, present, weights):
    n = len(next(iter(vectors.values())))
    top, bottom = np.zeros((n, n)), np.zeros((n, n))
    for name, cos in cosines(vectors, present).items():
        both = np.outer(present[name], present[name])
        top += weights[name] * both * cos
        bottom += weights[name] * both
    with np.errstate(invalid="ignore"):
        return np.where(bottom > 0, 1 - top / bottom, np.nan)


def early(vectors, present, weights):
    n = len(next(iter(vectors.values())))
    out = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(n):
            shared = [m for m in vectors if present[m][i] and present[m][j]]
            if not shared:
                continue
            a, b = (
                np.concatenate(
                    [np.sqrt(weights[m]) * vectors[m][x].astype(float) / np.sqrt(vectors[m].shape[1]) for m in shared]
                )
                for x in (i, j)
            )
            out[i, j] = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return out


def late(vectors, present, weights, codes):
    n = len(next(iter(vectors.values())))
    top, bottom = np.zeros((n, n)), np.zeros((n, n))
    for name in vectors:
        both = np.outer(present[name], present[name])
        top += weights[name] * both * (codes[name][:, None] == codes[name][None])
        bottom += weights[name] * both
    with np.errstate(invalid="ignore"):
        return np.where(bottom > 0, 1 - top / bottom, np.nan)


def click_text(vectors, present):
    cos = cosines(vectors, present)
    n = len(present["click"])
    out = np.full((n, n), np.nan)
    for i in range(n):
        name = "click" if present["click"][i] else "text"
        if present[name][i]:
            out[i] = np.where(present[name], 1 - cos[name][i], np.nan)
    return out


def ranking(distance: np.ndarray, k: int, tie: np.ndarray | None = None, exclude_self: bool = True):
    """Places [n, k] and distances, ties by `tie`, then by place; -1 and NaN where there is no more."""
    n = len(distance)
    places, found = np.full((n, k), -1), np.full((n, k), np.nan)
    distance = np.round(np.clip(distance, 0, 2), 7)
    tie = np.zeros_like(distance) if tie is None else np.round(np.clip(tie, 0, 2), 7)
    for i in range(n):
        usable = [j for j in range(n) if not np.isnan(distance[i, j]) and not (exclude_self and i == j)]
        best = sorted(usable, key=lambda j: (distance[i, j], tie[i, j], j))[:k]
        places[i, : len(best)] = best
        found[i, : len(best)] = distance[i, best]
    return places, found
