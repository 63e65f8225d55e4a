"""Public sets with known visitors, in the input format of click-through prediction.

    python benchmarks/ctr_data.py --data FOLDER --out out/ctr [movielens100k_posters amazon_beauty]

FOLDER holds the sets as their own READMEs describe them; none of them is part of this project. Writes
OUT/SET/products.csv and clicks.csv (user_id, product_id, timestamp, and rating where there is one), pictures where
the set has them, and for amazon_beauty a modality of its own, attributes.parquet. Afterwards:

    trimodal ctr prepare out/ctr/movielens100k_posters -o out/ctr/movielens --recipe temporal
    trimodal ctr prepare out/ctr/amazon_beauty -o out/ctr/beauty --recipe din-2018
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from real_data import _unzip, _write
from trimodal.embeddings import Embedding, Provenance
from trimodal.ids import ProductIds

MIN_ITEMS = 20
"""An attribute of fewer items is too narrow for a category."""
DIMENSION = 64


def movielens(source: Path, out: Path) -> None:
    """Title, genres and plot as the title; the first genre as the category; posters; ratings with their times."""
    posters = _unzip(source / "posters.zip", out / "images")
    with open(source / "items.csv", encoding="utf-8") as stream:
        products = [
            {
                "product_id": row["item_id"],
                "title": _sentences(row["title"], row["genres"].replace("|", ", "), row["plot"]),
                "category": row["genres"].split("|")[0],
                "image": f"images/{row['image']}" if row["image"] in posters else "",
            }
            for row in csv.DictReader(stream)
        ]
    _write(out / "products.csv", products)
    with open(source / "ratings.csv", encoding="utf-8") as stream:
        clicks = [
            {
                "user_id": row["user_id"],
                "product_id": row["item_id"],
                "timestamp": row["timestamp"],
                "rating": row["rating"],
            }
            for row in csv.DictReader(stream)
        ]
    _write(out / "clicks.csv", clicks)


def beauty(source: Path, out: Path) -> None:
    """Keywords as titles; attributes (anonymous category and brand ids) as categories and as vectors; no pictures.

    An item's category is its first attribute that at least 20 items have. The set keeps the order of each visitor's
    reviews and not their times: one minute apart, each visitor from the same day on.
    """
    with gzip.open(source / "items.tsv.gz", "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    attributes = [row["attribute_ids"].split() for row in rows]
    count = Counter(name for names in attributes for name in names)
    products = [
        {
            "product_id": row["item_id"],
            "title": row["keywords"],
            "category": next((name for name in names if count[name] >= MIN_ITEMS), ""),
            "asin": row["asin"],
        }
        for row, names in zip(rows, attributes, strict=True)
    ]
    _write(out / "products.csv", products)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    with gzip.open(source / "sequences.txt.gz", "rt") as stream:
        users = [line.split() for line in stream]
    clicks = [
        {"user_id": user, "product_id": item, "timestamp": (start + timedelta(minutes=n)).isoformat()}
        for user, *items in users
        for n, item in enumerate(items)
    ]
    _write(out / "clicks.csv", clicks)
    attribute_vectors([row["item_id"] for row in rows], attributes).write(out / "attributes.parquet")


def attribute_vectors(ids: list[str], attributes: list[list[str]], *, seed: int = 0) -> Embedding:
    """Which attributes an item has, as 64 numbers: a truncated SVD of the table of zeros and ones, rows of length 1.

    An item without attributes has no vector.
    """
    names = {name: n for n, name in enumerate(sorted({name for row in attributes for name in row}))}
    pairs = sorted({(n, names[name]) for n, row in enumerate(attributes) for name in row})
    row, column = np.array(pairs).T
    table = csr_matrix((np.ones(len(pairs), np.float32), (row, column)), (len(ids), len(names)))
    size = min(DIMENSION, len(names) - 1)
    vectors = TruncatedSVD(size, random_state=seed).fit_transform(table)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0).astype(np.float32)
    provenance = Provenance("truncated-svd", settings={"dimension": size, "seed": seed})
    return Embedding.join("attributes", ProductIds(ids), ids, vectors, provenance)


def _sentences(*parts: str) -> str:
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


SETS: dict[str, Callable[[Path, Path], None]] = {"movielens100k_posters": movielens, "amazon_beauty": beauty}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/ctr"))
    options = parser.parse_args()
    for name in options.sets:
        SETS[name](options.data / name, options.out / name)
        print(f"{name}: {options.out / name}")


if __name__ == "__main__":
    main()
