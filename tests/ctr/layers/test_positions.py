"""Positions: sums and softmaxes over histories of any length, padded anywhere."""

import torch

from trimodal.ctr.layers.positions import Positions

HISTORY = torch.tensor([[4, 1, 2], [3, 3, 3], [0, 5, 6]])
MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])


def test_entries_are_listed_event_after_event_without_padding():
    positions = Positions.of(HISTORY, MASK)
    assert positions.item.tolist() == [4, 2, 0, 5, 6]
    assert positions.event.tolist() == [0, 0, 2, 2, 2]


def test_sums_are_by_event_and_zero_for_an_empty_history():
    positions = Positions.of(HISTORY, MASK)
    vectors = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    assert positions.sum(vectors).tolist() == [[4, 6], [0, 0], [21, 24]]
    assert positions.dense(vectors[:, 0], -1.0).tolist() == [[1, -1, 3], [-1, -1, -1], [5, 7, 9]]


def test_the_softmax_is_within_an_event_and_its_gradient_is_finite():
    positions = Positions.of(HISTORY, MASK)
    scores = torch.tensor([1.0, 3.0, -200.0, 200.0, 199.0], requires_grad=True)
    weights = positions.softmax(scores)
    torch.testing.assert_close(weights[:2], scores[:2].softmax(0))
    torch.testing.assert_close(weights[2:], scores[2:].softmax(0))
    (weights * torch.arange(5.0)).sum().backward()
    assert scores.grad.isfinite().all()
    assert scores.grad.abs().max() > 0
