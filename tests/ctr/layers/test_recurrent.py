"""The attentional GRU against PyTorch's GRU, which it is when every attention is 1."""

import pytest
import torch

from trimodal.ctr.layers.recurrent import AttentionalGru


@pytest.fixture
def gru():
    torch.manual_seed(0)
    return AttentionalGru(5, 4).double()


def torch_states(gru, sequences):
    """Last states by torch.nn.GRU; it keeps the old state by z where ours takes the new one by u = 1 - z."""
    reference = torch.nn.GRU(5, 4, batch_first=True).double()
    with torch.no_grad():
        for ours, (weight, bias) in (
            (gru.inputs, (reference.weight_ih_l0, reference.bias_ih_l0)),
            (gru.recurrent, (reference.weight_hh_l0, reference.bias_hh_l0)),
        ):
            for target, source in ((weight, ours.weight), (bias, ours.bias)):
                update, reset, new = source.chunk(3)
                target.copy_(torch.cat([reset, -update, new]))
        return torch.stack([reference(s[None])[1][0, 0] if len(s) else torch.zeros(4).double() for s in sequences])


def test_with_full_attention_it_is_a_gru_and_padding_anywhere_is_skipped(gru):
    g = torch.Generator().manual_seed(1)
    vectors = torch.randn(9, 5, generator=g, dtype=torch.float64)
    history = torch.randint(0, 9, (20, 7), generator=g)
    mask = torch.rand(20, 7, generator=g) < 0.5
    mask[4] = False
    mask[5] = True
    states = gru(gru.inputs(vectors), torch.ones(20, 7).double(), history, mask)
    expected = torch_states(gru, [vectors[h[m]] for h, m in zip(history, mask, strict=True)])
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-12)


def test_an_entry_without_attention_changes_nothing(gru):
    gates = gru.inputs(torch.randn(3, 5, dtype=torch.float64))
    history, mask = torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
    attention = torch.tensor([[0.7, 0.0, 0.4]], dtype=torch.float64)
    without = torch.tensor([[True, False, True]])
    torch.testing.assert_close(gru(gates, attention, history, mask), gru(gates, attention, history, without))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_event_and_no_entry_are_allowed(gru, shape):
    gates = gru.inputs(torch.randn(3, 5, dtype=torch.float64))
    none = torch.zeros(shape, dtype=torch.int64)
    states = gru(gates, none.double(), none, none.bool())
    assert states.shape == (shape[0], 4)
    assert not states.any()
