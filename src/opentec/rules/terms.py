"""The values that rule bodies compute with, and unification.

Atoms and texts are `str`, numbers `int` and `float`, proper lists `list`, events `Event`. Only what Python has no
value for gets a class of its own: an unbound variable, a list with an open tail, a compound term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

TEXT_LIMIT: Final = 65_536  # characters of one text a rule may build; a STRING slot holds no more (tec-2.md 2.2)
LIST_LIMIT: Final = 100_000  # items of one list a rule may build
TERM_LIMIT: Final = 500_000  # parts of one term that is walked through
PARTS_A_STEP: Final = 16
_ACCOUNT: Final = 64 * PARTS_A_STEP  # parts that are paid for together
SORT_DEPTH: Final = 1000  # brackets within brackets in a term that is sorted or compared by order
FROZEN_PARTS: Final = 100_000  # parts of one term that is kept
FROZEN_TEXT: Final = 1_000_000  # characters in it
FROZEN_DEPTH: Final = 100  # brackets within brackets in it


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

    def __repr__(self) -> str:
        return show(self)


class Struct(msgspec.Struct, frozen=True):
    """A compound term that is data, `name(args)`."""

    name: str
    args: tuple[Any, ...]

    def __repr__(self) -> str:
        return show(self)


class Trail(list[Ref]):
    """The variables that were bound, in this order. Parts of terms that are compared on the way cost steps.

    `spend` takes the steps, and may raise; without it they cost nothing.
    """

    __slots__ = ("_spend", "parts")

    def __init__(self, spend: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.parts = 0  # that were not paid for yet
        self._spend = spend

    def pay(self) -> None:
        """Turn parts into steps."""
        steps, self.parts = divmod(self.parts, PARTS_A_STEP)
        if self._spend is not None:
            self._spend(steps)


def deref(term: Any) -> Any:
    """What a term stands for: never a bound Ref, and never a Partial whose tail is known to be a list."""
    while type(term) is Ref:
        if term.value is UNBOUND:
            return term
        term = term.value
    return _flatten(term) if type(term) is Partial else term


def _flatten(term: Partial) -> Any:
    # a loop: a list may be made of as many pieces as it has items, and may hold itself
    tail = term.tail
    items: list[Any] | None = None
    while True:
        while type(tail) is Ref and tail.value is not UNBOUND:
            tail = tail.value
        kind = type(tail)
        if kind is not list and kind is not Partial:
            return term if items is None else Partial(tuple(items), tail)
        if items is None:
            items = list(term.items)
        items.extend(tail if kind is list else tail.items)
        if len(items) > LIST_LIMIT:
            raise RuleError(f"a list has at most {LIST_LIMIT} items")
        if kind is list:
            return items
        tail = tail.tail


def unify(left: Any, right: Any, trail: Trail) -> bool:
    """Make both terms equal by binding variables; what was bound is on the trail, also when False is returned."""
    # loops, here and below, and not all() or map(): recursion through them would use up the C stack
    kind = type(left)
    if kind is Ref or kind is Partial:
        left = deref(left)
        kind = type(left)
    if type(right) is Ref or type(right) is Partial:
        right = deref(right)
    if left is right:
        return True
    if kind is Ref:
        left.value = right
        trail.append(left)
        return True
    if type(right) is Ref:
        right.value = left
        trail.append(right)
        return True
    if kind is Partial or type(right) is Partial:
        return _unify_partial(left, right, trail)
    if kind is not type(right):
        return False
    if kind is Struct:
        if left.name != right.name:
            return False
        left, right = left.args, right.args
    elif kind is not list:
        return bool(left == right)
    if len(left) != len(right):
        return False
    trail.parts += 1 + len(left)
    if trail.parts > _ACCOUNT:
        trail.pay()
    return unify_all(left, right, trail)


def unify_all(left: Sequence[Any], right: Sequence[Any], trail: Trail) -> bool:
    """Unify term by term, as far as the shorter goes."""
    for one, other in zip(left, right, strict=False):  # noqa: SIM110
        if not unify(one, other, trail):
            return False
    return True


def _unify_partial(left: Any, right: Any, trail: Trail) -> bool:
    if type(left) is not Partial:
        left, right = right, left
    n = len(left.items)
    # what is behind these items is copied
    trail.parts += n + (len(right) if type(right) is list else 0) // PARTS_A_STEP
    if trail.parts > _ACCOUNT:
        trail.pay()
    if type(right) is list:
        return n <= len(right) and unify_all(left.items, right, trail) and unify(left.tail, right[n:], trail)
    if type(right) is not Partial:
        return False
    if n > len(right.items):
        left, right, n = right, left, len(right.items)
    if not unify_all(left.items, right.items, trail):
        return False
    rest = right.items[n:]
    return unify(left.tail, Partial(rest, right.tail) if rest else right.tail, trail)


def undo(trail: Trail, mark: int) -> None:
    """Unbind everything bound since the trail had `mark` entries."""
    while len(trail) > mark:
        trail.pop().value = UNBOUND


def resolve(term: Any) -> Any:
    """The term without variables, for what leaves the body. Raises RuleError when one is unbound."""
    kind = type(term)
    if kind is Ref or kind is Partial:
        term = deref(term)
        kind = type(term)
    if kind is list or kind is Struct or kind is Partial or kind is Ref:
        return _resolve(term, Budget())
    return term


class Budget:
    """Counts the parts of a term while it is walked through: a term that holds itself, or doubles, has too many."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = TERM_LIMIT

    @property
    def steps(self) -> int:
        """What was spent, in steps of the step limit."""
        return (TERM_LIMIT - self.left) // PARTS_A_STEP

    def spend(self, parts: int) -> None:
        self.left -= parts
        if self.left < 0:
            raise RuleError(f"a term nests too deeply, or has more than {TERM_LIMIT} parts")


