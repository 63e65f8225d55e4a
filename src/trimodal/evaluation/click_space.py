"""Where the search for Prod2Vec's parameters looks, where it starts, and what a trial may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.click import Prod2VecSettings, click_settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TUNED = ("dimension", "window", "epochs", "negative", "ns_exponent", "sample", "alpha", "min_count", "skip_gram")
"""The parameters that are searched."""
NO_SAMPLING = 1e-2
"""A threshold above this one stands for no down-sampling at all, its natural limit: `sample` becomes 0."""
_KNOWN: dict[str, Any] = {
    "dimension": 128,
    "window": 10,
    "epochs": 30,
    "negative": 10,
    "ns_exponent": -0.5,
    "sample": 1e-3,
    "alpha": 0.025,
    "min_count": 1,
    "skip_gram": True,
}
_OVERHEAD = 100
"""What a pair costs besides its vectors, in dimensions; measured on one core."""


def space() -> dict[str, BaseDistribution]:
    """What is drawn, per parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    return {
        "dimension": CategoricalDistribution((64, 128, 256, 512)),
        "window": IntDistribution(2, 25, log=True),
        "epochs": IntDistribution(3, 60, log=True),
        "negative": IntDistribution(3, 20, log=True),
        "ns_exponent": FloatDistribution(-1.0, 1.0, step=0.05),
        "sample": FloatDistribution(1e-5, 3e-2, log=True),
        "alpha": FloatDistribution(0.01, 0.5, log=True),
        "min_count": IntDistribution(1, 5),
        "skip_gram": CategoricalDistribution((True, False)),
    }


def starts() -> list[dict[str, Any]]:
    """The first trials: the preset `paper`, and where the literature found session data to be served best.

    Caselles-Dupré, Lesaint and Royo-Letelier, "Word2vec applied to recommendation: hyperparameters matter"
    (RecSys 2018): a negative exponent of the noise distribution, many epochs, down-sampling, another window.
    """
    paper = click_settings("paper")
    return [{name: getattr(paper, name) for name in TUNED}, dict(_KNOWN)]


def settings_of(drawn: Mapping[str, Any], base: Prod2VecSettings) -> Prod2VecSettings:
    """What was drawn as settings; numbers of two digits, so that what is printed is what was tried."""
    values = dict(drawn)
    values["alpha"] = float(f"{values['alpha']:.2g}")
    values["sample"] = 0.0 if values["sample"] > NO_SAMPLING else float(f"{values['sample']:.2g}")
    values["ns_exponent"] = round(values["ns_exponent"], 2)
    return replace(base, **values)


def work(settings: Prod2VecSettings, lengths: NDArray[np.int64]) -> float:
    """How long training takes, in units of no meaning: proportional to epochs, pairs, negatives and dimension.

    Parameters
    ----------
    lengths
        Clicks per session [s]; a window wider than the sessions costs nothing more. Down-sampling is left out, so
        this is from above.
    """
    s = settings
    count = np.bincount(lengths)
    lags = np.arange(1, s.window + 1)
    apart = np.array([(np.maximum(np.arange(len(count)) - lag, 0) * count).sum() for lag in lags.tolist()])
    # Gensim draws each window from 1..window: a pair at a lag is seen with the chance that the draw reaches it.
    pairs = 2 * float((apart * (s.window - lags + 1) / s.window).sum())
    answers = (s.negative + 1) * (pairs if s.skip_gram else float(lengths.sum()))
    return s.epochs * (answers + (0.0 if s.skip_gram else 2 * pairs)) * (s.dimension + _OVERHEAD)


def affordable(settings: Prod2VecSettings, lengths: NDArray[np.int64], max_cost: float) -> Prod2VecSettings:
    """The settings with as many of their epochs as cost at most `max_cost` times the preset `paper`."""
    limit = max_cost * work(click_settings("paper"), lengths)
    epoch = work(replace(settings, epochs=1), lengths)
    return replace(settings, epochs=max(1, int(min(settings.epochs, limit / max(epoch, 1.0) + 1e-9))))
