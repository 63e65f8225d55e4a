"""The whole life of a recommender with our own strategies and inferred click vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trimodal import Catalog, Embedding, Provenance, Recommender
from trimodal.bundle import read_manifest, rollback
from trimodal.embeddings import State
from trimodal.errors import BundleError, DataError, ParameterError
from trimodal.evaluation.clustering import complete_products
from trimodal.ids import ProductIds
from trimodal.results import SimilarProducts
from trimodal.shaping import Shaping

THINGS = ("shoe", "lamp", "cup", "chair")
COLORS = ("red", "green", "blue", "white", "black", "yellow")
NAMES = [f"{color}-{thing}" for thing in THINGS for color in COLORS]
CLICKED = [n for n in NAMES if not n.startswith("yellow")]  # nobody has clicked a yellow thing
SMALL = {"dimension": 8, "epochs": 10, "sample": 0.0}
STRATEGIES = ["adaptive", "covisit"]


@pytest.fixture(scope="module")
def catalog():
    return Catalog.from_records(
        {"product_id": n, "title": n.replace("-", " "), "category": n.split("-")[1]} for n in NAMES
    )


@pytest.fixture(scope="module")
def logs(make_log):
    """Two logs: sessions stay with one thing; a product of the log is not in the catalogue."""

    def make(seed):
        rng = np.random.default_rng(seed)
        ids = ProductIds([*CLICKED, "gone"])
        sessions = []
        for n in range(300):
            of_thing = [i for i, name in enumerate(CLICKED) if name.endswith(THINGS[n % 4])]
            sessions.append([*rng.permutation(of_thing)[:3].tolist(), *([len(CLICKED)] if n % 5 == 0 else [])])
        return make_log(sessions, ids)

    return make(0), make(1)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(5)
    vectors = 3 * np.eye(6, 7)[np.arange(24) % 6] + rng.normal(size=(24, 7))
    return {"image": Embedding.join("image", ProductIds(NAMES), NAMES, vectors.astype(np.float32), Provenance("own"))}


def fitted(catalog, log, fusion, **settings):
    settings = {"click_parameters": SMALL, "infer_clicks": True, **settings}
    return Recommender(fusion=fusion, modalities=["text", "click"], **settings).fit(catalog, log)


def lists(recommender: Recommender, k: int = 8) -> dict[str, SimilarProducts]:
    return {n: recommender.similar(n, k) for n in recommender.catalog_.ids}


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_the_whole_life(catalog, logs, fusion, tmp_path):
    first, second = logs
    recommender = fitted(catalog, first, fusion)
    state = recommender.embeddings_["click"].state
    assert [State(s).label for s in state] == ["known" if n in CLICKED else "inferred" for n in NAMES]
    for name, result in lists(recommender).items():
        assert name not in [n.product_id for n in result]
        for n in result:
            assert sum(n.shares.values()) == pytest.approx(1 - n.distance, abs=1e-5)
    near = [n.product_id for n in recommender.similar("yellow-shoe", 5)]
    assert all("shoe" in n for n in near)
    assert recommender.similar_to(title="a red shoe", k=1).neighbors[0].product_id == "red-shoe"
    assert recommender.write_neighbors(tmp_path / "all.parquet", 4) == 4 * 24

    before = lists(recommender)
    recommender.save(tmp_path / "b")
    loaded = Recommender.load(tmp_path / "b")
    assert lists(loaded) == before
    assert loaded.similar_to(title="a cup", k=24) == recommender.similar_to(title="a cup", k=24)

    loaded.add([{"product_id": "pink-lamp", "title": "pink lamp"}, {"product_id": "red-cup", "title": "red mug"}])
    assert loaded.similar("pink-lamp", 1).neighbors[0].state == {"text": "known", "click": "known"}
    assert loaded.embeddings_["click"].vector("pink-lamp") is None
    assert loaded.embeddings_["click"].vector("red-cup") is not None
    loaded.remove(["black-chair"])
    assert all("black-chair" not in [n.product_id for n in found] for found in lists(loaded).values())
    changed = lists(loaded)
    loaded.save(tmp_path / "b")
    again = Recommender.load(tmp_path / "b")
    assert lists(again) == changed

    bands = dict(again.fusion_.bands_)
    again.refresh(second)
    assert again.fusion_.bands_["text"] == bands["text"]
    assert again.fusion_.bands_["click"] != bands["click"]
    assert again.embeddings_["click"].state[again.catalog_.ids.positions(["pink-lamp"])[0]] == State.INFERRED
    place = second.ids.find(again.catalog_.ids)
    wanted = np.where(place >= 0, second.counts()[place], 0)
    np.testing.assert_array_equal(again.fusion_.evidence_.clicks, wanted)
    fresh = fitted(again.catalog_, second, fusion)  # its text band is of another catalogue, all else is the same
    assert (again.fusion_.evidence_.together != fresh.fusion_.evidence_.together).nnz == 0
    # titles that are encoded in other batches differ in the last digits, and so do vectors inferred from them
    np.testing.assert_allclose(again.embeddings_["click"].vectors, fresh.embeddings_["click"].vectors, atol=1e-3)

    refreshed = lists(again)
    again.save(tmp_path / "b")
    assert lists(Recommender.load(tmp_path / "b")) == refreshed
    rollback(tmp_path / "b")
    assert lists(Recommender.load(tmp_path / "b")) == changed


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_twice_the_same(catalog, logs, fusion):
    assert lists(fitted(catalog, logs[0], fusion)) == lists(fitted(catalog, logs[0], fusion))


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_a_filter_is_the_plain_ranking_cut(catalog, logs, fusion):
    recommender = fitted(catalog, logs[0], fusion)
    for name in ("red-shoe", "yellow-cup"):
        thing = name.split("-")[1]
        wanted = [n for n in recommender.similar(name, 24) if n.product_id.endswith(thing)][:4]
        assert list(recommender.similar(name, 4, shaping=Shaping(same_category=True))) == wanted
        diverse = recommender.similar(name, 6, shaping=Shaping(diversity=0.5))
        assert len({n.product_id for n in diverse}) == 6


def test_co_visits_reach_a_product_without_a_vector(catalog, make_log):
    # min_count leaves the two rare ones without a click vector; they are known from one session alone.
    ids = ProductIds(NAMES)
    rng = np.random.default_rng(0)
    sessions = [rng.permutation(6)[:3].tolist() for _ in range(100)] + [[20, 22]]
    vectors = {"text": Embedding.join("text", ids, NAMES[:6], rng.normal(size=(6, 4)).astype("f4"), Provenance("own"))}
    recommender = Recommender(
        fusion="covisit", modalities=["text", "click"], click_parameters={**SMALL, "min_count": 5}
    ).fit(catalog, make_log(sessions, ids), vectors=vectors)
    first, *others = recommender.similar(NAMES[20], 24)
    assert first.product_id == NAMES[22]
    assert first.state == {"text": "missing", "click": "missing"}
    assert first.shares["click"] == pytest.approx(1 - first.distance, abs=1e-6)
    assert first.distance < 0.99
    # products that were seen with others, not with it, are like random ones
    assert [(n.product_id, n.distance) for n in others] == [(name, 1.0) for name in NAMES[:6]]
    assert recommender.without_modality() == [n for i, n in enumerate(NAMES) if i >= 6 and i not in (20, 22)]


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_ready_made_click_vectors(catalog, logs, pictures, fusion, tmp_path):
    vectors = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    own = Embedding.join("click", ProductIds(NAMES), NAMES[:12], vectors, Provenance("own"))
    given = {"click": own, **pictures}
    recommender = Recommender(fusion=fusion, modalities=["image", "click"], infer_clicks=True)
    recommender.fit(catalog, logs[0], vectors=given)
    assert (recommender.embeddings_["click"].state[12:] == State.INFERRED).all()
    before = lists(recommender)
    recommender.save(tmp_path / "b")
    assert lists(Recommender.load(tmp_path / "b")) == before
    with pytest.raises(ParameterError, match="ready-made"):
        recommender.refresh(logs[1])
    if fusion == "adaptive":  # every known vector is trusted alike where nobody counts clicks
        alone = Recommender(fusion=fusion, modalities=["image", "click"]).fit(catalog, vectors=given)
        assert set(alone.fusion_.points_.trust[:, 1]) == {0.0, 1.0}


class _NeverEncodes(Recommender):
    """Fails where encoding would begin, which may take hours."""

    def _shelf(self):
        shelf = super()._shelf()
        shelf.encode = lambda *args, **kwargs: pytest.fail("it was encoded before it was checked")
        return shelf


@pytest.mark.parametrize(
    ("settings", "clicks", "message"),
    [
        ({"fusion": "covisit"}, False, "needs the click log itself"),
        ({"fusion": "covisit", "modalities": ["text"]}, True, "needs the modality 'click'"),
        ({"fusion": "covisit", "weights": {"click": 0}}, True, "needs the modality 'click'"),
        ({"fusion": "covisit", "fusion_parameters": {"covisit": 2}}, True, "'covisit' is no parameter.*covisits"),
        ({"fusion": "intermediate", "fusion_parameters": {"covisits": 2}}, True, "'covisits' is no parameter"),
        ({"fusion": "click-text", "fusion_parameters": {"covisits": 2}}, True, "it has: none"),
        ({"fusion": "covisit", "fusion_parameters": {"covisits": "many"}}, True, "must be a number"),
        ({"fusion": "covisit", "fusion_parameters": {"prior": float("nan")}}, True, "prior == nan"),
        ({"fusion": "adaptive", "fusion_parameters": {"weights": {}}}, True, "of the recommender itself"),
        ({"fusion": "adaptive", "infer_clicks": True, "modalities": ["text"]}, True, "inferring clicks"),
        ({"fusion": "click-text", "infer_clicks": True}, True, "inferring clicks"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_encoded(catalog, logs, settings, clicks, message):
    ids = ProductIds(NAMES)
    given = {"click": Embedding.join("click", ids, NAMES, np.ones((24, 3), np.float32), Provenance("own"))}
    with pytest.raises(ParameterError, match=message):
        _NeverEncodes(**settings).fit(catalog, logs[0] if clicks else None, vectors=None if clicks else given)


def test_too_few_clicks_to_infer_from(catalog, make_log):
    log = make_log([[0, 1, 2], [2, 1, 0]] * 20, ProductIds(NAMES))
    recommender = fitted(catalog, log, "adaptive")
    assert (recommender.embeddings_["click"].state > 0).sum() == 3
    assert not (recommender.embeddings_["click"].state == State.INFERRED).any()


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_a_log_that_knows_none_of_the_products(catalog, logs, pictures, fusion, make_log):
    other = make_log([[0, 1], [1, 0]] * 9, ProductIds(["a", "b"]))
    with pytest.raises(DataError, match="not one of its ids"):
        fitted(catalog, other, fusion)
    given = {"click": Embedding.join("click", ProductIds(NAMES), NAMES, np.eye(24, 9) + 1, Provenance("own"))}
    recommender = Recommender(fusion=fusion, modalities=["image", "click"])
    recommender.fit(catalog, other, vectors={**given, **pictures})
    assert all(len(found) == 5 for found in lists(recommender, 5).values())
    assert recommender.click_counts_.sum() == 0


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_settings_are_json_and_reach_the_bundle(catalog, logs, fusion, tmp_path):
    options = {"shrinkage": np.float32(4), "prior": np.float64(0.25)}
    recommender = fitted(catalog, logs[0], fusion, fusion_parameters=options, weights={"click": np.float32(2)})
    version = recommender.save(tmp_path / "b")
    note = read_manifest(version)
    assert note["fusion"]["settings"]["shrinkage"] == 4
    assert note["settings"]["fusion_parameters"] == {"shrinkage": 4, "prior": 0.25}
    assert note["modalities"]["click"]["inferred"] == 4
    loaded = Recommender.load(tmp_path / "b")
    assert (
        loaded.fusion_.settings()
        == recommender.fusion_.settings()
        == json.loads(json.dumps(note["fusion"]["settings"]))
    )


@pytest.mark.parametrize("fusion", STRATEGIES)
def test_one_product(fusion, make_log):
    one = Catalog.from_records([{"product_id": "red-shoe", "title": "red shoe"}])
    log = make_log([[0, 1], [1, 0]] * 9, ProductIds(["red-shoe", "gone"]))
    recommender = Recommender(fusion=fusion, modalities=["text", "click"], click_parameters=SMALL).fit(one, log)
    assert len(recommender.similar("red-shoe", 5)) == 0
    assert len(recommender.similar_to(title="a shoe", k=5)) == 1


def test_a_bundle_without_its_table_is_damaged(catalog, logs, tmp_path):
    from safetensors.numpy import load_file, save_file

    version = fitted(catalog, logs[0], "covisit").save(tmp_path / "b")
    file = version / "arrays.safetensors"
    arrays = load_file(file)
    file.chmod(0o644)
    # the same size and, as for one answer, no checksum: what is read must still be looked at
    moved = {("evidence.glicks" if key == "evidence.clicks" else key): a for key, a in arrays.items()}
    save_file(moved, file)
    with pytest.raises(BundleError, match="click log"):
        Recommender.load(tmp_path / "b", verify=False)


def test_inferred_vectors_are_not_judged_as_clicks(catalog, logs):
    recommender = fitted(catalog, logs[0], "adaptive")
    _, complete = complete_products(recommender.embeddings_, catalog.frame["category"].to_list())
    assert [NAMES[i] for i in complete] == CLICKED
