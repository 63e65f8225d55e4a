"""What a recommender answers: similar products with distance, shares and state; and those of all in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import check_int
from .files import atomic
from .fusion import Fusion
from .progress import Progress, silent
from .shaping import Facts, Shaping, shaped_neighbors

BLOCK = 8192
"""Products whose neighbours are in memory at once when those of all are written."""


@dataclass(frozen=True)
class Neighbor:
    """A similar product: its fused distance, what each modality adds to 1 - distance, and what is known of it."""

    product_id: str
    distance: float
    shares: dict[str, float]
    state: dict[str, str]


@dataclass(frozen=True)
class SimilarProducts:
    """The products most similar to one, nearest first unless diversity chose the order. Prints as a table."""

    product_id: str | None
    strategy: str
    neighbors: tuple[Neighbor, ...]

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal similar --json` prints."""
        return asdict(self) | {"neighbors": [asdict(neighbor) for neighbor in self.neighbors]}

    def __iter__(self) -> Iterator[Neighbor]:
        return iter(self.neighbors)

    def __len__(self) -> int:
        return len(self.neighbors)

    def __str__(self) -> str:
        lines = [f"similar to {self.product_id or 'the query'} ({self.strategy} fusion)"]
        for n in self.neighbors:
            shares = "  ".join(f"{name} {share:+.3f}" for name, share in n.shares.items())
            lines.append(f"  {n.distance:.4f}  {n.product_id:<24} {shares}")
        return "\n".join(lines)


def write_neighbors(
    fusion: Fusion,
    path: Path,
    k: int,
    *,
    shaping: Shaping | None = None,
    facts: Facts | None = None,
    progress: Progress = silent,
) -> int:
    """Write the k neighbours of every product of a fitted strategy to a Parquet file, atomically.

    Columns: `product_id`, `rank` (from 1), `neighbor_id`, `distance`, and `share_M` per modality M; in the order
    of the products. Lists are shaped where `shaping`, and with it the `facts` of the products, is given. Returns the
    rows written.
    """
    count = len(fusion.ids_)
    k = min(check_int("k", k, low=1), count)
    names = pa.array(list(fusion.ids_), pa.string())
    columns = {
        "product_id": pa.string(),
        "rank": pa.int32(),
        "neighbor_id": pa.string(),
        "distance": pa.float32(),
        **{f"share_{modality}": pa.float32() for modality in fusion.modalities_},
    }
    schema, rows = pa.schema(columns), 0
    with (
        atomic(path) as temporary,
        progress("finding neighbours", count) as advance,
        pq.ParquetWriter(temporary, schema) as writer,
    ):
        for start in range(0, count, BLOCK):
            positions = np.arange(start, min(start + BLOCK, count))
            places = np.empty((len(positions), k), np.int64)
            distances = np.empty((len(positions), k), np.float32)
            lists = (
                fusion.iter_neighbors(positions, k)
                if shaping is None or facts is None
                else shaped_neighbors(fusion, facts, positions, k, shaping)
            )
            for asked, found, distance in lists:
                places[asked], distances[asked] = found, distance
                advance(len(asked))
            row, rank = np.nonzero(places >= 0)
            a, b = positions[row], places[row, rank]
            shares = fusion.shares(a, b).astype(np.float32)
            data = [names.take(pa.array(a)), rank + 1, names.take(pa.array(b)), distances[row, rank], *shares.T]
            writer.write_table(pa.table(dict(zip(columns, map(pa.array, data), strict=True)), schema=schema))
            rows += len(row)
    return rows
