"""Titles of the simulated market: what a shop would write about a product, and what shops write wrongly."""

from __future__ import annotations

from . import _nouns, _words
from ._market import TITLE_KINDS, Market
from ._tree import Tree

_FULL, _NO_NOUN, _CODE, _VAGUE, _MISLEADING = range(len(TITLE_KINDS))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLE_STEP = 5  # neighbouring styles of a category get different words

# orders of the parts of a title
_ORDERS = (
    ("brand", "style", "colour", "material", "what", "model", "extra"),
    ("what", "brand", "model", "colour", "material", "extra"),
    ("colour", "material", "what", "style", "brand", "model"),
    ("brand", "model", "what", "colour", "extra"),
)


def model_code(number: int) -> str:
    """Return a model number such as `KX-0482`."""
    letters, digits = divmod(number, 10_000)
    first, second = divmod(letters, 26)
    return f"{_LETTERS[first % 26]}{_LETTERS[second]}-{digits:04d}"


def _noun(tree: Tree, category: int, language: int, choice: int) -> str:
    """Return a noun of this category, with the modifiers that make it differ from its base."""
    words = _nouns.NOUNS[int(tree.department[category])][int(tree.base[category])]
    modifiers = [_words.MODIFIERS[number].pick(language, 0) for number in tree.modifiers[category]]
    return " ".join([*modifiers, words.pick(language, choice)])


def titles(market: Market, start: int, stop: int) -> list[str]:
    """Return the titles of products start..stop-1.

    A title of kind `full` names the product; `no-noun` only describes it; `code` is a brand and a model
    number; `vague` names the department; `misleading` says which other thing it fits.
    """
    rows = slice(start, stop)
    departments = market.department[rows].tolist()
    columns = zip(
        departments,
        *(
            values[rows].tolist()
            for values in (
                market.category,
                market.other_category,
                market.style,
                market.language,
                market.title_kind,
                market.brand,
                market.model_number,
                market.colour,
                market.material,
                market.title_dice,
                market.offer_dice,
                market.group,
            )
        ),
        strict=True,
    )
    wrong = market.model.wrong_word_share * 256
    written = []
    for position, row in enumerate(columns, start):
        (
            department,
            category,
            other,
            style,
            language,
            kind,
            brand,
            number,
            colour,
            material,
            dice,
            offer,
            group,
        ) = row
        d_noun, d_words, d_order, d_colour, d_material, d_extra, d_wrong, _ = dice
        is_variant = group != position
        if d_colour < wrong:
            colour = d_wrong % len(_words.COLOURS)
        if d_material < wrong:
            material = d_wrong % len(_words.MATERIALS)
        parts = {"brand": _words.brand(brand)}
        if kind == _CODE:
            parts["model"] = model_code(number)
        else:
            if d_words % 3 == 0 or kind == _NO_NOUN:
                parts["style"] = _words.STYLES[(style * _STYLE_STEP) % len(_words.STYLES)].pick(language, 0)
            if d_words & 12 == 4 or kind == _NO_NOUN:
                parts["colour"] = _words.COLOURS[colour][1].pick(language, 0)
            if d_words & 24 == 16:
                parts["material"] = _words.MATERIALS[material].pick(language, 0)
            if d_words & 96 == 96:
                parts["model"] = model_code(number)
        if kind == _FULL:
            parts["what"] = _noun(market.tree, category, language, d_noun)
            if d_extra % 4:  # shops add a second word for the same thing, to be found
                parts["what"] += f", {_noun(market.tree, category, language, d_noun + 1)}"
        elif kind == _VAGUE:
            parts["what"] = _nouns.DEPARTMENT_WORDS[department].pick(language, d_noun)
        elif kind == _MISLEADING:
            parts["what"] = f"{_words.LINKS.pick(language, 0)} {_noun(market.tree, other, language, d_noun)}"
        if d_extra < 40 or is_variant:
            parts["extra"] = _words.EXTRAS[(d_extra + (offer[0] if is_variant else 0)) % 5].pick(language, 0)
        order = _ORDERS[(d_order + (offer[1] & 1 if is_variant else 0)) % len(_ORDERS)]
        text = " ".join(parts[name] for name in order if name in parts)
        written.append(text[0].upper() + text[1:])
    return written
