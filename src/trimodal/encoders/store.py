"""VectorStore: encoded vectors on disk, keyed by what was encoded, so that nothing is encoded twice."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import DataError
from ..files import atomic


def key_of(fingerprint: str) -> bytes:
    """16-byte key of an input's fingerprint."""
    return hashlib.blake2b(fingerprint.encode(), digest_size=16).digest()


class VectorStore:
    """A folder of vectors of one encoder at one revision.

    Vectors are appended in part files, each written atomically: a process that is killed loses the part it
    had not written yet and nothing else. Two processes may append at once. `failures.jsonl` is the ledger of
    the last run: one object a line with `product_id`, `value` and `reason`.
    """

    def __init__(self, root: Path, modality: str, name: str, revision: str, dimension: int) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(name).name or name}-{revision}")[:80]
        tag = hashlib.blake2b(f"{name}\n{revision}".encode(), digest_size=4).hexdigest()
        self.folder = root / modality / f"{slug}-{tag}"
        self.dimension = dimension
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder} cannot be written ({error}); choose a folder with --store.") from error
        self._note(modality, name, revision)
        for left in self.folder.glob(".*.tmp"):  # of a process that was killed; a living one's is younger
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink(missing_ok=True)

    def _note(self, modality: str, name: str, revision: str) -> None:
        note = {"modality": modality, "encoder": name, "revision": revision, "dimension": self.dimension}
        path = self.folder / "encoder.json"
        if not path.is_file():
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(note, indent=2) + "\n")

    def append(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Add vectors [n, d] under n keys, in one part."""
        if not len(keys):
            return
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        table = pa.table(
            {
                "key": pa.array(list(keys), pa.binary(16)),
                "vector": pa.FixedSizeListArray.from_arrays(flat, self.dimension),
            }
        )
        with atomic(self.folder / f"part-{uuid.uuid4().hex}.parquet") as temporary:
            pq.write_table(table, temporary, compression="none", use_dictionary=False)

    def fetch(self, keys: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Vectors of distinct keys: which are there, bool [n], and float32 [n, d] (unset where not there)."""
        wanted = {key: i for i, key in enumerate(keys)}
        found = np.zeros(len(keys), bool)
        vectors = np.empty((len(keys), self.dimension), np.float32)
        for part in sorted(self.folder.glob("part-*.parquet")):
            try:
                table = pq.read_table(part, columns=["key", "vector"])
                if table["vector"].type.list_size != self.dimension:
                    raise pa.ArrowInvalid(f"vectors of {table['vector'].type.list_size}, not {self.dimension}")
            except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
                raise DataError(f"{part} is damaged ({error}); delete it, and its rows are encoded again.") from error
            place = np.fromiter((wanted.get(key, -1) for key in table["key"].to_pylist()), np.int64, len(table))
            rows = np.flatnonzero(place >= 0)
            if not len(rows):
                continue
            values = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.dimension)
            vectors[place[rows]] = values[rows]
            found[place[rows]] = True
        return found, vectors

    def write_failures(self, failures: Sequence[tuple[str, str, str]]) -> Path:
        """Replace the ledger by (product id, value, reason) of this run."""
        path = self.folder / "failures.jsonl"
        with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
            for product_id, value, reason in failures:
                line = {"product_id": product_id, "value": value, "reason": reason}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        return path
