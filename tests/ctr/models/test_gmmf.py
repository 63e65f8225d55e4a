"""GMMF against equations (1) to (12), item by item and position by position, and its losses term by term."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr.batches import ModelInputs
from trimodal.ctr.models import build
from trimodal.ctr.models.gmmf import ABLATIONS, GMMF
from trimodal.errors import ParameterError

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)

SMALL = {"dimension": 6, "user_dimension": 5, "category_dimension": 3, "hidden": [7, 4], "autoencoder_hidden": 9}


def make(inputs=toy.INPUTS, **choices):
    """A GMMF in double precision whose numbers all matter."""
    return toy.shake(build("gmmf", inputs, **{**SMALL, **choices})).double()


def dense(state, name, x):
    """Two layers with a ReLU between them."""
    return state.linear(f"{name}.2", np.maximum(state.linear(f"{name}.0", x), 0))


def identity(state, items, i):
    return state["id.weight"][int(items.id[i])]


def given(state, items, i, m):
    """H of a modality that item i has: (1), or a linear layer."""
    vector = items.features[m][i].double().numpy()
    if state.has(f"autoencoders.{m}.encoder.0.weight"):
        return dense(state, f"autoencoders.{m}.encoder", vector)
    return state.linear(f"projections.{m}", vector)


def generated(state, items, i, m):
    """H^ of item i: (3)."""
    return dense(state, f"generator.{m}.layers", identity(state, items, i))


def item_parts(state, items, i):
    """E and H' of every modality of item i, (8) and (9); None for one that it misses."""
    parts = [identity(state, items, i)]
    for m in items.features:
        if not items.present[m][i]:
            parts.append(None)
            continue
        h = given(state, items, i, m)
        if state.has(f"differences.{m}.weight.weight"):
            g = generated(state, items, i, m)
            h = h - state.linear(f"differences.{m}.weight", np.concatenate([h, g, h * g, h - g])) * g
        parts.append(h)
    return parts


def pool(target, clicks, kind, reached):
    """(10) for one part; `clicks` holds None where an item misses it."""
    clicks = [v for v in clicks if v is not None]
    scores = [float(target @ v) for v in clicks]
    if not clicks:
        return np.zeros_like(target)
    if kind == "softmax":
        raw = np.exp(np.array(scores) / len(target) ** 0.5)
        weights = raw / raw.sum()
    else:
        total, least = sum(scores), 0.1 * sum(map(abs, scores))
        reached |= {"negative"} if total < -least else {"near zero"} if abs(total) < least else {"positive"}
        denominator = max(abs(total), least) * (-1 if total < 0 else 1)
        weights = [max(s / denominator, 0) if denominator else 0.0 for s in scores]
    return sum(w * v for w, v in zip(weights, clicks, strict=True))


def softmax(x, axis):
    raw = np.exp(x - x.max(axis, keepdims=True))
    return raw / raw.sum(axis, keepdims=True)


def mean(clicks, width):
    """The mean of the clicks that have the part, zero where none has."""
    clicks = [v for v in clicks if v is not None]
    return np.mean(clicks, 0) if clicks else np.zeros(width)


def expected(
    model, data, reached=None, *, pooling="softmax", gate="across", candidate=True, match=False, merge="concatenate",
    hidden=2,
):  # fmt: skip
    """Logits by (12), event by event."""
    state, reached = toy.Naive(model), set() if reached is None else reached
    d, parts = SMALL["dimension"], [item_parts(state, data.items, i) for i in range(len(data.items))]
    categories = [state["category.weight"][int(c)] for c in data.items.category]
    interest, out = state.has("gates.weight"), []
    for event, c in enumerate(data.candidate.tolist()):
        clicked, user = toy.clicked(data, event), state.user(data, event)
        target = [np.zeros(d) if v is None else v for v in parts[c]]
        columns = [[parts[i][p] for i in clicked] for p in range(len(target))]
        columns.append([categories[i] for i in clicked])
        own = [*target, categories[c]]
        if interest and pooling != "mean":
            reach = [reached] * len(target) + [set()]
            past = [pool(v, column, pooling, seen) for v, column, seen in zip(own, columns, reach, strict=True)]
        else:
            past = [mean(column, len(v)) for v, column in zip(own, columns, strict=True)]
        gates = np.ones((len(target), d))
        if interest:
            gates = softmax(state.linear("gates", user).reshape(len(target), d), 0 if gate == "across" else 1)
        past[:-1] = [g * v for g, v in zip(gates, past[:-1], strict=True)]
        if merge == "sum":
            past = [sum(past[:-1]), past[-1]]
            own = [sum(g * v for g, v in zip(gates, target, strict=True)), own[-1]]
        past, whole = np.concatenate(past), np.concatenate(own)
        features = [past, user] + [whole] * candidate + [past * whole] * match
        out.append(state.tower(np.concatenate(features), hidden=hidden))
    return np.array(out)


