"""Rule files: text to syntax tree.

The language is that of tec.md 3.2-3.4 with the corrections of tec-2.md 3.2-3.4, read liberally: names bare or quoted,
actions named or not, optional clauses, commas where both habits exist. Simple rules and correlation rules become plain
rules here (desugar.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.ast import Action, Atom, Clause, Compound, Condition, EventFilter, Rule, RuleSet, Term, Var
from opentec.rules.desugar import plain_correlation, plain_simple
from opentec.rules.parser_kinds import parse_correlation, parse_directives, parse_simple
from opentec.rules.parser_terms import (
    ARGUMENT,
    BODY,
    CLAUSE_BODY,
    holds_event,
    parse_asked,
    parse_condition,
    parse_event_filter,
    parse_primary,
    parse_term,
)
from opentec.rules.parser_tokens import RULE_KINDS, Cursor, did_you_mean

if TYPE_CHECKING:
    from opentec.rules.predicates.registry import Predicate

ACTION_KINDS: Final = ("reception_action", "action", "redo_action")
_OWN_SHAPE: Final = ("simple_rule", "correlation_rule")
_TIMER: Final = ("timer_duration", "timer_info")
_CHANGE: Final = ("sender", "attribute", "set_to")
_CLAUSES: Final = ("description", "directive", "event", *_TIMER, *_CHANGE, *ACTION_KINDS)


def parse_rules(text: str, file: str, registry: Mapping[tuple[str, int], Predicate] | None = None) -> RuleSet:
    """Read the text of a rule file; `file` names it in places and messages, and the rule set after its stem.

    `registry` tells which goals of a simple rule take the event first; the shipped predicates when it is None.
    Raises SourceErrors with at most one error per rule or clause: reading goes on at the next one.
    """
    errors: list[SourceError] = []
    rules: list[Rule] = []
    clauses: list[Clause] = []
    rule_set = PurePosixPath(file).stem
    try:
        c = Cursor(text, file)
    except SourceError as error:
        raise SourceErrors([error]) from None
    while c.token.kind != "EOF":
        start = c.index
        try:
            if c.token.text in _OWN_SHAPE:
                rules += _of_own_shape(c, rule_set, registry)
            elif c.token.text in RULE_KINDS:
                rules.append(_rule(c))
            else:
                clauses.append(_clause(c))
        except SourceError as error:
            errors.append(error)
            c.next_item(start)
    if errors:
        raise SourceErrors(errors)
    return RuleSet(name=rule_set, file=file, rules=tuple(rules), clauses=tuple(clauses))


def _of_own_shape(c: Cursor, rule_set: str, registry: Mapping[tuple[str, int], Predicate] | None) -> tuple[Rule, ...]:
    if c.token.text == "correlation_rule":
        return plain_correlation(parse_correlation(c))
    simple = parse_simple(c)
    if registry is None:
        from opentec.rules.predicates import REGISTRY  # only a file with simple rules needs the predicates

        registry = REGISTRY
    return (plain_simple(simple, rule_set, registry),)


def _clause(c: Cursor) -> Clause:
    """`head.` or `head :- body.` (tec-2.md 3.6: assert((Head :- Body)); user predicates)."""
    place = c.place()
    if c.token.text == ":-":
        raise c.error("a rule file has no directives of Prolog", hint="facts and clauses need no declaration")
    if c.token.kind not in ("WORD", "QUOTED") or c.ahead().text not in ("(", ":-", "."):
        hint = did_you_mean(c.token.text, RULE_KINDS) if c.token.kind == "WORD" else ""
        raise c.unexpected("a rule (rule: name: ( ... ).) or a clause (name(...) :- goals.)", hint=hint)
    head = parse_primary(c)
    assert isinstance(head, (Atom, Compound))
    name = head.value if isinstance(head, Atom) else head.name
    if isinstance(head, Compound):
        if holds_event(head):
            raise c.error(f"the head of clause {name!r} holds an event filter", place, hint="give the event's variable")
        if not head.args:
            head = Atom(name, place=head.place)
    body = parse_term(c, CLAUSE_BODY) if c.accept(":-") else None
    c.expect(".", f"after clause {name!r}, which begins in line {place.line}")
    return Clause(head, body, place=place)


def _rule(c: Cursor) -> Rule:
    place = c.place()
    kind = c.take().text
    c.expect(":", f"after {kind!r}")
    name = c.name(f"the name of the {kind}")
    what = f"{kind} {name!r}"
    c.expect(":", f"after the name of {what}")
    c.expect("(", f"to open {what}")
    clauses = _Clauses(c, what)
    while True:
        clauses.read()
        if c.accept(")"):
            break
        if not c.accept(","):
            wanted = _CLAUSES if c.token.kind == "WORD" else ()
            raise c.unexpected(f"',' before the next clause, or ')' to close {what}", hint=_clause_hint(c, wanted))
    c.expect(".", f"after {what}")
    if clauses.event is None:
        raise c.error(f"{what} has no event filter", place, hint="add event: _event of_class ...,")
    return Rule(
        kind=kind,
        name=name,
        event=clauses.event,
        description=clauses.description,
        directives=clauses.directives,
        timer_duration=clauses.conditions.get("timer_duration"),
        timer_info=clauses.conditions.get("timer_info"),
        sender=clauses.conditions.get("sender"),
        attribute=clauses.attribute,
        set_to=clauses.conditions.get("set_to"),
        actions=tuple(clauses.actions),
        place=place,
    )


def _clause_hint(c: Cursor, known: tuple[str, ...]) -> str:
    return "a comma is missing before it" if c.token.text in known else did_you_mean(c.token.text, known)


class _Clauses:
    """Collects the clauses between a rule's brackets."""

    def __init__(self, c: Cursor, what: str) -> None:
        self.c = c
        self.what = what
        self.event: EventFilter | None = None
        self.description = ""
        self.directives: tuple[Term, ...] = ()
        self.conditions: dict[str, Condition] = {}
        self.attribute: Atom | Var | None = None
        self.actions: list[Action] = []
        self.seen: set[str] = set()

    def read(self) -> None:
        """Read one clause; the order is free except that actions come last (tec-2.md 3.2)."""
        c = self.c
        clause = c.token.text
        if clause not in _CLAUSES:
            hint = did_you_mean(clause, _CLAUSES) if c.token.kind == "WORD" else ""
            raise c.unexpected(f"a clause of {self.what} ({', '.join(_CLAUSES)})", hint=hint)
        if clause in ACTION_KINDS:
            self._action()
            return
        if self.actions:
            raise c.error(f"{clause!r} stands behind the actions of {self.what}", hint="put it before the first action")
        self._once(clause)
        if clause == "event":
            self.event = parse_event_filter(c)
        elif clause in _TIMER:
            self.conditions[clause] = parse_condition(c)
        elif clause == "description":
            c.take()
            c.expect(":", "after 'description'")
            self.description = c.name("the description, a quoted text")
        elif clause == "directive":
            self.directives = parse_directives(c)
        else:
            self._change(clause)

    def _once(self, clause: str) -> None:
        if clause in self.seen:
            raise self.c.error(f"{self.what} has {clause!r} twice", hint="keep one")
        self.seen.add(clause)

    def _change(self, clause: str) -> None:
        # our syntax: the page that shows TEC's is not public (tec-2.md 3.2, change_rule)
        c = self.c
        place = c.place()
        c.take()
        c.expect(":", f"after {clause!r}")
        if clause != "attribute":
            self.conditions[clause] = parse_asked(c, clause, place)
            return
        place = c.place()
        if c.token.kind == "VARIABLE":
            self.attribute = Var(c.take().text, place=place)
        else:
            quoted = c.token.kind != "WORD"
            self.attribute = Atom(c.name("a slot or a variable"), quoted, place=place)
        if c.token.text == "set_to":
            self._once("set_to")
            place = c.place()
            c.take()
            c.accept(":")
            self.conditions["set_to"] = parse_asked(c, "set_to", place)

    def _action(self) -> None:
        c = self.c
        place = c.place()
        kind = c.take().text
        c.expect(":", f"after {kind!r}")
        named = c.token.kind in ("WORD", "QUOTED", "TEXT") and c.ahead().text == ":"
        named = named and not c.at_rule()
        name_place = c.place()
        if named:
            name = c.name("the name of the action")
            c.take()
        else:
            name = f"action_{len(self.actions) + 1}"
        if any(action.name == name for action in self.actions):
            raise c.error(f"{self.what} has two actions named {name!r}", name_place, hint="names are unique in a rule")
        if c.token.text == "(" and c.ahead().text == ")":
            raise c.error(f"action {name!r} of {self.what} is empty", hint="write its goals, or take it out")
        if c.accept("("):
            body = parse_term(c, BODY)
            if not c.accept(")"):
                is_goal = c.token.kind in ("WORD", "VARIABLE", "QUOTED") and not c.at_rule()
                hint = "a comma is missing before it" if is_goal and c.token.text not in _CLAUSES else ""
                raise c.unexpected(f"')' to close action {name!r}, which begins in line {place.line}", hint=hint)
        else:
            body = parse_term(c, ARGUMENT)
        self.actions.append(Action(kind, name, body, place=place))
