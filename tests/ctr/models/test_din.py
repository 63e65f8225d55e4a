"""DIN against its equation, position by position, from the unsplit matrix of the attention unit."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def expected(state, data, activation, normalise):
    vectors = [np.concatenate(list(state.parts(data.items, i).values())) for i in range(len(data.items))]
    width = len(vectors[0])
    # One of the matrices over [h; c; h * c; h - c] that the three stand for: W4 is any, here a random one.
    w4 = np.random.default_rng(0).normal(size=state["attention.keys.weight"].shape)
    keys, queries, products = (state[f"attention.{name}.weight"] for name in ("keys", "queries", "products"))
    whole = np.hstack([keys - w4, queries + w4, products, w4])
    assert whole.shape[1] == 4 * width
    out = []
    for event, c in enumerate(data.candidate.tolist()):
        target, scores = vectors[c], []
        history = [vectors[i] for i in toy.clicked(data, event)]
        for h in history:
            s = whole @ np.concatenate([h, target, h * target, h - target]) + state["attention.queries.bias"]
            if activation == "dice":
                z = (s - state["attention.activation.mean"]) / np.sqrt(state["attention.activation.variance"] + 1e-8)
                p = 1 / (1 + np.exp(-z))
                s = p * s + (1 - p) * state["attention.activation.alpha"] * s
            else:
                s = state.prelu("attention.activation", s)
            scores.append(state.linear("attention.output", s)[0])
        if normalise == "softmax" and scores:
            scores = np.exp(np.array(scores) - max(scores))
            scores = scores / scores.sum()
        interest = sum((w * h for w, h in zip(scores, history, strict=True)), np.zeros(width))
        out.append(state.tower(np.concatenate([state.user(data, event), interest, target])))
    return out


@pytest.mark.parametrize("activation", ["dice", "prelu"])
@pytest.mark.parametrize("normalise", ["none", "softmax"])
def test_logits_are_a_tower_over_the_weighted_sum_of_the_history(activation, normalise):
    data = toy.batch(dtype=torch.float64)
    model = build("din", toy.INPUTS, dimension=8, attention=6, activation=activation, normalise=normalise)
    model = toy.shake(model, spread=0.2).double()
    state = toy.Naive(model)
    np.testing.assert_allclose(toy.logits(model, data), expected(state, data, activation, normalise), atol=1e-9)


def test_padding_takes_no_part_in_the_statistics_of_training():
    data = toy.batch()
    states = []
    for history in (data.history, torch.where(data.mask, data.history, (data.history + 5) % len(data.items))):
        model = toy.shake(build("din", toy.INPUTS)).train()
        model.score(model.encode(data.items), data.user, data.candidate, history, data.mask)
        states.append(model.attention.activation)
    assert torch.equal(states[0].mean, states[1].mean)
    assert torch.equal(states[0].variance, states[1].variance)


def test_at_prediction_other_events_cannot_reach_a_logit_through_the_statistics():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("din", toy.INPUTS)).double().eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole = toy.logits(model, data)
    clicked = (data.label == 1).nonzero()[:, 0].tolist()
    np.testing.assert_allclose(toy.logits(model, toy.take_events(data, clicked)), whole[clicked], atol=1e-12)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
