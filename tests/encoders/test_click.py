"""Prod2Vec: what is clicked together is near, what is rarely clicked is missing, the same seed gives the same bits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from trimodal import read_data
from trimodal.encoders.click import Prod2Vec, Prod2VecSettings, click_settings
from trimodal.errors import ParameterError


def test_products_of_one_session_are_near(shop):
    data = read_data(shop)
    e = Prod2Vec(click_settings(dimension=16, epochs=20, sample=0.0)).fit(data.clicks)
    unit = e.vectors / np.linalg.norm(e.vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    thing = np.array([i // 3 for i in range(9)])
    same = thing[:, None] == thing[None]
    assert near[same & ~np.eye(9, dtype=bool)].min() > near[~same].max()
    assert e.provenance.settings["dimension"] == 16


def test_below_the_minimum_count_is_missing(shop):
    data = read_data(shop)
    clicks = data.clicks
    counts = clicks.counts()
    assert (counts == 80).all()
    rare = Prod2Vec(click_settings(dimension=8, min_count=81)).fit(clicks)
    assert rare.vectors.shape == (0, 8)
    assert rare.coverage == 0
    with open(shop / "clicks.csv", "a") as stream:
        stream.write("late,red-cup,2025-01-01T00:00:00Z\nlate,blue-cup,2025-01-01T00:00:01Z\n")
    some = Prod2Vec(click_settings(dimension=8, min_count=81)).fit(read_data(shop).clicks)
    assert [some.ids[i] for i in np.flatnonzero(some.state)] == ["red-cup", "blue-cup"]


SCRIPT = """
import sys, hashlib
from trimodal import read_data
from trimodal.encoders.click import Prod2Vec, click_settings
e = Prod2Vec(click_settings(dimension=32, seed=3)).fit(read_data(sys.argv[1]).clicks)
print(hashlib.sha256(e.vectors.tobytes()).hexdigest())
"""


def test_deterministic_across_processes_and_hash_seeds(shop):
    def digest(hash_seed):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(shop)],
            env={"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    assert digest("1") == digest("2")


def test_paper_preset_and_wrong_parameters():
    s = click_settings("paper")
    assert (s.dimension, s.window, s.skip_gram) == (512, 5, True)
    assert (s.negative, s.epochs, s.alpha, s.min_count, s.sample, s.ns_exponent) == (
        5,
        5,
        0.025,
        5,
        1e-3,
        0.75,
    )
    with pytest.raises(ParameterError, match="must be one of paper"):
        click_settings("best")
    with pytest.raises(ParameterError, match="unknown click parameter 'epoch'"):
        click_settings(epoch=3)
    with pytest.raises(ParameterError, match="window == 0"):
        Prod2VecSettings(window=0)
    for wrong in ({"alpha": 2}, {"alpha": 0}, {"workers": -1}, {"min_alpha": 0.5}, {"ns_exponent": float("nan")}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Prod2VecSettings(**wrong)
    with pytest.raises(ParameterError, match="unknown click parameter '__doc__'"):
        click_settings(__doc__=3)