def _resolve(term: Any, budget: Budget) -> Any:
    term = deref(term)
    kind = type(term)
    if kind is list:
        budget.spend(len(term))
        return [_resolve(item, budget) for item in term]
    if kind is Struct:
        budget.spend(1 + len(term.args))
        return Struct(term.name, tuple([_resolve(arg, budget) for arg in term.args]))
    if kind is Ref:
        raise RuleError("a variable is used before it has a value")
    if kind is Partial:
        raise RuleError("a list has an open end")
    return term


def copy(term: Any, budget: Budget | None = None) -> Any:
    """A copy that later backtracking leaves alone; variables that are unbound become new ones."""
    return _copy(term, {}, Budget() if budget is None else budget)


def _copy(term: Any, known: dict[int, Ref], budget: Budget) -> Any:
    term = deref(term)
    kind = type(term)
    if kind is Ref:
        return known.setdefault(id(term), Ref())
    if kind is list:
        budget.spend(len(term))
        return [_copy(item, known, budget) for item in term]
    if kind is Struct:
        budget.spend(1 + len(term.args))
        return Struct(term.name, tuple([_copy(arg, known, budget) for arg in term.args]))
    if kind is Partial:
        budget.spend(1 + len(term.items))
        return Partial(tuple([_copy(item, known, budget) for item in term.items]), _copy(term.tail, known, budget))
    return term


def identical(left: Any, right: Any, trail: Trail) -> bool:
    """`==`: the same term as it stands, nothing is bound; the trail pays for it."""
    left, right = deref(left), deref(right)
    if left is right:
        return True
    kind = type(left)
    if kind is not type(right) or kind is Ref:
        return False
    if kind is list:
        return _all_identical(left, right, trail)
    if kind is Struct:
        return left.name == right.name and _all_identical(left.args, right.args, trail)
    if kind is Partial:
        return _all_identical((*left.items, left.tail), (*right.items, right.tail), trail)
    return bool(left == right)


def _all_identical(left: Sequence[Any], right: Sequence[Any], trail: Trail) -> bool:
    if len(left) != len(right):
        return False
    trail.parts += 1 + len(left)
    if trail.parts > _ACCOUNT:
        trail.pay()
    for one, other in zip(left, right, strict=True):  # noqa: SIM110
        if not identical(one, other, trail):
            return False
    return True


def show(term: Any) -> str:
    """A term as a person reads it: texts bare, lists as `[a, b]`, events by their key.

    Raises RuleError for one that is too large to be read: texts count as parts, too.
    """
    term = deref(term)
    if type(term) is str:
        return term
    said: list[str] = []
    _show(term, said, Budget())
    return "".join(said)


