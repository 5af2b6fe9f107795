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
from opentec.rules.terms import RuleError, Struct, show

Numeric = int | float
WORD: Final = 2**63
DEPTH: Final = 200  # brackets within brackets of an expression that is a term


def checked(value: Numeric) -> Numeric:
    """A result that the language has; raises RuleError for one that is too large."""
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


def _floor_divide(a: Numeric, b: Numeric) -> Numeric:
    a, b = _whole(a, "div"), _whole(b, "div")
    if b == 0:
        raise RuleError("a division by zero")
    return a // b


def _shift(a: Numeric, b: Numeric, name: str) -> Numeric:
    a, b = _whole(a, name), _whole(b, name)
    if not 0 <= b < 64:
        raise RuleError(f"{name} shifts by 0 to 63 bits, not {b}")
    return a << b if name == "<<" else a >> b


def _bits(name: str, compute: Callable[[int, int], int]) -> Callable[[Any, Any], Numeric]:
    return lambda a, b: compute(_whole(a, name), _whole(b, name))


def _round(a: Numeric) -> Numeric:
    """To the nearest whole number, halves away from zero as in Prolog; Python's own goes to the even one."""
    whole = math.floor(abs(a))
    whole += abs(a) - whole >= 0.5
    return -whole if a < 0 else whole


def _root(a: Numeric) -> Numeric:
    if a < 0:
        raise RuleError(f"sqrt({a}) has no real value")
    return math.sqrt(a)


def _log(a: Numeric) -> Numeric:
    if a <= 0:
        raise RuleError(f"log({a}) has no value")
    return math.log(a)


def _exp(a: Numeric) -> Numeric:
    try:
        return math.exp(a)
    except OverflowError:
        raise RuleError("a result is too large for a real") from None


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
    "div": _floor_divide,
    "gcd": _bits("gcd", math.gcd),
    "<<": lambda a, b: _shift(a, b, "<<"),
    ">>": lambda a, b: _shift(a, b, ">>"),
    "/\\": _bits("/\\", operator.and_),
    "\\/": _bits("\\/", operator.or_),
    "xor": _bits("xor", operator.xor),
}
_UNARY: Final[dict[str, Callable[[Any], Numeric]]] = {
    "-": operator.neg,
    "+": operator.pos,
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0) if type(a) is int else float((a > 0) - (a < 0)),
    "round": _round,
    "integer": _round,
    "truncate": math.trunc,
    "floor": math.floor,
    "ceiling": math.ceil,
    "float": float,
    "sqrt": _root,
    "exp": _exp,
    "log": _log,
    "\\": lambda a: ~_whole(a, "\\"),
}
COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=:=": operator.eq,
    "=\\=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=<": operator.le,
    ">=": operator.ge,
}


def computed(term: Any, depth: int) -> Numeric:
    """The value of an expression that is a term without variables. Raises RuleError."""
    if type(term) is int or type(term) is float:
        return term
    if type(term) is Struct and depth < DEPTH:
        args = [computed(arg, depth + 1) for arg in term.args]
        if len(args) == 1 and term.name in _UNARY:
            return checked(_UNARY[term.name](*args))
        if len(args) == 2 and term.name in _BINARY:
            return checked(_BINARY[term.name](*args))
    raise RuleError(f"{show(term)[:80]!r} cannot be computed")


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
            if type(value) is Struct:
                return computed(value, 0)
            raise RuleError(f"{term.name} is {show(value)!r}, which is not a number")

        return variable
    if isinstance(term, Compound) and len(term.args) == 2 and term.name in _BINARY:
        compute = _BINARY[term.name]
        left, right = expression(term.args[0], scope), expression(term.args[1], scope)
        return lambda frame: checked(compute(left(frame), right(frame)))
    if isinstance(term, Compound) and len(term.args) == 1 and term.name in _UNARY:
        compute_one = _UNARY[term.name]
        operand = expression(term.args[0], scope)
        return lambda frame: checked(compute_one(operand(frame)))
    known = ", ".join(dict.fromkeys((*_BINARY, *_UNARY)))
    return wrong("this cannot be computed", term.place, f"an expression has numbers, variables and {known}")
