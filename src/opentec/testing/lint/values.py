"""L701 to L704: facts, predicates of one's own, and what rules remember under a name.

A name that is not written out may be any name, so nothing is said of what it could stand for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from opentec.rules.ast import Atom, Compound, ListTerm, Place, Term, Text
from opentec.rules.checker_report import asserted_clause
from opentec.rules.rulebase_sources import PREDICATES
from opentec.rules.source_text import goal_text
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import (
    Goal,
    Key,
    Model,
    all_terms,
    condition_terms,
    conditions_of,
    constant,
    filter_terms,
    key_of,
    may_match,
)


class _Use(NamedTuple):
    """What a predicate does with a name: `arguments` are those that make the name up."""

    kind: str
    sets: bool
    arguments: tuple[int, ...]


def _uses() -> dict[Key, tuple[_Use, ...]]:
    variable, recorded, counter = "global variable", "recorded value", "counter"
    threshold, search, sequence, criterion = "threshold", "search", "event sequence", "criterion"
    uses: dict[Key, tuple[_Use, ...]] = {
        ("set_global_var", 3): (_Use(variable, True, (0, 1)),),
        ("get_global_var", 4): (_Use(variable, False, (0, 1)),),
        ("global_exists", 2): (_Use(variable, False, (0, 1)),),
        ("get_global_grp", 2): (_Use(variable, False, (0,)),),
        ("get_globals", 3): (_Use(variable, False, (0, 1)),),
        ("recorded", 2): (_Use(recorded, False, (0,)),),
        ("recorded", 3): (_Use(recorded, False, (0, 1)),),
        ("init_count", 1): (_Use(counter, True, (0,)),),
        ("init_count", 2): (_Use(counter, True, (0,)),),
        ("check_and_increment_count", 1): (_Use(counter, False, (0,)),),
        ("check_and_increment_count", 2): (_Use(counter, False, (0,)),),
        ("check_threshold", 2): (_Use(threshold, False, (1,)),),
        ("check_threshold", 3): (_Use(threshold, False, (1,)),),
        ("check_all_thresholds", 2): (_Use(threshold, False, ()),),
        ("search_cache", 3): (_Use(search, False, (1,)),),
        ("first_sequence_cause", 3): (_Use(sequence, False, (1,)),),
        ("all_sequence_effects", 3): (_Use(sequence, False, (1,)),),
        ("check_event_criteria", 2): (_Use(criterion, False, (1,)),),
        ("create_event_criteria", 2): (_Use(criterion, True, (0,)),),
        ("create_event_criteria", 4): (_Use(criterion, True, (0,)),),
        ("create_cache_search_criteria", 5): (_Use(search, True, (0,)), _Use(criterion, False, (1,))),
        ("create_clearing_event", 4): (_Use(criterion, False, (1,)), _Use(criterion, False, (2,))),
    }
    for name in ("rerecord", "recorda", "recordz"):
        uses[name, 2] = (_Use(recorded, True, (0,)),)
        uses[name, 3] = (_Use(recorded, True, (0, 1)),)
    for arity in (5, 7):
        uses["create_threshold", arity] = (_Use(threshold, True, (0,)), _Use(criterion, False, (1,)))
    for arity in (3, 4):
        uses["create_event_sequence", arity] = (_Use(sequence, True, (0,)), _Use(criterion, False, (1,)))
    return uses


_USES: Final = _uses()
_UNSET_IS_FINE: Final = ("counter",)  # it begins with 0


class _Named(NamedTuple):
    use: _Use
    name: tuple[Term, ...]
    goal: Goal

    @property
    def text(self) -> str:
        return "/".join(map(goal_text, self.name))

    @property
    def is_constant(self) -> bool:
        return all(constant(term) is not None for term in self.name)

    @property
    def is_loose(self) -> bool:
        """Whether it may stand for more than itself: it has a variable, or is the name of a group."""
        return len(self.name) < 2 or not self.is_constant


def check_values(model: Model) -> Iterator[Diagnostic]:
    """Names that are set and never read, or read and never set."""
    named = [one for goal in model.goals for use in _USES.get(goal.key, ()) for one in _named(use, goal)]
    bodies = [site.body for site in model.sites if site.body is not None]
    constants = Counter(constant(term) for term in all_terms(bodies))
    texts = {(one.use.kind, one.text, one.use.sets) for one in named if one.is_constant}
    every: dict[tuple[str, bool], list[_Named]] = defaultdict(list)
    loose: dict[tuple[str, bool], list[_Named]] = defaultdict(list)
    for one in named:
        every[one.use.kind, one.use.sets].append(one)
        if one.is_loose:
            loose[one.use.kind, one.use.sets].append(one)
    seen: set[tuple[str, str, bool]] = set()
    for one in named:
        kind, sets = one.use.kind, one.use.sets
        if (kind, one.text, sets) in seen or all(constant(term) is None for term in one.name):
            continue
        seen.add((kind, one.text, sets))
        if (kind, one.text, not sets) in texts or any(
            _same(one, other) for other in (every if one.is_loose else loose)[kind, not sets]
        ):
            continue
        if sets:
            made = sum(other.use.sets and other.text == one.text for other in named)
            # the name of a criterion may stand in a list that rules go through
            if kind != "criterion" or constants[constant(one.name[0])] <= made:
                hint = "take it out, or compare the name with that where it is read"
                yield found("L703", one.goal.place, f"{kind} {one.text} is set and never read", hint)
        elif kind not in _UNSET_IS_FINE and not (kind == "criterion" and constant(one.name[0]) in model.table.classes):
            hint = "compare the name with that where it is set"
            yield found("L704", one.goal.place, f"{kind} {one.text} is read and never set", hint)


def _named(use: _Use, goal: Goal) -> Iterator[_Named]:
    name = tuple(goal.args[number] for number in use.arguments)
    if use.kind == "criterion" and len(name) == 1 and isinstance(name[0], ListTerm):
        for item in name[0].items:  # a list of criteria, or of classes
            yield _Named(use, (item,), goal)
    else:
        yield _Named(use, name, goal)


def _same(one: _Named, other: _Named) -> bool:
    # a group is a name of one part less, and stands for all of its variables
    return all(map(may_match, one.name, other.name))


def check_predicates(model: Model) -> Iterator[Diagnostic]:
    """Facts that are asserted and never read, clauses and functions of one's own that are never called."""
    called = _called(model)
    asserted: dict[Key, Place] = {}
    for goal in model.goals:
        clause = asserted_clause(Compound(goal.name, goal.args, place=goal.place))
        if clause is not None:
            asserted.setdefault(key_of(clause[0]), goal.place)
    own: dict[Key, Place] = {}
    for site in model.sites:
        if site.clause is not None:
            own.setdefault(key_of(site.clause.head), site.clause.place)
    for (name, arity), place in asserted.items():
        if (name, arity) not in called and (name, arity) not in own:
            hint = "take it out, or compare the name with that where it is read"
            yield found("L701", place, f"{name}/{arity} is asserted and never read", hint)
    for (name, arity), place in own.items():
        if (name, arity) not in called:
            yield found("L702", place, f"{name}/{arity} is never called", "take it out")
    for one in model.base.user_predicates.declarations:
        if not one.package and (one.name, one.arity) not in called:
            at = (PREDICATES, int(one.place.rpartition(":")[2]), 1)
            yield found("L702", at, f"{one.name}/{one.arity} is never called", "take it out")


def _called(model: Model) -> set[Key]:
    """Names and arities of everything that stands in a body or a filter, as a goal or as a term that may become one.

    What a clause says of itself does not count, nor what is only asserted or taken away.
    """
    called: set[Key] = set()
    for site in model.sites:
        if site.body is None:
            continue
        own = key_of(site.clause.head) if site.clause is not None else None
        hidden = {id(head) for head in _heads(site.body)}
        for term in all_terms([site.body]):
            if isinstance(term, (Atom, Compound)) and id(term) not in hidden and key_of(term) != own:
                called.add(key_of(term))
            elif isinstance(term, Text):
                called.add((term.value, 0))
    for _, rule in model.rules:
        terms = [*filter_terms(rule.event), *(one for cond in conditions_of(rule) for one in condition_terms(cond))]
        called |= {key_of(term) for term in all_terms(terms) if isinstance(term, (Atom, Compound))}
    return called


def _heads(body: Term) -> Iterator[Term]:
    """What is asserted, or taken away without being looked at."""
    for term in all_terms([body]):
        if isinstance(term, Compound):
            clause = asserted_clause(term)
            if clause is not None:
                yield clause[0]
            elif term.name == "retractall" and len(term.args) == 1:
                yield term.args[0]
