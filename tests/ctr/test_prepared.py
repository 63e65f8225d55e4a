"""A prepared folder holds data and features together, and never half of one preparation and half of another."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.prepared import is_prepared, read_prepared, write_prepared
from trimodal.errors import DataError


@pytest.fixture
def folder(small, tmp_path):
    write_prepared(tmp_path / "prepared", small.data, small.market.vectors)
    return tmp_path / "prepared"


def test_what_was_written_is_read(small, folder):
    assert is_prepared(folder)
    data, features = read_prepared(folder)
    assert data.hash() == data.fingerprint == small.data.fingerprint
    assert features.fingerprint() == small.features.fingerprint()
    assert features.scales == small.features.scales
    assert {name: source.encoder for name, source in features.sources.items()} == {
        "image": "simulated taste", "text": "simulated taste",
    }  # fmt: skip


def test_modalities_come_in_the_order_of_their_names_whatever_order_they_were_given_in(small, folder, tmp_path):
    turned = dict(reversed(list(small.market.vectors.items())))
    write_prepared(tmp_path / "turned", small.data, turned)
    orders = [list(read_prepared(place)[1].vectors) for place in (folder, tmp_path / "turned")]
    assert orders == [["image", "text"]] * 2


def test_features_are_joined_by_id_to_the_items_of_the_data(small, tmp_path):
    text = small.market.vectors["text"]
    backwards = text.aligned(type(text.ids)(list(text.ids)[::-1]))
    write_prepared(tmp_path, small.data, {"text": backwards})
    expected = ItemFeatures.join(small.data.items, {"text": text})
    np.testing.assert_allclose(read_prepared(tmp_path)[1].vectors["text"], expected.vectors["text"], rtol=1e-6)


def test_preparing_again_removes_the_modalities_of_before(small, folder):
    write_prepared(folder, small.data, {"text": small.market.vectors["text"]})
    assert list(read_prepared(folder)[1].vectors) == ["text"]


def test_a_preparation_that_was_stopped_is_none(small, folder):
    with pytest.raises(AttributeError):
        write_prepared(folder, small.data, {"text": small.market.vectors["text"], "image": None})
    assert not is_prepared(folder)
    with pytest.raises(DataError, match="holds no prepared data"):
        read_prepared(folder)
    write_prepared(folder, small.data, small.market.vectors)
    assert is_prepared(folder)


def test_a_folder_without_features_is_refused(folder):
    for path in (folder / "features").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no features; prepare it again"):
        read_prepared(folder)


def test_another_artefact_is_not_written_over(small, tmp_path):
    ranker = small.write(tmp_path / "ranker", small.model("lr"))
    assert not is_prepared(ranker)
    before = (ranker / "manifest.json").read_bytes()
    with pytest.raises(DataError, match=r"holds something else with a manifest\.json"):
        write_prepared(ranker, small.data, small.market.vectors)
    assert (ranker / "manifest.json").read_bytes() == before
