"""Encoding a catalogue: nothing twice, nothing lost, one bad item never stops the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from trimodal.encoders.base import Encoder
from trimodal.encoders.run import encode_catalog
from trimodal.errors import DataError, EncoderError, ItemError
from trimodal.ids import ProductIds


class Letters(Encoder):
    """Counts letters; refuses 'bad', breaks on a batch with 'poison', gives zero for '0'."""

    modality = "text"
    name = "letters"
    revision = "1"
    dimension = 3
    batch_size = 4

    def __init__(self):
        self.seen = []

    def prepare(self, value):
        if value == "bad":
            raise ItemError("no good")
        if value == "crash":
            raise MemoryError("decoder")
        return value

    def encode_prepared(self, items):
        if "poison" in items:
            raise RuntimeError("cannot")
        self.seen += items
        return np.array([[len(v), v.count("a"), 1] if v != "0" else [0, 0, 0] for v in items], np.float32)


def encode(values, store=None, encoder=None):
    encoder = encoder or Letters()
    ids = ProductIds([f"p{i}" for i in range(len(values))])
    return encode_catalog(encoder, ids, values, store=store), encoder


def test_bad_items_are_in_the_ledger_and_the_rest_is_encoded(tmp_path):
    values = ["aa", "bad", None, "crash", "b", "poison", "0", "aa", "ccc", "dddd"]
    run, encoder = encode(values, tmp_path)
    assert run.embedding.state.tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 1, 1]
    assert run.embedding.vector("p7").tolist() == [2, 2, 1]
    assert encoder.seen.count("aa") == 1
    assert {f.product_id: f.reason for f in run.failures} == {
        "p1": "no good",
        "p3": "MemoryError: decoder",
        "p5": "the model failed on it: RuntimeError: cannot",
        "p6": "the model gave a vector that is zero or not finite",
    }
    lines = [json.loads(line) for line in run.ledger.read_text().splitlines()]
    assert [line["product_id"] for line in lines] == ["p1", "p3", "p5", "p6"]
    assert (run.encoded, run.reused) == (4, 0)


def test_a_second_run_encodes_only_what_is_new_changed_or_failed(tmp_path):
    encode(["aa", "bad", "b"], tmp_path)
    run, encoder = encode(["aa", "bad", "changed", "new"], tmp_path)
    assert sorted(encoder.seen) == ["changed", "new"]
    assert (run.encoded, run.reused) == (2, 1)
    assert [f.product_id for f in run.failures] == ["p1"]
    other = Letters()
    other.revision = "2"
    encode(["aa"], tmp_path, other)
    assert other.seen == ["aa"]


def test_products_of_another_order_get_their_own_vectors(tmp_path):
    encode(["aa", "b", "ccc"], tmp_path)
    run, encoder = encode(["ccc", None, "b", "aa"], tmp_path)
    assert encoder.seen == []
    assert run.embedding.vectors[:, 0].tolist() == [3, 1, 2]


def test_a_model_that_fails_on_everything_is_an_error(tmp_path):
    with pytest.raises(EncoderError, match="the model itself does not work here: RuntimeError: cannot"):
        encode(["poison"], tmp_path)


def test_a_last_batch_of_one_bad_item_does_not_stop_the_run(tmp_path):
    values = ["aa", "b", "ccc", "dddd", "poison"]
    run, _ = encode(values, tmp_path)
    assert run.embedding.state.tolist() == [1, 1, 1, 1, 0]
    assert [f.product_id for f in run.failures] == ["p4"]
    again, _ = encode(values, tmp_path)
    assert (again.encoded, again.reused, len(again.failures)) == (0, 4, 1)


def test_a_damaged_part_is_named(tmp_path):
    encode(["aa"], tmp_path)
    part = next(tmp_path.rglob("part-*.parquet"))
    part.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="delete it, and its rows are encoded again"):
        encode(["aa"], tmp_path)


SLOW = """
import sys, time, numpy as np
from pathlib import Path
from trimodal.encoders import run
from trimodal.encoders.base import Encoder
from trimodal.ids import ProductIds

run.FLUSH_ROWS = 8

class Slow(Encoder):
    modality, name, revision, dimension, batch_size = "text", "slow", "1", 2, 4
    def prepare(self, value): return int(value)
    def encode_prepared(self, items):
        time.sleep(0.05)
        with open(sys.argv[2], "a") as log:
            log.writelines(f"{i}\\n" for i in items)
        return np.array([[i + 1, 1] for i in items], np.float32)

ids, values = ProductIds([f"p{i}" for i in range(200)]), [f"{i:03}" for i in range(200)]
result = run.encode_catalog(Slow(), ids, values, store=Path(sys.argv[1]))
print(result.encoded, result.reused, (result.embedding.vectors[:, 0] == np.arange(200) + 1).all())
"""


def test_killed_half_way_the_next_run_goes_on(tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "store"), str(tmp_path / "log")]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "store").rglob("part-*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = len((tmp_path / "log").read_text().split())
    assert 32 <= first < 200
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert done[2] == "True"
    encoded, reused = int(done[0]), int(done[1])
    assert encoded + reused == 200
    assert reused >= 32
    assert first - reused <= 12  # at most one unwritten part and the batch under way are lost
    third = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert third[:2] == ["0", "200"]
