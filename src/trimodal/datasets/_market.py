"""The hidden state of the simulated market: one compact array for each property of its products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _words
from ._model import MarketModel, generator
from ._tree import Tree, tree

# Kinds of title and picture, as the truth table names them.
TITLE_KINDS = ("full", "no-noun", "code", "vague", "misleading")
PICTURE_KINDS = ("own", "generic", "wrong-shape")
SHAPES = 16
_CHUNK = 65_536


@dataclass(frozen=True)
class Market:
    """All products as arrays of length N (or [N, d]), in catalogue order.

    Attributes
    ----------
    tree, category, style
        The category tree; each product's leaf; its style, numbered through the whole market.
    taste, leaf_taste, style_taste
        float32 [N, d], [K, d], [styles, d]: taste of each product, centre of each category and style.
    shelf
        The style among which visitors meet a product: its own, or for misplaced products any.
    group
        The first offer of the same product (itself, if it is the first).
    popularity
        float64, sums to 1; 0 for cold products.
    appeal
        float32 [N, 3] in (-1, 1): projections of taste that decide proportions, size and tint.
    title_dice, picture_dice, offer_dice
        uint8 [N, 8], [N, 8], [N, 2]: every further choice of a title or picture is a function of these, so
        that a row is written alike in any block; all offers of a product share the first two.
    """

    model: MarketModel
    tree: Tree
    category: NDArray[np.int32]
    style: NDArray[np.int32]
    shelf: NDArray[np.int32]
    taste: NDArray[np.float32]
    leaf_taste: NDArray[np.float32]
    style_taste: NDArray[np.float32]
    group: NDArray[np.int32]
    popularity: NDArray[np.float64]
    has_picture: NDArray[np.bool_]
    colour: NDArray[np.int8]
    material: NDArray[np.int8]
    appeal: NDArray[np.float32]
    price: NDArray[np.float64]
    shop: NDArray[np.int16]
    brand: NDArray[np.int32]
    model_number: NDArray[np.int32]
    language: NDArray[np.int8]
    title_kind: NDArray[np.int8]
    picture_kind: NDArray[np.int8]
    other_category: NDArray[np.int32]
    shape: NDArray[np.int8]
    pattern: NDArray[np.int8]
    background: NDArray[np.int8]
    title_dice: NDArray[np.uint8]
    picture_dice: NDArray[np.uint8]
    offer_dice: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.category)

    @property
    def styles_of_a_category(self) -> int:
        """How many styles each category has; style // this is the category."""
        return len(self.style_taste) // len(self.tree.categories)

    @property
    def department(self) -> NDArray[np.int64]:
        """int64 [N]: each product's department."""
        return self.tree.department[self.category]


def _parts(rng: np.random.Generator, count: int, dimension: int, scale: float) -> NDArray[np.float32]:
    """Return `count` Gaussian vectors of root mean square length `scale`: float32 [count, dimension]."""
    return rng.standard_normal((count, dimension), dtype=np.float32) * np.float32(scale / dimension**0.5)


def _choose(rng: np.random.Generator, taste: NDArray[np.float32], options: int, strength: float) -> NDArray[np.int8]:
    """Return for each product the option that softmax(strength * taste @ directions) draws: int8 [N]."""
    directions = rng.standard_normal((taste.shape[1], options), dtype=np.float32)
    chosen = np.empty(len(taste), np.int8)
    for start in range(0, len(taste), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(taste)))
        logits = strength * (taste[rows] @ directions)
        logits += rng.gumbel(size=logits.shape)
        chosen[rows] = logits.argmax(1)
    return chosen


def _kinds(rng: np.random.Generator, size: int, shares: tuple[float, ...]) -> NDArray[np.int8]:
    """Return kind 1, 2, ... with these shares and kind 0 with the rest: int8 [size]."""
    draw = rng.random(size)
    edges = np.cumsum(shares)
    kind = np.searchsorted(edges, draw, side="right") + 1
    return np.where(kind > len(shares), 0, kind).astype(np.int8)


