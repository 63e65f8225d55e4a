"""Ready-made features of items from files of three kinds, joined to given ids and never held whole.

NAME.parquet   columns `product_id` and `vector`
NAME.npy       a matrix; the ids of its rows in NAME.ids.txt (one a line) or NAME.ids.json (a list) beside it
NAME.b         records of a 10-byte ASIN and 4096 float32: the image features of Amazon's 2014 release
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding, Provenance, State, usable_rows
from ..errors import DataError
from ..ids import ProductIds

AMAZON = np.dtype([("id", "S10"), ("vector", "<f4", (4096,))])
"""A record of Amazon's `image_features_*.b`."""
_BLOCK = 2048

Blocks = Iterator[tuple[Sequence[str], NDArray[np.float32]]]


def read_features(name: str, path: str | Path, ids: ProductIds) -> Embedding:
    """Read the features of a modality and join them to `ids`; which kind of file, its suffix says.

    Rows of other ids are skipped as they are read. A row that is zero or not finite throughout has no direction: its
    item is missing. `Embedding.unused` counts what was not used.

    Raises
    ------
    DataError
        No such file or no such kind; rows and ids differ in number; an id occurs twice with different vectors.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{name}: {path} does not exist.")
    if path.suffix == ".parquet":
        return Embedding.read(path, name, ids)
    if path.suffix == ".npy":
        width, blocks = _matrix(path)
    elif path.suffix == ".b":
        width, blocks = AMAZON["vector"].shape[0], _amazon(path)
    else:
        raise DataError(f"{name}: {path.name} is of the kind '{path.suffix}', must be one of .parquet, .npy, .b.")
    return _joined(name, path.name, ids, width, blocks)


def _joined(name: str, file: str, ids: ProductIds, width: int, blocks: Blocks) -> Embedding:
    """Fill a matrix over `ids` block by block, then close its gaps in place: one copy of what is used, at most."""
    vectors = np.empty((len(ids), width), np.float32)
    here = np.zeros(len(ids), bool)
    unused = dict.fromkeys(("of a product that is not known", "zero or not finite", "the same row once more"), 0)
    for keys, block in blocks:
        place = ids.find(keys)
        directed = usable_rows(block)
        unused["of a product that is not known"] += int((place < 0).sum())
        unused["zero or not finite"] += int((~directed & (place >= 0)).sum())
        rows = np.flatnonzero((place >= 0) & directed)
        _, first = np.unique(place[rows], return_index=True)
        new = np.zeros(len(rows), bool)
        new[first] = ~here[place[rows[first]]]
        vectors[place[rows[new]]] = block[rows[new]]
        here[place[rows[new]]] = True
        again = rows[~new]
        differing = again[(vectors[place[again]] != block[again]).any(axis=1)]
        if len(differing):
            raise DataError(
                f"{name}: product {keys[differing[0]]!r} occurs more than once in {file}, with different vectors."
            )
        unused["the same row once more"] += len(again)
    present = np.flatnonzero(here)
    for start in range(0, len(present), _BLOCK):
        part = present[start : start + _BLOCK]
        vectors[start : start + len(part)] = vectors[part]  # from rows at or after these, so none is lost
    state = np.where(here, State.KNOWN, State.MISSING).astype(np.uint8)
    embedding = Embedding(name, ids, state, vectors[: len(present)], Provenance(file))
    embedding.unused = {reason: n for reason, n in unused.items() if n}
    return embedding


def _amazon(path: Path) -> Blocks:
    size = path.stat().st_size
    if not size or size % AMAZON.itemsize:
        raise DataError(
            f"{path.name} has {size:,} bytes, must be a multiple of {AMAZON.itemsize:,} (a 10-byte ASIN and 4096 "
            "float32 a record); was it fetched to its end, and is it unpacked?"
        )
    with open(path, "rb") as stream:
        while len(records := np.fromfile(stream, AMAZON, _BLOCK)):
            yield [key.decode("ascii", "replace") for key in records["id"].tolist()], records["vector"]


def _matrix(path: Path) -> tuple[int, Blocks]:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} cannot be read as a NumPy matrix: {error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DataError(f"{path.name} is of shape {matrix.shape} and type {matrix.dtype}, must be a matrix of numbers.")
    keys = _row_ids(path)
    if len(keys) != len(matrix):
        raise DataError(f"{path.name} has {len(matrix):,} rows and {len(keys):,} ids beside it, must have one a row.")

    def blocks() -> Blocks:
        for start in range(0, len(keys), _BLOCK):
            with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, and its row is not used
                block = np.asarray(matrix[start : start + _BLOCK]).astype(np.float32)
            yield keys[start : start + _BLOCK], block

    return matrix.shape[1], blocks()


def _row_ids(path: Path) -> list[str]:
    plain, listed = path.with_suffix(".ids.txt"), path.with_suffix(".ids.json")
    found = [file for file in (plain, listed) if file.is_file()]
    if len(found) != 1:
        what = f"both {plain.name} and {listed.name} are" if found else f"neither {plain.name} nor {listed.name} is"
        raise DataError(f"{what} beside {path.name}; the ids of its rows must stand in one of them.")
    try:
        text = found[0].read_text(encoding="utf-8-sig")
        if found[0] == plain:
            return [line.strip() for line in text.removesuffix("\n").split("\n")]
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{found[0].name} cannot be read: {error}") from error
    if not isinstance(values, list) or not all(isinstance(v, str) or type(v) is int for v in values):
        raise DataError(f"{found[0].name} must be a list of ids, text or whole numbers.")
    return [str(value) for value in values]
