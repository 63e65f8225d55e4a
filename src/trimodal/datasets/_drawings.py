"""Pictures of the simulated market: a shape, coloured and patterned by taste, on a background."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from . import _words
from ._market import PICTURE_KINDS, SHAPES, Market

SIDE = 128  # pixels of a finished picture's edge
_FINE = 2  # drawn this many times larger, then reduced: smooth edges
_QUALITY = 78
_GENERIC = PICTURE_KINDS.index("generic")
_NOISE = 5.0  # standard deviation of pixel noise, in grey levels
_BOARD = (186, 150, 108)

Point = tuple[float, float]
Part = tuple[str, tuple[Point, ...]]  # "main" or "detail", and a polygon in [-1, 1] x [-1, 1]


def _ring(x: float, y: float, rx: float, ry: float, corners: int = 20) -> tuple[Point, ...]:
    """Return a regular polygon with these half-axes; 20 corners look round."""
    turn = 2 * math.pi / corners
    return tuple((x + rx * math.sin(k * turn), y - ry * math.cos(k * turn)) for k in range(corners))


def _box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _star(points: int, inner: float) -> tuple[Point, ...]:
    """Return a star: outer radius 1, inner radius `inner`."""
    corners = _ring(0, 0, 1, 1, 2 * points)
    return tuple((x * inner, y * inner) if k % 2 else (x, y) for k, (x, y) in enumerate(corners))


def _mirror(*right: Point) -> tuple[Point, ...]:
    """Return an outline given by its right half, from top to bottom."""
    return (*right, *((-x, y) for x, y in reversed(right)))


_SHAPES: tuple[tuple[Part, ...], ...] = (
    (("main", _ring(0, 0, 0.9, 0.9)), ("detail", _ring(0, 0, 0.4, 0.4))),  # ring
    (("main", _box(-0.9, -0.65, 0.9, 0.65)), ("detail", _box(-0.78, -0.53, 0.78, 0.5))),  # screen
    (
        ("main", ((-0.3, -0.9), (0.3, -0.9), (0.85, 0.9), (-0.85, 0.9))),
        ("detail", _box(-0.32, -0.1, 0.32, 0)),
    ),  # dress
    (
        ("main", ((-0.95, 0.1), (-0.55, -0.6), (-0.1, -0.1), (0.9, 0.2), (0.95, 0.6), (-0.95, 0.6))),
        ("detail", _box(-0.95, 0.5, 0.95, 0.65)),
    ),  # shoe
    (
        ("main", _box(-0.4, -0.35, 0.4, 0.95)),
        ("main", _box(-0.15, -0.95, 0.15, -0.3)),
        ("detail", _box(-0.4, 0.1, 0.4, 0.6)),
    ),  # bottle
    (
        ("main", _box(-0.6, -0.05, 0.6, 0.15)),
        ("main", _box(-0.6, -0.95, -0.42, 0.95)),
        ("main", _box(0.42, 0.1, 0.6, 0.95)),
    ),  # chair
    (("main", _star(5, 0.45)),),
    (
        ("main", _box(-0.75, -0.2, 0.75, 0.9)),
        ("detail", _box(-0.4, -0.75, -0.28, -0.2)),
        ("detail", _box(0.28, -0.75, 0.4, -0.2)),
    ),  # bag
    (("main", _ring(0, 0, 0.9, 0.78, 6)), ("detail", _ring(0, 0, 0.3, 0.26, 6))),  # nut
    (("main", _box(-0.12, -0.3, 0.12, 0.95)), ("detail", _box(-0.75, -0.85, 0.6, -0.25))),  # hammer
    (("main", _mirror((0.35, -0.8), (0.95, -0.35), (0.7, 0), (0.45, -0.2), (0.45, 0.85))),),  # shirt
    (("main", ((0, -0.9), (0.95, 0.8), (-0.95, 0.8))), ("detail", ((0, -0.1), (0.3, 0.8), (-0.3, 0.8)))),
    (
        ("detail", _ring(-0.55, 0.35, 0.4, 0.4)),
        ("detail", _ring(0.55, 0.35, 0.4, 0.4)),
        ("main", _box(-0.8, -0.35, 0.8, 0.15)),
    ),  # cart
    (
        ("main", _ring(0, -0.35, 0.75, 0.5, 4)),
        ("main", _box(-0.06, -0.1, 0.06, 0.95)),
        ("detail", _ring(0, 0.9, 0.45, 0.1)),
    ),  # lamp
    (
        ("main", _box(-0.6, -0.7, 0.45, 0.75)),
        ("detail", _ring(0.55, 0, 0.35, 0.4)),
        ("main", _ring(0.5, 0, 0.18, 0.22)),
    ),  # mug
    (
        ("main", _box(-0.95, -0.15, 0.95, 0.45)),
        ("detail", _box(-0.95, -0.55, 0.95, -0.15)),
        ("main", _box(-0.85, 0.45, -0.7, 0.8)),
        ("main", _box(0.7, 0.45, 0.85, 0.8)),
    ),  # sofa
)
assert len(_SHAPES) == SHAPES


def _pattern(number: int, size: int, colour: tuple[int, int, int], second: tuple[int, int, int]) -> Image.Image:
    """Return a square of plain, striped, dotted or checked cloth."""
    cloth = Image.new("RGB", (size, size), colour)
    pen, step = ImageDraw.Draw(cloth), size // 12
    if number == 1:
        for x in range(0, size, 2 * step):
            pen.rectangle((x, 0, x + step // 2, size), fill=second)
    elif number == 2:
        for x in range(step, size, 3 * step):
            for y in range(step, size, 3 * step):
                pen.ellipse((x - step // 2, y - step // 2, x + step // 2, y + step // 2), fill=second)
    elif number == 3:
        for x in range(0, size, 2 * step):
            for y in range((x // (2 * step)) % 2 * 2 * step, size, 4 * step):
                pen.rectangle((x, y, x + 2 * step, y + 2 * step), fill=second)
    return cloth


def _background(number: int, size: int, tint: float) -> Image.Image:
    """Return white, light grey, a pale tint, or a table before a wall."""
    warm = round(12 * tint)
    shades = ((250, 250, 250), (226, 228, 230), (232 + warm, 236, 232 - warm), (236, 232 + warm // 2, 222))
    picture = Image.new("RGB", (size, size), shades[number])
    if number == 3:
        ImageDraw.Draw(picture).rectangle((0, int(size * 0.68), size, size), fill=(178 + warm, 158, 136 - warm))
    return picture


def draw(
    *,
    shape: int,
    colour: tuple[int, int, int],
    second: tuple[int, int, int],
    pattern: int,
    background: int,
    appeal: Sequence[float],
    dice: Sequence[int],
    offer: Sequence[int],
    generic: bool,
    noise: NDArray[np.int16],
) -> bytes:
    """Return one picture as JPEG bytes, 128 x 128; a `generic` one shows a packing box only."""
    size = SIDE * _FINE
    picture = _background(background, size, appeal[2])
    parts = (
        (("main", _box(-0.8, -0.6, 0.8, 0.8)), ("detail", _box(-0.12, -0.6, 0.12, 0.8))) if generic else _SHAPES[shape]
    )
    base, trim = (_BOARD, (150, 116, 80)) if generic else (colour, second)
    turn = math.radians((dice[1] - 128) / 128 * 10 + (offer[0] - 128) / 128 * 3)
    scale = size * (0.33 + 0.05 * appeal[1] + 0.03 * (dice[2] - 128) / 128 + 0.01 * (offer[1] - 128) / 128)
    wide, tall = scale * (1 + 0.12 * appeal[0]), scale * (1 - 0.12 * appeal[0])
    cx, cy = size * (0.5 + (dice[3] - 128) / 128 * 0.05), size * (0.52 + (dice[4] - 128) / 128 * 0.05)
    cos, sin = math.cos(turn), math.sin(turn)
    cloth = None if generic or pattern == 0 else _pattern(pattern, size, base, trim)
    pen = ImageDraw.Draw(picture)
    for role, corners in parts:
        placed = [(cx + x * wide * cos - y * tall * sin, cy + x * wide * sin + y * tall * cos) for x, y in corners]
        if role == "main" and cloth is not None:
            mask = Image.new("1", (size, size))
            ImageDraw.Draw(mask).polygon(placed, fill=1)
            picture.paste(cloth, mask=mask)
        else:
            pen.polygon(placed, fill=base if role == "main" else trim)
    pixels = np.asarray(picture.reduce(_FINE), dtype=np.int16)
    x, y = dice[6] % SIDE, dice[7] % SIDE
    light = (offer[0] % 16) - 8
    grainy = np.clip(pixels + noise[y : y + SIDE, x : x + SIDE] + light, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grainy).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def grain() -> NDArray[np.int16]:
    """Return the sheet of pixel noise that every picture is given a window of: int16 [256, 256, 1]."""
    rng = np.random.default_rng(0)
    return np.rint(rng.normal(0.0, _NOISE, (2 * SIDE, 2 * SIDE, 1))).astype(np.int16)


def picture(market: Market, position: int, noise: NDArray[np.int16]) -> bytes:
    """Return the JPEG of one product; offers of one product differ by a slight turn, size and light."""
    dice = market.picture_dice[position].tolist()
    colour = _words.COLOURS[int(market.colour[position])][0]
    shade = 0.55 if sum(colour) > 330 else 1.7
    r, g, b = (min(255, round(channel * shade)) for channel in colour)
    return draw(
        shape=int(market.shape[position]),
        colour=colour,
        second=(r, g, b),
        pattern=int(market.pattern[position]),
        background=int(market.background[position]),
        appeal=market.appeal[position].tolist(),
        dice=dice,
        offer=market.offer_dice[position].tolist(),
        generic=int(market.picture_kind[position]) == _GENERIC,
        noise=noise,
    )
