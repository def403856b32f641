"""Arithmetic on text, without `eval`.

Pure. Rules: numbers, `+ - * / // % **`, brackets and nothing else; whatever would take long or be long is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_CHARACTERS = 200
MOST_DIGITS = 300
_TOKEN: Final = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|(\*\*|//|[-+*/%()]))")

Number = int | float


class BadExpression(Exception):
    """It cannot be calculated; the text says why."""


def calculate(expression: str) -> str:
    """The value of an expression, as text. Raises `BadExpression`."""
    if len(expression) > MOST_CHARACTERS:
        raise BadExpression(f"an expression has {MOST_CHARACTERS} characters at most")
    try:
        value = _Parser(_tokens(expression)).whole()
    except ZeroDivisionError:
        raise BadExpression("it divides by zero") from None
    except OverflowError:
        raise BadExpression("a number in it is too large") from None
    if not math.isfinite(value):
        raise BadExpression("a number in it is too large")
    return str(int(value)) if isinstance(value, int) or _is_short_whole(value) else f"{value:.12g}"


def _is_short_whole(value: float) -> bool:
    return value.is_integer() and abs(value) < 1e15


def _tokens(expression: str) -> list[str]:
    tokens, place = list[str](), 0
    expression = expression.rstrip()
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None:
            raise BadExpression(f"{expression[place:].strip()[:20]!r} is no arithmetic")
        tokens.append(found[1] or found[2])
        place = found.end()
    return tokens


@dataclass(slots=True)
class _Parser:
    """By descent; the brackets of so few characters cannot be too deep."""

    tokens: list[str]
    place: int = field(default=0, init=False)

    def whole(self) -> Number:
        value = self._sum()
        if self.place < len(self.tokens):
            raise BadExpression(f"{self.tokens[self.place]!r} is not expected there")
        return value

    def _sum(self) -> Number:
        value = self._product()
        while (sign := self._take("+", "-")) is not None:
            value = _checked(_SUMS[sign], value, self._product())
        return value

    def _product(self) -> Number:
        value = self._signed()
        while (sign := self._take("*", "/", "//", "%")) is not None:
            value = _checked(_PRODUCTS[sign], value, self._signed())
        return value

    def _signed(self) -> Number:
        if (sign := self._take("+", "-")) is not None:
            return -self._signed() if sign == "-" else self._signed()
        return self._power()

    def _power(self) -> Number:
        value = self._atom()
        return _power(value, self._signed()) if self._take("**") is not None else value

    def _atom(self) -> Number:
        if self._take("(") is not None:
            value = self._sum()
            if self._take(")") is None:
                raise BadExpression("a bracket is not closed")
            return value
        if self.place >= len(self.tokens):
            raise BadExpression("it ends too early")
        token = self.tokens[self.place]
        if not token[0].isdigit() and token[0] != ".":
            raise BadExpression(f"{token!r} is not expected there")
        self.place += 1
        return float(token) if "." in token else int(token)

    def _take(self, *signs: str) -> str | None:
        if self.place < len(self.tokens) and self.tokens[self.place] in signs:
            self.place += 1
            return self.tokens[self.place - 1]
        return None


_SUMS: Final[dict[str, Callable[[Number, Number], Number]]] = {"+": lambda a, b: a + b, "-": lambda a, b: a - b}
_PRODUCTS: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


def _checked(operation: Callable[[Number, Number], Number], left: Number, right: Number) -> Number:
    value = operation(left, right)
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        raise BadExpression(f"a number in it has more than {MOST_DIGITS} digits")
    return value


def _power(value: Number, exponent: Number) -> Number:
    """Bounded before it is computed."""
    digits = len(str(abs(value))) if isinstance(value, int) else 1
    if isinstance(value, int) and isinstance(exponent, int) and abs(exponent) * digits > MOST_DIGITS:
        raise BadExpression(f"a number in it has more than {MOST_DIGITS} digits")
    result = value**exponent
    if isinstance(result, complex):
        raise BadExpression("a root of a negative number is no number")
    return result
