"""The main job on real public data, where they are: TRIMODAL_DATA, or a folder `shared/data` beside the project."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from trimodal import Recommender, check_data, read_data
from trimodal.evaluation.clustering import clustering_table

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("TRIMODAL_DATA", ROOT.parent / "shared" / "data"))

_spec = importlib.util.spec_from_file_location("real_data", ROOT / "benchmarks" / "real_data.py")
real_data = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real_data)

pytestmark = pytest.mark.slow


def converted(name, folder):
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} in {DATA}")
    real_data.SETS[name](DATA / name, folder)
    return read_data(folder)


def test_flipkart_shows_the_papers_order_of_strategies(tmp_path):
    data = converted("flipkart_1050", tmp_path)
    assert (len(data.catalog), data.clicks) == (1050, None)
    recommender = Recommender().fit(data.catalog)
    assert len(recommender.embeddings_["image"].vectors) == 1047
    table = clustering_table(recommender.embeddings_, data.catalog.categories)
    ari = {(row.modalities, row.strategy): row.ari for row in table.rows}
    both = ("text", "image")
    assert ari[both, "intermediate"] > 0.62
    assert ari[both, "intermediate"] > ari[both, "early"]
    assert ari[both, "intermediate"] > ari[both, "late"]
    assert ari[("text",), "intermediate"] > 0.58
    assert ari[("image",), "intermediate"] > 0.48


def test_ikea_has_all_three_modalities(tmp_path):
    data = converted("ikea_rooms", tmp_path)
    report = check_data(data).to_dict()
    assert (report["products"], report["sessions"]) == (2191, 570)
    assert report["coverage"]["image"] == pytest.approx(2187 / 2191)
    recommender = Recommender(click_parameters={"min_count": 1, "epochs": 20}).fit(data.catalog, data.clicks)
    assert set(recommender.embeddings_) == {"text", "image", "click"}
    assert len(recommender.similar(data.catalog.ids[0], 15)) == 15


def test_diginetica_sessions_are_as_its_readme_counts_them(tmp_path):
    data = converted("diginetica_sessions", tmp_path)
    assert len(data.catalog) == 43_097
    c = data.clicks.cleaning
    assert c.clicks + c.repeats + c.too_short + c.too_long == 906_140
    recommender = Recommender(click_parameters={"dimension": 64, "epochs": 2}).fit(data.catalog, data.clicks)
    # Adjacent clicks share their category in 87 %; neighbours by clicks should mostly do so too.
    category = dict(zip(data.catalog.ids, data.catalog.categories, strict=True))
    hot = [data.catalog.ids[i] for i in recommender.click_counts_.argsort()[::-1][:200]]
    near = recommender.fusion_.neighbors(hot, 5).ids
    same = [category[a] == category[b] for a, row in zip(hot, near, strict=True) for b in row if category[a]]
    assert sum(same) / len(same) > 0.7
