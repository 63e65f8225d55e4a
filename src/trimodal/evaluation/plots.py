"""The map: products in two dimensions, coloured by category, with a picture per category (the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.pictures import PictureSource, is_url
from ..errors import DataError, ItemError, MissingExtraError, ParameterError
from ..files import atomic
from ..fusion import fusion_strategy
from ..ids import ProductIds
from .clustering import complete_products, of_largest, stratified, tsne_layout

if TYPE_CHECKING:
    from ..catalog import Catalog
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
    catalog, names = recommender.catalog_, list(modalities or recommender.embeddings_)
    embeddings = {name: recommender.embeddings_[name] for name in names}
    labels, complete = complete_products(embeddings, catalog.categories)
    chosen = stratified(labels, of_largest(labels, complete, categories), sample, seed)
    if len(chosen) < 10:
        raise DataError(f"only {len(chosen)} products have a category and every one of {', '.join(names)}.")
    ids = ProductIds([catalog.ids[i] for i in chosen])
    some = {name: e.aligned(ids) for name, e in embeddings.items()}
    settings: dict[str, Any] = {"clusters": categories, "seed": seed} if strategy == "late" else {}
    layout = tsne_layout(fusion_strategy(strategy, modalities=names, **settings).fit(some), some, seed=seed)
    found, group = np.unique(labels[chosen].astype(str), return_inverse=True)
    pictures = [_picture(catalog, chosen[i]) for i in _middles(layout, group)]

    # Golden steps through the colours: categories that are neighbours by name are far apart in colour.
    steps = (np.arange(len(found)) * 0.618034) % 1
    colors = matplotlib.colormaps["turbo"](0.03 + 0.94 * steps)
    figure = matplotlib.figure.Figure(figsize=(12, 8), dpi=120, layout="constrained")
    columns = 1 + (len(found) - 1) // 20
    left, right = figure.subplots(1, 2, width_ratios=[2.6, 0.55 + 0.45 * columns])
    # Last colours must not hide the first: draw the points in a random order.
    order = np.random.default_rng(seed).permutation(len(layout))
    left.scatter(*layout[order].T, c=colors[group[order]], s=9, linewidths=0, alpha=0.85)
    left.set_title(f"{strategy} fusion of {', '.join(names)}: {len(ids):,} products, {len(found)} categories")
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


def _middles(layout: NDArray[np.float64], group: NDArray[np.int64]) -> list[int]:
    """The product nearest to the median of each group."""
    middles = []
    for g in range(group.max() + 1):
        members = np.flatnonzero(group == g)
        away = np.linalg.norm(layout[members] - np.median(layout[members], axis=0), axis=1)
        middles.append(int(members[np.argmin(away)]))
    return middles


def _picture(catalog: Catalog, place: int) -> NDArray[np.uint8] | None:
    value, root = catalog.images[place], catalog.image_roots()[place]
    if value is None or is_url(value):
        return None
    try:
        picture = PictureSource(root or ".", allow_outside=root is None).open(value)
    except ItemError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(picture)


def _legend(
    axes: Any, names: NDArray[Any], colors: NDArray[Any], pictures: list[NDArray[np.uint8] | None], columns: int
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
