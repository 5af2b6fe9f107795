"""The values that rule bodies compute with, and unification.

Atoms and texts are `str`, numbers `int` and `float`, proper lists `list`, events `Event`. Only what Python has no
value for gets a class of its own: an unbound variable, a list with an open tail, a compound term.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

TEXT_LIMIT: Final = 65_536  # characters of one text a rule may build; a STRING slot holds no more (tec-2.md 2.2)
LIST_LIMIT: Final = 100_000  # items of one list a rule may build


class RuleError(Exception):
    """A rule did something that its language forbids: it fails the action, never the server.

    `place` is `file:line` of the goal, filled in by the compiled goal that raised it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.place = ""


class StepLimitError(Exception):
    """A record used up its step limit: evaluation ends, the event is stored all the same."""


class _Unbound:
    __slots__ = ()

    def __repr__(self) -> str:
        return "_"


UNBOUND: Final = _Unbound()


class Ref:
    """A variable that was not bound when it was met; `value` is UNBOUND or a term."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = UNBOUND

    def __repr__(self) -> str:
        return repr(self.value)


class Partial(msgspec.Struct, frozen=True):
    """A list with an open tail, `[a, b | Tail]`."""

    items: tuple[Any, ...]
    tail: Any


class Struct(msgspec.Struct, frozen=True):
    """A compound term that is data, `name(args)`."""

    name: str
    args: tuple[Any, ...]


Trail = list[Ref]


def deref(term: Any) -> Any:
    """What a term stands for: never a bound Ref, and never a Partial whose tail is known to be a list."""
    while type(term) is Ref:
        if term.value is UNBOUND:
            return term
        term = term.value
    return _flatten(term) if type(term) is Partial else term


def _flatten(term: Partial) -> Any:
    items, tail = list(term.items), deref(term.tail)
    if type(tail) is list:
        return items + tail
    if type(tail) is Partial:
        return Partial((*items, *tail.items), tail.tail)
    return term


def unify(left: Any, right: Any, trail: Trail) -> bool:
    """Make both terms equal by binding variables; what was bound is on the trail, also when False is returned."""
    left, right = deref(left), deref(right)
    if left is right:
        return True
    if type(left) is Ref:
        left.value = right
        trail.append(left)
        return True
    if type(right) is Ref:
        right.value = left
        trail.append(right)
        return True
    kind = type(left)
    if kind is Partial or type(right) is Partial:
        return _unify_partial(left, right, trail)
    if kind is not type(right):
        return False
    if kind is list:
        return len(left) == len(right) and all(unify(a, b, trail) for a, b in zip(left, right, strict=True))
    if kind is Struct:
        return (
            left.name == right.name
            and len(left.args) == len(right.args)
            and all(unify(a, b, trail) for a, b in zip(left.args, right.args, strict=True))
        )
    return bool(left == right)


def _unify_partial(left: Any, right: Any, trail: Trail) -> bool:
    if type(left) is not Partial:
        left, right = right, left
    n = len(left.items)
    if type(right) is list:
        return (
            n <= len(right)
            and all(unify(a, b, trail) for a, b in zip(left.items, right, strict=False))
            and unify(left.tail, right[n:], trail)
        )
    if type(right) is not Partial:
        return False
    if n > len(right.items):
        left, right, n = right, left, len(right.items)
    if not all(unify(a, b, trail) for a, b in zip(left.items, right.items, strict=False)):
        return False
    rest = right.items[n:]
    return unify(left.tail, Partial(rest, right.tail) if rest else right.tail, trail)


def undo(trail: Trail, mark: int) -> None:
    """Unbind everything bound since the trail had `mark` entries."""
    while len(trail) > mark:
        trail.pop().value = UNBOUND


def resolve(term: Any) -> Any:
    """The term without variables, for what leaves the body. Raises RuleError when one is unbound."""
    term = deref(term)
    kind = type(term)
    if kind is Ref:
        raise RuleError("a variable is used before it has a value")
    if kind is list:
        return [resolve(item) for item in term]
    if kind is Struct:
        return Struct(term.name, tuple(resolve(arg) for arg in term.args))
    if kind is Partial:
        raise RuleError("a list has an open end")
    return term


def copy(term: Any) -> Any:
    """A copy that later backtracking leaves alone; variables that are unbound become new ones."""
    return _copy(term, {})


def _copy(term: Any, known: dict[int, Ref]) -> Any:
    term = deref(term)
    kind = type(term)
    if kind is Ref:
        return known.setdefault(id(term), Ref())
    if kind is list:
        return [_copy(item, known) for item in term]
    if kind is Struct:
        return Struct(term.name, tuple(_copy(arg, known) for arg in term.args))
    if kind is Partial:
        return Partial(tuple(_copy(item, known) for item in term.items), _copy(term.tail, known))
    return term


def identical(left: Any, right: Any) -> bool:
    """`==`: the same term as it stands, nothing is bound."""
    left, right = deref(left), deref(right)
    if left is right:
        return True
    kind = type(left)
    if kind is not type(right) or kind is Ref:
        return False
    if kind is list:
        return len(left) == len(right) and all(map(identical, left, right))
    if kind is Struct:
        return (
            left.name == right.name and len(left.args) == len(right.args) and all(map(identical, left.args, right.args))
        )
    if kind is Partial:
        return len(left.items) == len(right.items) and all(
            map(identical, (*left.items, left.tail), (*right.items, right.tail))
        )
    return bool(left == right)


def show(term: Any) -> str:
    """A term as a person reads it: texts bare, lists as `[a, b]`, events by their key."""
    term = deref(term)
    kind = type(term)
    if kind is str:
        return str(term)
    if kind is list:
        return "[" + ", ".join(map(show, term)) + "]"
    if kind is Ref:
        return "_"
    if kind is Struct:
        return f"{term.name}({', '.join(map(show, term.args))})"
    if kind is Partial:
        return f"[{', '.join(map(show, term.items))} | {show(term.tail)}]"
    return str(term)
