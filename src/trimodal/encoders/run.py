"""Encode a catalogue's values: in batches, resumable, and never stopped by one bad item."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding, Provenance, State, usable_rows
from ..errors import EncoderError, ItemError
from ..ids import ProductIds
from ..progress import Progress, silent
from .base import Encoder, available_threads
from .pictures import is_url
from .store import VectorStore, key_of

FLUSH_ROWS = 2048
FLUSH_SECONDS = 30.0
FETCHING = 16
"""Threads where pictures are fetched: they wait more than they work."""


@dataclass(frozen=True)
class Failure:
    """One product whose value could not be encoded, and why."""

    product_id: str
    value: str
    reason: str


@dataclass(frozen=True)
class EncodingRun:
    """What a run gave: the embedding, what was encoded now, what the store had, and the ledger.

    `encoded` and `reused` count distinct values; products with an equal title or picture share one vector.
    `ledger` is the file that lists the failures, None without a store.
    """

    embedding: Embedding
    encoded: int
    reused: int
    failures: list[Failure]
    ledger: Path | None


def encode_catalog(
    encoder: Encoder,
    ids: ProductIds,
    values: Sequence[str | None],
    *,
    store: Path | None = None,
    progress: Progress = silent,
    workers: int | None = None,
) -> EncodingRun:
    """Encode one value per product; a product without one, or whose value fails, is missing.

    With a store, vectors that it holds for the same encoder, revision and input are not encoded again, and
    what is encoded is written every 2,048 vectors or 30 seconds: a run that is killed goes on from there.

    Parameters
    ----------
    values
        A title, or a picture's path or URL, per product of `ids`; None where there is none.
    workers
        Threads that prepare values (decode pictures); if None the number of CPUs, more where pictures are fetched.

    Raises
    ------
    EncoderError
        The model itself fails: on every item of the first batch, with nothing encoded before.
    """
    wanted = [i for i, value in enumerate(values) if value is not None]
    keys = {i: key_of(encoder.fingerprint(str(values[i]))) for i in wanted}
    distinct: dict[bytes, int] = {}
    for i in wanted:
        distinct.setdefault(keys[i], i)
    order = list(distinct)
    slot = {key: n for n, key in enumerate(order)}

    shelf = None
    found = np.zeros(len(order), bool)
    if store is not None:
        shelf = VectorStore(store, encoder.modality, encoder.name, encoder.revision, encoder.dimension)
        found, vectors = shelf.fetch(order)
    else:
        vectors = np.empty((len(order), encoder.dimension), np.float32)
    reused = int(found.sum())

    # Titles of like length together: less padding. Pictures keep their order.
    pending = np.flatnonzero(~found).tolist()
    if encoder.modality == "text":
        pending.sort(key=lambda n: len(str(values[distinct[order[n]]])))
    reasons: dict[int, str] = {}
    fresh: list[int] = []
    flushed = time.monotonic()

    def flush() -> None:
        nonlocal flushed
        if shelf is not None and fresh:
            shelf.append([order[n] for n in fresh], vectors[fresh])
        fresh.clear()
        flushed = time.monotonic()

    try:
        with progress(f"encoding {encoder.modality}", len(pending)) as advance:
            inputs = [(n, str(values[distinct[order[n]]])) for n in pending]
            for batch in _batches(encoder, inputs, reasons, advance, workers):
                numbers = [n for n, _ in batch]
                good, encoded = _encode(encoder, batch, reasons, proven=bool(found.any()))
                vectors[good] = encoded
                found[good] = True
                fresh += good
                advance(len(numbers))
                if len(fresh) >= FLUSH_ROWS or time.monotonic() - flushed > FLUSH_SECONDS:
                    flush()
    finally:
        flush()

    failures = [Failure(ids[i], str(values[i]), reasons[slot[keys[i]]]) for i in wanted if slot[keys[i]] in reasons]
    ledger = None
    if shelf is not None:
        ledger = shelf.write_failures([(f.product_id, f.value, f.reason) for f in failures])
    state = np.zeros(len(ids), np.uint8)
    rows = [slot[keys[i]] for i in wanted if found[slot[keys[i]]]]
    state[[i for i in wanted if found[slot[keys[i]]]]] = State.KNOWN
    matrix = vectors if rows == list(range(len(vectors))) else vectors[np.asarray(rows, np.int64)]
    embedding = Embedding(encoder.modality, ids, state, matrix, Provenance(encoder.name, encoder.revision))
    return EncodingRun(embedding, int(found.sum()) - reused, reused, failures, ledger)


def _batches(
    encoder: Encoder,
    inputs: Sequence[tuple[int, str]],
    reasons: dict[int, str],
    advance: Any,
    workers: int | None,
) -> Iterator[list[tuple[int, Any]]]:
    """Prepared inputs in batches; preparation runs ahead in threads, at most four batches of it."""
    if workers is None:
        remote = encoder.modality == "image" and any(is_url(value) for _, value in inputs)
        workers = 1 if encoder.modality == "text" else FETCHING if remote else available_threads()
    batch: list[tuple[int, Any]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="prepare") as pool:
        ahead: deque[tuple[int, Future[Any]]] = deque()
        source = iter(inputs)
        try:
            while True:
                while len(ahead) < 4 * encoder.batch_size and (item := next(source, None)) is not None:
                    ahead.append((item[0], pool.submit(encoder.prepare, item[1])))
                if not ahead:
                    break
                number, future = ahead.popleft()
                try:
                    batch.append((number, future.result()))
                except ItemError as error:
                    reasons[number] = str(error)
                    advance(1)
                except Exception as error:
                    # A decoder's own crash on one picture must not stop the others.
                    reasons[number] = f"{type(error).__name__}: {error}"
                    advance(1)
                if len(batch) == encoder.batch_size:
                    yield batch
                    batch = []
            if batch:
                yield batch
        finally:
            for _, future in ahead:
                future.cancel()


def _encode(
    encoder: Encoder, batch: list[tuple[int, Any]], reasons: dict[int, str], *, proven: bool
) -> tuple[list[int], NDArray[np.float32]]:
    """Encode a batch; where it fails as a whole, one by one, so that one item costs itself only.

    A model that is not `proven` to have encoded anything yet and fails on every item is the one to blame.
    """
    numbers = [n for n, _ in batch]
    try:
        vectors = encoder.encode_prepared([item for _, item in batch])
    except Exception as whole:
        rows = []
        good = []
        for n, item in batch:
            try:
                rows.append(encoder.encode_prepared([item])[0])
                good.append(n)
            except Exception as error:
                reasons[n] = f"the model failed on it: {type(error).__name__}: {error}"
        if not good and proven:
            return [], np.empty((0, encoder.dimension), np.float32)
        if not good:
            raise EncoderError(
                f"{encoder.name} failed on each of {len(batch)} items, so the model itself does not work here: "
                f"{type(whole).__name__}: {whole}"
            ) from whole
        numbers, vectors = good, np.stack(rows)
    usable = usable_rows(np.asarray(vectors, np.float32))
    for n, fine in zip(numbers, usable, strict=True):
        if not fine:
            reasons[n] = "the model gave a vector that is zero or not finite"
    return [n for n, fine in zip(numbers, usable, strict=True) if fine], vectors[usable]
