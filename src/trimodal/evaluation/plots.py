"""The map: products in two dimensions, coloured by category, with a picture per category (the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, ParameterError
from ..files import atomic
from .category_map import category_map
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from ..recommender import Recommender

FORMATS = (".png", ".svg")
_THUMBNAIL = 96


def draw_map(
    path: str | Path,
    recommender: Recommender,
    *,
    strategy: str = "intermediate",
    modalities: Sequence[str] | None = None,
    categories: int = 20,
    sample: int = 2000,
    seed: int = 0,
) -> None:
    """Draw the t-SNE map of a strategy into a PNG or SVG file.

    Products that have every modality in use and are of one of the largest categories, a sample stratified by
    category; beside it, per category, the picture of the product nearest to the middle of the category.

    Raises
    ------
    ParameterError
        The file's name does not end in .png or .svg.
    DataError
        Too few products have a category and every modality.
    MissingExtraError
        matplotlib is not installed.
    """
    path = Path(path)
    matplotlib = check_figure(path)
    drawn = category_map(
        recommender, strategy=strategy, modalities=modalities, categories=categories, sample=sample, seed=seed
    )
    found, group, layout = drawn.categories, drawn.group, drawn.layout
    thumbnails = Thumbnails(recommender.catalog_, _THUMBNAIL)
    opened = [thumbnails.picture(int(drawn.places[i])) for i in drawn.middles]
    pictures = [None if picture is None else np.asarray(picture) for picture in opened]

    # Golden steps through the colours: categories that are neighbours by name are far apart in colour.
    steps = (np.arange(len(found)) * 0.618034) % 1
    colors = matplotlib.colormaps["turbo"](0.03 + 0.94 * steps)
    figure = matplotlib.figure.Figure(figsize=(12, 8), dpi=120, layout="constrained")
    columns = 1 + (len(found) - 1) // 20
    left, right = figure.subplots(1, 2, width_ratios=[2.6, 0.55 + 0.45 * columns])
    # Last colours must not hide the first: draw the points in a random order.
    order = np.random.default_rng(seed).permutation(len(layout))
    left.scatter(*layout[order].T, c=colors[group[order]], s=9, linewidths=0, alpha=0.85)
    left.set_title(
        f"{strategy} fusion of {', '.join(drawn.modalities)}: {len(layout):,} products, {len(found)} categories"
    )
    left.set(xticks=[], yticks=[], aspect="equal")
    _legend(right, found, colors, pictures, columns)
    with atomic(path) as temporary:
        # Without a date, and with fixed ids, the same map is the same file.
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": "trimodal"}):
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def check_figure(path: Path) -> Any:
    """Raise what `draw_map` would for the file's name or for want of matplotlib; returns matplotlib."""
    if path.suffix not in FORMATS:
        raise ParameterError(f"{path} must end in one of {', '.join(FORMATS)}.")
    try:
        import matplotlib.figure
    except ImportError as error:
        raise MissingExtraError("drawing the map", "plots") from error
    return matplotlib


def _legend(
    axes: Any, names: Sequence[str], colors: NDArray[Any], pictures: list[NDArray[np.uint8] | None], columns: int
) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    rows = -(-len(names) // columns)
    axes.set(xlim=(0, columns), ylim=(-rows + 0.5, 0.5))
    axes.axis("off")
    for i, (name, color, picture) in enumerate(zip(names, colors, pictures, strict=True)):
        x, y = i // rows, -(i % rows)
        axes.plot(x + 0.06, y, "o", color=color, markersize=7)
        if picture is not None:
            box = AnnotationBbox(OffsetImage(picture, zoom=24 / max(picture.shape[:2])), (x + 0.2, y), frameon=False)
            axes.add_artist(box)
        text = name if len(name) <= 26 else name[:25] + "…"
        axes.text(x + 0.34, y, text, va="center", fontsize=8)
