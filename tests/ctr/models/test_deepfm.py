"""DeepFM against its equation, over explicit pairs of fields."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def test_logits_are_an_fm_over_all_fields_plus_a_tower():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("deepfm", toy.INPUTS, dimension=8)).double()
    state = toy.Naive(model)
    expected = []
    for event, c in enumerate(data.candidate.tolist()):
        parts = state.parts(data.items, c)
        fields = [state.user(data, event), *parts.values()]
        logit = state["linear.bias"][0] + state["linear.user.weight"][data.user[event], 0]
        logit += state["linear.item.weight"][data.items.id[c], 0]
        logit += state["linear.category.weight"][data.items.category[c], 0]
        logit += sum(state.linear(f"first.{name}", parts[name])[0] for name in data.items.features)
        logit += sum(a @ b for i, a in enumerate(fields) for b in fields[:i])
        expected.append(logit + state.tower(np.concatenate(fields)))
    np.testing.assert_allclose(toy.logits(model, data), expected, atol=1e-9)


def test_fields_start_small_whatever_the_length_of_a_modality():
    torch.manual_seed(0)
    model = build("deepfm", toy.INPUTS)
    assert np.abs(toy.logits(model, toy.batch())).max() < 1
    for projection in model.item.projections.values():
        vectors = torch.randn(500, projection.linear.in_features)
        assert projection(vectors, torch.ones(500, dtype=torch.bool)).std().item() < 0.1
