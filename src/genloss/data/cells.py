"""What a cell of a table says: a number, nothing, or text that only looks like a number."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np

__all__ = ["is_missing", "is_number", "looks_like_number", "means_missing", "number"]

_MISSING = {"na", "n/a", "nan", "null", "none", "-", "?"}
_BOOLEANS = {"true": 1.0, "false": 0.0}
# Digits with signs, separators and currencies; letters only as an exponent or in a time.
_LIKE_NUMBER = re.compile(r"(?:[ \u00a0\u202f.,:/%+\-\u2212'$€£¥₹₽₩]|\d(?:\.?[eE](?=[+\-]?\d)|T(?=\d)|Z$)?)+")


def number(cell: object) -> float:
    """Returns a cell as a number, NaN if it is none; true and false are 1 and 0, as text too.

    >>> number("1e3"), number(True), number("False"), number("1,5")
    (1000.0, 1.0, 0.0, nan)
    """
    if isinstance(cell, str) and (word := cell.strip().lower()) in _BOOLEANS:
        return _BOOLEANS[word]
    if not isinstance(cell, str | int | float | Decimal | np.number | np.bool_):
        return float("nan")
    try:
        return float(cell)
    except (ValueError, TypeError, OverflowError):  # text, a complex number, a whole number beyond float64
        return float("nan")


def is_number(word: str) -> bool:
    """Whether a word is what Python writes for a number, NaN and infinity among them."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def looks_like_number(word: str) -> bool:
    """Whether a word is a number, true or false, or one that is written otherwise: `0,5`, `$1.50`, `5 %`, a date.

    >>> [looks_like_number(word) for word in ("1,234", "2020-01-31", "5%", "class_1", "3-series", "T1")]
    [True, True, True, False, False, False]
    """
    word = word.strip()
    if is_number(word) or word.lower() in _BOOLEANS:
        return True
    return any(map(str.isdigit, word)) and _LIKE_NUMBER.fullmatch(word) is not None


def means_missing(word: str) -> bool:
    """Whether a word is a common spelling of a missing value, such as `NA` or `?`."""
    return word.strip().lower() in _MISSING


def is_missing(cell: object) -> bool:
    """Whether a cell holds nothing or NaN."""
    return (
        cell is None
        or (isinstance(cell, str | bytes) and not cell)
        or (isinstance(cell, float | np.floating) and cell != cell)
    )
