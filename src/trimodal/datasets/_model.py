"""The numbers of the simulated market's model: how products vary, how visitors behave, what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..errors import ParameterError, check_int, check_share

# one random stream for each part, so that changing one part leaves the others as they were
STREAMS = (
    "taste",
    "catalogue",
    "titles",
    "pictures",
    "popularity",
    "visitors",
    "bots",
    "sessions",
    "vectors",
)


@dataclass(frozen=True, kw_only=True)
class MarketModel:
    """Parameters of the simulated market; `docs/simulated-market.md` gives the formulas they stand in.

    Attributes
    ----------
    taste_dimension
        Length of the hidden taste vector.
    department_scale, category_scale, style_scale, own_scale
        Root mean square length of each of its four parts.
    products_per_style
        Mean size of a style, a category's smallest group.
    cold_share, no_picture_share, variant_share
        Shares of products that were added after the log's last day, that have no picture, and that
        are a further offer of another product.
    no_noun_share, code_share, vague_share, misleading_share
        Shares of titles that leave the noun out, are only a brand and a model number, name only the
        department, or name another category's noun. The rest name their own.
    wrong_word_share
        Share of colour and material words in titles that do not fit the product.
    generic_picture_share, wrong_shape_share
        Shares of pictures that show a packing box, and that show another category's shape.
    shapes_per_category
        Number of shapes divided by the number of categories: below 1, categories share shapes.
    colour_strength
        How strongly taste decides the colour (0: not at all).
    popularity_exponent, popularity_offset
        Popularity of the product at rank r is (r + offset * products) ** -exponent.
    single_share
        Share of sessions with one click.
    mean_extra, long_share, mean_extra_long
        Longer sessions have 2 + extra clicks; the mean of extra, the share of long ones, and their mean.
    style_share, category_share, department_share, companion_share
        Chances that the next click stays in the style, the category, the department, or goes to the
        companion category; with the rest it goes anywhere (noise).
    candidates, temperature
        A move draws this many candidates by popularity and keeps one by softmax(-squared taste distance /
        temperature).
    twinned_share
        Share of category pairs that visitors browse as one, so that clicks cannot tell them apart.
    misplaced_share
        Share of products that visitors meet among another style's products, of any category.
    repeat_share
        Chance that a click is followed by the same product again.
    return_share
        Chance that a session starts in the visitor's favourite category.
    jump_share
        Chance that a click ends in a jump to the shop.
    bot_share
        Share of sessions that are robots, with 300 to 5,000 clicks.
    sessions_per_visitor
        Mean number of sessions of one visitor.
    days
        Length of the log in days.
    """

    taste_dimension: int = 32
    department_scale: float = 0.7
    category_scale: float = 1.0
    style_scale: float = 0.5
    own_scale: float = 0.5
    products_per_style: int = 25
    cold_share: float = 0.06
    no_picture_share: float = 0.06
    variant_share: float = 0.12
    no_noun_share: float = 0.05
    code_share: float = 0.04
    vague_share: float = 0.05
    misleading_share: float = 0.05
    wrong_word_share: float = 0.15
    generic_picture_share: float = 0.06
    wrong_shape_share: float = 0.06
    shapes_per_category: float = 0.8
    colour_strength: float = 2.5
    popularity_exponent: float = 0.6
    popularity_offset: float = 0.02
    single_share: float = 0.2
    mean_extra: float = 0.5
    long_share: float = 0.03
    mean_extra_long: float = 24.0
    style_share: float = 0.3
    category_share: float = 0.5
    department_share: float = 0.06
    companion_share: float = 0.05
    candidates: int = 4
    temperature: float = 0.5
    twinned_share: float = 0.4
    misplaced_share: float = 0.04
    repeat_share: float = 0.08
    return_share: float = 0.4
    jump_share: float = 0.2
    bot_share: float = 0.0005
    sessions_per_visitor: float = 2.5
    days: int = 28

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share"):
                check_share(field.name, value)
            elif field.type == "int":
                check_int(field.name, value, low=1)
            elif not (np.isfinite(value) and value >= 0):
                raise ParameterError(f"{field.name} == {value!r}, must be a finite number >= 0.")
        for name in ("sessions_per_visitor", "temperature"):
            if getattr(self, name) == 0:
                raise ParameterError(f"{name} == 0, must be > 0.")
        for total in (
            ("no_noun_share", "code_share", "vague_share", "misleading_share"),
            ("generic_picture_share", "wrong_shape_share"),
            ("style_share", "category_share", "department_share", "companion_share"),
        ):
            if sum(getattr(self, name) for name in total) > 1 + 1e-9:
                raise ParameterError(f"{' + '.join(total)} > 1, must be at most 1; lower one of them.")


def generator(seed: int, stream: str, block: int = 0) -> np.random.Generator:
    """Return the random generator of one block of one of `STREAMS`."""
    key = (STREAMS.index(stream), block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
