"""Quality of scene completion on `ikea_rooms`: given a product of a photographed room, which others stand in it?"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quality_categories import IKEA_CLICKS
from quality_rows import Row, click_vectors, log_of
from real_data import ikea_rooms
from trimodal import Embedding, Recommender, read_data
from trimodal.evaluation.retrieval import INFERRED
from trimodal.evaluation.weights import climb
from trimodal.fusion import Fusion, fusion_strategy
from trimodal.fusion.inferred import infer_clicks
from trimodal.ids import ProductIds

TABLE = "scene completion: share of a photo's other products among 15 (95 % over scene groups)"
FOLDS = 5
LEARNED = ", learned"
RESAMPLES = 1000
EVERYTHING = ("text", "image", "click")
SYSTEMS = [
    (("text",), "intermediate"),
    (("image",), "intermediate"),
    (("click",), "intermediate"),
    (("click",), "covisit"),
    (("click",), f"covisit{LEARNED}"),
    (("text", "image"), "intermediate"),
    (("text", "click"), "intermediate"),
    (EVERYTHING, "intermediate"),
    (EVERYTHING, "adaptive"),
    (EVERYTHING, "covisit"),
    *((EVERYTHING, f"{name}{INFERRED}") for name in ("intermediate", "adaptive", "covisit")),
    *((EVERYTHING, f"{name}{INFERRED}{LEARNED}") for name in ("intermediate", "adaptive", "covisit")),
]


class Asked(NamedTuple):
    """For every product of some photos: its place, the places of the photo's other products, the scene group."""

    product: NDArray[np.int64]
    others: list[NDArray[np.int64]]
    group: NDArray[Any]


def scenes(source: Path, out: Path, seeds: int) -> list[Row]:
    """Five folds over scene groups; for the learned rows, settings are chosen on a fifth of each fold's training."""
    folder = out / "ikea_rooms"
    ikea_rooms(source, folder)
    catalog = read_data(folder).catalog
    fitted = Recommender(modalities=["text", "image"]).fit(catalog, store=folder / ".trimodal")
    with open(source / "sessions.csv", encoding="utf-8") as stream:
        photos = list(csv.DictReader(stream))
    group = np.unique([photo["scene_group"] for photo in photos], return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(group.max() + 1)[group] % FOLDS
    hits: dict[str, list[NDArray[np.float64]]] = {}
    groups = []
    for held in range(FOLDS):
        later = (held + 1) % FOLDS
        parts = {f: [photo for photo, which in zip(photos, fold, strict=True) if which == f] for f in range(FOLDS)}
        rest = [f for f in range(FOLDS) if f != held]
        final, inner = (
            _fitted_on([photo for f in used for photo in parts[f]], catalog.ids, fitted)
            for used in (rest, [f for f in rest if f != later])
        )
        test, validation = _asked(parts[held], catalog.ids), _asked(parts[later], catalog.ids)
        groups.append(test.group)
        for subset, system in SYSTEMS:
            settings: dict[str, Any] = {}
            if system.endswith(LEARNED):
                start = _strategy(subset, system, inner, {})
                known = infer_clicks(inner[0]) if INFERRED in system else inner[0]
                best = climb(start, known, partial(_score, validation))
                settings = {name: value for name, value in best.settings().items() if name != "modalities"}
            fusion = _strategy(subset, system, final, settings)
            hits.setdefault(f"{' + '.join(subset)}, {system}", []).append(_completed(fusion, test))
    return _rows({name: np.concatenate(parts) for name, parts in hits.items()}, np.concatenate(groups))


def _fitted_on(photos: list[dict[str, str]], ids: ProductIds, fitted: Recommender) -> tuple[dict[str, Embedding], Any]:
    log = log_of([photo["item_ids"].split() for photo in photos], ids)
    return {**fitted.embeddings_, **click_vectors(log, IKEA_CLICKS)}, log


def _strategy(
    subset: tuple[str, ...], system: str, data: tuple[dict[str, Embedding], Any], settings: Mapping[str, Any]
) -> Fusion:
    embeddings, log = data
    plain = system.removesuffix(LEARNED)
    if plain.endswith(INFERRED):
        embeddings = infer_clicks(embeddings)
    name = plain.removesuffix(INFERRED)
    return fusion_strategy(name, modalities=subset, **settings).fit(embeddings, log.ids, clicks=log)


def _asked(photos: list[dict[str, str]], ids: ProductIds) -> Asked:
    product: list[int] = []
    others: list[NDArray[np.int64]] = []
    group: list[str] = []
    for photo in photos:
        places = np.unique(ids.positions(dict.fromkeys(photo["item_ids"].split())))
        for place in places.tolist() if len(places) > 1 else []:
            product.append(place)
            others.append(places[places != place])
            group.append(photo["scene_group"])
    return Asked(np.array(product), others, np.array(group))


def _completed(fusion: Fusion, asked: Asked, k: int = 15) -> NDArray[np.float64]:
    """Share of the photo's other products among the k nearest, per question."""
    products, place = np.unique(asked.product, return_inverse=True)
    found = np.full((len(products), k), -1)
    for block, places, _ in fusion.iter_neighbors(products, k):
        found[block, : places.shape[1]] = places
    return np.array([np.isin(others, row).mean() for others, row in zip(asked.others, found[place], strict=True)])


def _score(asked: Asked, fusion: Fusion) -> float:
    return float(_completed(fusion, asked).mean())


def _rows(whole: Mapping[str, NDArray[np.float64]], groups: NDArray[Any]) -> list[Row]:
    group = np.unique(groups, return_inverse=True)[1]
    weights = np.random.default_rng(0).poisson(1.0, (RESAMPLES, group.max() + 1))
    size = weights @ np.bincount(group)
    rates = {name: weights @ np.bincount(group, hit) / size for name, hit in whole.items()}
    single = max((name for name in whole if "+" not in name), key=lambda name: float(whole[name].mean()))
    rows = []
    for name, hit in whole.items():
        low, high = np.quantile(rates[name], [0.025, 0.975])
        least, most = np.quantile(rates[name] - rates[single], [0.025, 0.975])
        gain = float(hit.mean() - whole[single].mean())
        note = f"{gain:+.4f} ({least:+.4f} {most:+.4f}) from the best single one" if "+" in name else ""
        rows.append(Row("ikea_scenes", TABLE, name, "hit@15", float(hit.mean()), float(low), float(high), note))
    return rows
