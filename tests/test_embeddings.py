"""Embeddings are joined by id, and a missing product has no numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimodal.embeddings import Embedding, Provenance, State
from trimodal.errors import DataError
from trimodal.ids import ProductIds

IDS = ProductIds(["a", "b", "c", "d"])
FROM = Provenance("test", "1", {"x": 2})


def test_join_is_by_id_and_vectors_without_direction_are_missing():
    vectors = np.array([[4, 4], [0, 0], [1, 1], [9, 9], [np.nan, 1]], np.float32)
    e = Embedding.join("text", IDS, ["d", "b", "a", "stranger", "c"], vectors, FROM)
    assert e.state.tolist() == [1, 0, 0, 1]
    assert e.vectors.tolist() == [[1, 1], [4, 4]]
    assert e.vector("d").tolist() == [4, 4]
    assert e.vector("b") is None
    assert e.coverage == 0.5
    with pytest.raises(DataError, match="more than once"):
        Embedding.join("text", IDS, ["a", "a"], np.ones((2, 2), np.float32), FROM)


def test_aligned_and_updated_follow_ids():
    e = Embedding.join("text", IDS, ["a", "c"], np.array([[1, 0], [3, 0]], np.float32), FROM)
    other = e.aligned(ProductIds(["new", "c", "a"]))
    assert other.state.tolist() == [0, 1, 1]
    assert other.vectors.tolist() == [[3, 0], [1, 0]]
    patch = Embedding.join("text", other.ids, ["new", "a"], np.array([[7, 7], [8, 8]], np.float32), FROM)
    assert other.updated(patch).vectors.tolist() == [[7, 7], [3, 0], [8, 8]]
    with pytest.raises(DataError, match="not over the same"):
        e.updated(patch)


def test_write_and_read_keep_everything(tmp_path):
    rng = np.random.default_rng(0)
    v = rng.normal(size=(3, 5)).astype(np.float32)
    e = Embedding("image", IDS, np.array([1, 0, 2, 1], np.uint8), v, FROM)
    e.write(tmp_path / "image.parquet")
    back = Embedding.read(tmp_path / "image.parquet", ids=IDS)
    assert back.modality == "image"
    assert back.provenance == FROM
    assert back.state.tolist() == [State.KNOWN, State.MISSING, State.INFERRED, State.KNOWN]
    np.testing.assert_array_equal(back.vectors, v)
    assert list(Embedding.read(tmp_path / "image.parquet").ids) == ["a", "c", "d"]


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float32, 2), pl.List(pl.Int64)])
def test_vectors_of_the_users_own(tmp_path, dtype):
    frame = pl.DataFrame({"product_id": ["c", "a", "zzz", "b"], "vector": [[1, 2], [3, 4], [5, 6], None]}).cast(
        {"vector": dtype}
    )
    frame.write_parquet(tmp_path / "style.parquet")
    e = Embedding.read(tmp_path / "style.parquet", ids=IDS)
    assert e.modality == "style"
    assert e.state.tolist() == [1, 0, 1, 0]
    assert e.vectors.tolist() == [[3, 4], [1, 2]]
    assert e.unused == {"of a product that is not known": 1, "null": 1}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"product_id": ["a"], "vec": [[1.0]]}, "no column 'vector'"),
        ({"product_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "differ in length, from 1 to 2"),
        ({"product_id": ["a"], "vector": ["1,2"]}, "must hold lists of numbers"),
        ({"product_id": ["a"], "vector": [["1", "2"]]}, "must hold lists of numbers"),
        ({"product_id": [["a"]], "vector": [[1.0]]}, "must be text or whole numbers"),
        ({"product_id": ["a", "a"], "vector": [[1.0], [2.0]]}, "more than once"),
    ],
)
def test_unusable_vectors(tmp_path, frame, message):
    pl.DataFrame(frame).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(DataError, match=message):
        Embedding.read(tmp_path / "v.parquet", ids=IDS)


def test_a_foreign_note_in_the_file_is_ignored(tmp_path):
    for note in ("{bad", "[1]", '{"settings": 3}'):
        table = pa.table({"product_id": ["a"], "vector": [[1.0]], "state": [3]}).replace_schema_metadata(
            {"trimodal": note}
        )
        pq.write_table(table, tmp_path / "v.parquet")
        assert Embedding.read(str(tmp_path / "v.parquet"), ids=IDS).state.tolist() == [1, 0, 0, 0]
    frame = pl.DataFrame({"product_id": ["a", "b"], "vector": [[1e300], [2.0]]})
    frame.write_parquet(tmp_path / "v.parquet")
    assert Embedding.read(tmp_path / "v.parquet", ids=IDS).unused == {"zero or not finite": 1}


def test_shapes_must_agree():
    with pytest.raises(DataError, match="3 states for 4 products"):
        Embedding("text", IDS, np.ones(3, np.uint8), np.ones((3, 2), np.float32), FROM)
    with pytest.raises(DataError, match="for 4 products that have one"):
        Embedding("text", IDS, np.ones(4, np.uint8), np.ones((3, 2), np.float32), FROM)
