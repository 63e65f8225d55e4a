"""FM against its equation, over explicit pairs."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def test_logits_are_weights_plus_the_inner_products_of_all_pairs():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("fm", toy.INPUTS, dimension=8)).double()
    state = toy.Naive(model)
    expected = []
    for user, c in zip(data.user.tolist(), data.candidate.tolist(), strict=True):
        rows = {"user": user, "item": int(data.items.id[c]), "category": int(data.items.category[c])}
        logit = state["linear.bias"][0] + sum(state[f"linear.{field}.weight"][row, 0] for field, row in rows.items())
        for a, b in (("user", "item"), ("user", "category"), ("item", "category")):
            logit += state[f"{a}.weight"][rows[a]] @ state[f"{b}.weight"][rows[b]]
        expected.append(logit)
    np.testing.assert_allclose(toy.logits(model, data), expected, atol=1e-12)
