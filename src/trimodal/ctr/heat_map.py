"""The heat map of importance by category or item (Figure 4 of Xiao et al., MM 2022): the darker, the more important."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, check_int
from ..evaluation.plots import check_figure
from ..files import atomic
from .importance import Importance
from .interpretation import Explanation

ABOUT = {
    "gate": "mean of the gate C, which depends on the visitor alone",
    "share": "share of the size of C * H~",
    "removal": "share of the change of the logit without the part",
    "loss": "rise of the log loss without the part, in thousandths of a nat per event",
    "auc": "fall of the AUC without the part, in points",
}
"""What the numbers in the cells are, by measure."""
_FACTOR = {"loss": 1000, "auc": 100}
_LONGEST = 40


def draw_heat_map(
    path: str | Path,
    explanation: Explanation,
    *,
    by: str = "loss",
    level: str = "categories",
    rows: int = 24,
    least: int = 5,
    titles: Mapping[str, str] | None = None,
    seed: int = 0,
) -> None:
    """Draw importance into a PNG or SVG file: a row a category or item, a column a part.

    The cells hold the values of the measure; their colour is the value's share of its row, those below 0 counted as
    0, so that rows with much and rows with little to explain can be read side by side. A value that cannot be had is
    a dash on white.

    Parameters
    ----------
    by
        A measure of `interpretation`.
    level
        `categories`: those with the most events. `items`: a random sample, as in the paper.
    rows
        At most so many rows.
    least
        Items with fewer events are not drawn: their mean is noise.
    titles
        Titles by product id, to name items with.
    seed
        Decides the sample of items.

    Raises
    ------
    ParameterError
        The file's name does not end in .png or .svg, or an argument is outside its range.
    DataError
        No item has `least` events.
    MissingExtraError
        matplotlib is not installed.
    """
    path = Path(path)
    matplotlib = check_figure(path)
    whole = explanation.of(level)
    whole.of(by)  # an unknown measure is refused before rows are looked for
    drawn = _rows(whole, level, check_int("rows", rows, low=1), check_int("least", least, low=1), seed)
    values = drawn.of(by)
    shares = _shares(values)
    names = [_short(name, _LONGEST) for name in drawn.names]
    if level == "items":
        titled = [_short((titles or {}).get(name, name), _LONGEST) for name in drawn.names]
        names = [f"{name} ({_short(group, _LONGEST // 2)})" for name, group in zip(titled, drawn.category, strict=True)]
    count, columns = values.shape
    width = (3.6 if level == "categories" else 4.8) + 1.1 * columns
    figure = matplotlib.figure.Figure(figsize=(width, 1.7 + 0.3 * count), dpi=120, layout="constrained")
    axes = figure.subplots()
    kind = "category" if level == "categories" else "item"
    colors = matplotlib.colormaps["Blues"].with_extremes(bad="white")
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=colors, vmin=0, vmax=1, aspect="auto")
    for row in range(count):
        for column in range(columns):
            # White on dark, black on light: Blues is dark enough for white from about .55 on.
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, _number(values[row, column], by), ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(columns), drawn.parts)
    axes.set_yticks(range(count), names, fontsize=8)
    # A title such as "$5 charger" is text, not a formula.
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=min(1.0, 4 / count + 0.2))
    figure.suptitle(f"Importance of the parts, by {kind}: {explanation.model}, {explanation.part}", fontsize=10)
    figure.supxlabel(f"numbers: {ABOUT[by]}", fontsize=8)
    with atomic(path) as temporary:
        # Without a date, and with fixed ids, the same map is the same file.
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": "trimodal"}):
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def _rows(whole: Importance, level: str, rows: int, least: int, seed: int) -> Importance:
    """The rows to draw; items in the order of category and name, so that what is alike stands together."""
    if level == "categories":
        return whole.take(np.sort(np.argsort(-whole.events, kind="stable")[:rows]))
    enough = np.flatnonzero(whole.events >= least)
    if not len(enough):
        raise DataError(f"no item has {least} events (the most is {whole.events.max(initial=0)}); lower `least`.")
    sample = np.random.default_rng(seed).permutation(enough)[:rows]
    ordered = sorted(sample.tolist(), key=lambda i: (whole.category[i], whole.names[i]))
    return whole.take(np.array(ordered))


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value's share of its row, those below 0 as 0; a row without anything above 0 is all 0; NaN stays."""
    positive = np.clip(values, 0, None)
    total = np.nansum(positive, 1, keepdims=True)
    return np.where(np.isnan(values), np.nan, positive / np.where(total > 0, total, 1))


def _number(value: float, by: str) -> str:
    if np.isnan(value):
        return "-"
    # Rounding first keeps "-0.0" out of the picture.
    return f"{round(value * _FACTOR[by], 1) + 0.0:.1f}" if by in _FACTOR else f"{value:.2f}"


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
