"""The whole main job as a library user meets it: fit, similar, similar_to, add, remove, refresh, save, load."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trimodal import Catalog, ClickLog, Embedding, Provenance, Recommender, read_data
from trimodal.errors import DataError, EncoderError, NotFittedError, ParameterError, UnknownProductError
from trimodal.ids import ProductIds

SMALL = {"dimension": 16, "epochs": 20, "sample": 0.0}


@pytest.fixture
def data(shop):
    return read_data(shop)


@pytest.fixture
def fitted(data):
    return Recommender(click_parameters=SMALL).fit(data.catalog, data.clicks)


def test_similar_finds_the_same_thing_and_explains(fitted):
    result = fitted.similar("red-shoe", 8)
    assert len(result) == 8
    assert result.neighbors[0].product_id in ("green-shoe", "blue-shoe")
    assert {n.product_id for n in result.neighbors[-2:]} <= {
        "green-lamp",
        "blue-lamp",
        "green-cup",
        "blue-cup",
    }
    distances = [n.distance for n in result]
    assert distances == sorted(distances)
    for n in result:
        assert set(n.shares) == {"text", "image", "click"}
        assert sum(n.shares.values()) == pytest.approx(1 - n.distance, abs=1e-5)
        assert set(n.state.values()) == {"known"}
    assert result.to_dict()["neighbors"][0].keys() == {"product_id", "distance", "shares", "state"}
    assert "green-shoe" in str(result)


@pytest.mark.parametrize("fusion", ["early", "intermediate", "late", "click-text"])
def test_every_strategy_serves_every_product(data, fusion):
    recommender = Recommender(fusion=fusion, click_parameters=SMALL).fit(data.catalog, data.clicks)
    for product_id in data.catalog.ids:
        found = [n.product_id for n in recommender.similar(product_id, 5)]
        assert len(found) == 5
        assert product_id not in found


def test_similar_to_a_product_that_is_not_there(fitted, shop):
    assert "shoe" in fitted.similar_to(title="a red shoe", k=1).neighbors[0].product_id
    by_picture = fitted.similar_to(image=shop / "images" / "blue-cup.png", k=3)
    assert all("blue" in n.product_id for n in by_picture)
    both = fitted.similar_to(title="blue cup", image=str(shop / "images" / "blue-cup.png"), k=1)
    assert both.neighbors[0].product_id == "blue-cup"
    assert both.neighbors[0].distance == pytest.approx(0, abs=1e-6)
    click = fitted.embeddings_["click"].vector("red-lamp")
    assert fitted.similar_to(vectors={"click": click}, k=1).neighbors[0].product_id == "red-lamp"
    with pytest.raises(EncoderError, match="no such file"):
        fitted.similar_to(image="nope.png")
    with pytest.raises(ParameterError, match="a query needs a vector"):
        fitted.similar_to()


def test_a_new_product_has_neighbours_and_is_one_at_once(fitted, tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "new.png")
    fitted.add(Catalog.from_records([{"product_id": "new", "title": "red shoe", "image": "new.png"}], root=tmp_path))
    found = fitted.similar("new", 3)
    assert found.neighbors[0].product_id == "red-shoe"
    assert found.neighbors[0].distance == pytest.approx(0, abs=1e-6)
    assert found.neighbors[0].shares["click"] == 0
    assert "new" in [n.product_id for n in fitted.similar("red-shoe", 2)]
    assert fitted.similar("red-shoe", 1).neighbors[0].state == {
        "text": "known",
        "image": "known",
        "click": "missing",
    }
    assert fitted.click_counts_.tolist() == [80] * 9 + [0]


def test_adding_again_replaces_and_keeps_clicks(fitted):
    before = fitted.embeddings_["click"].vector("red-shoe").copy()
    fitted.add([{"product_id": "red-shoe", "title": "green lamp"}])
    assert len(fitted.catalog_) == 9
    np.testing.assert_array_equal(fitted.embeddings_["click"].vector("red-shoe"), before)
    assert fitted.embeddings_["image"].vector("red-shoe") is None
    np.testing.assert_allclose(
        fitted.embeddings_["text"].vector("red-shoe"),
        fitted.embeddings_["text"].vector("green-lamp"),
        atol=1e-5,
    )


def test_removed_products_are_nobodys_neighbours(fitted):
    fitted.remove(["green-shoe"])
    with pytest.raises(UnknownProductError):
        fitted.similar("green-shoe")
    for product_id in fitted.catalog_.ids:
        assert "green-shoe" not in [n.product_id for n in fitted.similar(product_id, 9)]
    with pytest.raises(UnknownProductError):
        fitted.remove(["red-shoe", "nope"])
    assert len(fitted.catalog_) == 8
    with pytest.raises(ParameterError, match="at least one"):
        fitted.remove(fitted.catalog_.ids)


@pytest.mark.parametrize("fusion", ["intermediate", "late"])
def test_refresh_equals_a_fit_on_the_new_clicks_and_touches_nothing_else(data, shop, fusion):
    first = Recommender(fusion=fusion, click_parameters=SMALL).fit(data.catalog, data.clicks)
    text, image = first.embeddings_["text"], first.embeddings_["image"]
    lines = (shop / "clicks.csv").read_text().splitlines()
    (shop / "clicks.csv").write_text("\n".join(lines[:400]) + "\n")
    clicks = ClickLog.read(shop / "clicks.csv", data.catalog.ids)
    first.refresh(clicks)
    assert first.embeddings_["text"] is text
    assert first.embeddings_["image"] is image
    again = Recommender(fusion=fusion, click_parameters=SMALL).fit(data.catalog, clicks)
    for product_id in data.catalog.ids:
        assert first.similar(product_id, 8) == again.similar(product_id, 8)


def test_a_broken_log_does_not_empty_the_clicks(fitted, shop):
    before = fitted.similar("red-shoe", 5)
    lines = (shop / "clicks.csv").read_text().splitlines()
    (shop / "clicks.csv").write_text("\n".join(lines[:19]) + "\n")
    clicks = ClickLog.read(shop / "clicks.csv", fitted.catalog_.ids)
    with pytest.raises(DataError, match="0 products a click vector, 9 had one; nothing was changed"):
        fitted.refresh(clicks)
    assert fitted.similar("red-shoe", 5) == before
    strangers = Catalog.from_records([{"product_id": "x", "title": "x"}, {"product_id": "y", "title": "y"}])
    (shop / "clicks.csv").write_text("session_id,product_id,timestamp\ns,x,1704103200\ns,y,1704103201\n")
    with pytest.raises(DataError, match="not one of its ids is in the catalogue"):
        fitted.refresh(ClickLog.read(shop / "clicks.csv", strangers.ids))


def test_refresh_after_add_takes_the_log_that_is_there(fitted, data):
    before = fitted.similar("red-shoe", 5)
    fitted.add([{"product_id": "new", "title": "yellow boat"}]).refresh(data.clicks)
    assert fitted.embeddings_["click"].vector("new") is None
    assert fitted.click_counts_.tolist() == [80] * 9 + [0]
    assert [n.distance for n in fitted.similar("red-shoe", 5)] == [n.distance for n in before]


def test_bundle_round_trip_and_rollback(fitted, tmp_path):
    bundle = tmp_path / "shop.bundle"
    fitted.save(bundle)
    back = Recommender.load(bundle)
    assert back.settings() == fitted.settings()
    for product_id in fitted.catalog_.ids:
        assert back.similar(product_id, 8) == fitted.similar(product_id, 8)
    assert back.similar_to(title="red shoe", k=3) == fitted.similar_to(title="red shoe", k=3)
    back.remove(["red-shoe"]).save(bundle)
    assert "red-shoe" not in Recommender.load(bundle).catalog_.ids


@pytest.mark.parametrize("fusion", ["early", "late", "click-text"])
def test_every_strategy_survives_the_bundle(data, tmp_path, fusion):
    fitted = Recommender(
        fusion=fusion, click_parameters=SMALL, weights={} if fusion == "click-text" else {"text": 2}
    ).fit(data.catalog, data.clicks)
    fitted.save(tmp_path / "b")
    back = Recommender.load(tmp_path / "b")
    for product_id in fitted.catalog_.ids:
        assert back.similar(product_id, 8) == fitted.similar(product_id, 8)


def test_refresh_of_a_bundle_links_what_has_not_changed(fitted, data, tmp_path):
    first = fitted.save(tmp_path / "b")
    loaded = Recommender.load(tmp_path / "b")
    second = loaded.refresh(data.clicks).save(tmp_path / "b")
    assert (second / "embeddings/text.parquet").samefile(first / "embeddings/text.parquet")
    assert not (second / "embeddings/click.parquet").samefile(first / "embeddings/click.parquet")


def test_vectors_of_the_users_own(data, tmp_path):
    ids = data.catalog.ids
    taste = Embedding.join("style", ids, list(ids)[:6], np.eye(6, dtype=np.float32), Provenance("hand"))
    recommender = Recommender(modalities=["text", "style"], weights={"style": 3}).fit(
        data.catalog, vectors={"style": taste}
    )
    assert recommender.similar("red-shoe", 1).neighbors[0].shares.keys() == {"text", "style"}
    recommender.save(tmp_path / "b")
    back = Recommender.load(tmp_path / "b")
    assert back.similar("red-shoe", 3) == recommender.similar("red-shoe", 3)
    with pytest.raises(ParameterError, match="unknown modality 'taste'"):
        Recommender(modalities=["taste"]).fit(data.catalog, vectors={"style": taste})
    with pytest.raises(ParameterError, match="modality name"):
        Recommender().fit(data.catalog, vectors={"../style": taste})
    ready = Recommender(modalities=["text"]).fit(data.catalog, vectors={"text": taste})
    with pytest.raises(ParameterError, match="ready-made"):
        ready.similar_to(title="x")


def test_all_neighbours_in_one_file(fitted, tmp_path):
    assert fitted.write_neighbors(tmp_path / "n.parquet", 4) == 36
    table = pl.read_parquet(tmp_path / "n.parquet")
    assert table.columns[:4] == ["product_id", "rank", "neighbor_id", "distance"]
    for product_id in fitted.catalog_.ids:
        rows = table.filter(pl.col("product_id") == product_id).sort("rank")
        wanted = fitted.similar(product_id, 4)
        assert rows["neighbor_id"].to_list() == [n.product_id for n in wanted]
        np.testing.assert_allclose(rows["distance"], [n.distance for n in wanted], atol=1e-6)
        np.testing.assert_allclose(rows["share_text"], [n.shares["text"] for n in wanted], atol=1e-6)
    assert pq.read_metadata(tmp_path / "n.parquet").num_rows == 36


def test_without_clicks_or_pictures(shop):
    (shop / "clicks.csv").unlink()
    data = read_data(shop)
    assert data.clicks is None
    recommender = Recommender().fit(data.catalog)
    assert set(recommender.embeddings_) == {"text", "image"}
    with pytest.raises(DataError, match="'click' was asked for"):
        Recommender(modalities=["click"]).fit(data.catalog)


def test_pictures_that_all_fail_are_an_error_that_helps(shop):
    for picture in (shop / "images").iterdir():
        picture.unlink()
    data = read_data(shop)
    with pytest.raises(DataError, match=r"not one image could be encoded \(9 failed\).*relative to the products file"):
        Recommender().fit(data.catalog, data.clicks)
    assert len(Recommender(modalities=["text"]).fit(data.catalog).similar("red-shoe", 3)) == 3


def test_one_broken_picture_costs_that_picture_only(shop):
    (shop / "images/red-shoe.png").write_bytes(b"not a picture")
    data = read_data(shop)
    recommender = Recommender(click_parameters=SMALL).fit(data.catalog, data.clicks)
    assert [f.product_id for f in recommender.runs_["image"].failures] == ["red-shoe"]
    result = recommender.similar("red-shoe", 2)
    assert {n.product_id for n in result} == {"green-shoe", "blue-shoe"}
    assert all(n.shares["image"] == 0 for n in result)


def test_another_encoder_than_the_bundles_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "b")
    back = Recommender.load(tmp_path / "b")
    object.__setattr__(back.embeddings_["text"].provenance, "revision", "another")
    with pytest.raises(EncoderError, match="cannot be compared"):
        back.similar_to(title="x")


def test_a_fit_that_fails_leaves_what_was_fitted(fitted, data):
    before = fitted.similar("red-shoe", 5)
    ghosts = Embedding.join("style", ProductIds(["x"]), ["x"], np.ones((1, 2), np.float32), Provenance("none"))
    with pytest.raises(DataError, match="for none of the products"):
        fitted.fit(data.catalog, data.clicks, vectors={"style": ghosts})
    assert fitted.similar("red-shoe", 5) == before


def test_settings_of_numpy_numbers_can_be_saved(data, tmp_path):
    recommender = Recommender(fusion="late", clusters=np.int64(3), weights={"text": np.float32(2)}, modalities=["text"])
    recommender.fit(data.catalog).save(tmp_path / "b")
    assert Recommender.load(tmp_path / "b").similar("red-cup", 3) == recommender.similar("red-cup", 3)


def test_a_damaged_file_is_not_carried_into_a_new_version(fitted, tmp_path):
    version = fitted.save(tmp_path / "b")
    loaded = Recommender.load(tmp_path / "b")
    file = version / "embeddings/text.parquet"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)
    loaded.save(tmp_path / "b")
    back = Recommender.load(tmp_path / "b")
    assert back.similar("red-shoe", 5) == fitted.similar("red-shoe", 5)


def test_ready_made_vectors_follow_their_products(data):
    ids = data.catalog.ids
    style = Embedding.join("style", ids, list(ids), np.eye(9, dtype=np.float32), Provenance("hand"))
    recommender = Recommender(modalities=["text", "style"]).fit(data.catalog, vectors={"style": style})
    recommender.add([{"product_id": "red-cup", "title": "a new title"}])
    assert recommender.embeddings_["style"].vector("red-cup") is not None
    ghosts = Embedding.join("style", ProductIds(["x"]), ["x"], np.ones((1, 9), np.float32), Provenance("none"))
    with pytest.raises(DataError, match="for none of these products"):
        recommender.add([{"product_id": "new", "title": "y"}], vectors={"style": ghosts})
    assert "new" not in recommender.catalog_.ids
    assert len(recommender.remove("red-cup").catalog_) == 8


def test_not_fitted():
    with pytest.raises(NotFittedError):
        Recommender().similar("a")