def _show(term: Any, said: list[str], budget: Budget) -> None:
    term = deref(term)
    kind = type(term)
    if kind is str:
        budget.spend(len(term) // PARTS_A_STEP)
        said.append(term)
    elif kind is list:
        said.append("[")
        _show_all(term, said, budget)
        said.append("]")
    elif kind is Ref:
        said.append("_")
    elif kind is Struct:
        budget.spend(len(term.name) // PARTS_A_STEP)
        said += (term.name, "(")
        _show_all(term.args, said, budget)
        said.append(")")
    elif kind is Partial:
        said.append("[")
        _show_all(term.items, said, budget)
        said.append(" | ")
        _show(term.tail, said, budget)
        said.append("]")
    else:
        said.append(str(term))


def _show_all(terms: Sequence[Any], said: list[str], budget: Budget) -> None:
    budget.spend(1 + len(terms))
    for number, term in enumerate(terms):
        if number:
            said.append(", ")
        _show(term, said, budget)


# what a term looks like in the store: texts, numbers and lists as they are, the rest as a dict of one entry
_VARIABLE: Final = "v"  # its number, in the order in which variables are met
_STRUCT: Final = "f"  # name and arguments
_PARTIAL: Final = "l"  # items, and the tail as the last one


def freeze(term: Any, what: str = "the store") -> Any:
    """The term as plain data (msgpack and JSON alike), for the store: `thaw` makes an equal term of it.

    Variables become numbers. Raises RuleError, which names `what` the term was for, when it holds an event, has more
    than FROZEN_PARTS parts or FROZEN_TEXT characters, or nests more than FROZEN_DEPTH deep.
    """
    return freeze_measured(term, what)[0]


def freeze_measured(term: Any, what: str) -> tuple[Any, int]:
    """The same, with the number of its parts and characters."""
    freezer = _Freezer(what)
    data = freezer.data(term, 0)
    return data, FROZEN_PARTS - freezer.parts + FROZEN_TEXT - freezer.text


class _Freezer:
    def __init__(self, what: str) -> None:
        self.what = what
        self.parts = FROZEN_PARTS
        self.text = FROZEN_TEXT
        self.numbers: dict[Ref, int] = {}

    def data(self, term: Any, depth: int) -> Any:
        term = deref(term)
        kind = type(term)
        if kind is str:
            self.text -= len(term)
            if self.text < 0:
                raise RuleError(f"{self.what} holds at most {FROZEN_TEXT} characters")
            return term
        if kind is int or kind is float:
            return term
        if kind is list:
            return self.all(term, depth)
        if kind is Struct:
            return {_STRUCT: [self.data(term.name, depth), *self.all(term.args, depth)]}
        if kind is Partial:
            return {_PARTIAL: self.all((*term.items, term.tail), depth)}
        if kind is Ref:
            return {_VARIABLE: self.numbers.setdefault(term, len(self.numbers))}
        raise RuleError(f"an event cannot be kept in {self.what}; keep its key: date_reception and event_handle")

    def all(self, terms: Sequence[Any], depth: int) -> list[Any]:
        self.parts -= len(terms)
        if self.parts < 0:
            raise RuleError(f"{self.what} holds terms of at most {FROZEN_PARTS} parts")
        if depth >= FROZEN_DEPTH:
            raise RuleError(f"{self.what} holds terms that nest at most {FROZEN_DEPTH} deep")
        return [self.data(term, depth + 1) for term in terms]


def thaw(data: Any) -> Any:
    """The term that `freeze` made this data of, its variables new ones."""
    if type(data) is str:
        return data
    return _thaw(data, {})


def _thaw(data: Any, known: dict[int, Ref]) -> Any:
    kind = type(data)
    if kind is list:
        return [_thaw(item, known) for item in data]
    if kind is not dict:
        return data
    if _STRUCT in data:
        name, *args = data[_STRUCT]
        return Struct(name, tuple([_thaw(arg, known) for arg in args]))
    if _PARTIAL in data:
        *items, tail = data[_PARTIAL]
        return Partial(tuple([_thaw(item, known) for item in items]), _thaw(tail, known))
    number = data[_VARIABLE]
    found = known.get(number)
    if found is None:
        found = known[number] = Ref()
    return found


def is_ground(term: Any) -> bool:
    """Whether there is no unbound variable in the term. Raises RuleError for one without end."""
    return _is_ground(term, Budget())


def _is_ground(term: Any, budget: Budget) -> bool:
    term = deref(term)
    kind = type(term)
    if kind is Ref or kind is Partial:
        return False
    if kind is not list and kind is not Struct:
        return True
    parts = term if kind is list else term.args
    budget.spend(1 + len(parts))
    for part in parts:  # noqa: SIM110
        if not _is_ground(part, budget):
            return False
    return True


def sort_key(term: Any, budget: Budget | None = None) -> tuple[Any, ...]:
    """Sorts terms: variables, numbers by value, texts, lists, compound terms (by number of arguments, name,
    arguments), events by their key. Variables have no order among themselves, which would differ between runs.

    Raises RuleError for terms that are too large; `budget` is one for all that are sorted together.
    """
    return _sort_key(term, Budget() if budget is None else budget, 0)


def _sort_key(term: Any, budget: Budget, depth: int) -> tuple[Any, ...]:
    term = deref(term)
    kind = type(term)
    if kind is str:
        return 2, term
    if kind is int or kind is float:
        return 1, term, kind is int
    if kind is Ref:
        return (0,)
    if depth > SORT_DEPTH:
        raise RuleError(f"terms that nest more than {SORT_DEPTH} deep cannot be sorted")
    if kind is list or kind is Partial:
        items = term if kind is list else (*term.items, term.tail)
        budget.spend(1 + len(items))
        return 3, tuple([_sort_key(item, budget, depth + 1) for item in items])
    if kind is Struct:
        budget.spend(1 + len(term.args))
        return 4, len(term.args), term.name, tuple([_sort_key(arg, budget, depth + 1) for arg in term.args])
    return 5, term.key
