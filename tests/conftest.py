"""Small data that tests share."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import daft
import numpy as np
import polars as pl
import pytest
from PIL import Image

from trimodal.clicks import ClickLog
from trimodal.ids import ProductIds
from trimodal.tables import ROW

COLORS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200)}
THINGS = ("shoe", "lamp", "cup")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Nine products (three things in three colours) with pictures, and sessions that stay with one thing."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rows = []
    for thing in THINGS:
        for color, rgb in COLORS.items():
            name = f"{color}-{thing}"
            Image.new("RGB", (40, 30), rgb).save(folder / "images" / f"{name}.png")
            rows.append(
                {
                    "product_id": name,
                    "title": f"{color} {thing}",
                    "category": thing,
                    "image": f"images/{name}.png",
                    "price": "9.90",
                }
            )
    write_csv(folder / "products.csv", rows)
    rng = np.random.default_rng(0)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    clicks = []
    for n in range(240):
        thing = THINGS[n % 3]
        for i, color in enumerate(rng.permutation(list(COLORS))):
            clicks.append(
                {
                    "session_id": f"s{n}",
                    "product_id": f"{color}-{thing}",
                    "timestamp": (start + timedelta(minutes=n, seconds=i)).isoformat(),
                }
            )
    write_csv(folder / "clicks.csv", clicks)
    return folder


def write_csv(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def make_log():
    """A function: sessions as lists of positions, and product ids, to a click log; one session a minute."""

    def make(sessions: list[list[int]], ids: ProductIds) -> ClickLog:
        rows = [
            (f"s{n:05}", ids[int(p)], 1_700_000_000 + 60 * n + i)
            for n, s in enumerate(sessions)
            for i, p in enumerate(s)
        ]
        frame = pl.DataFrame(rows, schema=["session_id", "product_id", "timestamp"], orient="row")
        frame = frame.with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))
        return ClickLog.from_events(daft.from_arrow(frame.to_arrow()), ids)

    return make
