"""Facts and recorded values: what rules store under a name of their own (tec-2.md 3.6).

They are state of the server: committed with the event that made them, there after a restart and a failover, until a
rule takes them away.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from opentec.rules.evaluation import Evaluation
from opentec.rules.facts import Fact, Facts, Key, args_of, key_of, split
from opentec.rules.keyed import Keyed, Keys, check_key
from opentec.rules.predicates.define import define
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import Ref, RuleError, Struct, deref, show, thaw, undo, unify, unify_all

if TYPE_CHECKING:
    from opentec.rules.clauses import Program

RECORD_LIMIT: Final = 1_000  # values under one key
RECORD_SIZE: Final = 4_000_000  # bytes of them
KEYS_LIMIT: Final = 250_000  # keys with recorded values
SCAN: Final = 16  # facts looked at for one step
_encode: Final = msgspec.json.Encoder().encode


# facts


def _assert(front: bool, program: Program, run: Evaluation, clause: Any) -> bool:
    data = run.frozen(clause, "a fact")
    head = split(clause)[0]
    key = key_of(head)
    program.check_asserted(key)
    run.store.view(Facts).add(data, front=front)
    run.note(f"asserted {_brief(key, args_of(head))}")
    return True


def _brief(key: Key, args: tuple[Any, ...]) -> str:
    """A fact in a sentence about what a rule did, for `tec why`."""
    name, arity = key
    if not args:
        return name
    first = deref(args[0])
    shown = show(first)[:80] if type(first) in (str, int, float) else "_"
    return f"{name}({shown}, ...)" if arity > 1 else f"{name}({shown})"


def _head(term: Any, what: str) -> tuple[Key, tuple[Any, ...]]:
    head = deref(term)
    if type(head) is not str and type(head) is not Struct:
        raise RuleError(f"{what} needs the name of the fact, as in {what}(name(...)), not {show(head)!r}")
    return key_of(head), args_of(head)


def _facts(run: Evaluation, key: Key, args: tuple[Any, ...]) -> list[Fact]:
    table = run.store.view(Facts).table(key)
    found = [] if table is None else table.matching(args)
    run.count(len(found) // SCAN)
    return found


def _in_files(program: Program, run: Evaluation, key: Key, args: tuple[Any, ...], what: str) -> None:
    """Raises RuleError when a clause of a rule file is meant."""
    mark = len(run.trail)
    for clause in program.clauses(key, args):
        fits = clause.enter(args, run.trail) is not None
        undo(run.trail, mark)
        if fits:
            where = f"{clause.source.place.file}:{clause.source.place.line}"
            raise RuleError(f"{what} takes away only what was asserted, and {key[0]}/{key[1]} stands at {where}")


def _retract(program: Program, run: Evaluation, clause: Any) -> Iterator[None]:
    whole = deref(clause)
    with_body = type(whole) is Struct and whole.name == ":-" and len(whole.args) == 2
    head, body = whole.args if with_body else (whole, "true")
    key, args = _head(head, "retract")
    facts = run.store.view(Facts)
    mark = len(run.trail)
    found = False
    for fact in _facts(run, key, args):
        if not fact.alive:
            continue
        its_args, its_body = fact.fresh()
        if unify_all(its_args, args, run.trail) and unify(body, "true" if its_body is None else its_body, run.trail):
            found = True
            facts.remove(fact)
            run.note(f"retracted {_brief(key, fact.args)}")
            yield
        undo(run.trail, mark)
    if not found:
        _in_files(program, run, key, args, "retract")


def _retractall(program: Program, run: Evaluation, head: Any) -> bool:
    key, args = _head(head, "retractall")
    _in_files(program, run, key, args, "retractall")
    facts = run.store.view(Facts)
    mark = len(run.trail)
    before = facts.count
    for fact in _facts(run, key, args):
        if unify_all(fact.fresh()[0], args, run.trail):
            facts.remove(fact)
        undo(run.trail, mark)
    if facts.count < before:
        run.note(f"retracted {before - facts.count} of {key[0]}/{key[1]}")
    return True


def _abolish(program: Program, run: Evaluation, name: Any, arity: Any) -> bool:
    name, arity = deref(name), deref(arity)
    if type(name) is not str or type(arity) is not int or arity < 0:
        raise RuleError("abolish takes a name and a number of arguments, as in abolish(name/2)")
    return _retractall(program, run, Struct(name, tuple([Ref() for _ in range(arity)])) if arity else name)


def _abolish_term(program: Program, run: Evaluation, term: Any) -> bool:
    term = deref(term)
    if type(term) is not Struct or term.name != "/" or len(term.args) != 2:
        raise RuleError(f"abolish takes name/arity, not {show(term)!r}")
    return _abolish(program, run, *term.args)


def _clause(program: Program, run: Evaluation, head: Any, body: Any) -> Iterator[None]:
    from opentec.rules.clauses import term_of

    key, args = _head(head, "clause")
    mark = len(run.trail)
    facts = _facts(run, key, args)
    first = [fact for fact in facts if fact.number < 0]

    def clauses() -> Iterator[tuple[tuple[Any, ...], Any]]:
        for fact in first:
            yield fact.fresh()
        for clause in program.clauses(key, args):
            known: dict[str, Ref] = {}
            source = clause.source
            its_head = term_of(source.head, known)
            yield args_of(its_head), None if source.body is None else term_of(source.body, known)
        for fact in facts[len(first) :]:
            yield fact.fresh()

    for its_args, its_body in clauses():
        if unify_all(its_args, args, run.trail) and unify(body, "true" if its_body is None else its_body, run.trail):
            yield
        undo(run.trail, mark)


# recorded values


class Records(Keyed):
    """Lists of values by one or two keys."""

    section = "recorded"


def _record(where: str, run: Evaluation, *keys_and_value: Any) -> bool:
    *given, value = keys_and_value
    keys = _keys(given)
    data = run.frozen(value, "a recorded value")
    records = run.store.view(Records)
    if records.size() >= KEYS_LIMIT and records.get(keys) is None:
        raise RuleError(f"there are {KEYS_LIMIT} keys with recorded values; erase those that are not needed any more")
    old = records.get(keys) or []
    if where != "all" and len(old) >= RECORD_LIMIT:
        raise RuleError(f"{show(list(keys))} has {RECORD_LIMIT} recorded values, the most; rerecord replaces them")
    values = {"all": [data], "first": [data, *old], "last": [*old, data]}[where]
    if where != "all":
        size = len(_encode(values))
        if size > RECORD_SIZE:
            raise RuleError(
                f"{show(list(keys))} has more than {RECORD_SIZE} bytes of recorded values; erase them first"
            )
        run.put_out(size)  # all of them are stored again
    records.put(keys, values)
    run.note(f"recorded {', '.join(map(show, keys))}"[:200])
    return True


def _keys(given: list[Any] | tuple[Any, ...]) -> Keys:
    return tuple([check_key(key, "the key of a recorded value") for key in given])


def _recorded(run: Evaluation, *keys_and_value: Any) -> Iterator[None]:
    *given, value = [deref(term) for term in keys_and_value]
    records = run.store.view(Records)
    mark = len(run.trail)
    if all(type(key) is not Ref for key in given):
        keys = _keys(given)
        found: Any = [(keys, records.get(keys) or [])]
    elif type(given[0]) is not Ref:
        first = check_key(given[0], "the key of a recorded value")
        run.count(records.size(first) // SCAN)
        found = records.group(first)
    else:
        run.count(records.size() // SCAN)
        found = records.all()
    for keys, values in found:
        if len(keys) != len(given):
            continue
        for data in values:
            if unify_all(keys, given, run.trail) and unify(thaw(data), value, run.trail):
                yield
            undo(run.trail, mark)


def _erase(run: Evaluation, *given: Any) -> bool:
    keys, records = _keys(given), run.store.view(Records)
    if records.get(keys) is not None:
        records.put(keys, None)
        run.note(f"erased {', '.join(map(show, keys))}"[:200])
    return True


_FACTS: Final = (
    define(
        "assert(fact)",
        "t",
        "Keeps a fact, or a clause in brackets (head :- goals), behind the others of its name.",
        "assert(host_down(_hostname))",
        partial(_assert, False),
        "det",
    ),
    define(
        "asserta(fact)",
        "t",
        "Keeps it before the others.",
        "asserta(last_host(_hostname))",
        partial(_assert, True),
        "det",
    ),
    define(
        "assertz(fact)",
        "t",
        "The same as assert.",
        "assertz((many(_n) :- _n > 100 ; _n =:= 42))",
        partial(_assert, False),
        "det",
    ),
    define(
        "retract(fact)",
        "t",
        "Takes the first fact away that fits, and the next one with every further solution. "
        "(head :- goals) takes a clause. Facts of rule files stay.",
        "retract(host_down(_hostname))",
        _retract,
        "nondet",
    ),
    define(
        "retractall(head)",
        "t",
        "Takes all facts and clauses away whose head fits.",
        "retractall(host_down(_))",
        _retractall,
        "det",
    ),
    define(
        "abolish(name/arity)",
        "t",
        "Takes all facts and clauses of a name away.",
        "abolish(host_down/1)",
        _abolish_term,
        "det",
    ),
    define("abolish(name, arity)", "tt", "The same.", "abolish(host_down, 1)", _abolish, "det"),
    define(
        "clause(head, _body)",
        "tt",
        "Finds the facts and clauses whose head fits; the body of a fact is true.",
        "clause(host_down(_host), true)",
        _clause,
        "nondet",
    ),
)
WITH_PROGRAM: Final = frozenset((predicate.name, predicate.arity) for predicate in _FACTS)
"""The predicates whose function takes the rule base's clauses before everything else."""

