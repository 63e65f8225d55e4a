"""A ranker gives what the model gave, without the training data, and refuses what is not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from trimodal.ctr.models import MODELS
from trimodal.ctr.prediction import encode_all, predict
from trimodal.ctr.ranker import Ranker
from trimodal.errors import DataError, ParameterError, UnknownProductError

FILES = ("model.safetensors", "items.safetensors", "ids.json", "manifest.json")


@pytest.fixture
def gmmf(small, tmp_path):
    return small.ranker(tmp_path / "ranker", "gmmf")


def clicks(small, event, part="test"):
    """Visitor, candidate and history of an event, by their ids."""
    data, events = small.data, small.data.parts[part]
    user = events.user[event]
    history = data.history[data.starts[user] :][: events.seen[event]]
    return data.users[user], data.items[int(events.item[event])], [data.items[int(i)] for i in history]


@pytest.mark.parametrize("name", [*MODELS, "item-only"])
def test_it_scores_events_as_the_model_did_with_the_training_data(small, tmp_path, name):
    model = small.model(name)
    logits = predict(model, small.tables, small.tables.place(small.data.parts["test"]))
    ranker = Ranker.load(small.write(tmp_path / "ranker", model))
    for event in range(0, len(logits), 7):
        visitor, candidate, history = clicks(small, event)
        chance = ranker.score([candidate], history, visitor=visitor)
        np.testing.assert_allclose(chance, 1 / (1 + np.exp(-logits[event])), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", list(MODELS))
def test_writing_and_loading_changes_no_bit(small, tmp_path, name):
    model = small.model(name)
    encoded = encode_all(model, small.tables)
    ids = small.data.items
    candidate, history = torch.arange(len(ids)), torch.tensor([[3, 1, 4, 1, 5]])
    user = torch.full((len(ids),), 2)
    with torch.inference_mode():
        logits = model.score(encoded, user, candidate, history, torch.ones_like(history, dtype=torch.bool))
    ranker = Ranker.load(small.write(tmp_path / "ranker", model))
    row_2 = small.data.users[int((small.tables.user_row == 2).nonzero()[0, 0])]
    scores = ranker.score(list(ids), [ids[i] for i in (3, 1, 4, 1, 5)], visitor=row_2)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, logits.sigmoid().numpy())


def test_a_fresh_process_with_nothing_but_the_folder_gives_the_same_bits(small, tmp_path):
    ranker = small.ranker(tmp_path / "ranker", "gmmf")
    moved = shutil.move(tmp_path / "ranker", tmp_path / "elsewhere")
    visitor, _, history = clicks(small, 0)
    script = (
        "import json, sys; from trimodal.ctr.ranker import Ranker; folder, visitor, history = sys.argv[1:];"
        "ranker = Ranker.load(folder);"
        "print(ranker.score(list(ranker.ids), json.loads(history), visitor=visitor).tobytes().hex())"
    )
    run = [sys.executable, "-c", script, str(moved), visitor, json.dumps(history)]
    there = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    here = ranker.score(list(ranker.ids), history, visitor=visitor)
    assert np.unique(here).size > 10
    np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(there), np.float32), here)


def test_loading_draws_nothing_from_the_random_generator(small, tmp_path):
    small.write(tmp_path / "ranker", small.model("din"))
    before = torch.get_rng_state()
    Ranker.load(tmp_path / "ranker")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_manifest_says_what_it_is_and_where_it_comes_from(small, tmp_path):
    folder = small.write(tmp_path / "ranker", small.model("din"), metrics={"test": {"auc_user": 0.75}})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["format"], manifest["model"]) == (1, "din")
    assert manifest["data"] == {"recipe": "temporal", "fingerprint": small.data.fingerprint}
    assert manifest["metrics"] == {"test": {"auc_user": 0.75}}
    image = manifest["features"]["image"]
    assert image["encoder"] == "simulated taste"
    raw = small.market.vectors["image"].vectors
    assert image["scale"] == pytest.approx(np.sqrt(np.mean(raw.astype(np.float64) ** 2)))
    assert set(manifest["files"]) == set(FILES) - {"manifest.json"}


# Damage


@pytest.mark.parametrize("name", FILES[:3])
def test_a_changed_file_is_named(small, tmp_path, name):
    folder = small.write(tmp_path / "ranker", small.model("fm"))
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        Ranker.load(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"damaged ranker .*{name}"):
        Ranker.load(folder)


def test_a_manifest_that_is_missing_cut_short_or_not_ours_is_refused(small, tmp_path):
    folder = small.write(tmp_path / "ranker", small.model("fm"))
    path, text = folder / "manifest.json", (folder / "manifest.json").read_text()
    for content, message in (
        (text[: len(text) // 2], "cannot be read"),
        ("{}", "holds no ranker"),
        (text.replace('"format": 1', '"format": 99'), "ranker format 99.*reads format 1"),
        (text.replace('"model": "fm"', '"model": "mf"'), "cannot be loaded.*'mf'"),
        (text.replace('"model": "fm"', '"model": "din"'), "cannot be loaded"),
        (text.replace('"items": 57', '"items": 58', 1), "cannot be loaded"),
    ):
        path.write_text(content)
        assert content != text
        with pytest.raises(DataError, match=message):
            Ranker.load(folder)
    path.unlink()
    with pytest.raises(DataError, match="holds no ranker"):
        Ranker.load(folder)
    with pytest.raises(DataError, match="holds no ranker"):
        Ranker.load(tmp_path / "nowhere")


# Writing


def test_a_ranker_is_replaced_whole_and_nothing_is_left_beside_it(small, tmp_path):
    ids = list(small.data.items)
    first = small.ranker(tmp_path / "ranker", "din")
    second = small.ranker(tmp_path / "ranker", "lmf")
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]
    assert (first.model.name, second.model.name) == ("din", "lmf")
    assert np.isfinite(first.score(ids)).all()  # what was loaded before lives on


@pytest.mark.parametrize("options", [{}, {"dimension": 8}, {"no such": 1}])
def test_options_that_are_not_the_models_are_refused_and_the_old_ranker_stays(small, tmp_path, options):
    folder = small.write(tmp_path / "ranker", small.model("fm"))
    model = small.model("gmmf", pooling="paper")  # its parameters have the shapes of the default's
    with pytest.raises(ParameterError, match="options =="):
        small.write(folder, model, options=options)
    assert Ranker.load(folder).model.name == "fm"
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]


def test_a_folder_that_holds_something_else_is_not_touched(small, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "manifest.json").write_text("{}")
    (tmp_path / "photos" / "cat.png").write_text("meow")
    with pytest.raises(DataError, match="is not a ranker"):
        small.write(tmp_path / "photos", small.model("fm"))
    assert (tmp_path / "photos" / "cat.png").read_text() == "meow"
    (tmp_path / "empty").mkdir()
    assert Ranker.load(small.write(tmp_path / "empty", small.model("fm"))).model.name == "fm"


# Visitors and histories


@pytest.mark.parametrize("name", list(MODELS))
def test_visitors_that_training_did_not_see_are_one(small, tmp_path, name):
    ranker = small.ranker(tmp_path / "ranker", name)
    ids = list(small.data.items)
    nobody = ranker.score(ids, ids[:3])
    late = small.data.users[-1]  # in the data, not in training
    for visitor in ("nobody", "", late):
        assert not ranker.knows_visitor(visitor)
        np.testing.assert_array_equal(ranker.score(ids, ids[:3], visitor=visitor), nobody)
    known = small.data.users[0]
    assert ranker.knows_visitor(known)
    assert not np.allclose(ranker.score(ids, ids[:3], visitor=known), nobody)


def test_unknown_products_of_a_history_are_skipped_and_counted(gmmf):
    ids = list(gmmf.ids)
    expected = gmmf.score(ids, ids[:3])
    np.testing.assert_array_equal(gmmf.score(ids, ["gone", ids[0], "gone", ids[1], ids[2], "new"]), expected)
    assert gmmf.skipped == {"history": 3, "candidates": 0}
    np.testing.assert_array_equal(gmmf.score(ids, ["gone"]), gmmf.score(ids))


def test_the_latest_clicks_count_as_many_as_in_training(gmmf):
    ids = list(gmmf.ids)
    long = ids[:20]
    np.testing.assert_array_equal(gmmf.score(ids, long), gmmf.score(ids, long[-6:]))
    assert not np.allclose(gmmf.score(ids, long), gmmf.score(ids, long[-5:]))
    np.testing.assert_array_equal(gmmf.score(ids, [*long, "gone"]), gmmf.score(ids, long))


# Candidates


def test_unknown_candidates_are_an_error_or_skipped(gmmf):
    ids = [*list(gmmf.ids)[:2], "x1", "x2", "x3", "x4"]
    with pytest.raises(UnknownProductError, match=r"'x1', 'x2', 'x3' and 1 more is not among the 60"):
        gmmf.score(ids)
    scores = gmmf.score(ids, unknown="skip")
    assert np.isnan(scores).tolist() == [False, False, True, True, True, True]
    np.testing.assert_array_equal(scores[:2], gmmf.score(ids[:2]))
    ranking = gmmf.rank(ids, unknown="skip")
    assert set(ranking.products) == set(ids[:2])
    assert ranking.skipped == {"history": 0, "candidates": 4}
    assert "4 unknown in the candidates" in str(ranking)
    with pytest.raises(ParameterError, match="unknown =="):
        gmmf.score(ids, unknown="ignore")
    assert gmmf.score([]).shape == (0,)
    assert gmmf.score(["x1"], unknown="skip").shape == (1,)


def test_a_ranking_is_best_first_with_ties_as_given(gmmf):
    ids = list(gmmf.ids)
    twice = [ids[5], *ids, ids[5]]
    ranking = gmmf.rank(twice, ids[:4])
    scores = gmmf.score(twice, ids[:4])
    order = sorted(range(len(twice)), key=lambda i: (-scores[i], i))
    assert list(ranking) == [(twice[i], float(scores[i])) for i in order]
    assert list(gmmf.rank(twice, ids[:4], k=5)) == list(ranking)[:5]
    best = {"product_id": twice[order[0]], "probability": float(scores.max())}
    assert ranking.to_dict()["ranked"][0] == best
    assert str(ranking).splitlines()[1].split()[1] == ranking.products[0]


@pytest.mark.parametrize("name", list(MODELS))
def test_the_number_of_candidates_changes_no_score(small, tmp_path, name):
    ranker = small.ranker(tmp_path / "ranker", name)
    ids = list(ranker.ids)
    many = ids * 40  # more than are scored at once
    scores = ranker.score(many, ids[:3]).reshape(40, -1)
    np.testing.assert_allclose(scores, np.tile(ranker.score(ids, ids[:3]), (40, 1)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ranker.score([ids[7]], ids[:3])[0], scores[0, 7], rtol=1e-5, atol=1e-7)


# New items


@pytest.mark.parametrize("name", list(MODELS))
def test_a_new_item_scores_as_one_that_the_data_held_and_training_did_not_see(small, tmp_path, name):
    ranker = small.ranker(tmp_path / "ranker", name)
    unseen = ~small.data.trained()[1] & np.all(list(small.features.present.values()), axis=0)
    place = int(np.flatnonzero(unseen)[0])
    twin = ranker.ids[place]
    vectors = {m: e.vector(twin) for m, e in small.market.vectors.items()}
    category = small.data.categories[small.data.category[place] - 1]
    ranker.add("new", vectors, category=category)
    assert "new" in ranker
    assert len(ranker) == len(ranker.ids) + 1
    others = list(ranker.ids)[:3]
    assert_near = np.testing.assert_allclose
    assert_near(ranker.score(["new"], others), ranker.score([twin], others), rtol=1e-5, atol=1e-7)
    assert_near(ranker.score(others, ["new", *others]), ranker.score(others, [twin, *others]), rtol=1e-5, atol=1e-7)
    if name not in ("lr", "fm"):
        ranker.add("other", {"text": -vectors["text"]})
        assert abs(ranker.score(["other"], others) - ranker.score(["new"], others)) > 1e-4


def test_a_new_item_may_come_again_with_other_vectors(gmmf, small):
    vector = small.market.vectors["text"].vectors[0]
    gmmf.add("new", {"text": vector})
    first = gmmf.score(["new"], list(gmmf.ids)[:2])
    gmmf.add("another")
    gmmf.add("new", {"text": -vector})
    assert len(gmmf) == len(gmmf.ids) + 2
    assert gmmf.score(["new"], list(gmmf.ids)[:2]) != first
    gmmf.add("new", {"text": vector})
    np.testing.assert_array_equal(gmmf.score(["new"], list(gmmf.ids)[:2]), first)


def test_new_items_that_cannot_be_are_refused(gmmf):
    for arguments, message in (
        ((gmmf.ids[0],), "cannot be added"),
        (("new", {"sound": [1.0]}), "'sound' is not one.*image, text"),
        (("new", {"text": [1.0, 2.0]}), "has 2 numbers, must have 24"),
        (("new", {"text": np.zeros(24)}), "not all 0"),
        (("new", {"text": np.full(24, np.nan)}), "finite"),
        (("",), "non-empty"),
    ):
        with pytest.raises(ParameterError, match=message):
            gmmf.add(*arguments)
    assert len(gmmf) == len(gmmf.ids)
