"""Quality against categories: `flipkart_1050` (text and picture), `ikea_rooms` (and the scenes of its rooms)."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quality_rows import Row, click_vectors, clusters, log_of, mark
from real_data import flipkart_1050, ikea_rooms
from trimodal import Embedding, Recommender, read_data
from trimodal.embeddings import Provenance
from trimodal.encoders import text_encoder
from trimodal.evaluation.retrieval import INFERRED
from trimodal.fusion import fusion_strategy
from trimodal.fusion.inferred import infer_clicks
from trimodal.ids import ProductIds

RESAMPLES = 1000

CLUSTERS = "ARI against 7 categories, text and picture (mean of seeds, lowest-highest)"


def flipkart(source: Path, out: Path, seeds: int) -> list[Row]:
    folder = out / "flipkart_1050"
    flipkart_1050(source, folder)
    data = read_data(folder)
    fitted = Recommender(modalities=["text", "image"]).fit(data.catalog, store=folder / ".trimodal")
    embeddings = dict(fitted.embeddings_)
    description = _described(source, data.catalog.ids)
    rows = [
        mark("flipkart_1050", CLUSTERS, "best public figure for these products", "ARI", 0.503),
        mark("flipkart_1050", CLUSTERS, "the paper's intermediate fusion, one run", "ARI", 0.683),
    ]
    both = ("text", "image")
    rows += clusters("flipkart_1050", CLUSTERS, embeddings, data.catalog.categories, [
        (("text",), "intermediate"), (("image",), "intermediate"), (both, "early"), (both, "intermediate"),
        (both, "late"), (both, "adaptive"),
    ], seeds)  # fmt: skip
    three = (*both, "description")
    rows += clusters(
        "flipkart_1050", CLUSTERS, embeddings | {"description": description}, data.catalog.categories,
        [(three, "intermediate"), (three, "adaptive")], seeds,
    )  # fmt: skip
    return rows


def _described(source: Path, ids: ProductIds) -> Embedding:
    """Descriptions as a modality of their own, by the text encoder."""
    with open(source / "items.csv", encoding="utf-8") as stream:
        texts = {row["item_id"]: row["description"] for row in csv.DictReader(stream) if row["description"]}
    encoder = text_encoder("use-multilingual")
    keys = [key for key in ids if key in texts]
    vectors = encoder.encode([texts[key] for key in keys])
    return Embedding.join("description", ids, keys, vectors, Provenance(encoder.name, encoder.revision))


SCENES = "scene completion: share of a photo's other products among 15 (95 % over scene groups)"
ROOMS = "ARI against room and category (mean of seeds, lowest-highest)"
IKEA_CLICKS = {"min_count": 1, "epochs": 40, "window": 20}


def ikea(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "ikea_rooms"
    folder = out / name
    ikea_rooms(source, folder)
    data = read_data(folder)
    assert data.clicks is not None
    fitted = Recommender(modalities=["text", "image"]).fit(data.catalog, store=folder / ".trimodal")
    with open(source / "sessions.csv", encoding="utf-8") as stream:
        scenes = list(csv.DictReader(stream))
    rows = _scenes(name, scenes, data.catalog.ids, dict(fitted.embeddings_))
    everything = {**fitted.embeddings_, **click_vectors(data.clicks, IKEA_CLICKS)}
    rooms = [label or None for label in data.catalog.frame["room"].to_list()]
    for title, labels in (("category", data.catalog.categories), ("room", rooms)):
        subsets = [("text",), ("image",), ("click",), ("text", "image"), ("text", "image", "click")]
        cells = [
            (subset, s)
            for subset in subsets
            for s in ("intermediate", "adaptive")
            if len(subset) > 1 or s != "adaptive"
        ]
        found = clusters(name, ROOMS, everything, labels, cells, seeds)
        rows += [Row(**{**asdict(r), "name": f"{title}: {r.name}"}) for r in found]
    return rows


def _scenes(name: str, scenes: list[dict[str, str]], ids: ProductIds, given: dict[str, Embedding]) -> list[Row]:
    """Five-fold over scene groups: trained on the photos of the other groups, asked about every pair of a photo."""
    groups = np.array([scene["scene_group"] for scene in scenes])
    fold = np.random.default_rng(0).permutation(len(np.unique(groups)))[np.unique(groups, return_inverse=True)[1]] % 5
    subsets = [("text",), ("image",), ("click",), ("text", "image"), ("text", "click"), ("text", "image", "click")]
    everything = ("text", "image", "click")
    systems = [(subset, "intermediate") for subset in subsets]
    systems += [(("text", "image"), "adaptive"), (("click",), "covisit")]
    systems += [(everything, name) for name in ("adaptive", "covisit")]
    systems += [(everything, f"{name}{INFERRED}") for name in ("intermediate", "adaptive", "covisit")]
    hits: dict[str, list[NDArray[np.float64]]] = {}
    owners: list[NDArray[Any]] = []
    for held in range(5):
        train = log_of([s["item_ids"].split() for s, f in zip(scenes, fold, strict=True) if f != held], ids)
        asked, answers, owner = _completions([s for s, f in zip(scenes, fold, strict=True) if f == held], ids)
        owners.append(owner)
        embeddings = {**given, **click_vectors(train, IKEA_CLICKS)}
        products, place = np.unique(asked, return_inverse=True)
        for subset, strategy in systems:
            plain = strategy.removesuffix(INFERRED)
            known = embeddings if plain == strategy else infer_clicks(embeddings)
            fusion = fusion_strategy(plain, modalities=subset).fit(known, ids, clicks=train)
            found = np.full((len(products), 15), -1)
            for block, places, _ in fusion.iter_neighbors(products, 15):
                found[block, : places.shape[1]] = places
            inside = [np.isin(answer, row).mean() for answer, row in zip(answers, found[place], strict=True)]
            hits.setdefault(f"{' + '.join(subset)}, {strategy}", []).append(np.array(inside))
    group = np.unique(np.concatenate(owners), return_inverse=True)[1]
    weights = np.random.default_rng(0).poisson(1.0, (RESAMPLES, group.max() + 1))
    size = weights @ np.bincount(group)
    whole = {system: np.concatenate(parts) for system, parts in hits.items()}
    rates = {system: weights @ np.bincount(group, hit) / size for system, hit in whole.items()}
    single = max((s for s in whole if "+" not in s), key=lambda s: float(whole[s].mean()))
    rows = []
    for system, hit in whole.items():
        low, high = np.quantile(rates[system], [0.025, 0.975])
        least, most = np.quantile(rates[system] - rates[single], [0.025, 0.975])
        gain = float(hit.mean() - whole[single].mean())
        note = f"{gain:+.4f} ({least:+.4f} {most:+.4f}) from the best single one" if "+" in system else ""
        rows.append(Row(name, SCENES, system, "hit@15", float(hit.mean()), float(low), float(high), note))
    return rows


def _completions(
    scenes: list[dict[str, str]], ids: ProductIds
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], NDArray[Any]]:
    """For every product of every photo: its place, the places of the photo's other products, the scene group."""
    asked: list[int] = []
    answers: list[NDArray[np.int64]] = []
    owner: list[str] = []
    for scene in scenes:
        places = np.unique(ids.positions(dict.fromkeys(scene["item_ids"].split())))
        for place in places if len(places) > 1 else []:
            asked.append(int(place))
            answers.append(places[places != place])
            owner.append(scene["scene_group"])
    return np.array(asked), answers, np.array(owner)
