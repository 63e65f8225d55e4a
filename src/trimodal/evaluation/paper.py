"""What the paper reports, to stand beside what is measured here (Kantarcı & Gönen, IEEE CAI 2024, Tables I to III).

The paper's shop data are not public: these are marks to compare the pattern with, not values to reproduce.
"""

from __future__ import annotations

from itertools import combinations

from .clustering import ClusteringRow

ENCODERS = {"text": "LaBSE", "image": "CLIP", "click": "Prod2Vec"}
"""The paper's encoder of each modality."""

TABLE_1 = {
    "products": 915_817,
    "clicks": 13_616_732,
    "visitors": 3_065_399,
    "sessions": 4_233_976,
    "clicks_per_session": {"min": 2, "max": 184, "mean": 3.22},
    "title_words": {"min": 1, "max": 43, "mean": 8.24},
}

CATEGORIES = 20
"""Categories of Table II."""

_TABLE_2 = {
    ("image",): {"early": 0.7254, "intermediate": 0.7417},
    ("text",): {"early": 0.7723, "intermediate": 0.7909},
    ("click",): {"early": 0.6568, "intermediate": 0.6852},
    ("image", "text"): {"early": 0.8728, "intermediate": 0.8680},
    ("image", "click"): {"early": 0.8135, "intermediate": 0.8726},
    ("text", "click"): {"early": 0.8528, "intermediate": 0.8798},
    ("image", "text", "click"): {"early": 0.8840, "intermediate": 0.9153, "late": 0.8270},
}

_TABLE_3 = {
    ("image", "text", "click"): {3: 1.0, 20: 0.9153, 50: 0.7889},
    ("click",): {3: 0.9148, 20: 0.6852, 50: 0.5320},
}

_BY_SUBSET = {frozenset(subset): values for subset, values in _TABLE_2.items()}
_BY_COUNT = {frozenset(subset): values for subset, values in _TABLE_3.items()}


def paper_ari(modalities: tuple[str, ...], strategy: str, categories: int) -> float | None:
    """The paper's adjusted Rand index of a cell of Table II or III; None where it has none.

    Table II stands beside any number of categories, as the nearest thing there is, except for the numbers of Table
    III, which stand beside their own.
    """
    subset = frozenset(modalities)
    if strategy == "intermediate" and categories in (3, 50):
        return _BY_COUNT.get(subset, {}).get(categories)
    return _BY_SUBSET.get(subset, {}).get(strategy)


def patterns(rows: tuple[ClusteringRow, ...]) -> list[tuple[str, float, float]]:
    """What the paper's Table II says, as differences of ARI: (sentence, in the paper, here).

    Only those whose cells are all among `rows`.
    """
    here = {(frozenset(row.modalities), row.strategy): row.ari for row in rows}
    paper = {(subset, name): value for subset, values in _BY_SUBSET.items() for name, value in values.items()}
    everything = frozenset(ENCODERS)
    singles = [(frozenset([name]), "intermediate") for name in ENCODERS]
    pairs = [(everything - {name}, "intermediate") for name in ENCODERS]
    all_three = (everything, "intermediate")
    asked = [
        ("all three less the best single modality", all_three, singles),
        ("all three less the best pair", all_three, pairs),
        ("all three less clicks alone", all_three, [(frozenset(["click"]), "intermediate")]),
        *(
            (f"{one} + {other} less the better of the two", (frozenset([one, other]), "intermediate"), two)
            for one, other in combinations(ENCODERS, 2)
            for two in [[(frozenset([name]), "intermediate") for name in (one, other)]]
        ),
        ("intermediate less early fusion, all three", all_three, [(everything, "early")]),
        ("intermediate less late fusion, all three", all_three, [(everything, "late")]),
    ]
    return [
        (
            sentence,
            paper[cell] - max(paper[other] for other in others),
            here[cell] - max(here[other] for other in others),
        )
        for sentence, cell, others in asked
        if cell in here and all(other in here for other in others)
    ]
