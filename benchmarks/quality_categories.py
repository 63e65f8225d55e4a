"""Quality against categories: `flipkart_1050` (text and picture), `ikea_rooms` (and clicks; rooms as well)."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

from quality_rows import Row, click_vectors, clusters, mark
from real_data import flipkart_1050, ikea_rooms
from trimodal import Embedding, Recommender, read_data
from trimodal.embeddings import Provenance
from trimodal.encoders import text_encoder
from trimodal.ids import ProductIds

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


ROOMS = "ARI against room and category (mean of seeds, lowest-highest)"
IKEA_CLICKS = {"min_count": 1, "epochs": 40, "window": 20}


def ikea(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "ikea_rooms"
    folder = out / name
    ikea_rooms(source, folder)
    data = read_data(folder)
    assert data.clicks is not None
    fitted = Recommender(modalities=["text", "image"]).fit(data.catalog, store=folder / ".trimodal")
    rows = []
    everything = {**fitted.embeddings_, **click_vectors(data.clicks, IKEA_CLICKS)}
    rooms = [label or None for label in data.catalog.frame["room"].to_list()]
    for title, labels in (("category", data.catalog.categories), ("room", rooms)):
        subsets = [("text",), ("image",), ("click",), ("text", "image"), ("text", "image", "click")]
        cells = [(subset, "intermediate") for subset in subsets]
        cells += [(subset, "adaptive") for subset in subsets if len(subset) > 1]
        found = clusters(name, ROOMS, everything, labels, cells, seeds)
        rows += [Row(**{**asdict(r), "name": f"{title}: {r.name}"}) for r in found]
    return rows
