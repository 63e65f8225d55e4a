"""LR against its equation."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def test_logits_are_the_bias_plus_the_weights_of_user_item_and_category():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("lr", toy.INPUTS)).double()
    state = toy.Naive(model)
    expected = [
        state["bias"][0]
        + state["user.weight"][u, 0]
        + state["item.weight"][data.items.id[c], 0]
        + state["category.weight"][data.items.category[c], 0]
        for u, c in zip(data.user.tolist(), data.candidate.tolist(), strict=True)
    ]
    np.testing.assert_allclose(toy.logits(model, data), expected, atol=1e-12)


def test_a_new_model_says_nothing():
    assert not toy.logits(build("lr", toy.INPUTS), toy.batch()).any()
