"""Feature files of every kind give the same embedding, joined by id."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from trimodal.ctr import feature_files
from trimodal.ctr.feature_files import AMAZON, read_features
from trimodal.errors import DataError
from trimodal.ids import ProductIds

KEYS = [f"B00{n:07}" for n in range(7)]
IDS = ProductIds([KEYS[5], "UNKNOWN", KEYS[0], KEYS[3], KEYS[6]])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(feature_files, "_BLOCK", 2)


def vectors():
    matrix = np.random.default_rng(0).normal(size=(7, 4096)).astype(np.float32)
    matrix[3] = 0
    return matrix


def write_amazon(path, keys, matrix):
    records = np.zeros(len(keys), AMAZON)
    records["id"], records["vector"] = [key.encode() for key in keys], matrix
    path.write_bytes(records.tobytes())
    return path


def write_npy(path, keys, matrix, kind="txt"):
    np.save(path, matrix)
    text = json.dumps(keys) if kind == "json" else "".join(f"{key}\r\n" for key in keys)
    path.with_suffix(f".ids.{kind}").write_text(text)
    return path


def write_parquet(path, keys, matrix):
    pl.DataFrame({"product_id": keys, "vector": matrix.tolist()}).write_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["b", "txt", "json", "parquet"])
def test_every_kind_is_joined_by_id(tmp_path, kind):
    if kind == "b":
        path = write_amazon(tmp_path / "image.b", KEYS, vectors())
    elif kind == "parquet":
        path = write_parquet(tmp_path / "image.parquet", KEYS, vectors())
    else:
        path = write_npy(tmp_path / "image.npy", KEYS, vectors(), kind)
    e = read_features("image", path, IDS)
    assert (e.modality, e.ids) == ("image", IDS)
    assert e.state.tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_array_equal(e.vectors, vectors()[[5, 0, 6]])
    assert e.unused == {"of a product that is not known": 3, "zero or not finite": 1}


def test_a_record_of_amazon_is_ten_bytes_and_4096_float32(tmp_path):
    vector = np.arange(1, 4097, dtype="<f4")
    (tmp_path / "image_features_Beauty.b").write_bytes(b"B001234567" + vector.tobytes())
    e = read_features("image", tmp_path / "image_features_Beauty.b", ProductIds(["B001234567"]))
    assert e.vectors.tolist() == [vector.tolist()]


def test_rows_of_whole_numbers_and_half_floats_become_float32(tmp_path):
    for dtype in (np.int64, np.float16, np.float64):
        path = write_npy(tmp_path / "f.npy", KEYS[:2], np.array([[1, 2], [3, 4]], dtype))
        e = read_features("f", path, ProductIds(KEYS[:2]))
        assert e.vectors.dtype == np.float32
        assert e.vectors.tolist() == [[1, 2], [3, 4]]


def test_a_repeated_row_is_counted_and_a_contradicting_one_refused(tmp_path):
    keys, matrix = ["a", "b", "a", "b", "b"], np.array([[1, 2], [3, 4], [1, 2], [3, 4], [3, 4]], np.float32)
    e = read_features("f", write_npy(tmp_path / "f.npy", keys, matrix), ProductIds(["a", "b"]))
    assert e.vectors.tolist() == [[1, 2], [3, 4]]
    assert e.unused == {"the same row once more": 3}
    for row in (3, 4):
        wrong = matrix.copy()
        wrong[row] = 9
        with pytest.raises(DataError, match=r"'b' occurs more than once in f.npy, with different vectors"):
            read_features("f", write_npy(tmp_path / "f.npy", keys, wrong), ProductIds(["a", "b"]))


def test_files_that_cannot_be_used_are_refused_with_the_reason(tmp_path):
    def refused(message, name="f.npy"):
        with pytest.raises(DataError, match=message):
            read_features("f", tmp_path / name, ProductIds(["a"]))

    refused("does not exist")
    (tmp_path / "f.pkl").write_bytes(b"x")
    refused(r"'.pkl', must be one of", "f.pkl")
    (tmp_path / "f.b").write_bytes(b"x" * (AMAZON.itemsize + 1))
    refused("must be a multiple of 16,394", "f.b")
    np.save(tmp_path / "f.npy", np.array([{"a": 1}], object), allow_pickle=True)
    refused("cannot be read as a NumPy matrix")
    np.save(tmp_path / "f.npy", np.ones(3))
    refused(r"shape \(3,\)")
    np.save(tmp_path / "f.npy", np.ones((1, 2)))
    refused("neither f.ids.txt nor f.ids.json")
    (tmp_path / "f.ids.json").write_text('{"a": 0}')
    refused("must be a list of ids")
    (tmp_path / "f.ids.json").write_text('["a", "b"]')
    refused("1 rows and 2 ids")
    (tmp_path / "f.ids.txt").write_text("a\n")
    refused("both f.ids.txt and f.ids.json")
