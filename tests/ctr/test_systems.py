"""The rows of a table: the models asked for, then every control that the data allow."""

from __future__ import annotations

import pytest

from trimodal.ctr.models import MODELS, build, options
from trimodal.ctr.systems import System, ablated, compared, is_baseline, system_named
from trimodal.errors import ParameterError

BOTH = ("image", "text")


def names(models, recipe="temporal", modalities=BOTH):
    return [system.name for system in compared(models, recipe=recipe, modalities=modalities)]


def test_all_models_come_in_the_papers_order_and_every_control_after_them():
    assert names(None) == [
        "lr", "fm", "deepfm", "youtubenet", "din", "lmf", "mtfn", "naml", "marn", "gmmf",
        "gmmf-match", "gmmf-mean", "random", "popularity", "item mean", "item + user mean", "item only",
        "gmmf, shuffled history", "gmmf, shuffled modality",
    ]  # fmt: skip
    rows = compared(None, recipe="temporal", modalities=BOTH)
    assert [row.control for row in rows] == [False] * 12 + [True] * 7


def test_means_are_left_out_where_negatives_are_sampled():
    assert [name for name in names(None) if name not in names(None, recipe="din-2018")] == [
        "item mean", "item + user mean",
    ]  # fmt: skip


def test_the_shuffled_rows_are_of_the_last_model_with_a_history_where_gmmf_is_not_asked_for():
    assert names(["din", "youtubenet", "lr"])[-2:] == ["youtubenet, shuffled history", "youtubenet, shuffled modality"]
    assert names(["gmmf", "din"])[-2:] == ["gmmf, shuffled history", "gmmf, shuffled modality"]
    assert names(["lr", "fm"])[-1] == "item only"


def test_no_modality_is_shuffled_where_there_is_none():
    assert names(["din"], modalities=())[-2:] == ["item only", "din, shuffled history"]


def test_a_shuffled_row_is_the_same_model_with_the_settings_tuned_for_it():
    history, modality = compared(["gmmf"], recipe="temporal", modalities=BOTH)[-2:]
    assert (history.model, history.shuffled, history.tuned_as) == ("gmmf", "history", "gmmf")
    assert (modality.model, modality.shuffled, modality.tuned_as) == ("gmmf", "modality", "gmmf")


def test_a_variant_is_a_model_with_options_of_its_own_and_its_shuffled_rows_have_them():
    match = system_named("gmmf-match", {"dimension": 8})
    assert (match.model, match.options) == ("gmmf", {"match": True, "merge": "sum", "dimension": 8})
    rows = compared(["din", "gmmf-match"], recipe="temporal", modalities=BOTH)
    assert [row.name for row in rows[-2:]] == ["gmmf-match, shuffled history", "gmmf-match, shuffled modality"]
    assert {(row.model, row.options["match"], row.tuned_as) for row in rows[-2:]} == {("gmmf", True, "gmmf-match")}


def test_baselines_are_all_that_is_neither_a_control_nor_gmmf():
    rows = compared(None, recipe="temporal", modalities=BOTH)
    assert [row.name for row in rows if is_baseline(row)] == [name for name in MODELS if name != "gmmf"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["gmmf", "svm", "gbdt"], "models == svm, gbdt, must be of lr, fm"),
        (["item-only"], "models == item-only, must be of"),
        ([], "models == none, must be of"),
        (["lr", "din", "lr"], "models == lr,din,lr, a model stands there twice"),
    ],
)
def test_wrong_models_are_refused(models, message):
    with pytest.raises(ParameterError, match=message):
        names(models)


def test_ablated_are_the_eight_rows_of_table_3_with_the_parts_that_their_names_say():
    every = ablated(recipe="temporal", modalities=BOTH)
    rows = [row for row in every if not row.control]
    assert len(rows) == 8
    controls = [row for row in compared(["gmmf"], recipe="temporal", modalities=BOTH) if row.control]
    assert [row for row in every if row.control] == controls
    assert {row.model for row in rows} == {"gmmf"}
    assert (rows[0].name, rows[-1].name) == ("base", "gmmf")
    for row in rows:
        whole = row.name == "gmmf"
        dsn = row.name == "base + DSN"
        assert {"autoencoder": True, "difference": True, "interest": True, **row.options} == {
            "autoencoder": whole or dsn or "auto-encoder" in row.name,
            "difference": whole or dsn or "CGAN + auto-difference" in row.name,
            "interest": whole or "MIN" in row.name,
        }
    assert len({str(row.options) for row in rows}) == 8
    known = options("gmmf")
    assert all(option in known for row in rows for option in row.options)


def test_slugs_are_paths_and_differ():
    rows = [*compared(None, recipe="temporal", modalities=BOTH), *ablated(recipe="temporal", modalities=BOTH)[:7]]
    slugs = [row.slug for row in rows]
    assert len(set(slugs)) == len(slugs)
    assert System("GMMF, shuffled  history+", "").slug == "gmmf-shuffled-history"


def test_every_row_can_be_built(small):
    for row in [*compared(None, recipe="temporal", modalities=BOTH), *ablated(recipe="temporal", modalities=BOTH)]:
        if row.model:
            assert build(row.model, small.tables.inputs, **row.options).name == row.model
    assert set(MODELS) <= {row.model for row in compared(None, recipe="temporal", modalities=BOTH)}
