"""Poolings against loops over events and positions, each way of computing them, and their gradients."""

import numpy as np
import pytest
import torch

from trimodal.ctr.layers import pooling
from trimodal.ctr.layers.pooling import interest_pooling, interest_weights, masked_mean

KINDS = ["paper", "softmax"]


def histories(m=30, b=9, length=5, seed=0):
    """Vectors, candidates, histories and masks: event 0 has none, event 1 a full one, event 2 one item three times."""
    g = torch.Generator().manual_seed(seed)
    vectors = torch.randn(m, 4, generator=g, dtype=torch.float64)
    candidate = torch.randint(0, m, (b,), generator=g)
    history = torch.randint(0, m, (b, length), generator=g)
    mask = torch.rand(b, length, generator=g) < 0.6
    mask[0], mask[1] = False, True
    history[2], mask[2] = 7, torch.tensor([True, False, True, True, False])
    return vectors, candidate, history, mask


def naive_weights(scores, kind):
    """Weights of one history's scores, a list of numbers."""
    if not scores:
        return []
    if kind == "softmax":
        largest = max(scores)
        raw = [np.exp(s - largest) for s in scores]
        return [r / sum(raw) for r in raw]
    total, least = sum(scores), 0.1 * sum(abs(s) for s in scores)
    denominator = total if abs(total) >= least else (-least if total < 0 else least)
    return [max(s / denominator, 0.0) if denominator else 0.0 for s in scores]


def naive_pooling(vectors, candidate, history, mask, kind):
    vectors, rows = vectors.numpy(), []
    for event, c in enumerate(candidate.tolist()):
        row = min(event, len(history) - 1)
        clicked = [int(i) for i, here in zip(history[row], mask[row], strict=True) if here]
        scale = vectors.shape[1] ** 0.5 if kind == "softmax" else 1.0
        weights = naive_weights([float(vectors[c] @ vectors[i]) / scale for i in clicked], kind)
        rows.append(sum((w * vectors[i] for w, i in zip(weights, clicked, strict=True)), np.zeros(vectors.shape[1])))
    return np.array(rows)


def test_the_mean_is_over_the_clicks_that_are_there_and_zero_without_any():
    vectors, _, history, mask = histories()
    means = masked_mean(vectors, history, mask).numpy()
    for event in range(len(history)):
        clicked = [vectors[int(i)].numpy() for i, here in zip(history[event], mask[event], strict=True) if here]
        np.testing.assert_allclose(means[event], np.mean(clicked, 0) if clicked else np.zeros(4), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dense", [0, 10**9])
def test_both_ways_of_computing_products_pool_by_the_equation(kind, dense, monkeypatch):
    monkeypatch.setattr(pooling, "_DENSE", dense)
    inputs = histories()
    found = interest_pooling(*inputs, kind=kind)
    np.testing.assert_allclose(found.numpy(), naive_pooling(*inputs, kind), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("items", [319, 320, 321])
def test_the_way_changes_with_the_number_of_items_and_the_result_does_not(kind, items):
    inputs = histories(m=items)
    found = interest_pooling(*inputs, kind=kind)
    np.testing.assert_allclose(found.numpy(), naive_pooling(*inputs, kind), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 1, 2])
def test_one_history_for_all_events_gives_what_its_repetition_gives(kind, row):
    vectors, candidate, history, mask = histories()
    shared = vectors, candidate, history[[row]], mask[[row]]
    found = interest_pooling(*shared, kind=kind)
    assert found.shape == (len(candidate), 4)
    np.testing.assert_allclose(found.numpy(), naive_pooling(*shared, kind), atol=1e-12)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3.0, 1.0], [0.75, 0.25]),
        ([1.0, -3.0], [0.0, 1.5]),  # a negative sum turns the signs, as printed
        ([1.0, -1.01], [0.0, 1.01 / 0.201]),  # near zero: a tenth of the sizes, with the sum's sign
        ([1.01, -1.0], [1.01 / 0.201, 0.0]),
        ([1.0, -1.0], [5.0, 0.0]),  # zero counts as positive
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_weights_of_the_paper_have_a_denominator_that_is_kept_from_zero(scores, expected):
    # A huge score where padded must not count.
    scores = torch.tensor([[*scores, 1e6]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False]])
    weights = interest_weights(scores, mask, kind="paper")[0].tolist()
    np.testing.assert_allclose(weights, [*expected, 0.0], rtol=1e-12)
    np.testing.assert_allclose(weights[:2], naive_weights(scores[0, :2].tolist(), "paper"), rtol=1e-12)


def test_the_floor_is_a_parameter():
    scores, mask = torch.tensor([[1.0, -0.5]]), torch.ones(1, 2, dtype=torch.bool)
    assert interest_weights(scores, mask, kind="paper")[0, 0] == 2.0
    assert interest_weights(scores, mask, kind="paper", floor=0.5)[0, 0] == torch.tensor(1 / 0.75)


def test_the_floor_bounds_the_weights_of_the_paper():
    # With P and N the sizes of the positive and the negative scores, P / (P - N) at P - N = .1 (P + N) is 5.5.
    scores = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = interest_weights(scores, torch.ones(20_000, 3, dtype=torch.bool), kind="paper")
    assert 5.4 < weights.max() <= 5.5 + 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e4])
def test_gradients_are_finite_at_any_size_and_without_a_history(kind, scale):
    vectors, candidate, history, mask = histories()
    vectors = (scale * vectors.float()).requires_grad_()
    found = interest_pooling(vectors, candidate, history, mask, kind=kind)
    assert found.isfinite().all()
    found.sum().backward()
    assert vectors.grad.isfinite().all()
    if scale == 1.0:
        assert vectors.grad.abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dense", [0, 10**9])
def test_gradients_are_those_of_finite_differences(kind, dense, monkeypatch):
    monkeypatch.setattr(pooling, "_DENSE", dense)
    vectors, candidate, history, mask = histories(m=12, b=5)
    vectors.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: interest_pooling(v, candidate, history, mask, kind=kind), vectors)
    shared = history[[1]], mask[[1]]
    assert torch.autograd.gradcheck(lambda v: interest_pooling(v, candidate, *shared, kind=kind), vectors)
    assert torch.autograd.gradcheck(lambda v: masked_mean(v, history, mask), vectors)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dense", [0, 10**9])
@pytest.mark.parametrize("events", [9, 1])
def test_products_of_mixed_precision_pool_vectors_of_full_precision(kind, dense, events, monkeypatch):
    monkeypatch.setattr(pooling, "_DENSE", dense)
    vectors, candidate, history, mask = histories()
    # Scores well away from each other's sign changes, so that eight bits decide as 53 do.
    vectors = vectors.abs()
    inputs = candidate[-events:], history[-events:], mask[-events:]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = interest_pooling(vectors.float(), *inputs, kind=kind)
    np.testing.assert_allclose(found.float().numpy(), naive_pooling(vectors, *inputs, kind), atol=0.05)
