"""The table of a comparison says what the scores on disk say, and chooses its baseline without the test."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy import stats

from trimodal.ctr.comparison import run_comparison, table
from trimodal.ctr.comparison_table import ComparisonTable
from trimodal.ctr.models.gmmf import ABLATIONS
from trimodal.ctr.paper import SAMPLES, TABLE_2, TABLE_3, paper_auc, paper_set
from trimodal.ctr.runs import Plan, Run, measured
from trimodal.ctr.systems import System, compared
from trimodal.ctr.training import TrainingSettings
from trimodal.errors import DataError, ParameterError

SETTINGS = TrainingSettings(epochs=1, batch_size=256, max_history=6)
CONTRACT = {
    "model", "control", "auc_user", "auc_user_low", "auc_user_high", "auc_impression_weighted",
    "auc_positive_weighted", "auc_pooled", "logloss", "seeds", "parameters", "p_against_best_baseline",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compare(small, out, **options) -> ComparisonTable:
    systems = compared(["lr", "youtubenet", "gmmf"], recipe="temporal", modalities=list(small.features.vectors))
    return run_comparison(
        systems, small.data, features=small.features, out=out, **{"settings": SETTINGS, "seeds": 2, **options}
    )


@pytest.fixture(scope="module")
def compared_small(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    return compare(small, out), out


def scores_on_disk(out, part="test"):
    """By system, the scores [seeds, n] in the order of the seeds."""
    found = {}
    for record in sorted((out / "runs").glob("*/*/run.json")):
        name = json.loads(record.read_text())["system"]
        found.setdefault(name, []).append(load_file(record.parent / "scores.safetensors")[part].astype(np.float64))
    return {name: np.stack(scores) for name, scores in found.items()}


def naive_auc(label, score):
    pairs = [(p > n) + 0.5 * (p == n) for p in score[label == 1] for n in score[label == 0]]
    return np.mean(pairs) if pairs else np.nan


def per_user(events, score):
    """AUC, events and clicks of every visitor with both classes, by visitor."""
    found = {}
    for user in np.unique(events.user):
        mine = events.user == user
        auc = naive_auc(events.label[mine], score[mine])
        if not np.isnan(auc):
            found[int(user)] = (auc, mine.sum(), events.label[mine].sum())
    return np.array([found[user] for user in sorted(found)])


def test_every_row_says_what_the_scores_on_disk_say(small, compared_small):
    made, out = compared_small
    events, scores = small.data.parts["test"], scores_on_disk(out)
    assert set(scores) == {row.model for row in made.rows}
    for row in made.rows:
        users = np.stack([per_user(events, score) for score in scores[row.model]])  # [seeds, users, 3]
        auc, shown, clicked = users[..., 0], users[0, :, 1], users[0, :, 2]
        assert row.seeds == len(users) == 2
        assert row.auc_user == pytest.approx(auc.mean())
        assert row.auc_impression_weighted == pytest.approx((auc @ shown / shown.sum()).mean())
        assert row.auc_positive_weighted == pytest.approx((auc @ clicked / clicked.sum()).mean())
        assert row.auc_pooled == pytest.approx(np.mean([naive_auc(events.label, s) for s in scores[row.model]]))
        if row.parameters:
            chance = 1 / (1 + np.exp(-scores[row.model]))
            loss = -np.log(np.where(events.label == 1, chance, 1 - chance))
            assert row.logloss == pytest.approx(loss.mean(), rel=1e-6)
        else:
            assert row.logloss is None
        half = stats.t.ppf(0.975, 1) * stats.sem(auc.mean(1))  # two seeds: one degree of freedom
        assert row.auc_user_seed_low == pytest.approx(row.auc_user - half)
        assert row.auc_user_seed_high == pytest.approx(row.auc_user + half)
        # Over users a bootstrap, which for this many of them is near the normal interval.
        mine = auc.mean(0)
        half = 1.96 * mine.std() / np.sqrt(len(mine))
        assert row.auc_user_low == pytest.approx(mine.mean() - half, abs=0.02)
        assert row.auc_user_high == pytest.approx(mine.mean() + half, abs=0.02)
    left_out = 1 - len(shown) / len(np.unique(events.user))
    assert (made.users, made.users_left_out) == (len(np.unique(events.user)), pytest.approx(left_out))


def test_tests_are_paired_by_user_over_the_mean_of_the_seeds(small, compared_small):
    made, out = compared_small
    events, scores = small.data.parts["test"], scores_on_disk(out)
    auc = {name: np.mean([per_user(events, s)[:, 0] for s in seeds], axis=0) for name, seeds in scores.items()}
    for row in made.rows:
        if row.model == made.best_baseline:
            assert row.difference_from_best_baseline is row.difference_low is row.p_against_best_baseline is None
            continue
        gain = auc[row.model] - auc[made.best_baseline]
        assert row.difference_from_best_baseline == pytest.approx(gain.mean())
        assert row.p_against_best_baseline == pytest.approx(
            stats.ttest_rel(auc[row.model], auc[made.best_baseline]).pvalue
        )
        assert row.difference_low <= row.difference_from_best_baseline <= row.difference_high


def test_rows_are_the_systems_with_every_control(compared_small):
    made, _ = compared_small
    assert [row.model for row in made.rows if not row.control] == ["lr", "youtubenet", "gmmf"]
    assert [row.model for row in made.rows if row.control] == [
        "random", "popularity", "item mean", "item + user mean", "item only",
        "gmmf, shuffled history", "gmmf, shuffled modality",
    ]  # fmt: skip
    assert [row.parameters > 0 for row in made.rows] == [True] * 3 + [False] * 4 + [True] * 3


def test_the_best_baseline_is_the_best_on_validation_and_never_gmmf_or_a_control(small, compared_small):
    made, out = compared_small
    valid = {
        name: np.mean([naive_auc(small.data.parts["valid"].label, s) for s in seeds])
        for name, seeds in scores_on_disk(out, "valid").items()
    }
    assert made.monitor == "auc_pooled"
    assert {row.model: row.valid for row in made.rows} == pytest.approx(valid)
    assert made.best_baseline == max(("lr", "youtubenet"), key=valid.get)


def crafted(data, quality: dict[str, tuple[float, float]]):
    """Systems whose scores are the label times a quality on validation and on the test, plus noise."""
    systems = [System(name, name) for name in quality]
    plans = {s.name: Plan(s, SETTINGS, data.fingerprint, "0") for s in systems}
    runs = {}
    for number, (name, shares) in enumerate(quality.items()):
        rng = np.random.default_rng(number)
        scores = {
            part: (share * data.parts[part].label + rng.normal(size=len(data.parts[part]))).astype(np.float32)
            for part, share in zip(("valid", "test"), shares, strict=True)
        }
        record = {part: measured(data, part, values, probable=True).to_dict() for part, values in scores.items()}
        runs[name] = [Run({**record, "data": data.fingerprint, "parameters": 1, "best_epoch": 1}, scores)]
    return systems, runs, {"trials": 0, "plans": plans}


def test_another_baseline_that_is_better_on_the_test_is_not_chosen(small):
    systems, runs, rest = crafted(small.data, {"lr": (3.0, 0.1), "din": (0.1, 3.0), "gmmf": (5.0, 5.0)})
    made = table(systems, runs, small.data, **rest)
    lr, din, gmmf = made.rows
    assert made.best_baseline == "lr"
    assert din.auc_user > lr.auc_user + 0.2
    assert din.difference_from_best_baseline == pytest.approx(din.auc_user - lr.auc_user)
    assert lr.p_against_best_baseline is None
    assert gmmf.p_against_best_baseline < 1e-6
    assert lr.auc_user_seed_low is None  # one seed has no interval over seeds


def test_a_system_can_be_asked_for_to_test_against(small):
    systems, runs, rest = crafted(small.data, {"lr": (3.0, 1.0), "din": (0.1, 3.0)})
    made = table(systems, runs, small.data, against="din", **rest)
    assert made.best_baseline == "din"
    assert made.rows[1].p_against_best_baseline is None


def test_one_system_alone_is_its_own_baseline(small):
    systems, runs, rest = crafted(small.data, {"gmmf": (1.0, 1.0)})
    made = table(systems, runs, small.data, **rest)
    assert made.best_baseline == "gmmf"


def test_runs_of_other_data_cannot_enter_a_table(small):
    systems, runs, rest = crafted(small.data, {"lr": (1.0, 1.0), "din": (1.0, 1.0)})
    _, others, _ = crafted(replace(small.data, manifest={"fingerprint": "0" * 64}), {"din": (1.0, 1.0)})
    with pytest.raises(DataError, match="a run of din was made with other data or another recipe"):
        table(systems, {**runs, **others}, small.data, **rest)


def test_the_same_comparison_again_makes_nothing_and_says_the_same(small, compared_small):
    made, out = compared_small
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    assert compare(small, out) == made
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json")} == before


def test_fewer_seeds_take_the_first_runs_that_are_there(small, compared_small):
    _, out = compared_small
    before = len(list(out.rglob("run.json")))
    one = compare(small, out, seeds=1)
    assert len(list(out.rglob("run.json"))) == before
    assert {row.seeds for row in one.rows} == {1}
    scores = scores_on_disk(out)
    events = small.data.parts["test"]
    assert one.rows[0].auc_user == pytest.approx(per_user(events, scores["lr"][0])[:, 0].mean())


def test_tuned_settings_are_those_of_the_row_and_shuffled_rows_take_their_systems(small, tmp_path):
    systems = [System("youtubenet", "youtubenet", {"dimension": 8})]
    systems.append(System("mixed", "youtubenet", {"dimension": 8}, True, shuffled="history", tuned_as="youtubenet"))
    made = run_comparison(
        systems, small.data, features=small.features, out=tmp_path, settings=SETTINGS, seeds=1, trials=3
    )
    (chosen,) = (tmp_path / "tuning").glob("*/chosen.json")  # one search for the two
    told = json.loads(chosen.read_text())
    for row in made.rows:
        assert row.settings["learning_rate"] == told["settings"]["learning_rate"]
        assert row.settings["weight_decay"] == told["settings"]["weight_decay"]
        assert row.settings["dropout"] == told["options"]["dropout"]
        assert row.settings["dimension"] == 8
    assert made.rows[0].valid == pytest.approx(told["value"])
    assert made.trials == 3
    assert "tuning: 3 trials each over learning_rate 3e-4 to 1e-2" in str(made)
    assert "3 trials each" in made.markdown()


def test_json_has_the_keys_that_are_kept(compared_small):
    made, _ = compared_small
    shape = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert shape["recipe"] == "temporal"
    assert len(shape["rows"]) == len(made.rows)
    for row, given in zip(shape["rows"], made.rows, strict=True):
        assert set(row) >= CONTRACT
        assert isinstance(row["control"], bool)
        assert row["model"] == given.model
        assert row["auc_user"] == given.auc_user
        assert row["auc_user_low"] <= row["auc_user"] <= row["auc_user_high"]
    assert set(shape) == {
        "recipe", "data", "monitor", "best_baseline", "trials", "users", "users_left_out", "rows",
    }  # fmt: skip


def test_it_prints_a_line_for_each_system_under_what_the_figures_mean(compared_small):
    made, _ = compared_small
    lines = str(made).splitlines()
    assert lines[0].startswith(f"recipe temporal, data {made.data[:12]}; {made.users:,} users")
    assert f"p is paired by user against {made.best_baseline}" in lines[1]
    assert len(lines) == 4 + len(made.rows)
    assert len({len(line) for line in lines[3:]}) == 1  # columns stand under each other
    for line, row in zip(lines[4:], made.rows, strict=True):
        assert line.startswith(f"({row.model})" if row.control else row.model)
        assert f"{row.auc_user:.4f}" in line
        assert f"{row.auc_user_low:.4f}-{row.auc_user_high:.4f}" in line
    assert "paper" not in lines[3]


def test_markdown_is_a_table_with_the_same_cells(compared_small):
    made, _ = compared_small
    lines = made.markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: 2 + len(made.rows)]]
    assert len({len(row) for row in cells}) == 1
    assert cells[0][:3] == ["system", "AUC (user)", "95 %"]
    assert set(cells[1][1:]) == {"---:"}
    assert [row[0] for row in cells[2:]] == [f"({r.model})" if r.control else r.model for r in made.rows]
    assert cells[2][1] == f"{made.rows[0].auc_user:.4f}"


def of_paper(data, samples, recipe="din-2018"):
    return replace(data, manifest={**data.manifest, "recipe": recipe, "counts": {"samples": samples}})


def test_the_papers_figures_stand_beside_ours_where_the_counts_are_a_set_of_its_own(small):
    for name, samples in SAMPLES.items():
        data = of_paper(small.data, samples)
        assert paper_set(data) == name
        systems, runs, rest = crafted(data, {"lr": (1.0, 1.0), "gmmf": (1.0, 1.0), "base + MIN": (1.0, 1.0)})
        made = table(systems, runs, data, **rest)
        assert [row.paper for row in made.rows] == [TABLE_2[name]["lr"], TABLE_2[name]["gmmf"], TABLE_3[name][3]]
        heading, first, *_ = str(made).splitlines()[3:]
        assert heading.endswith("paper")
        assert first.endswith(f"{TABLE_2[name]['lr']:.4f}")
        assert [paper_auc(data, name) for name in ABLATIONS] == list(TABLE_3[name])
        assert paper_auc(data, "popularity") is None
        assert TABLE_2[name]["gmmf"] == TABLE_3[name][-1]
    assert list(ABLATIONS)[3] == "base + MIN"


def test_the_papers_figures_do_not_stand_beside_other_data(small):
    assert paper_set(of_paper(small.data, SAMPLES["Home"] + 1)) is None
    assert paper_set(of_paper(small.data, SAMPLES["Home"], recipe="temporal")) is None
    assert paper_auc(small.data, "gmmf") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds == 0, must be >= 1"),
        ({"trials": -1}, "trials == -1, must be >= 0"),
        ({"against": "svm"}, "against == 'svm', must be of lr, youtubenet, gmmf, random"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(small, tmp_path, options, message):
    with pytest.raises(ParameterError, match=message):
        compare(small, tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("part", "monitor"), [("test", ""), ("valid", "auc_user")])
def test_data_that_cannot_be_measured_are_refused_before_anything_is_made(small, tmp_path, part, monitor):
    events = small.data.parts[part]
    one_class = events.take(events.label == events.user % 2)
    data = replace(small.data, parts={**small.data.parts, part: one_class})
    with pytest.raises(DataError, match=f"0 visitors have clicks and non-clicks in the part '{part}'"):
        run_comparison(
            [System("lr", "lr")], data, features=small.features, out=tmp_path,
            settings=replace(SETTINGS, monitor=monitor),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())
