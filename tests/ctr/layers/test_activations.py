"""Dice: its equation in training and in evaluation."""

import torch

from trimodal.ctr.layers.activations import Dice


def dice(s, mean, variance, alpha):
    p = torch.sigmoid((s - mean) / torch.sqrt(variance + 1e-8))
    return p * s + (1 - p) * alpha * s


def test_training_uses_the_rows_given_and_evaluation_their_running_averages():
    torch.manual_seed(0)
    layer = Dice(3, momentum=0.25)
    torch.nn.init.normal_(layer.alpha)
    s = torch.randn(50, 3) * 2 + 1
    torch.testing.assert_close(layer(s), dice(s, s.mean(0), s.var(0, unbiased=False), layer.alpha))
    mean, variance = 0.25 * s.mean(0), 0.75 + 0.25 * s.var(0)
    layer.eval()
    torch.testing.assert_close(layer(s), dice(s, mean, variance, layer.alpha))
    torch.testing.assert_close(layer(s[:1]), layer(s)[:1])


def test_one_row_or_none_is_allowed_and_leaves_the_averages_alone():
    layer = Dice(3).train()
    for rows in (0, 1):
        assert layer(torch.ones(rows, 3)).shape == (rows, 3)
    assert not layer.mean.any()
    assert (layer.variance == 1).all()
