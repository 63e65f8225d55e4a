"""The paper's own figures, to stand beside ours where the data are the same."""

from __future__ import annotations

from .data import CtrData

TABLE_2 = {
    "Electronics": {
        "lr": 0.7212, "fm": 0.7418, "deepfm": 0.7697, "youtubenet": 0.7954, "din": 0.7965, "lmf": 0.8047,
        "mtfn": 0.8145, "naml": 0.8133, "marn": 0.8034, "gmmf": 0.8198,
    },
    "Home": {
        "lr": 0.6624, "fm": 0.6743, "deepfm": 0.6870, "youtubenet": 0.7373, "din": 0.7397, "lmf": 0.7261,
        "mtfn": 0.7368, "naml": 0.7233, "marn": 0.6922, "gmmf": 0.7484,
    },
    "Cell Phones": {
        "lr": 0.6199, "fm": 0.6385, "deepfm": 0.6877, "youtubenet": 0.7818, "din": 0.8149, "lmf": 0.7702,
        "mtfn": 0.7509, "naml": 0.6562, "marn": 0.7521, "gmmf": 0.8300,
    },
}  # fmt: skip
"""AUC of Table 2 (Xiao et al. 2022) on the public sets."""

TABLE_3 = {
    "Electronics": (0.7999, 0.8040, 0.8012, 0.8052, 0.8047, 0.8077, 0.8091, 0.8198),
    "Home": (0.7316, 0.7320, 0.7344, 0.7354, 0.7379, 0.7466, 0.7444, 0.7484),
    "Cell Phones": (0.7613, 0.7935, 0.7644, 0.8190, 0.8075, 0.8255, 0.8228, 0.8300),
}
"""AUC of Table 3's rows (a) to (h): the order of `models.gmmf.ABLATIONS`."""

SAMPLES = {"Electronics": 2_801_167, "Home": 903_807, "Cell Phones": 305_241}
"""Samples of Table 1, which tell whether prepared data are one of these sets."""


def paper_set(data: CtrData) -> str | None:
    """Which of the paper's sets the data are, by recipe and number of samples; None for none of them."""
    if data.recipe != "din-2018":
        return None
    samples = data.manifest["counts"]["samples"]
    return next((name for name, count in SAMPLES.items() if count == samples), None)


def paper_auc(data: CtrData, system: str) -> float | None:
    """The AUC that the paper has for a system, or a row of its ablation, on these data; None where it has none."""
    from .models.gmmf import ABLATIONS

    name = paper_set(data)
    if name is None:
        return None
    rows = list(ABLATIONS)
    return TABLE_2[name].get(system) or (TABLE_3[name][rows.index(system)] if system in rows else None)
