"""Batches against a construction event by event from the data's own tables."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimodal.ctr.batches import Tables
from trimodal.ctr.data import CtrData, Events
from trimodal.ctr.features import ItemFeatures
from trimodal.errors import DataError
from trimodal.ids import ProductIds

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)


@pytest.fixture(scope="module")
def world():
    data, features = planted.planted()
    return data, features, Tables(data, features, max_history=5)


def known(data: CtrData) -> tuple[list[int], list[int]]:
    """Users and items of training, ascending: as event, or in what precedes one."""
    train, items = data.parts["train"], set()
    for user, item, seen in zip(train.user, train.item, train.seen, strict=True):
        items |= {int(item), *map(int, data.history[data.starts[user] :][:seen])}
    return sorted(set(map(int, train.user))), sorted(items)


def row(value: int, among: list[int]) -> int:
    """Row of an embedding: 0 for what is not among the known."""
    return among.index(value) + 1 if value in among else 0


def check(data: CtrData, features: ItemFeatures, tables: Tables, part: str, rows: list[int]) -> None:
    """A batch of these events holds what the data say of each of them, and each item once."""
    events, (users, items) = data.parts[part], known(data)
    batch = tables.batch(tables.place(events), torch.tensor(rows, dtype=torch.int64))
    seen = {int(data.category[item]) for item in items}
    clicks = []
    for event in rows:
        before = data.history[data.starts[events.user[event]] :][: events.seen[event]].tolist()
        clicks.append(before[max(len(before) - tables.max_history, 0) :])
    index = sorted({*(int(events.item[event]) for event in rows), *(item for clicked in clicks for item in clicked)})
    assert len(batch.items) == len(index)
    for place, item in enumerate(index):
        assert int(batch.items.id[place]) == row(item, items)
        category = int(data.category[item])
        assert int(batch.items.category[place]) == (category if category in seen else 0)
        for name, matrix in features.vectors.items():
            assert bool(batch.items.present[name][place]) == bool(features.present[name][item])
            np.testing.assert_array_equal(batch.items.features[name][place].numpy(), matrix[item])
    longest = max(1, *map(len, clicks)) if clicks else 1
    assert batch.history.shape == batch.mask.shape == (len(rows), longest)
    for place, (event, clicked) in enumerate(zip(rows, clicks, strict=True)):
        assert int(batch.user[place]) == row(int(events.user[event]), users)
        assert float(batch.label[place]) == events.label[event]
        assert index[int(batch.candidate[place])] == events.item[event]
        assert batch.mask[place].tolist() == [True] * len(clicked) + [False] * (longest - len(clicked))
        assert [index[i] for i in batch.history[place][: len(clicked)].tolist()] == clicked


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_batch_holds_what_the_data_say_of_each_event(part, world):
    data, features, tables = world
    check(data, features, tables, part, np.random.default_rng(1).permutation(len(data.parts[part]))[:60].tolist())
    check(data, features, tables, part, [3])
    check(data, features, tables, part, [3, 3, 3])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_data_give_the_batches_of_the_plain_construction(draw):
    users, items = draw.draw(st.integers(1, 4)), draw.draw(st.integers(1, 6))
    item = st.integers(0, items - 1)
    histories = [draw.draw(st.lists(item, max_size=5)) for _ in range(users)]
    starts = np.cumsum([0, *map(len, histories)])

    def events(n: int) -> Events:
        who = [draw.draw(st.integers(0, users - 1)) for _ in range(n)]
        seen = [draw.draw(st.integers(0, len(histories[u]))) for u in who]
        what, label = ([draw.draw(s) for _ in range(n)] for s in (item, st.integers(0, 1)))
        return Events(np.int32(who), np.int32(what), np.uint8(label), np.int32(seen))

    parts = {part: events(draw.draw(st.integers(1, 4))) for part in ("train", "valid", "test")}
    ids = ProductIds([f"p{i}" for i in range(items)])
    category = np.arange(items, dtype=np.int32) % 3
    history = np.array([i for h in histories for i in h], np.int32)
    data = CtrData(ids, tuple(f"u{u}" for u in range(users)), category, ("a", "b"), history, starts, parts, {})
    here = np.arange(items) % 2 == 0
    vectors = np.arange(2 * items, dtype=np.float32).reshape(items, 2) * here[:, None]
    features = ItemFeatures(ids, {"image": vectors}, {"image": here})
    tables = Tables(data, features, max_history=draw.draw(st.integers(1, 6)))
    for part, whole in parts.items():
        check(data, features, tables, part, draw.draw(st.permutations(range(len(whole)))))


def test_users_and_items_that_training_does_not_see_have_row_0(world):
    data, _, tables = world
    users, items = known(data)
    assert tables.user_row.tolist() == [row(u, users) for u in range(len(data.users))]
    assert tables.item_row.tolist() == [row(i, items) for i in range(len(data.items))]
    assert tables.user_row[-planted.UNSEEN :].tolist() == tables.item_row[-planted.UNSEEN :].tolist() == [0, 0]
    inputs = tables.inputs
    assert (inputs.users, inputs.items) == (len(users) + 1, len(items) + 1)
    assert (inputs.categories, inputs.modalities) == (4, {"image": 6, "text": 4})


def test_a_click_after_the_last_training_event_does_not_make_an_item_known():
    data, features = planted.planted()
    none = replace(data.parts["train"], seen=np.zeros(600, np.int32), item=np.zeros(600, np.int32))
    tables = Tables(replace(data, parts={**data.parts, "train": none}), features)
    assert tables.item_row.tolist() == [1] + [0] * 19


def test_histories_that_are_all_empty_have_one_place_that_is_masked(world):
    data, features, tables = world
    empty = np.flatnonzero(data.parts["train"].seen == 0)[:4].tolist()
    batch = tables.batch(tables.place(data.parts["train"]), torch.tensor(empty))
    assert batch.history.shape == (4, 1)
    assert not batch.mask.any()
    check(data, features, tables, "train", empty)
    nobody = replace(data, history=np.empty(0, np.int32), starts=np.zeros(len(data.starts), np.int64))
    parts = {name: replace(part, seen=np.zeros_like(part.seen)) for name, part in data.parts.items()}
    nobody = replace(nobody, parts=parts)
    check(nobody, features, Tables(nobody, features), "valid", [0, 5, 9])


def test_no_events_make_an_empty_batch(world):
    data, _, tables = world
    batch = tables.batch(tables.place(data.parts["train"]), torch.empty(0, dtype=torch.int64))
    assert len(batch.items) == len(batch.label) == 0
    assert batch.mask.shape == (0, 1)


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("size", [1, 64, 600, 1000])
def test_an_epoch_holds_every_event_once(seed, size, world):
    data, _, tables = world
    batches = list(tables.place(data.parts["train"]).epoch(size, seed=seed))
    assert [len(rows) for rows in batches[:-1]] == [size] * (len(batches) - 1)
    order = torch.cat(batches).tolist()
    assert sorted(order) == list(range(600))
    assert (order == list(range(600))) == (seed is None)


def test_an_epoch_has_the_order_of_its_seed_whatever_was_drawn_before(world):
    data, _, tables = world
    placed = tables.place(data.parts["train"])
    first = torch.cat(list(placed.epoch(50, seed=3)))
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    assert torch.equal(torch.cat(list(placed.epoch(70, seed=3))), first)
    assert not torch.equal(torch.cat(list(placed.epoch(50, seed=4))), first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_other_features_take_the_place_of_the_first_and_all_else_is_shared(world):
    data, features, tables = world
    masked = features.masked("image", 0.5, seed=1)
    other = tables.with_features(masked)
    rows = list(range(40))
    check(data, masked, other, "train", rows)
    check(data, features, tables, "train", rows)
    assert other.history is tables.history
    assert int(other.present["image"].sum()) < int(tables.present["image"].sum())


def test_features_of_other_items_or_in_another_order_are_refused(world):
    data, features, tables = world
    turned = replace(features, ids=ProductIds(list(data.items)[::-1]))
    for make in (lambda wrong: Tables(data, wrong), tables.with_features):
        with pytest.raises(DataError, match="join them"):
            make(turned)
        with pytest.raises(DataError, match="19 items"):
            make(replace(features, ids=ProductIds(list(data.items)[:-1])))
