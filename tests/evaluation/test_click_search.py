"""The search chooses on validation alone, goes on where it was stopped, and counts what has no vector as missed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from trimodal.clicks import ClickLog
from trimodal.encoders.click import Prod2Vec, click_settings
from trimodal.errors import DataError, MissingExtraError, ParameterError
from trimodal.evaluation.click_results import Difference, described
from trimodal.evaluation.click_search import search_clicks
from trimodal.evaluation.click_space import TUNED, affordable, settings_of, space, starts, work
from trimodal.evaluation.retrieval import NextClicks
from trimodal.ids import ProductIds

N = 60
IDS = ProductIds([f"p{i}" for i in range(N)])
CHEAP = {"max_cost": 1.0, "k": 5}


def sessions(count, seed):
    """Sessions inside six groups of ten products, the later ones of a group clicked less and less."""
    rng = np.random.default_rng(seed)
    chance = 0.6 ** np.arange(10)
    chance /= chance.sum()
    draw = [rng.choice(10, rng.integers(2, 6), replace=False, p=chance) for _ in range(count)]
    return [group + 10 * rng.integers(6) for group in draw]


@pytest.fixture(scope="module")
def parts(make_log):
    return make_log(sessions(500, 0), IDS).split(0.2)


def repeatable(found):
    """All that does not speak of seconds."""
    trials = [replace(trial, seconds=0.0) for trial in found.trials]
    return replace(found, trials=trials, paper=replace(found.paper, seconds=0), best=replace(found.best, seconds=0))


def test_it_begins_with_the_preset_and_judges_on_later_sessions(parts, tmp_path):
    log, test = parts
    seen = []
    found = search_clicks(log, test, study=tmp_path / "s", trials=7, report=seen.append, k=5)
    assert [trial.number for trial in found.trials] == list(range(1, 8))
    assert list(found.trials) == seen
    assert found.trials[0].settings == {name: getattr(click_settings("paper"), name) for name in TUNED}
    assert found.trials[1].settings == starts()[1]
    assert found.found == max(found.trials, key=lambda trial: trial.ndcg).settings
    assert len({described(trial.settings) for trial in found.trials}) == 7
    assert found.sessions == {"train": 320, "validation": 80, "test": 100}
    # Products of a group belong together, which the preset with its few epochs hardly learns from 320 sessions.
    assert found.gains
    assert found.differences["ndcg"].value == pytest.approx(found.best.ndcg - found.paper.ndcg)
    for gap in found.differences.values():
        assert gap.low <= gap.value <= gap.high
    assert "keep them" in str(found)
    assert found.options in str(found)
    shape = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(shape["test"]) == {"paper", "found", "differences"}
    assert (shape["verdict"], shape["options"]) == (found.verdict, found.options)


def test_what_is_worse_or_not_sure_is_said(parts, tmp_path):
    found = search_clicks(*parts, study=tmp_path / "s", trials=2, k=5)

    def verdict(low, high):
        return replace(found, differences={"ndcg": Difference((low + high) / 2, low, high)}).verdict

    assert found.options
    assert verdict(0.01, 0.03) == "keep them"
    assert verdict(-0.01, 0.03) == "no gain that can be told from chance: keep the preset paper"
    assert verdict(-0.03, -0.01) == "worse than the preset paper: keep that one"


def test_a_question_about_a_product_without_vector_is_a_miss(parts, tmp_path):
    log, test = parts
    found = search_clicks(log, test, study=tmp_path / "s", trials=1, questions=10_000, k=5)
    train, later = log.split(0.2)
    asked = NextClicks.of(later)
    click = Prod2Vec(click_settings("paper")).fit(train)
    assert (click.state[asked.last] == 0).sum() > 0  # otherwise this would show nothing
    units = click.vectors / np.linalg.norm(click.vectors, axis=1, keepdims=True)
    rows = np.flatnonzero(click.state)
    hits = []
    for last, target in zip(asked.last, asked.target, strict=True):
        if not click.state[last]:
            hits.append(0)
            continue
        near = rows[np.argsort(-(units @ units[click.position[last]]), kind="stable")]
        hits.append(int(target in near[near != last][:5]))
    assert found.trials[0].hit_rate == pytest.approx(np.mean(hits))
    assert found.questions["validation"] == len(hits)


def test_the_same_seed_finds_the_same(parts, tmp_path):
    log, test = parts
    first = search_clicks(log, test, study=tmp_path / "a", trials=8, seed=3, **CHEAP)
    assert repeatable(search_clicks(log, test, study=tmp_path / "b", trials=8, seed=3, **CHEAP)) == repeatable(first)
    other = search_clicks(log, test, study=tmp_path / "c", trials=4, seed=4, **CHEAP)
    assert other.trials[2].settings != first.trials[2].settings


def test_test_sessions_have_no_say_in_the_choice(make_log, tmp_path):
    mine = sessions(500, 0)
    noise = [list(np.random.default_rng(n).permutation(N)[:3]) for n in range(100)]
    (log, test), (same, altered) = (make_log(s, IDS).split(0.2) for s in (mine, mine[:400] + noise))
    first = search_clicks(log, test, study=tmp_path / "a", trials=6, **CHEAP)
    second = search_clicks(same, altered, study=tmp_path / "b", trials=6, **CHEAP)
    assert [replace(t, seconds=0) for t in second.trials] == [replace(t, seconds=0) for t in first.trials]
    assert second.found == first.found
    assert second.best.hit_rate < first.best.hit_rate
    again = []
    assert search_clicks(same, altered, study=tmp_path / "a", trials=6, report=again.append, **CHEAP).found
    assert again == []  # the trials of the first search serve: nothing in them depends on the test sessions


def test_a_stopped_search_takes_the_way_of_one_that_was_not(parts, tmp_path):
    log, test = parts
    whole = search_clicks(log, test, study=tmp_path / "whole", trials=9, **CHEAP)

    class StoppedError(Exception):
        pass

    def stop(trial):
        if trial.number in (1, 4, 8):
            raise StoppedError

    path = tmp_path / "study"
    for _ in range(3):
        with pytest.raises(StoppedError):
            search_clicks(log, test, study=path, trials=9, report=stop, **CHEAP)
        with open(path, "ab") as stream:  # what a kill leaves in the middle of a write
            stream.write(b'{"op_code":6,"worker')
        (tmp_path / "study.lock").touch()
    new = []
    found = search_clicks(log, test, study=path, trials=9, report=new.append, **CHEAP)
    assert [trial.number for trial in new] == [9]
    assert repeatable(found) == repeatable(whole)


def test_other_data_or_another_objective_is_another_search(parts, tmp_path):
    log, test = parts
    path = tmp_path / "s"

    def run(sessions, **settings):
        new = []
        search_clicks(sessions, test, study=path, trials=2, report=new.append, **{**CHEAP, **settings})
        return len(new)

    fewer = ClickLog(log.ids, log.sessions[1:], cleaning=log.cleaning, rejections=log.rejections, records=0, file="")
    assert run(log) == 2
    assert run(log) == 0
    assert run(log, objective="mrr") == 2
    assert run(log, query="session") == 2
    assert run(log, seed=1) == 2
    assert run(fewer) == 2
    assert run(log) == 0


def test_time_and_sample_are_kept_to(parts, tmp_path):
    log, test = parts
    found = search_clicks(log, test, study=tmp_path / "s", trials=50, timeout=0, sample=100, **CHEAP)
    assert len(found.trials) == 1
    assert found.sessions == {"train": 80, "validation": 20, "test": 100}
    assert found.verdict == "no trial was better than the preset paper: keep it"
    assert not found.gains
    assert (found.differences["ndcg"].low, found.differences["ndcg"].high) == (0, 0)
    assert found.best == found.paper
    train, _ = log.split(100 / len(log))[1].split(0.2)
    assert len(train) == 80
    more = search_clicks(log, test, study=tmp_path / "w", trials=2, query="session", workers=2, **CHEAP)
    assert all(trial.hit_rate > 0 for trial in more.trials[1:])


def test_epochs_are_cut_to_what_a_trial_may_cost():
    lengths = np.random.default_rng(0).integers(2, 9, 200)
    paper = click_settings("paper")
    assert affordable(paper, lengths, 1.0) == paper
    assert work(replace(paper, window=20), lengths) < 1.5 * work(paper, lengths)  # wider than the sessions
    assert work(replace(paper, epochs=10), lengths) == 2 * work(paper, lengths)
    dear = replace(paper, epochs=60, negative=20)
    assert affordable(dear, lengths, float("inf")) == dear
    cut = affordable(dear, lengths, 10.0)
    assert 1 < cut.epochs < 60
    assert work(cut, lengths) <= 10 * work(paper, lengths) < work(replace(cut, epochs=cut.epochs + 1), lengths)
    # Pairs by the definition: every centre, every window that may be drawn, every other click in it.
    w = 3
    pairs = sum(np.mean([min(r, i) + min(r, n - 1 - i) for r in range(1, w + 1)]) for n in lengths for i in range(n))
    one = replace(paper, window=w, epochs=1, negative=1, dimension=100)
    assert work(one, lengths) == pytest.approx(2 * pairs * 200)


def test_what_is_printed_is_what_was_tried():
    base = click_settings("paper")
    drawn = {**starts()[0], "alpha": 0.0123456, "sample": 0.00034567, "ns_exponent": -0.15000000000000002}
    settings = settings_of(drawn, base)
    assert (settings.alpha, settings.sample, settings.ns_exponent) == (0.012, 0.00035, -0.15)
    assert settings_of({**drawn, "sample": 0.02}, base).sample == 0
    assert set(space()) == set(TUNED)
    assert all(space()[name]._contains(space()[name].to_internal_repr(v)) for s in starts() for name, v in s.items())


def test_files_that_cannot_be_used_are_left_as_they_are(parts, tmp_path):
    log, test = parts
    other = tmp_path / "products.csv"
    other.write_text("product_id,title\na,b")
    with pytest.raises(DataError, match="is not the journal of a search"):
        search_clicks(log, test, study=other, trials=1)
    assert other.read_text() == "product_id,title\na,b"
    damaged = tmp_path / "damaged"
    damaged.write_text('{"op_code":nothing}\n{"op_code":nothing}\n')
    with pytest.raises(DataError, match="is damaged"):
        search_clicks(log, test, study=damaged, trials=1)
    with (
        FileLock(tmp_path / "taken.busy"),
        pytest.raises(DataError, match="in use by another search"),
    ):
        search_clicks(log, test, study=tmp_path / "taken", trials=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "auc"}, "objective == 'auc', must be one of hit-rate, mrr, ndcg"),
        ({"query": "first"}, "query == 'first'"),
        ({"trials": 0}, "trials == 0, must be >= 1"),
        ({"max_cost": 0.5}, "max_cost == 0.5, must be >= 1"),
        ({"timeout": -1}, "timeout == -1"),
        ({"validation": 2}, "validation == 2"),
        ({"sample": 1}, "sample == 1, must be >= 2"),
    ],
)
def test_settings_outside_their_range_are_named(parts, tmp_path, settings, message):
    with pytest.raises(ParameterError, match=message):
        search_clicks(*parts, study=tmp_path / "s", **settings)
    assert not (tmp_path / "s").exists()


def test_nothing_to_ask_and_nothing_installed_are_said(parts, tmp_path, monkeypatch):
    log, test = parts
    for validation in (0, 1):
        with pytest.raises(DataError, match="leave nothing to use"):
            search_clicks(log, test, study=tmp_path / "s", validation=validation)
    with pytest.raises(DataError, match="test: 0 sessions"):
        search_clicks(log, test.split(0)[1], study=tmp_path / "s")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"trimodal\[tune\]"):
        search_clicks(log, test, study=tmp_path / "s", trials=1)