PREDICATES: Final[tuple[Predicate, ...]] = (
    *_FACTS,
    define(
        "rerecord(key, value)",
        "tt",
        "Records the value under the key, in place of all that was there.",
        "rerecord(last_host, _hostname)",
        partial(_record, "all"),
        "det",
    ),
    define(
        "rerecord(key1, key2, value)",
        "ttt",
        "The same with two keys.",
        "rerecord(notify_list, 'EVENT', ['MAIL', 'Administrator'])",
        partial(_record, "all"),
        "det",
    ),
    define(
        "recorda(key, value)",
        "tt",
        "Records the value before the others of the key.",
        "recorda(hosts, _hostname)",
        partial(_record, "first"),
        "det",
    ),
    define(
        "recorda(key1, key2, value)",
        "ttt",
        "The same with two keys.",
        "recorda(hosts, web, _hostname)",
        partial(_record, "first"),
        "det",
    ),
    define(
        "recordz(key, value)",
        "tt",
        "Records the value behind the others of the key.",
        "recordz(hosts, _hostname)",
        partial(_record, "last"),
        "det",
    ),
    define(
        "recordz(key1, key2, value)",
        "ttt",
        "The same with two keys.",
        "recordz(hosts, web, _hostname)",
        partial(_record, "last"),
        "det",
    ),
    define(
        "recorded(_key, _value)",
        "tt",
        "Finds what is recorded; a key without a value gets every key in turn, sorted.",
        "recorded(last_host, _host)",
        _recorded,
        "nondet",
    ),
    define(
        "recorded(_key1, _key2, _value)",
        "ttt",
        "The same with two keys.",
        "recorded(notify_list, _class, _how)",
        _recorded,
        "nondet",
    ),
    define("erase(key)", "t", "Takes away what is recorded under the key.", "erase(last_host)", _erase, "det"),
    define("erase(key1, key2)", "tt", "The same with two keys.", "erase(notify_list, 'EVENT')", _erase, "det"),
)
