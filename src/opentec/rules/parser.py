"""Rule files: text to syntax tree.

The language is that of tec.md 3.2-3.4 with the corrections of tec-2.md 3.2-3.4, read liberally: names bare or quoted,
actions named or not, optional clauses, commas where both habits exist. Plain rules and timer rules are read; the
other three kinds are recognised and refused.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules.ast import Action, Condition, EventFilter, Rule, RuleSet, Term
from opentec.rules.parser_terms import ARGUMENT, BODY, parse_condition, parse_event_filter, parse_term
from opentec.rules.parser_tokens import RULE_KINDS, Cursor, did_you_mean, unquote

ACTION_KINDS: Final = ("reception_action", "action", "redo_action")
_SUPPORTED: Final = ("rule", "timer_rule")
_CLAUSES: Final = ("description", "directive", "event", "timer_duration", "timer_info", *ACTION_KINDS)


def parse_rules(text: str, file: str) -> RuleSet:
    """Read the text of a rule file; `file` names it in places and messages, and the rule set after its stem.

    Raises SourceErrors with at most one error per rule: reading goes on at the next rule.
    """
    errors: list[SourceError] = []
    rules: list[Rule] = []
    try:
        c = Cursor(text, file)
    except SourceError as error:
        raise SourceErrors([error]) from None
    while c.token.kind != "EOF":
        start = c.index
        try:
            rules.append(_rule(c))
        except SourceError as error:
            errors.append(error)
            c.next_rule(start)
    if errors:
        raise SourceErrors(errors)
    return RuleSet(name=PurePosixPath(file).stem, file=file, rules=tuple(rules))


def _rule(c: Cursor) -> Rule:
    place, kind = c.place(), c.token.text
    if kind not in RULE_KINDS:
        hint = did_you_mean(kind, RULE_KINDS) if c.token.kind == "WORD" else ""
        raise c.unexpected("a rule (rule: name: ( ... ).)", hint=hint)
    if kind not in _SUPPORTED:
        raise c.error(f"{kind} is not supported yet", hint="use a rule or a timer_rule, or take it out")
    c.take()
    c.expect(":", f"after {kind!r}")
    name = _name(c, f"the name of the {kind}")
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
        directives=tuple(clauses.directives),
        timer_duration=clauses.timers.get("timer_duration"),
        timer_info=clauses.timers.get("timer_info"),
        actions=tuple(clauses.actions),
        place=place,
    )


def _clause_hint(c: Cursor, known: tuple[str, ...]) -> str:
    return "a comma is missing before it" if c.token.text in known else did_you_mean(c.token.text, known)


def _name(c: Cursor, what: str) -> str:
    token = c.token
    if token.kind not in ("WORD", "QUOTED", "TEXT"):
        raise c.unexpected(what)
    c.take()
    return token.text if token.kind == "WORD" else unquote(token.text)


class _Clauses:
    """Collects the clauses between a rule's brackets."""

    def __init__(self, c: Cursor, what: str) -> None:
        self.c = c
        self.what = what
        self.event: EventFilter | None = None
        self.description = ""
        self.directives: list[Term] = []
        self.timers: dict[str, Condition] = {}
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
        if clause in self.seen:
            raise c.error(f"{self.what} has {clause!r} twice", hint="keep one")
        self.seen.add(clause)
        if clause == "event":
            self.event = parse_event_filter(c)
        elif clause in ("timer_duration", "timer_info"):
            self.timers[clause] = parse_condition(c)
        elif clause == "description":
            c.take()
            c.expect(":", "after 'description'")
            self.description = _name(c, "the description, a quoted text")
        else:
            self._directives()

    def _directives(self) -> None:
        c = self.c
        c.take()
        c.expect(":", "after 'directive'")
        self.directives.append(parse_term(c, ARGUMENT))
        while c.token.text == "," and c.ahead(2).text != ":":
            c.take()
            self.directives.append(parse_term(c, ARGUMENT))

    def _action(self) -> None:
        c = self.c
        place = c.place()
        kind = c.take().text
        c.expect(":", f"after {kind!r}")
        named = c.token.kind in ("WORD", "QUOTED", "TEXT") and c.ahead().text == ":"
        named = named and not c.at_rule()
        name_place = c.place()
        if named:
            name = _name(c, "the name of the action")
            c.take()
        else:
            name = f"action_{len(self.actions) + 1}"
        if any(action.name == name for action in self.actions):
            raise c.error(f"{self.what} has two actions named {name!r}", name_place, hint="names are unique in a rule")
        if c.token.text == "(" and c.ahead().text == ")":
            raise c.error(f"action {name!r} of {self.what} is empty", hint="write its goals, or take it out")
        if c.accept("("):
            body = parse_term(c, BODY)
            c.expect(")", f"to close action {name!r}, which begins in line {place.line}")
        else:
            body = parse_term(c, ARGUMENT)
        self.actions.append(Action(kind, name, body, place=place))
