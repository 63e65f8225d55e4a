"""Generator, discriminator and auto-difference against their equations in NumPy."""

import numpy as np
import pytest
import torch

from trimodal.ctr.layers.difference import AutoDifference, Discriminator, Generator, verdict_loss


def numbers(module):
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def pair(m=6, d=3):
    g = torch.Generator().manual_seed(0)
    return torch.randn(m, d, generator=g, dtype=torch.float64), torch.randn(m, d, generator=g, dtype=torch.float64)


def dense(state, x):
    inner = np.maximum(state["layers.0.weight"] @ x + state["layers.0.bias"], 0)
    return state["layers.2.weight"] @ inner + state["layers.2.bias"]


def test_the_generator_is_two_layers_on_the_id():
    identity, _ = pair()
    generator = Generator(3, hidden=5).double()
    expected = [dense(numbers(generator), e) for e in identity.numpy()]
    np.testing.assert_allclose(generator(identity).detach().numpy(), expected, atol=1e-12)


def test_the_discriminator_sees_the_id_and_the_modality():
    identity, hidden = pair()
    discriminator = Discriminator(3, hidden=5).double()
    state = numbers(discriminator)
    both = np.concatenate([identity.numpy(), hidden.numpy()], 1)
    logits = discriminator(identity, hidden)
    assert logits.shape == (6,)
    np.testing.assert_allclose(logits.detach().numpy(), [dense(state, x)[0] for x in both], atol=1e-12)


@pytest.mark.parametrize("weights", ["vector", "scalar"])
def test_the_difference_takes_from_h_a_weighted_share_of_what_is_generated(weights):
    hidden, generated = pair()
    layer = AutoDifference(3, weights=weights).double()
    w = numbers(layer)["weight.weight"]
    assert w.shape == (3 if weights == "vector" else 1, 12)
    expected = []
    for h, g in zip(hidden.numpy(), generated.numpy(), strict=True):
        share = [row @ np.concatenate([h, g, h * g, h - g]) for row in w]
        expected.append([h[j] - share[j if weights == "vector" else 0] * g[j] for j in range(3)])
    np.testing.assert_allclose(layer(hidden, generated).detach().numpy(), expected, atol=1e-12)


def test_nothing_generated_takes_nothing_away():
    hidden, _ = pair()
    assert torch.equal(AutoDifference(3).double()(hidden, torch.zeros_like(hidden)), hidden)


def test_a_verdict_is_the_cross_entropy_over_the_items_that_are_there():
    logits = torch.tensor([0.5, -2.0, 40.0, 3.0], dtype=torch.float64)
    present = torch.tensor([True, True, False, True])
    chances = 1 / (1 + np.exp(-np.array([0.5, -2.0, 3.0])))
    assert verdict_loss(logits, 1.0, present).item() == pytest.approx(-np.log(chances).mean())
    assert verdict_loss(logits, 0.0, present).item() == pytest.approx(-np.log(1 - chances).mean())


def test_a_verdict_on_no_item_is_zero_with_a_zero_gradient():
    logits = torch.tensor([0.5, -2.0], requires_grad=True)
    loss = verdict_loss(logits, 1.0, torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros(2))
