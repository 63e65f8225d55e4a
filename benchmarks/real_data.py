"""The main job on real data: convert a public set to the input format, then check, fit, similar, cluster.

    python benchmarks/real_data.py --data FOLDER --out out/real [flipkart_1050 ikea_rooms ...]

FOLDER holds the sets as their own READMEs describe them; none of them is part of this project. Everything
after the conversion runs through the command line, as a user would run it. Prints a table a set and writes
OUT/results.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import platform
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trimodal import Recommender, read_data
from trimodal.evaluation.clustering import clustering_table


def flipkart_1050(source: Path, out: Path) -> None:
    """Titles and pictures of 1,050 products in 7 categories; no clicks."""
    pictures = _unzip(source / "images.zip", out / "images")
    with open(source / "items.csv", encoding="utf-8") as stream:
        rows = [
            {
                "product_id": row["item_id"],
                "title": row["title"],
                "category": row["category"],
                "image": f"images/{row['image_file']}" if row["image_file"] in pictures else "",
                "price": row["discounted_price"],
                "brand": row["brand"],
            }
            for row in csv.DictReader(stream)
        ]
    _write(out / "products.csv", rows)


def ikea_rooms(source: Path, out: Path) -> None:
    """Name and type, picture, and the photographed rooms as sessions, of 2,191 products."""
    pictures = _unzip(source / "images.zip", out / "images")
    with open(source / "items.csv", encoding="utf-8") as stream:
        rows = [
            {
                "product_id": row["item_id"],
                "title": " ".join(filter(None, (row["name"], row["type"], row["color"]))),
                "category": row["category"] if row["category"] != "other" else "",
                "image": f"images/{row['item_id']}.jpg" if f"{row['item_id']}.jpg" in pictures else "",
                "room": row["room_type_major"],
            }
            for row in csv.DictReader(stream)
        ]
    _write(out / "products.csv", rows)
    with open(source / "sessions.csv", encoding="utf-8") as stream:
        sessions = [(row["session_id"], row["item_ids"].split()) for row in csv.DictReader(stream)]
    _write(out / "clicks.csv", _clicks(sessions))


def diginetica_sessions(source: Path, out: Path) -> None:
    """Anonymous click sessions over 43,097 products with categories; no titles, no pictures."""
    category = {}
    with gzip.open(source / "benchmark_item_category.tsv.gz", "rt") as stream:
        for line in stream:
            item, _, label = line.rstrip("\n").partition("\t")
            category[item] = label
    with gzip.open(source / "benchmark_train_sessions.txt.gz", "rt") as stream:
        sessions = [(str(n), line.split()) for n, line in enumerate(stream)]
    items = sorted({item for _, products in sessions for item in products}, key=int)
    _write(
        out / "products.csv",
        [{"product_id": item, "title": "", "category": category.get(item, "")} for item in items],
    )
    _write(out / "clicks.csv", _clicks(sessions))


def amazon_beauty(source: Path, out: Path) -> None:
    """Keywords as titles, and each user's products as one session, of 12,101 products; no pictures, no categories."""
    with gzip.open(source / "items.tsv.gz", "rt", encoding="utf-8") as stream:
        rows = [
            {"product_id": row["item_id"], "title": row["keywords"], "asin": row["asin"]}
            for row in csv.DictReader(stream, delimiter="\t")
        ]
    _write(out / "products.csv", rows)
    with gzip.open(source / "sequences.txt.gz", "rt") as stream:
        users = [line.split() for line in stream]
    _write(out / "clicks.csv", _clicks([(user, items) for user, *items in users]))


SETS: dict[str, Callable[[Path, Path], None]] = {
    "flipkart_1050": flipkart_1050,
    "ikea_rooms": ikea_rooms,
    "diginetica_sessions": diginetica_sessions,
    "amazon_beauty": amazon_beauty,
}


def _unzip(archive: Path, folder: Path) -> set[str]:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as bundle:
        names = {name for name in bundle.namelist() if name.endswith(".jpg") and "/" not in name}
        for name in names:
            (folder / name).write_bytes(bundle.read(name))
    return names


def _clicks(sessions: list[tuple[str, list[str]]]) -> list[dict[str, str]]:
    # The sets keep the order of clicks but not their times: one second a click, one minute a session.
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        {
            "session_id": session,
            "product_id": product,
            "timestamp": (start + timedelta(minutes=n, seconds=i)).isoformat(),
        }
        for n, (session, products) in enumerate(sessions)
        for i, product in enumerate(products)
    ]


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def trimodal(*arguments: str) -> tuple[Any, float]:
    """Run a command of trimodal that prints JSON; what it printed, and seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "trimodal", *arguments, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout), time.perf_counter() - start


def main_job(name: str, source: Path, out: Path, seeds: int) -> dict[str, Any]:
    data, bundle = out / name / "data", out / name / "bundle"
    SETS[name](source / name, data)
    report, _ = trimodal("check", str(data))
    _, fit_seconds = trimodal("fit", str(data), "-o", str(bundle))
    example = read_data(data).catalog.ids[7]
    similar, _ = trimodal("similar", str(bundle), example, "-k", "15")
    written, all_seconds = trimodal("similar", str(bundle), "--all", "-o", str(out / name / "neighbours.parquet"))
    print(f"\n== {name}")
    print(f"products {report['products']:,}   sessions {report['sessions']:,}   clicks {report['clicks']:,}")
    print("coverage  " + "   ".join(f"{m} {share:.1%}" for m, share in report["coverage"].items()))
    print(f"rejected  {report['rejected_total']:,}")
    print(f"fit {fit_seconds:.1f} s, all neighbours {all_seconds:.1f} s ({written['rows']:,} rows)")
    print(f"neighbours of {example}: " + ", ".join(n["product_id"] for n in similar["neighbors"][:5]))
    result = {
        "set": name,
        "check": {key: value for key, value in report.items() if key not in ("rejected", "rejected_reasons")},
        "fit_seconds": fit_seconds,
        "similar": similar,
    }
    if name in ("flipkart_1050", "ikea_rooms"):
        recommender = Recommender.load(bundle)
        labels = recommender.catalog_.categories
        # For `ikea_rooms` few products have enough clicks; the protocol is shown on titles and pictures.
        parts = {m: e for m, e in recommender.embeddings_.items() if m in ("text", "image")}
        table = clustering_table(parts, labels, sample=3000, seeds=seeds)
        print(table)
        result["clustering"] = table.to_dict()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/real"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    results = [main_job(name, options.data, options.out, options.seeds) for name in options.sets]
    note = {"date": datetime.now(UTC).date().isoformat(), "python": platform.python_version()}
    (options.out / "results.json").write_text(json.dumps({**note, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
