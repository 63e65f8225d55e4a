"""What every click model must do, whatever it computes."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trimodal.ctr.batches import ItemRows, ModelInputs
from trimodal.ctr.layers.inputs import IdEmbedding
from trimodal.ctr.models import MODELS, build, options
from trimodal.ctr.models.base import Adversarial
from trimodal.errors import ParameterError

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "ctr" / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)

pytestmark = pytest.mark.parametrize("name", list(MODELS))
WITH_HISTORY = [name for name, model in MODELS.items() if model.uses_history]


@pytest.fixture
def model(name):
    """A model in evaluation, in double precision, every number of which matters."""
    return toy.shake(build(name, toy.INPUTS)).double().eval()


@pytest.fixture
def data():
    """A batch in double precision, so that equal means equal."""
    return toy.batch(dtype=torch.float64)


@pytest.fixture
def single():
    """A batch as in training."""
    return toy.batch()


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_it_returns_a_logit_an_event_and_scalar_losses(model, data):
    for mode in (False, True):
        output = model.train(mode)(data)
        assert output.logits.shape == (len(data.user),)
        assert output.logits.isfinite().all()
        assert output.logits.std() > 0.01
        for loss in output.losses.values():
            assert loss.shape == ()
            assert loss.isfinite()


def test_one_seed_gives_one_model_and_one_course_of_training(name, single):
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        model = build(name, toy.INPUTS)
        toy.train(model, single, steps=3)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if name != "lr":  # it starts at zero, whatever the seed
        assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_a_logit_does_not_depend_on_the_rest_of_the_batch(model, data):
    together = model(data).logits
    for event in range(len(data.user)):
        same(model(toy.take_events(data, [event])).logits, together[[event]])
    some = [7, 2, 2, 0]
    same(model(toy.take_events(data, some)).logits, together[some])


def test_padding_has_no_influence(model, data):
    expected = model(data).logits
    other = torch.where(data.mask, data.history, (data.history + 7) % len(data.items))
    same(model(replace(data, history=other)).logits, expected)

    # Padding moves to other places; the items keep their order.
    wide = torch.zeros(len(data.user), 9, dtype=torch.int64)
    mask = torch.zeros(wide.shape, dtype=torch.bool)
    for event in range(len(data.user)):
        clicked = toy.clicked(data, event)
        places = sorted(torch.randperm(9, generator=torch.Generator().manual_seed(event))[: len(clicked)].tolist())
        wide[event, places] = torch.tensor(clicked, dtype=torch.int64)
        mask[event, places] = True
    same(model(replace(data, history=wide, mask=mask)).logits, expected)


def test_items_beyond_the_batch_and_their_order_have_no_influence(model, data):
    expected = model(data).logits
    m = len(data.items)
    extra = toy.rows(m + 9, seed=5, dtype=torch.float64)
    joined = ItemRows(
        torch.cat([data.items.id, extra.id[m:]]),
        torch.cat([data.items.category, extra.category[m:]]),
        {name: torch.cat([v, extra.features[name][m:]]) for name, v in data.items.features.items()},
        {name: torch.cat([v, extra.present[name][m:]]) for name, v in data.items.present.items()},
    )
    order = torch.randperm(m + 9, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    moved = replace(
        data, items=toy.take_items(joined, order), candidate=place[data.candidate], history=place[data.history]
    )
    same(model(moved).logits, expected)


def test_encoded_once_items_can_be_scored_many_times(model, data):
    encoded = model.encode(data.items)
    assert all(len(tensor) == len(data.items) for tensor in encoded.values())
    parts = [
        model.score(encoded, data.user[at], data.candidate[at], data.history[at], data.mask[at])
        for at in torch.arange(len(data.user)).split(5)
    ]
    same(torch.cat(parts), model(data).logits)


def test_one_history_may_stand_for_all_events(model, data):
    encoded = model.encode(data.items)
    for event in range(len(data.user)):
        history, mask = data.history[[event]], data.mask[[event]]
        b = len(data.user)
        each = model.score(encoded, data.user, data.candidate, history.expand(b, -1), mask.expand(b, -1))
        same(model.score(encoded, data.user, data.candidate, history, mask), each)


def test_histories_may_all_be_empty(model, data):
    none = replace(data, mask=torch.zeros_like(data.mask))
    assert model(none).logits.isfinite().all()
    narrow = replace(data, history=data.history[:, :1], mask=torch.zeros_like(data.mask[:, :1]))
    same(model(narrow).logits, model(none).logits)
    model.train()
    toy.losses(model, none).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_history_matters_exactly_where_the_model_says_so(name, model, data):
    other = replace(data, history=(data.history + 3) % len(data.items))
    changed = (model(other).logits - model(data).logits).abs() > 1e-4
    assert changed.any() == (name in WITH_HISTORY)
    assert not changed[~data.mask.any(1)].any()


def test_the_candidate_and_the_user_matter(model, data):
    moved = replace(data, candidate=(data.candidate + 1) % len(data.items))
    assert ((model(moved).logits - model(data).logits).abs() > 1e-4).all()
    moved = replace(data, user=(data.user + 1) % toy.INPUTS.users)
    assert ((model(moved).logits - model(data).logits).abs() > 1e-4).all()


def test_missing_modalities_give_finite_logits_and_their_numbers_no_influence(model, data):
    expected = model(data).logits
    filled = {
        name: torch.where(data.items.present[name][:, None], v, torch.full_like(v, 1e3))
        for name, v in data.items.features.items()
    }
    same(model(replace(data, items=replace(data.items, features=filled))).logits, expected)
    gone = {name: torch.zeros_like(here) for name, here in data.items.present.items()}
    assert model(replace(data, items=replace(data.items, present=gone))).logits.isfinite().all()
    unknown = replace(data.items, present=gone, id=torch.zeros_like(data.items.id))
    unknown = replace(unknown, category=torch.zeros_like(unknown.category))
    assert model(replace(data, items=unknown)).logits.isfinite().all()


def test_unknown_users_and_items_are_zero_and_stay_so(name, single):
    model = build(name, toy.INPUTS)
    toy.train(model, single, steps=5)
    embeddings = [module for module in model.modules() if isinstance(module, IdEmbedding)]
    assert embeddings
    for embedding in embeddings:
        assert embedding.weight[0].abs().max() == 0
        assert embedding.weight[1:].abs().max() > 0


def test_every_parameter_has_a_finite_gradient_from_some_loss(name, single):
    # Of a size at which no sigmoid is saturated: its gradient would be zero.
    model = toy.shake(build(name, toy.INPUTS), spread=0.2).train()
    toy.losses(model, single).backward()
    if isinstance(model, Adversarial):
        model.discriminator_loss(single.items).backward()
        model.generator_loss(single.items).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


def test_the_backbone_is_made_of_parameters_of_the_model(name):
    model = build(name, toy.INPUTS)
    own = {id(p) for p in model.parameters()}
    backbone = [id(p) for p in model.backbone()]
    assert len(set(backbone)) == len(backbone) > 0
    assert set(backbone) <= own


def test_options_survive_json(name):
    written = json.loads(json.dumps(options(name)))
    assert written == options(name)
    torch.manual_seed(0)
    by_default = build(name, toy.INPUTS).state_dict()
    torch.manual_seed(0)
    by_options = build(name, toy.INPUTS, **written).state_dict()
    assert by_default.keys() == by_options.keys()
    assert all(torch.equal(by_default[key], by_options[key]) for key in by_default)


def test_options_are_obeyed(name, single):
    known = options(name)
    if "dimension" in known:
        usual, smaller = build(name, toy.INPUTS), build(name, toy.INPUTS, dimension=8)
        assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in usual.parameters())
        assert smaller(single).logits.isfinite().all()
    if "hidden" in known:
        for hidden in ([], [5], [9, 7, 5]):
            assert build(name, toy.INPUTS, hidden=hidden)(single).logits.isfinite().all()
    if "dropout" in known:
        dropped = toy.shake(build(name, toy.INPUTS, dropout=0.5)).train()
        assert not torch.equal(dropped(single).logits, dropped(single).logits)
        dropped.eval()
        assert torch.equal(dropped(single).logits, dropped(single).logits)


def test_an_unknown_option_is_refused_with_those_that_exist(name):
    with pytest.raises(ParameterError, match=rf"'{name}' has no option 'hiden'") as raised:
        build(name, toy.INPUTS, hiden=[3])
    assert all(option in str(raised.value) for option in options(name))


def test_an_unknown_model_is_refused_with_those_that_exist(name):
    with pytest.raises(ParameterError, match=f"'no such'.*{name}"):
        build("no such", toy.INPUTS)
    with pytest.raises(ParameterError, match=name):
        options("no such")


def test_a_value_of_another_kind_is_refused(name):
    wrong = {"dimension": 0, "dropout": 1.5, "hidden": [8, "x"], "rank": 2.5, "attention": True, "activation": "relu"}
    for option in wrong.keys() & options(name).keys():
        with pytest.raises(ParameterError, match=option):
            build(name, toy.INPUTS, **{option: wrong[option]})


def test_it_works_with_one_modality(name, single):
    sizes = ModelInputs(toy.INPUTS.users, toy.INPUTS.items, toy.INPUTS.categories, {"text": 5})
    text = {"features": {"text": single.items.features["text"]}, "present": {"text": single.items.present["text"]}}
    items = replace(single.items, **text)
    assert toy.shake(build(name, sizes))(replace(single, items=items)).logits.isfinite().all()


def test_it_learns_which_items_please(name):
    data, sizes = toy.planted("quality", 1500, seed=0)
    torch.manual_seed(0)
    model = build(name, sizes)
    toy.train(model, data, steps=150)
    assert toy.auc(model, toy.planted("quality", 600, seed=1)[0]) > 0.9


def test_it_learns_taste_from_the_history_and_from_nothing_else(name):
    data, sizes = toy.planted("taste", 3000, seed=0)
    torch.manual_seed(0)
    model = build(name, sizes)
    toy.train(model, data, steps=250)
    score = toy.auc(model, toy.planted("taste", 600, seed=1)[0])
    if name in WITH_HISTORY:
        assert score > 0.9
    else:
        assert abs(score - 0.5) < 0.1
