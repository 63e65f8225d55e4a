"""Everything that trimodal raises on purpose.

    TrimodalError
    ├── DataError            input that cannot be used: a file, a column, too many bad rows
    ├── ParameterError       an argument outside its range          (also a ValueError)
    ├── UnknownProductError  a product id that is not there         (also a KeyError)
    ├── MissingExtraError    a library of an optional extra is not installed (also an ImportError)
    ├── EncoderError         a model that cannot be loaded or run
    │   └── ItemError        one title or picture that cannot be encoded; the run goes on without it
    ├── NotFittedError       asked for a result before `fit`
    └── BundleError          a bundle that is damaged, of another format, or cannot be published

Each message says what is wrong, what was got, what is needed, and how to mend it.
"""

from __future__ import annotations


class TrimodalError(Exception):
    """Base of every error that trimodal raises on purpose."""


class DataError(TrimodalError):
    """Input data that cannot be used."""


class ParameterError(TrimodalError, ValueError):
    """An argument outside its range."""


class UnknownProductError(TrimodalError, KeyError):
    """A product id that the catalogue or the fitted recommender does not hold."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class MissingExtraError(TrimodalError, ImportError):
    """A library of an optional extra is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}'; install it: pip install 'trimodal[{extra}]'")
        self.extra = extra


class EncoderError(TrimodalError):
    """A model that cannot be loaded or run."""


class ItemError(EncoderError):
    """One value (a title, a picture) that cannot be encoded; its message is the reason in the ledger."""


class NotFittedError(TrimodalError):
    """A result was asked for before `fit`."""


class BundleError(TrimodalError):
    """A bundle that is damaged, of another format version, or cannot be published."""


def check_int(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high], or raise `ParameterError` in one shape of message."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ParameterError(f"{name} == {value!r}, must be an int.")
    number = int(value.__index__())
    if number < low:
        raise ParameterError(f"{name} == {number}, must be >= {low}.")
    if high is not None and number > high:
        raise ParameterError(f"{name} == {number}, must be <= {high}.")
    return number


def check_share(name: str, value: float) -> float:
    """Return `value` as a float in [0, 1], or raise `ParameterError`."""
    if not 0.0 <= value <= 1.0:
        raise ParameterError(f"{name} == {value!r}, must be in [0, 1].")
    return float(value)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`, or raise `ParameterError` that lists them."""
    if value not in choices:
        raise ParameterError(f"{name} == {value!r}, must be one of {', '.join(choices)}.")
    return value
