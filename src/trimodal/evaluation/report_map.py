"""The map on the page: what the script draws, and the still picture that stands there without it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .category_map import CategoryMap
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from ..catalog import Catalog

SIDE = 72
"""Longest side of a thumbnail on the map, in pixels."""
QUALITY = 60
_TITLE = 90
_GRID = 10_000


@dataclass(frozen=True)
class Legend:
    """A category in the legend: its colour, how many products, and the picture of the one in its middle."""

    name: str
    color: str
    products: int
    picture: str | None


@dataclass(frozen=True)
class MapView:
    """What the template shows: the data for the script (safe inside a script tag), a still picture, the legend."""

    data: Markup
    still: Markup
    legend: tuple[Legend, ...]
    pictures: int


def map_view(drawn: CategoryMap, catalog: Catalog, *, pictures: int, seed: int = 0) -> MapView:
    """Prepare a map for the page.

    Parameters
    ----------
    drawn
        The layout.
    catalog
        Titles and pictures.
    pictures
        How many products get a thumbnail, at most: the middle of each category first, then evenly over the others.
    seed
        Of the order in which points are drawn, so that no category hides another.
    """
    n = len(drawn.ids)
    low, high = drawn.layout.min(0), drawn.layout.max(0)
    span = float((high - low).max()) or 1.0
    places = np.round((drawn.layout - low) / span * _GRID).astype(np.int64)
    width, height = places.max(0).tolist()
    places[:, 1] = height - places[:, 1]
    order = np.random.default_rng(seed).permutation(n)
    thumbnails = Thumbnails(catalog, SIDE, quality=QUALITY)
    chosen = _with_picture(n, drawn.middles, pictures)
    uris = {i: thumbnails.uri(int(drawn.places[i])) for i in chosen}
    titles = catalog.frame["title"].gather(drawn.places).to_list()
    colors = category_colors(len(drawn.categories))
    data = {
        "width": width,
        "height": height,
        "categories": list(drawn.categories),
        "colors": colors,
        "x": places[order, 0].tolist(),
        "y": places[order, 1].tolist(),
        "group": drawn.group[order].tolist(),
        "id": [drawn.ids[i] for i in order.tolist()],
        "title": [_short(titles[i]) for i in order.tolist()],
        "picture": [(uris.get(i) or "").partition(",")[2] for i in order.tolist()],
    }
    sizes = np.bincount(drawn.group, minlength=len(drawn.categories)).tolist()
    legend = tuple(
        Legend(name, color, size, uris.get(int(middle)))
        for name, color, size, middle in zip(drawn.categories, colors, sizes, drawn.middles, strict=True)
    )
    return MapView(
        script_json(data),
        _still(places, drawn, colors, width, height),
        legend,
        sum(uri is not None for uri in uris.values()),
    )


def script_json(value: Any) -> Markup:
    """JSON that can stand inside a script tag: nothing in it can end the tag, or begin another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def category_colors(count: int) -> list[str]:
    """Colours that can be told apart on a light and on a dark page; neighbours in the list are far apart.

    Golden steps around the hues of OKLCH, at three lightnesses of 0 to 1, so that no hue is paler than another.
    """
    levels = ((0.60, 0.15), (0.69, 0.13), (0.52, 0.12))
    return [_hex(*levels[i % 3], 2 * math.pi * ((0.68 + i * 0.618034) % 1)) for i in range(count)]


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """A colour of OKLCH (Ottosson, 2020) in sRGB."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    cones = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                      [1, -0.0894841775, -1.2914855480]]) @ (lightness, a, b)  # fmt: skip
    linear = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                       [-0.0041960863, -0.7034186147, 1.7076147010]]) @ cones**3  # fmt: skip
    linear = np.clip(linear, 0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * value):02x}" for value in values.tolist())


def _with_picture(n: int, middles: NDArray[np.int64], most: int) -> list[int]:
    """Which of n products get a thumbnail: middles first, then every so-manyth."""
    if most >= n:
        return list(range(n))
    first = middles[:most].tolist()
    rest = np.setdiff1d(np.arange(n), middles)
    left = most - len(first)
    return first + rest[(np.arange(left) * (len(rest) / max(1, left))).astype(np.int64)].tolist()


def _short(title: str | None) -> str:
    text = " ".join((title or "").split())
    return text if len(text) <= _TITLE else text[: _TITLE - 1] + "…"


def _still(places: NDArray[np.int64], drawn: CategoryMap, colors: list[str], width: int, height: int) -> Markup:
    """The map as SVG: a path per category, its points as round ends of lines without length."""
    pad = 150
    paths = []
    for g, (name, color) in enumerate(zip(drawn.categories, colors, strict=True)):
        points = "".join(f"M{x} {y}h0" for x, y in places[drawn.group == g].tolist())
        paths.append(f'<path d="{points}" stroke="{color}"><title>{Markup.escape(name)}</title></path>')
    box = f"{-pad} {-pad} {width + 2 * pad} {height + 2 * pad}"
    label = f"Map of {len(places)} products in {len(colors)} categories"
    return Markup(f'<svg class="still" viewBox="{box}" role="img" aria-label="{label}">{"".join(paths)}</svg>')
