"""MARN against its equations: item by item, step by step, and its losses term by term."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)

VIEWS = ["id", "image", "text"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def parts_of(state, items, i):
    """Specific and invariant parts of the views that item i has."""
    out = {}
    for name, view in state.views(items, i).items():
        m = VIEWS.index(name)
        specific = state.prelu(f"specifics.{m}.1", state.linear(f"specifics.{m}.0", view))
        invariant = state.prelu("invariant.1", state.linear("invariant.0", view))
        out[name] = (specific, invariant)
    return out


def item_vectors(state, items, d):
    vectors = []
    for i in range(len(items)):
        parts = parts_of(state, items, i)
        own, shared = np.zeros(d), np.zeros(d)
        for name, (specific, _) in parts.items():
            own = own + np.tanh(state.linear(f"weights.{VIEWS.index(name)}", specific)) * specific
        if parts:
            shared = np.max([invariant for _, invariant in parts.values()], axis=0)
        vectors.append(np.concatenate([own + shared, state["category.weight"][int(items.category[i])]]))
    return vectors


def last_state(state, history, target, d):
    scores = np.array([state.linear("attention", x) @ target for x in history])
    weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum() if history else []
    h = np.zeros(d)
    for a, x in zip(weights, history, strict=True):
        wu, wr, wn = np.split(state.linear("gru.inputs", x), 3)
        uu, ur, un = np.split(state.linear("gru.recurrent", h), 3)
        update, reset = a * sigmoid(wu + uu), sigmoid(wr + ur)
        h = (1 - update) * h + update * np.tanh(wn + reset * un)
    return h


def test_logits_are_a_tower_over_user_the_last_state_of_the_history_and_candidate():
    data = toy.batch(dtype=torch.float64)
    d = 6
    model = toy.shake(build("marn", toy.INPUTS, dimension=d, category_dimension=3)).double()
    state = toy.Naive(model)
    vectors = item_vectors(state, data.items, d)
    expected = []
    for event, c in enumerate(data.candidate.tolist()):
        h = last_state(state, [vectors[i] for i in toy.clicked(data, event)], vectors[c], d)
        expected.append(state.tower(np.concatenate([state.user(data, event), h, vectors[c]])))
    np.testing.assert_allclose(toy.logits(model, data), expected, atol=1e-9)


def test_the_order_of_the_history_matters():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("marn", toy.INPUTS)).double()
    turned = replace(data, history=data.history.flip(1), mask=data.mask.flip(1))
    assert np.abs(toy.logits(model, turned) - toy.logits(model, data)).max() > 1e-3


def probabilities(state, name, x):
    hidden = state.prelu(f"{name}.layers.1", state.linear(f"{name}.layers.0", x))
    scores = np.exp(state.linear(f"{name}.layers.2", hidden))
    return scores / scores.sum()


def test_losses_are_cross_entropies_over_the_views_that_are_there():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("marn", toy.INPUTS, dimension=6, adversarial=0.3, specific=0.7)).double().train()
    state = toy.Naive(model)
    terms = {"weigher": [], "adversarial": [], "specific": []}
    for i in range(len(data.items)):
        for name, (specific, invariant) in parts_of(state, data.items, i).items():
            m = VIEWS.index(name)
            first = probabilities(state, "weigher", invariant)[m]
            terms["weigher"].append(-np.log(first))
            terms["adversarial"].append(-(1 - first) * np.log(probabilities(state, "discriminator", invariant)[m]))
            terms["specific"].append(-np.log(probabilities(state, "discriminator", specific)[m]))
    losses = model(data).losses
    weights = {"weigher": 0.3, "adversarial": 0.3, "specific": 0.7}
    assert losses.keys() == terms.keys()
    for name, loss in losses.items():
        np.testing.assert_allclose(loss.item(), weights[name] * np.mean(terms[name]), rtol=1e-9)
    assert not model.eval()(data).losses


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)


def test_the_discriminator_learns_and_the_invariant_parts_are_pushed_the_other_way():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("marn", toy.INPUTS, dimension=6, adversarial=1.0)).double().train()
    encoded = model.encode(data.items)
    losses = model.losses(data.items, encoded)
    assert all(g is None for g in gradients(losses["weigher"], model.invariant))
    assert all(g is None for g in gradients(losses["adversarial"], model.weigher))

    # The same loss without the reversal.
    present, invariant = encoded["present"], encoded["invariant"]
    weight = 1 - model.weigher(invariant).detach().exp()
    plain = (-weight * model.discriminator(invariant))[present].mean()
    for module, sign in ((model.discriminator, 1), (model.invariant, -1)):
        pairs = zip(gradients(losses["adversarial"], module), gradients(plain, module), strict=True)
        for reversed_gradient, gradient in pairs:
            assert gradient.abs().max() > 1e-6
            torch.testing.assert_close(reversed_gradient, sign * gradient, rtol=1e-9, atol=1e-12)
