"""Item inputs: the unknown stays zero, what is missing is learned, parts stand where their names say."""

import importlib.util
from pathlib import Path

import pytest
import torch

from trimodal.ctr.layers.inputs import IdEmbedding, ItemInput, Projection

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_row_0_stays_zero_through_training_with_weight_decay(decay):
    torch.manual_seed(0)
    embedding = IdEmbedding(5, 3)
    before = embedding.weight.detach().clone()
    optimiser = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=decay)
    for _ in range(5):
        optimiser.zero_grad()
        (embedding(torch.tensor([[0, 1], [0, 4]])) - 1).square().sum().backward()
        optimiser.step()
    after = embedding.weight.detach()
    assert torch.equal(after[0], torch.zeros(3))
    assert (after[[1, 4]] - before[[1, 4]]).abs().min() > 0.1
    assert torch.equal(after[[2, 3]], before[[2, 3]]) == (decay == 0)


def test_rows_start_around_zero_with_the_spread_that_was_asked_for():
    torch.manual_seed(0)
    weight = IdEmbedding(2000, 8, spread=0.2).weight[1:]
    assert abs(weight.mean()) < 0.01
    assert abs(weight.std() - 0.2) < 0.01


def test_an_item_that_misses_a_modality_gets_a_vector_that_is_learned():
    torch.manual_seed(0)
    projection = Projection(4, 3)
    vectors, present = torch.randn(6, 4), torch.tensor([True, False] * 3)
    vectors[1] = 1e6  # whatever stands there
    out = projection(vectors, present)
    torch.testing.assert_close(out[present], projection.linear(vectors[present]))
    assert torch.equal(out[~present], torch.zeros(3, 3))
    optimiser = torch.optim.Adam(projection.parameters(), 0.05)
    wanted = torch.tensor([1.0, -2.0, 0.5])
    for _ in range(300):
        optimiser.zero_grad()
        (projection(vectors, present)[~present] - wanted).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(projection.missing.detach(), wanted, atol=0.05, rtol=0)
    assert projection.linear.weight.grad.abs().max() == 0


def test_parts_stand_side_by_side_by_their_names():
    torch.manual_seed(0)
    layer = ItemInput(toy.INPUTS, dimension=5, category_dimension=2)
    items = toy.rows()
    parts = layer(items)
    assert layer.names == ("id", "image", "text")
    assert list(parts) == ["id", "category", "image", "text"]
    assert {name: part.shape[1] for name, part in parts.items()} == {"id": 5, "category": 2, "image": 5, "text": 5}
    whole = layer.concatenated(items)
    assert whole.shape == (len(items), layer.width) == (20, 17)
    torch.testing.assert_close(whole, torch.cat(list(parts.values()), 1))
    assert parts["id"][items.id == 0].abs().max() == 0
    assert parts["category"][items.category == 0].abs().max() == 0
