"""LMF against the full tensor of products that it factorises."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_fused_vector_is_a_full_tensor_applied_to_the_outer_product_of_the_parts(rank):
    data = toy.batch(dtype=torch.float64)
    d = 4
    model = toy.shake(build("lmf", toy.INPUTS, dimension=d, category_dimension=3, rank=rank)).double()
    state = toy.Naive(model)
    factors = []  # [R, d out, d + 1 in], the last column for the appended 1
    for name in ("id", "image", "text"):
        weight, bias = state[f"fusion.factors.{name}.weight"], state[f"fusion.factors.{name}.bias"]
        factors.append(np.concatenate([weight, bias[:, None]], 1).reshape(rank, d, d + 1))
    tensor = np.einsum("r,rki,rkj,rkl->kijl", state["fusion.mixture"], *factors)
    vectors = []
    for i in range(len(data.items)):
        parts = state.parts(data.items, i)
        one = [np.append(parts[name], 1) for name in ("id", "image", "text")]
        fused = np.einsum("kijl,i,j,l->k", tensor, *one) + state["fusion.bias"]
        vectors.append(np.concatenate([fused, parts["category"]]))
    np.testing.assert_allclose(toy.logits(model, data), toy.pooled(state, data, vectors), atol=1e-9)


def test_gradients_reach_every_part_at_the_start():
    torch.manual_seed(0)
    model = build("lmf", toy.INPUTS)
    parts = {name: torch.randn(50, 32, requires_grad=True) for name in model.item.names}
    model.fusion(parts).square().sum().backward()
    sizes = [float(part.grad.abs().mean()) for part in parts.values()]
    assert min(sizes) > 0.1 * max(sizes) > 0.01
