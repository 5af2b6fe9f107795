"""Arithmetic of rule bodies: whole numbers of 64 bits and reals.

`/` of whole numbers gives a whole number when it comes out even, else a real; `//` cuts towards zero and `mod` has the
sign of the divisor, as in ISO Prolog.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final

from opentec.rules.ast import Compound, Number, Term, Var
from opentec.rules.scope import Frame, Reader, Scope, fixed, value_reader, wrong
from opentec.rules.terms import RuleError, show

Numeric = int | float
WORD: Final = 2**63


def _checked(value: Numeric) -> Numeric:
    if type(value) is int:
        if not -WORD <= value < WORD:
            raise RuleError("a result does not fit into 64 bits")
    elif not math.isfinite(value):
        raise RuleError("a result is too large for a real")
    return value


def _whole(value: Numeric, name: str) -> int:
    if type(value) is not int:
        raise RuleError(f"{name} takes whole numbers, not {value}")
    return value


def _divide(a: Numeric, b: Numeric) -> Numeric:
    if b == 0:
        raise RuleError("a division by zero")
    if type(a) is int and type(b) is int:
        quotient, rest = divmod(a, b)
        return quotient if rest == 0 else a / b
    return a / b


def _cut(a: Numeric, b: Numeric) -> Numeric:
    a, b = _whole(a, "//"), _whole(b, "//")
    if b == 0:
        raise RuleError("a division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _mod(a: Numeric, b: Numeric) -> Numeric:
    a, b = _whole(a, "mod"), _whole(b, "mod")
    if b == 0:
        raise RuleError("a division by zero")
    return a % b


def _rem(a: Numeric, b: Numeric) -> Numeric:
    return _whole(a, "rem") - _cut(a, b) * _whole(b, "rem")


def _power(a: Numeric, b: Numeric) -> Numeric:
    if type(a) is int and type(b) is int and b >= 0:
        if abs(a) > 1 and b > 63:
            raise RuleError("a result does not fit into 64 bits")
        return int(a**b)
    try:
        result = a**b
    except (OverflowError, ZeroDivisionError):
        raise RuleError(f"{a} ** {b} has no value") from None
    if isinstance(result, complex):
        raise RuleError(f"{a} ** {b} has no real value")
    return float(result)


_BINARY: Final[dict[str, Callable[[Any, Any], Numeric]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "//": _cut,
    "mod": _mod,
    "rem": _rem,
    "**": _power,
    "^": _power,
    "min": min,
    "max": max,
}
_UNARY: Final[dict[str, Callable[[Any], Numeric]]] = {
    "-": operator.neg,
    "+": operator.pos,
    "abs": abs,
    "round": round,
    "truncate": math.trunc,
    "integer": round,
    "float": float,
}
COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=:=": operator.eq,
    "=\\=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=<": operator.le,
    ">=": operator.ge,
}


def expression(term: Term, scope: Scope) -> Reader:
    """Compile an expression; its reader gives a number or raises RuleError. Raises SourceError for what is none."""
    if isinstance(term, Number):
        return fixed(term.value)
    if isinstance(term, Var):
        read = value_reader(term, scope)

        def variable(frame: Frame) -> Numeric:
            value = read(frame)
            if type(value) is int or type(value) is float:
                return value
            raise RuleError(f"{term.name} is {show(value)!r}, which is not a number")

        return variable
    if isinstance(term, Compound) and len(term.args) == 2 and term.name in _BINARY:
        compute = _BINARY[term.name]
        left, right = expression(term.args[0], scope), expression(term.args[1], scope)
        return lambda frame: _checked(compute(left(frame), right(frame)))
    if isinstance(term, Compound) and len(term.args) == 1 and term.name in _UNARY:
        compute_one = _UNARY[term.name]
        operand = expression(term.args[0], scope)
        return lambda frame: _checked(compute_one(operand(frame)))
    known = ", ".join((*_BINARY, "abs"))
    return wrong("this cannot be computed", term.place, f"an expression has numbers, variables and {known}")
