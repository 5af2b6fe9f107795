"""What rules assert: facts and clauses that are state, in the order of Prolog, with an index on the first argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from opentec.rules.store import Store
from opentec.rules.terms import Ref, RuleError, Struct, copy, deref, is_ground, show, thaw

SECTION: Final = "fact"  # of the store: number to frozen clause
FACT_LIMIT: Final = 250_000  # facts that all rules together may hold
_NEXT: Final = "next"  # in the section: the numbers that asserta and assertz used last

Key = tuple[str, int]  # name and number of arguments
_to_json = msgspec.json.Encoder().encode


def split(clause: Any) -> tuple[Any, Any]:
    """Head and body of a clause, `Head :- Body`; a fact has no body, None. Raises RuleError for what is none."""
    clause = deref(clause)
    head, body = clause, None
    if type(clause) is Struct and clause.name == ":-" and len(clause.args) == 2:
        head, body = deref(clause.args[0]), deref(clause.args[1])
        if body == "true":
            body = None
    if type(head) is not str and type(head) is not Struct:
        raise RuleError(f"{show(clause)[:80]} is neither a fact, name(...), nor a clause, (name(...) :- goals)")
    return head, body


def key_of(head: Any) -> Key:
    return (head.name, len(head.args)) if type(head) is Struct else (head, 0)


def args_of(head: Any) -> tuple[Any, ...]:
    return head.args if type(head) is Struct else ()


def index_key(term: Any) -> Any:
    """What a first argument is found by, or None: then every clause may fit, or only those with a variable there."""
    term = deref(term)
    kind = type(term)
    if kind is str or kind is int or kind is float:
        return term
    return (term.name, len(term.args)) if kind is Struct else None


class Fact:
    """One clause that was asserted. `data` is its frozen form; `args` and `body` are not to be bound: `fresh` is."""

    __slots__ = ("alive", "args", "body", "data", "ground", "key", "number", "text")

    def __init__(self, number: int, data: Any) -> None:
        self.number = number
        self.data = data
        head, self.body = split(thaw(data))
        self.key: Key = key_of(head)
        self.args: tuple[Any, ...] = args_of(head)
        self.ground = self.body is None and is_ground(list(self.args))
        # what a clause with a body is compiled by
        self.text = b"" if self.body is None else _to_json(data)
        self.alive = True

    def fresh(self) -> tuple[tuple[Any, ...], Any]:
        """Arguments and body with variables of their own."""
        if self.ground:
            return self.args, None
        args, body = copy(Struct("", (Struct("", self.args), self.body))).args
        return args.args, body


class Table:
    """The facts of one name and arity. A dict by number is in the order of the numbers, but for asserta."""

    __slots__ = ("_index", "_loose", "facts", "sorted")

    def __init__(self) -> None:
        self.facts: dict[int, Fact] = {}
        self.sorted = True
        self._index: dict[Any, dict[int, Fact]] = {}
        self._loose: dict[int, Fact] = {}  # whose first argument is a variable or a list

    def _bucket(self, fact: Fact) -> dict[int, Fact]:
        key = index_key(fact.args[0]) if fact.args else None
        return self._loose if key is None else self._index.setdefault(key, {})

    def insert(self, fact: Fact) -> None:
        self.facts[fact.number] = fact
        self._bucket(fact)[fact.number] = fact

    def remove(self, fact: Fact) -> None:
        del self.facts[fact.number]
        bucket = self._bucket(fact)
        del bucket[fact.number]
        if not bucket and fact.args and bucket is not self._loose:
            del self._index[index_key(fact.args[0])]

    def matching(self, args: tuple[Any, ...]) -> list[Fact]:
        """Those that may fit these arguments, in order; what happens to the table later leaves the list alone."""
        if not args or type(deref(args[0])) is Ref:
            found = list(self.facts.values())
            in_order = self.sorted
        else:
            key = index_key(args[0])
            bucket: Mapping[int, Fact] = {} if key is None else self._index.get(key, {})
            found = [*bucket.values(), *self._loose.values()]
            in_order = self.sorted and (not bucket or not self._loose)
        if not in_order:
            found.sort(key=lambda fact: fact.number)
        return found


class Facts:
    """All facts of a store, by name and arity (a view of the store)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables: dict[Key, Table] = {}
        self.count = 0
        for number in sorted(int(name) for name in store.section(SECTION) if name != _NEXT):
            self._insert(Fact(number, store.get(SECTION, str(number))))

    def _insert(self, fact: Fact) -> None:
        table = self._tables.get(fact.key)
        if table is None:
            table = self._tables[fact.key] = Table()
        table.insert(fact)
        self.count += 1

    def table(self, key: Key) -> Table | None:
        return self._tables.get(key)

    def add(self, data: Any, *, front: bool) -> None:
        """Keep a frozen clause behind or before the others. Raises RuleError beyond the limit."""
        if self.count >= FACT_LIMIT:
            raise RuleError(f"there are {FACT_LIMIT} facts already; retract those that are not needed any more")
        first, last = self._store.get(SECTION, _NEXT, (0, 0))
        number = first - 1 if front else last + 1
        fact = Fact(number, data)
        self._store.put(SECTION, _NEXT, [number, last] if front else [first, number])
        self._store.put(SECTION, str(number), data)
        self._insert(fact)
        if front:
            self._tables[fact.key].sorted = False

    def remove(self, fact: Fact) -> None:
        """Forget a fact, once."""
        if fact.alive:
            fact.alive = False
            self.count -= 1
            table = self._tables[fact.key]
            table.remove(fact)
            if not table.facts:
                del self._tables[fact.key]
            self._store.put(SECTION, str(fact.number), None)