def _leaves(rng: np.random.Generator, originals: int, categories: int) -> NDArray[np.int32]:
    """Return a category for each product: uneven sizes, none empty, in random order."""
    weights = rng.lognormal(0.0, 0.25, categories)
    extra = rng.choice(categories, size=originals - categories, p=weights / weights.sum())
    leaves = np.concatenate([np.arange(categories), extra]).astype(np.int32)
    rng.shuffle(leaves)
    return leaves


def _styles_of_a_category(originals: int, categories: int, model: MarketModel) -> int:
    return max(2, round(originals / (categories * model.products_per_style)))


def _tastes(
    seed: int, model: MarketModel, leaves: Tree, category: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return style [n], taste [n, d] = department + category + style + own, and both kinds of centres."""
    rng, dimension = generator(seed, "taste"), model.taste_dimension
    kinds = len(leaves.categories)
    per_category = _styles_of_a_category(len(category), kinds, model)
    style = category * np.int32(per_category) + rng.integers(per_category, size=len(category), dtype=np.int32)
    department = _parts(rng, len(leaves.departments), dimension, model.department_scale)
    leaf = department[leaves.department] + _parts(rng, kinds, dimension, model.category_scale)
    styles = np.repeat(leaf, per_category, axis=0)
    styles += _parts(rng, len(styles), dimension, model.style_scale)
    taste = _parts(rng, len(category), dimension, model.own_scale)
    for start in range(0, len(taste), _CHUNK):
        rows = slice(start, start + _CHUNK)
        taste[rows] += styles[style[rows]]
    return style, taste, leaf, styles


def _shelves(
    rng: np.random.Generator, model: MarketModel, leaves: Tree, style: NDArray[np.int32], styles: int
) -> NDArray[np.int32]:
    """Return the style among which visitors meet each product.

    A twinned category is met on the shelves of its twin, in the same department: clicks cannot tell the two
    apart. Misplaced products are met anywhere.
    """
    twin, pairs = np.arange(len(leaves.categories)), []
    for department in range(len(leaves.departments)):
        inside = rng.permutation(np.flatnonzero(leaves.department == department)).tolist()
        pairs += list(zip(inside[0::2], inside[1::2], strict=False))
    for pair in rng.permutation(len(pairs))[: round(model.twinned_share * len(pairs))].tolist():
        twin[pairs[pair][0]] = pairs[pair][1]
    shelf = twin[style // styles] * styles + style % styles
    misplaced = rng.random(len(style)) < model.misplaced_share
    return np.where(misplaced, rng.integers(len(twin) * styles, size=len(style)), shelf).astype(np.int32)


def _popularity(seed: int, model: MarketModel, category: NDArray[np.int32], categories: int) -> NDArray[np.float64]:
    """Return shares [N] that sum to 1: Zipf-Mandelbrot by rank, a mild factor per category, 0 if cold."""
    rng, count = generator(seed, "popularity"), len(category)
    rank = rng.permutation(count) + 1.0
    weight = (rank + model.popularity_offset * count) ** -model.popularity_exponent
    weight *= rng.lognormal(0.0, 0.2, categories)[category]
    cold = min(round(model.cold_share * count), count - 1)
    weight[rng.choice(count, size=cold, replace=False)] = 0.0
    return np.asarray(weight / weight.sum())


def build(seed: int, products: int, categories: int, model: MarketModel) -> Market:
    """Draw the hidden state of a market with `products` products in `categories` leaves."""
    leaves = tree(categories)
    rng = generator(seed, "catalogue")
    variants = min(round(model.variant_share * products), products - categories)
    originals = products - variants
    first = np.arange(products, dtype=np.int32)
    if variants:
        later = rng.choice(products, size=variants, replace=False)
        own = np.setdiff1d(first, later, assume_unique=True)
        first[later] = rng.choice(own, size=variants)
    else:
        own = first.copy()
    place = np.empty(products, np.int32)
    place[own] = np.arange(originals, dtype=np.int32)
    row = place[first]  # every offer's original: what offers of one product share is drawn once

    category = _leaves(rng, originals, categories)
    style, taste, leaf_taste, style_taste = _tastes(seed, model, leaves, category)
    shelf = _shelves(rng, model, leaves, style, len(style_taste) // categories)
    price = np.exp(rng.normal(3.5, 0.9, categories)[category] + rng.normal(0.0, 0.4, originals))
    brands = max(6, originals // 150)  # of a department; it shares half of them with the next one
    brand = leaves.department[category] * (brands // 2) + (brands * rng.random(originals) ** 1.5).astype(np.int64)
    number = rng.integers(10_000 * 26 * 26, size=originals, dtype=np.int32)
    other = (category + rng.integers(1, max(2, categories), size=originals, dtype=np.int32)) % categories

    words = generator(seed, "titles")
    shares = (model.no_noun_share, model.code_share, model.vague_share, model.misleading_share)
    title_kind = _kinds(words, originals, shares)
    language = words.choice(len(_words.LANGUAGES), size=originals, p=(0.4, 0.3, 0.15, 0.15)).astype(np.int8)
    material = _choose(words, taste, len(_words.MATERIALS), 1.5)

    drawn = generator(seed, "pictures")
    colour = _choose(drawn, taste, len(_words.COLOURS), model.colour_strength)
    picture_kind = _kinds(drawn, originals, (model.generic_picture_share, model.wrong_shape_share))
    shape = _shapes(drawn, model, category, categories)
    wrong = picture_kind == PICTURE_KINDS.index("wrong-shape")
    shape[wrong] = drawn.integers(SHAPES, size=int(wrong.sum()))
    pattern = _choose(drawn, taste, 4, model.colour_strength)
    background = _choose(drawn, taste, 4, model.colour_strength)
    projections = drawn.standard_normal((model.taste_dimension, 3), dtype=np.float32)
    appeal = np.tanh(taste @ projections)
    has_picture = np.ones(products, np.bool_)
    has_picture[drawn.choice(products, size=round(model.no_picture_share * products), replace=False)] = False

    offers = taste[row]
    offers[first != np.arange(products)] += _parts(rng, variants, model.taste_dimension, 0.05)
    return Market(
        model=model,
        tree=leaves,
        category=category[row],
        style=style[row],
        shelf=shelf[row],
        taste=offers,
        leaf_taste=leaf_taste,
        style_taste=style_taste,
        group=first,
        popularity=_popularity(seed, model, category[row], categories),
        has_picture=has_picture,
        colour=colour[row],
        material=material[row],
        appeal=appeal[row],
        price=np.round(price[row] * rng.uniform(0.92, 1.08, products), 2),
        shop=rng.integers(max(5, min(200, products // 50)), size=products).astype(np.int16),
        brand=brand[row].astype(np.int32),
        model_number=number[row],
        language=language[row],
        title_kind=title_kind[row],
        picture_kind=picture_kind[row],
        other_category=other[row].astype(np.int32),
        shape=shape[row],
        pattern=pattern[row],
        background=background[row],
        title_dice=words.integers(256, size=(originals, 8), dtype=np.uint8)[row],
        picture_dice=drawn.integers(256, size=(originals, 8), dtype=np.uint8)[row],
        offer_dice=rng.integers(256, size=(products, 2), dtype=np.uint8),
    )


def _shapes(
    rng: np.random.Generator, model: MarketModel, category: NDArray[np.int32], categories: int
) -> NDArray[np.int8]:
    """Return each product's shape, its category's: several categories share one."""
    used = min(SHAPES, max(2, round(model.shapes_per_category * categories)))
    shape = rng.permutation(SHAPES)[:used][np.arange(categories) % used]
    return np.asarray(rng.permutation(shape)[category], dtype=np.int8)