def agrees(model, data, **reading):
    found = toy.logits(model, data)
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected(model, data, **reading), rtol=1e-9, atol=1e-9)


def with_a_cold_item(data):
    item_id = data.items.id.clone()
    item_id[2] = 0
    return replace(data, items=replace(data.items, id=item_id))


@pytest.fixture
def data():
    """40 events; item 2 has both modalities and an id that training did not see."""
    return with_a_cold_item(toy.batch(b=40, dtype=torch.float64))


@pytest.mark.parametrize("row", list(ABLATIONS))
def test_every_ablation_gives_the_logits_of_its_equations(row, data):
    agrees(make(**ABLATIONS[row]), data)


@pytest.mark.parametrize("pooling", ["paper", "softmax"])
@pytest.mark.parametrize("gate", ["across", "within"])
@pytest.mark.parametrize("weights", ["vector", "scalar"])
def test_every_reading_of_the_paper_gives_the_logits_of_its_equations(pooling, gate, weights, data):
    model = make(pooling=pooling, gate=gate, difference_weights=weights)
    assert model.differences["text"].weight.weight.shape[0] == (6 if weights == "vector" else 1)
    agrees(model, data, pooling=pooling, gate=gate)


def test_the_pooling_of_the_paper_is_tried_with_sums_of_either_sign_and_near_zero():
    data = with_a_cold_item(toy.batch(b=200, dtype=torch.float64))
    model, reached = make(pooling="paper"), set()
    np.testing.assert_allclose(toy.logits(model, data), expected(model, data, reached, pooling="paper"), atol=1e-8)
    assert reached == {"negative", "near zero", "positive"}


@pytest.mark.parametrize("candidate", [True, False])
@pytest.mark.parametrize("match", [True, False])
@pytest.mark.parametrize("hidden", [[], [5], [7, 4]])
def test_the_tower_gets_what_the_options_say(candidate, match, hidden, data):
    model = make(candidate=candidate, match=match, hidden=hidden)
    agrees(model, data, candidate=candidate, match=match, hidden=len(hidden))


@pytest.mark.parametrize("pooling", ["softmax", "paper", "mean"])
@pytest.mark.parametrize("interest", [True, False])
@pytest.mark.parametrize("match", [True, False])
def test_parts_may_be_summed_and_attention_left_out(pooling, interest, match, data):
    for merge in ("sum", "concatenate"):
        model = make(pooling=pooling, interest=interest, match=match, merge=merge)
        agrees(model, data, pooling=pooling, match=match, merge=merge)


def test_without_tower_and_candidate_the_logit_is_the_linear_layer_of_equation_12(data):
    model = make(candidate=False, hidden=[])
    assert [tuple(p.shape) for p in model.tower.parameters()] == [(1, 3 * 6 + 3 + 5), (1,)]
    agrees(model, data, candidate=False, hidden=0)


def test_match_without_interest_multiplies_the_candidate_with_the_mean(data):
    agrees(make(interest=False, match=True), data, match=True)


def test_histories_may_be_empty_and_items_without_any_modality(data):
    model = make()
    none = replace(data, mask=torch.zeros_like(data.mask))
    agrees(model, none)
    gone = {name: torch.zeros_like(here) for name, here in data.items.present.items()}
    agrees(model, replace(data, items=replace(data.items, present=gone)))


@pytest.mark.parametrize("interest", [True, False])
@pytest.mark.parametrize("pooling", ["paper", "softmax"])
def test_one_history_for_all_events_gives_what_its_repetition_gives(interest, pooling, data):
    model = make(interest=interest, pooling=pooling).eval()
    encoded = model.encode(data.items)
    history, mask = data.history[[2]], data.mask[[2]] & (torch.arange(6) != 1)
    found = model.score(encoded, data.user, data.candidate, history, mask)
    repeated = history.expand(len(data.user), -1), mask.expand(len(data.user), -1)
    torch.testing.assert_close(found, model.score(encoded, data.user, data.candidate, *repeated))
    assert found.std() > 0.01


def with_modalities(data, sizes):
    """The same batch with other modalities, some of them missing."""
    g = torch.Generator().manual_seed(3)
    m = len(data.items)
    present = {name: torch.rand(m, generator=g) < 0.7 for name in sizes}
    features = {
        name: torch.randn(m, length, generator=g, dtype=torch.float64) * present[name][:, None]
        for name, length in sizes.items()
    }
    inputs = ModelInputs(toy.INPUTS.users, toy.INPUTS.items, toy.INPUTS.categories, sizes)
    return replace(data, items=replace(data.items, features=features, present=present)), inputs


@pytest.mark.parametrize("sizes", [{}, {"text": 4}, {"image": 5, "text": 4, "click": 3}], ids=len)
@pytest.mark.parametrize("row", ["base", "base + MIN", "gmmf"])
def test_it_works_with_any_number_of_modalities(sizes, row, data):
    data, inputs = with_modalities(data, sizes)
    model = make(inputs, **ABLATIONS[row])
    agrees(model, data)
    assert model.parts == ("id", *sizes)
    model.train()
    toy.losses(model, data).backward()
    torch.stack([model.discriminator_loss(data.items), model.generator_loss(data.items)]).sum()
    assert len(list(model.generators())) == (4 * len(sizes) if row == "gmmf" else 0)


