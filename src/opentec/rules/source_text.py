"""Terms of a rule as a person would write them, on one line: what explanations name goals and conditions by."""

from __future__ import annotations

import re
from typing import Final

from opentec.rules.ast import (
    Atom,
    Compound,
    Condition,
    EventArgument,
    EventFilter,
    ListTerm,
    Number,
    Term,
    Test,
    Text,
    Var,
)

LONGEST: Final = 160  # characters; what is longer is cut
_BARE: Final = re.compile(r"[a-z]\w*")
_INFIX: Final = frozenset(
    (";", "->", "=", "\\=", "==", "\\==", "is", "=:=", "=\\=", "<", ">", "=<", ">=", "@<", "@>", "@=<", "@>=", "=..")
).union(("+", "-", "*", "/", "//", "mod", "rem", "**", "^", "<<", ">>", "/\\", "\\/", "xor", ":"))
_OPERATORS: Final = _INFIX | {",", "\\+"}


def goal_text(term: Term) -> str:
    """A goal, cut to LONGEST characters."""
    return _cut(_goal(term))


def condition_text(condition: Condition) -> str:
    """A condition, `slot: _var test...`, cut to LONGEST characters."""
    return _cut(_condition(condition))


def test_text(test: Test) -> str:
    """A test, `equals 'x'`, cut to LONGEST characters."""
    return _cut(_test(test))


test_text.__test__ = False  # type: ignore[attr-defined]  # no test of ours


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _goal(term: Term) -> str:
    if isinstance(term, Compound):
        return _compound(term)
    if isinstance(term, Var):
        return term.name
    if isinstance(term, Atom):
        return _atom(term.value)
    if isinstance(term, Text):
        return _quoted(term.value, '"')
    if isinstance(term, Number):
        return str(term.value)
    if isinstance(term, ListTerm):
        tail = "" if term.tail is None else f" | {_goal(term.tail)}"
        return f"[{', '.join(map(_goal, term.items))}{tail}]"
    return _filter(term)


def _compound(term: Compound) -> str:
    name, args = term.name, term.args
    if name == ",":
        return ", ".join(map(_goal, args))
    if len(args) == 2 and name in _INFIX:
        return f"{_operand(args[0])} {name} {_operand(args[1])}"
    if len(args) == 1 and name == "\\+":
        return f"\\+ {_operand(args[0])}"
    if len(args) == 1 and name == "-":
        return f"-{_operand(args[0])}"
    return f"{_atom(name)}({', '.join(map(_goal, args))})" if args else _atom(name)


def _operand(term: Term) -> str:
    text = _goal(term)
    return f"({text})" if isinstance(term, Compound) and term.args and term.name in _OPERATORS else text


def _atom(value: str) -> str:
    return value if _BARE.fullmatch(value) or value == "!" else _quoted(value, "'")


def _quoted(value: str, quote: str) -> str:
    text = value.replace(quote, quote * 2).replace("\n", "\\n").replace("\t", "\\t")
    return f"{quote}{text}{quote}"


def _filter(term: EventArgument | EventFilter) -> str:
    found = term.filter if isinstance(term, EventArgument) else term
    text = f"event: {found.variable.name}"
    if found.classes:
        names = ", ".join(_quoted(atom.value, "'") for atom in found.classes)
        text += f" of_class {names}" if len(found.classes) == 1 else f" of_class within [{names}]"
    elif found.class_variable is not None:
        text += f" of_class {found.class_variable.name}"
    if found.conditions:
        text += f" where [{', '.join(map(_condition, found.conditions))}]"
    return text


def _condition(condition: Condition) -> str:
    parts = [] if condition.variable is None else [condition.variable.name]
    return " ".join([f"{condition.slot}:", *parts, *map(_test, condition.tests)])


def _test(test: Test) -> str:
    operand = test.operand
    # values are quoted, whatever was written: 'CLOSED'
    text = _quoted(operand.value, "'") if isinstance(operand, Atom) else _goal(operand)
    return f"{test.operator} {text}"
