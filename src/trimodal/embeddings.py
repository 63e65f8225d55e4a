"""Embedding: one modality's vectors, keyed by product id, with a state per product."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import DataError
from .files import atomic
from .ids import ProductIds


class State(IntEnum):
    """What is known of a product in one modality."""

    MISSING = 0
    KNOWN = 1
    INFERRED = 2

    @property
    def label(self) -> str:
        """The word that results and files carry."""
        return self.name.lower()


@dataclass(frozen=True)
class Provenance:
    """Where vectors come from: the encoder, its revision, its settings."""

    encoder: str
    revision: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


class Embedding:
    """Vectors of one modality for the products of `ids`.

    Only products that have a vector have a row in `vectors`: a missing product has no numbers that anyone
    could use by mistake.

    Attributes
    ----------
    modality
        `text`, `image`, `click`, or a name of the user's.
    ids
        n product ids.
    state
        uint8 [n], values of `State`.
    vectors
        float32 [m, d]: the vectors of the m products whose state is not missing, in the order of `ids`.
    position
        int64 [n]: row in `vectors`, -1 where missing.
    unused
        How many vectors `join` or `read` was given and did not use, by reason.
    """

    def __init__(
        self,
        modality: str,
        ids: ProductIds,
        state: NDArray[np.uint8],
        vectors: NDArray[np.float32],
        provenance: Provenance,
    ) -> None:
        present = state != State.MISSING
        if state.shape != (len(ids),):
            raise DataError(f"{modality}: {len(state):,} states for {len(ids):,} products.")
        if vectors.ndim != 2 or len(vectors) != present.sum():
            raise DataError(
                f"{modality}: vectors of shape {vectors.shape} for {present.sum():,} products that have one."
            )
        self.modality = modality
        self.ids = ids
        self.state = np.ascontiguousarray(state, np.uint8)
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.position = np.where(present, np.cumsum(present) - 1, -1)
        self.provenance = provenance
        self.unused: dict[str, int] = {}

    @classmethod
    def join(
        cls,
        modality: str,
        ids: ProductIds,
        keys: Iterable[str],
        vectors: NDArray[np.float32],
        provenance: Provenance,
        *,
        state: State = State.KNOWN,
    ) -> Embedding:
        """Align vectors [k, d], keyed by k distinct product ids, to `ids`; ids without a vector are missing.

        Keys that are not in `ids` are left out. A zero vector or one with a number that is not finite has no
        direction: its product is missing.
        """
        place = ids.find(keys)
        directed = usable_rows(vectors)
        usable = np.flatnonzero((place >= 0) & directed)
        order = usable[np.argsort(place[usable], kind="stable")]
        states = np.zeros(len(ids), np.uint8)
        states[place[order]] = state
        if int((states > 0).sum()) != len(order):
            raise DataError(f"{modality}: a product id occurs more than once among the vectors.")
        in_order = len(order) == len(vectors) and bool((order == np.arange(len(order))).all())
        embedding = cls(modality, ids, states, vectors if in_order else vectors[order], provenance)
        unused = {
            "of a product that is not known": int((place < 0).sum()),
            "zero or not finite": int((~directed & (place >= 0)).sum()),
        }
        embedding.unused = {reason: n for reason, n in unused.items() if n}
        return embedding

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def coverage(self) -> float:
        """Share of the products that have a vector."""
        return len(self.vectors) / len(self.ids) if len(self.ids) else 0.0

    def aligned(self, ids: ProductIds) -> Embedding:
        """The same vectors for other ids: those that are new are missing, those that are gone are dropped."""
        if ids is self.ids or ids == self.ids:
            return self
        old = self.ids.find(ids)
        state = np.where(old >= 0, self.state[old], State.MISSING).astype(np.uint8)
        return Embedding(self.modality, ids, state, self.vectors[self.position[old[state > 0]]], self.provenance)

    def updated(self, other: Embedding) -> Embedding:
        """These vectors with those of the other's products in their place; both over the same ids."""
        if other.ids != self.ids:
            raise DataError(f"{self.modality}: the two embeddings are not over the same products.")
        theirs = other.state > 0
        state = np.where(theirs, other.state, self.state)
        vectors = np.empty((int((state > 0).sum()), max(self.dimension, other.dimension)), np.float32)
        row = np.cumsum(state > 0) - 1
        mine = (self.state > 0) & ~theirs
        vectors[row[mine]] = self.vectors[self.position[mine]]
        vectors[row[theirs]] = other.vectors
        return Embedding(self.modality, self.ids, state, vectors, self.provenance)

    def vector(self, product_id: str) -> NDArray[np.float32] | None:
        """One product's vector [d], None where it is missing."""
        row = self.position[self.ids.positions([product_id])[0]]
        return self.vectors[row] if row >= 0 else None

    def write(self, path: Path) -> None:
        """Write to a Parquet file, atomically: `product_id`, `state`, `vector`, a row per product that has one."""
        if not self.dimension:
            raise DataError(f"{self.modality}: vectors of length 0 cannot be written.")
        present = self.state > 0
        note = json.dumps({"modality": self.modality, **asdict(self.provenance)}, sort_keys=True)
        table = pa.table(
            {
                "product_id": pa.array(self.ids.array[present], pa.string()),
                "state": pa.array([State(s).label for s in State]).take(pa.array(self.state[present])),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(self.vectors.reshape(-1)), self.dimension),
            }
        ).replace_schema_metadata({"trimodal": note})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="none", use_dictionary=["state"], row_group_size=65536)

    @classmethod
    def read(cls, path: str | Path, modality: str | None = None, ids: ProductIds | None = None) -> Embedding:
        """Read a Parquet file of vectors: our own, or any with the columns `product_id` and `vector`.

        A product that is not in the file, or whose vector is null, is missing.

        Parameters
        ----------
        modality
            Name for the modality; that of the file, or the file's name, if not given.
        ids
            Align to these ids; the file's own if not given.

        Raises
        ------
        DataError
            Not such a file: a column is missing, lengths differ, a value is not a number, an id occurs twice.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path} does not exist.")
        try:
            table = _read_parquet(path)
        except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error
        for name in ("product_id", "vector"):
            if name not in table.column_names:
                raise DataError(f"{path.name} has no column {name!r}; it has {', '.join(table.column_names)}.")
        kind = table["product_id"].type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            raise DataError(f"{path.name}: column 'product_id' is of type {kind}, must be text or whole numbers.")
        note = _note(table)
        provenance = Provenance(note.get("encoder", path.name), note.get("revision", ""), note.get("settings", {}))
        present = table.filter(pa.compute.is_valid(table["vector"]))
        keys = present["product_id"].cast(pa.string()).to_pylist()
        embedding = cls.join(
            modality or note.get("modality") or path.stem,
            ids if ids is not None else ProductIds(table["product_id"].cast(pa.string()).to_pylist()),
            keys,
            _matrix(present["vector"], path.name),
            provenance,
        )
        nulls = len(table) - len(present)
        if nulls:
            embedding.unused["null"] = nulls
        if note and "state" in table.column_names:
            inferred = present.filter(pa.compute.equal(present["state"], State.INFERRED.label))["product_id"]
            place = embedding.ids.find(inferred.to_pylist())
            place = place[place >= 0]
            embedding.state[place[embedding.state[place] > 0]] = State.INFERRED
        return embedding

    def __repr__(self) -> str:
        return (
            f"Embedding({self.modality!r}, {len(self.ids):,} products, "
            f"{len(self.vectors):,} vectors of {self.dimension})"
        )


def usable_rows(vectors: NDArray[np.float32], block: int = 16384) -> NDArray[np.bool_]:
    """Which rows have a direction: finite throughout and not zero; bool [n]."""
    usable = np.empty(len(vectors), bool)
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        # A sum of squares in float64 is finite exactly where every number is, and 0 exactly for a zero row.
        squares = np.einsum("nd,nd->n", part, part, dtype=np.float64)
        usable[start : start + block] = np.isfinite(squares) & (squares > 0)
    return usable


def _note(table: pa.Table) -> dict[str, Any]:
    """What a file of ours says of itself; empty for a file of anybody else's."""
    try:
        note = json.loads((table.schema.metadata or {}).get(b"trimodal", b"{}"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) and isinstance(note.get("settings"), dict) else {}


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid:
        # Arrow does not read fixed-size lists that hold nulls; Polars does.
        frame = pl.read_parquet(path)
        lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Array)]
        return frame.with_columns(pl.col(lists).arr.to_list()).to_arrow()


def _matrix(column: pa.ChunkedArray, file: str) -> NDArray[np.float32]:
    values = column.combine_chunks()
    if len(values) == 0:
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
        return np.empty((0, width), np.float32)
    kind = getattr(column.type, "value_type", None)
    if kind is None or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{file}: column 'vector' is of type {column.type}, must hold lists of numbers.")
    lengths = pa.compute.list_value_length(values).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, and its row is not used
        flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if len(set(lengths.tolist())) != 1:
        raise DataError(f"{file}: vectors differ in length, from {lengths.min()} to {lengths.max()} numbers.")
    return flat.reshape(len(values), -1)
