"""Prepared data come back as they were written, and their fingerprint tells any two apart."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from trimodal.ctr.data import PARTS, CtrData, Events
from trimodal.errors import DataError
from trimodal.ids import ProductIds

COLUMNS = ("user", "item", "label", "seen")


def events(*rows: tuple[int, int, int, int]) -> Events:
    user, item, label, seen = zip(*rows, strict=True)
    return Events(
        np.array(user, np.int32), np.array(item, np.int32), np.array(label, np.uint8), np.array(seen, np.int32)
    )


@pytest.fixture
def hand() -> CtrData:
    """Three visitors, seven items: the last visitor is in the test alone, items 4 to 6 are not trained."""
    data = CtrData(
        items=ProductIds([f"p{n}" for n in range(7)]),
        users=("anna", "ben", "cleo"),
        category=np.array([1, 2, 0, 1, 2, 0, 1], np.int32),
        categories=("cups", "lamps"),
        history=np.array([0, 1, 4, 2, 5, 3], np.int32),
        starts=np.array([0, 3, 5, 6]),
        parts={
            "train": events((0, 1, 1, 1), (0, 3, 0, 2), (1, 0, 0, 0)),
            "valid": events((0, 4, 1, 2), (1, 6, 0, 1)),
            "test": events((2, 5, 1, 1), (2, 1, 0, 1)),
        },
        manifest={"recipe": "temporal", "monitor": "auc_pooled", "counts": {"samples": 3}},
    )
    return replace(data, manifest={**data.manifest, "fingerprint": data.hash()})


def same(one: CtrData, other: CtrData) -> None:
    assert (one.items, one.users, one.categories) == (other.items, other.users, other.categories)
    for name in ("category", "history", "starts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    for part in PARTS:
        for column in COLUMNS:
            np.testing.assert_array_equal(
                getattr(one.parts[part], column), getattr(other.parts[part], column), strict=True
            )
    assert dict(one.manifest) == dict(other.manifest)


def test_what_is_written_is_read_back(hand, small, tmp_path):
    for number, data in enumerate((hand, small.data)):
        data.write(tmp_path / str(number))
        same(CtrData.read(tmp_path / str(number)), data)


def test_writing_again_replaces_what_was_there(hand, small, tmp_path):
    small.data.write(tmp_path)
    hand.write(tmp_path)
    same(CtrData.read(tmp_path), hand)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.safetensors", "manifest.json", "names.json"]


@pytest.mark.parametrize("name", ["events.safetensors", "names.json"])
def test_a_file_that_was_changed_is_refused_by_its_name(hand, tmp_path, name):
    hand.write(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} was changed since it was prepared; prepare it again"):
        CtrData.read(tmp_path)


def manifest(folder, **changes) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_format_a_damaged_manifest_and_a_missing_file_are_refused(hand, tmp_path):
    hand.write(tmp_path)
    manifest(tmp_path, format=2)
    with pytest.raises(DataError, match="another format version; prepare it again"):
        CtrData.read(tmp_path)
    for damage in ({"files": None}, {"files": []}, {"files": 3}):
        hand.write(tmp_path)
        manifest(tmp_path, **damage)
        with pytest.raises(DataError, match="is damaged"):
            CtrData.read(tmp_path)
    for text in ("", "[]", "{", "null"):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            CtrData.read(tmp_path)
    hand.write(tmp_path)
    (tmp_path / "names.json").unlink()
    with pytest.raises(DataError, match=r"is damaged .*names\.json"):
        CtrData.read(tmp_path)


def test_a_folder_that_was_never_prepared_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"holds no prepared data .* make it: trimodal ctr prepare"):
        CtrData.read(tmp_path / "nowhere")


def test_columns_of_events_have_one_length():
    one, two = np.zeros(1, np.int32), np.zeros(2, np.int32)
    with pytest.raises(DataError, match="differ in length"):
        Events(one, one, np.zeros(1, np.uint8), two)


def test_events_are_taken_by_rows_or_by_a_mask(hand):
    train = hand.parts["train"]
    rows, mask = train.take(np.array([2, 0])), train.take(train.label == 0)
    assert rows.user.tolist() == [1, 0]
    assert mask.item.tolist() == [3, 0]
    assert mask.seen.tolist() == [2, 0]


def test_trained_are_those_of_train_events_and_of_the_histories_that_they_see(hand, small):
    users, items = hand.trained()
    assert users.tolist() == [True, True, False]
    # anna's train events see p0 and p1; her third click, and all of ben's, are seen by no train event.
    assert np.flatnonzero(items).tolist() == [0, 1, 3]
    data = small.data
    users, items = data.trained()
    seen_users, seen_items = set(), set()
    train = data.parts["train"]
    for user, item, seen in zip(train.user.tolist(), train.item.tolist(), train.seen.tolist(), strict=True):
        seen_users.add(user)
        seen_items |= {item, *data.history[data.starts[user] : data.starts[user] + seen].tolist()}
    assert set(np.flatnonzero(users).tolist()) == seen_users != set(range(len(data.users)))
    assert set(np.flatnonzero(items).tolist()) == seen_items != set(range(len(data.items)))


def test_the_fingerprint_changes_when_anything_changes(hand):
    def column(part: str, name: str) -> CtrData:
        changed = getattr(hand.parts[part], name).copy()
        changed[-1] += 1
        return replace(hand, parts={**hand.parts, part: replace(hand.parts[part], **{name: changed})})

    def table(name: str) -> CtrData:
        changed = getattr(hand, name).copy()
        changed[-1] += 1
        return replace(hand, **{name: changed})

    others = [column(part, name) for part in PARTS for name in COLUMNS]
    others += [table(name) for name in ("category", "history", "starts")]
    others += [
        replace(hand, items=ProductIds([*list(hand.items)[:-1], "q"])),
        replace(hand, users=("anna", "cleo", "ben")),
        replace(hand, categories=("cups", "lamp")),
        replace(hand, history=hand.history.astype(np.int64)),
        replace(hand, parts={**hand.parts, "valid": hand.parts["test"], "test": hand.parts["valid"]}),
    ]
    prints = [data.hash() for data in (hand, *others)]
    assert len(set(prints)) == len(prints)
    assert hand.fingerprint == hand.hash() == replace(hand, manifest={}).hash()


def test_data_without_an_event_have_a_fingerprint(hand):
    none = hand.parts["train"].take(np.zeros(3, bool))
    assert replace(hand, parts=dict.fromkeys(PARTS, none)).hash() != hand.hash()
