"""The auto-encoder: its layers, its loss, and that it learns to give back what fits its dimension."""

import numpy as np
import torch

from trimodal.ctr.layers.autoencoder import AutoEncoder

PRESENT = torch.tensor([True, False, True, True])


def vectors():
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_loss_is_the_mean_square_of_what_is_not_given_back_over_the_items_that_are_there():
    layer, given = AutoEncoder(6, 2, hidden=5).double(), vectors()
    state = {name: value.numpy() for name, value in layer.state_dict().items()}

    def two(name, x):
        inner = np.maximum(state[f"{name}.0.weight"] @ x + state[f"{name}.0.bias"], 0)
        return state[f"{name}.2.weight"] @ inner + state[f"{name}.2.bias"]

    errors = [np.mean((two("decoder", two("encoder", x)) - x) ** 2) for x in given.numpy()[PRESENT.numpy()]]
    hidden = layer(given)
    np.testing.assert_allclose(hidden.detach().numpy(), [two("encoder", x) for x in given.numpy()], atol=1e-12)
    np.testing.assert_allclose(layer.reconstruction_loss(hidden, given, PRESENT).item(), np.mean(errors), rtol=1e-12)


def test_no_item_gives_no_loss():
    layer, given = AutoEncoder(6, 2).double(), vectors()
    assert layer.reconstruction_loss(layer(given), given, torch.zeros(4, dtype=torch.bool)) == 0


def test_it_learns_to_give_back_vectors_of_few_dimensions():
    torch.manual_seed(0)
    given = torch.randn(200, 2) @ torch.randn(2, 8)
    layer, here = AutoEncoder(8, 2), torch.ones(200, dtype=torch.bool)
    optimiser = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(300):
        optimiser.zero_grad()
        loss = layer.reconstruction_loss(layer(given), given, here)
        loss.backward()
        optimiser.step()
    assert loss < 0.1 * given.square().mean()