def test_the_gate_shares_each_dimension_among_the_parts_or_each_part_among_its_dimensions():
    users = torch.arange(toy.INPUTS.users)
    across, within = (make(gate=gate).importance(users) for gate in ("across", "within"))
    assert across.shape == within.shape == (len(users), 3, 6)
    ones = torch.ones(len(users), 6, dtype=torch.float64)
    torch.testing.assert_close(across.sum(1), ones)
    torch.testing.assert_close(within.sum(2), ones[:, :3])
    assert across.std(0).min() > 0


# Losses.


def mean_verdict(state, items, m, vectors, truth):
    """Mean cross-entropy of the discriminator's logits on (E, vector) over items with an id and the modality."""
    terms = []
    for i, vector in vectors.items():
        logit = dense(state, f"discriminator.{m}.layers", np.concatenate([identity(state, items, i), vector]))[0]
        terms.append(np.log1p(np.exp(-logit)) if truth else np.log1p(np.exp(logit)))
    return np.mean(terms)


def known(items, m):
    return [i for i in range(len(items)) if items.present[m][i] and items.id[i] > 0]


@pytest.mark.parametrize("autoencoder", [True, False])
def test_the_losses_of_discriminator_and_generator_are_16_and_17_over_known_items(autoencoder, data):
    model, items = make(autoencoder=autoencoder), data.items
    # An item without an id that has a modality must not count.
    assert any(items.present[m][i] and items.id[i] == 0 for m in items.features for i in range(len(items)))
    state, judge, maker = toy.Naive(model), 0.0, 0.0
    for m in items.features:
        real = {i: given(state, items, i, m) for i in known(items, m)}
        fake = {i: generated(state, items, i, m) for i in known(items, m)}
        judge += mean_verdict(state, items, m, real, True) + mean_verdict(state, items, m, fake, False)
        maker += mean_verdict(state, items, m, fake, True)
    np.testing.assert_allclose(model.discriminator_loss(items).item(), judge, rtol=1e-9)
    np.testing.assert_allclose(model.generator_loss(items).item(), maker, rtol=1e-9)


def test_the_reconstruction_is_14_over_the_items_that_have_the_modality(data):
    model, items = make(reconstruction=0.3).train(), data.items
    state, losses = toy.Naive(model), model(data).losses
    assert list(losses) == ["reconstruction.image", "reconstruction.text"]
    for m in items.features:
        errors = [
            np.mean((dense(state, f"autoencoders.{m}.decoder", given(state, items, i, m)) - vector.numpy()) ** 2)
            for i, vector in enumerate(items.features[m])
            if items.present[m][i]
        ]
        np.testing.assert_allclose(losses[f"reconstruction.{m}"].item(), 0.3 * np.mean(errors), rtol=1e-9)
    assert not model.eval()(data).losses
    assert not make(autoencoder=False).train()(data).losses


def trained_by(model, loss):
    """Names of the parameters that a loss has a gradient for other than zero."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_each_loss_reaches_only_what_it_is_to_train(data):
    model = make().train()
    whole = {name for name, _ in model.named_parameters()}
    judges = {name for name in whole if name.startswith("discriminator.")}
    makers = {name for name in whole if name.startswith("generator.")}
    assert trained_by(model, model.discriminator_loss(data.items)) == judges
    # The discriminator's gradients from (16) are left unused: the generator's optimiser holds the generator alone.
    assert trained_by(model, model.generator_loss(data.items)) == judges | makers
    by_name = {id(p): name for name, p in model.named_parameters()}
    assert {by_name[id(p)] for p in model.generators()} == makers
    assert {by_name[id(p)] for p in model.discriminators()} == judges
    assert {by_name[id(p)] for p in model.backbone()} == whole - judges - makers
    assert trained_by(model, toy.losses(model, data)) >= whole - judges - makers


def test_the_ablations_are_the_eight_rows_of_table_3():
    switches = {tuple(sorted(choice.items())) for choice in ABLATIONS.values()}
    assert len(ABLATIONS) == len(switches) == 8
    assert ABLATIONS["gmmf"] == {"autoencoder": True, "difference": True, "interest": True}
    for name, choice in ABLATIONS.items():
        whole = name == "gmmf"
        assert choice["autoencoder"] == (whole or "auto-encoder" in name or "DSN" in name)
        assert choice["difference"] == (whole or "auto-difference" in name or "DSN" in name)
        assert choice["interest"] == (whole or "MIN" in name)


@pytest.mark.parametrize("option", ["pooling", "gate", "difference_weights"])
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(option):
    with pytest.raises(ParameterError, match=f"{option} == 'other', must be one of"):
        GMMF(toy.INPUTS, **{option: "other"})
