"""Settings that cannot be are refused when they are made, with what to do about it."""

from __future__ import annotations

import pytest

from trimodal import Shaping
from trimodal.errors import ParameterError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_per_group": 0}, "max_per_group == 0, must be >= 1"),
        ({"max_per_duplicate": 1.5}, "max_per_duplicate == 1.5, must be an int"),
        ({"diversity": 1.1}, r"diversity == 1.1, must be in \[0, 1\]"),
        ({"diversity": float("nan")}, "diversity == nan"),
        ({"duplicate_distance": 0.1}, "goes with max_per_duplicate"),
        ({"duplicate_distance": 3, "max_per_duplicate": 1}, r"must be in \[0, 2\]"),
        ({"pool": 50}, "pool goes with diversity"),
        ({"pool": 0, "diversity": 0.1}, "pool == 0"),
        ({"categories": "shoes"}, "must be a list of names"),
        ({"categories": []}, "nothing would pass"),
        ({"brands": [3]}, "must be a list of names"),
        ({"price": (None, None)}, "must be .lowest, highest."),
        ({"price": (5, 1)}, "the lowest is above the highest"),
        ({"price": (-1, 1)}, "finite numbers >= 0"),
        ({"relative_price": (0.5, float("inf"))}, "finite numbers >= 0"),
        ({"relative_price": ("a", 2)}, "finite numbers >= 0"),
        ({"price": 5}, "must be .lowest, highest."),
    ],
)
def test_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        Shaping(**settings)


def test_lists_become_tuples_and_the_pool_holds_the_list():
    names = ["a"]
    shaping = Shaping(categories=names, diversity=0.2, pool=10)
    names.append("b")
    assert shaping.categories == ("a",)
    assert hash(shaping) == hash(Shaping(categories=("a",), diversity=0.2, pool=10))
    assert shaping.first_pool(10) == 10
    with pytest.raises(ParameterError, match="pool == 10, must be at least the length of the list, 11"):
        shaping.first_pool(11)
