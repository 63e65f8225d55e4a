"""NAML against its equation, over the views that an item has."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def test_the_item_is_the_sum_of_its_views_by_a_softmax_over_those_that_are_there():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("naml", toy.INPUTS, dimension=8, category_dimension=3, attention=5)).double()
    state = toy.Naive(model)
    order = ["id", "image", "text", "category"]
    vectors, counts = [], set()
    for i in range(len(data.items)):
        views = state.views(data.items, i)
        if data.items.category[i] > 0:
            category = state["category.weight"][int(data.items.category[i])]
            views["category"] = np.maximum(state.linear("category_view", category), 0)
        counts.add(len(views))
        raw = {
            name: np.exp(
                state["fusion.queries"][order.index(name)]
                @ np.tanh(state.linear(f"fusion.layers.{order.index(name)}", view))
            )
            for name, view in views.items()
        }
        total = sum(raw.values())
        vectors.append(sum((raw[name] / total * view for name, view in views.items()), np.zeros(8)))
    assert counts >= {0, 2, 3, 4}
    np.testing.assert_allclose(toy.logits(model, data), toy.pooled(state, data, vectors), atol=1e-9)


def test_weights_sum_to_one_over_the_views_that_are_there():
    model = toy.shake(build("naml", toy.INPUTS))
    views, present = torch.randn(6, 4, 32), torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    present[0] = False
    weights = model.fusion.weights(views, present).detach()
    assert not weights[~present].any()
    np.testing.assert_allclose(weights.sum(1).numpy(), present.any(1).float().numpy(), atol=1e-6)
