"""Checks of a rule base before it is loaded: classes, slots, constants, predicates, variables, what is never reached.

Only what is certainly wrong is reported, so a rule base that passes may still fail at run time, and one that does
not pass could not have worked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError
from opentec.rules.ast import Action, Atom, Compound, Condition, ListTerm, Rule, RuleSet, Term, Text, Var
from opentec.rules.checker_clauses import check_clause, defined
from opentec.rules.checker_filters import FilterChecker
from opentec.rules.checker_goals import CONTROL, OPERATORS, GoalChecker, Language
from opentec.rules.checker_reach import check_reach
from opentec.rules.checker_report import Report, shown_term, variables
from opentec.rules.parser_tokens import did_you_mean

if TYPE_CHECKING:
    from opentec.rules.predicates.registry import Predicate

__all__ = ["CONTROL", "OPERATORS", "check_rules"]

_ONLY_ACTION: Final = ("timer_rule", "change_rule")
_NEW_EVENTS_ONLY: Final = ("reception_action", "redo_action")
_SENDERS: Final = "a sender is operator(NAME), rule(SET) or closed_event"
_SENDER_TESTS: Final = ("equals", "not_equals", "within", "outside")


def check_rules(
    rule_sets: Iterable[RuleSet],
    table: ClassTable,
    predicates: Mapping[str, Collection[int]],
    texts: Mapping[str, str] | None = None,
    *,
    registry: Mapping[tuple[str, int], Predicate] | None = None,
    refused: Mapping[str, str] | None = None,
    reach: bool = False,
    complete: bool = True,
    destinations: Collection[str] | None = None,
) -> list[SourceError]:
    """Everything that is certainly wrong with these rule sets, in their order and that of their lines.

    `predicates` gives the arities of each predicate by name; control constructs, unification and arithmetic need not
    be in it. `texts` are the sources by file name, to show the offending lines. `registry` tells what the arguments
    of a predicate must be, `refused` why some names will never be predicates; both are the shipped ones when None.
    With `reach` also what can never run or never do anything where it stands: rules, actions and goals behind one that
    ends the evaluation, filters that no event passes, drop_change_request outside of change rules. A loaded rule base
    is checked for it; a test of the engine may want just that. `complete` is False when there are predicates that
    could not be read: then no name is unknown. `destinations` are those of forward_event; with None any may be named.
    """
    if registry is None or refused is None:
        from opentec.rules.predicates import REFUSED, REGISTRY

        registry = REGISTRY if registry is None else registry
        refused = REFUSED if refused is None else refused
    rule_sets = list(rule_sets)
    report = Report(texts)
    own, asserted = defined(rule_sets)
    language = Language(predicates, registry, refused, own, asserted, complete=complete, destinations=destinations)
    for rule_set in rule_sets:
        before = len(report.errors)
        _names(rule_set, report)
        for rule in rule_set.rules:
            _RuleChecker(language, FilterChecker(table, report, reach=reach)).rule(rule)
        for position in range(len(rule_set.clauses)):
            goals = GoalChecker(language, FilterChecker(table, report, reach=reach))
            check_clause(rule_set.clauses, position, goals)
        if reach:
            check_reach(rule_set, table, report)
        report.errors[before:] = sorted(report.errors[before:], key=lambda error: (error.line, error.column))
    return report.errors


def _names(rule_set: RuleSet, report: Report) -> None:
    first: dict[str, Rule] = {}
    for rule in rule_set.rules:
        earlier = first.setdefault(rule.name, rule)
        if earlier is not rule:
            report.add(
                rule.place,
                f"rule set {rule_set.name!r} has two rules named {rule.name!r}",
                f"the first is in line {earlier.place.line}",
            )


class _RuleChecker:
    """Checks one rule. `bound` sets hold the variables that can have a value where the walk is."""

    def __init__(self, language: Language, filters: FilterChecker) -> None:
        self.report = filters.report
        self.filters = filters
        self.goals = GoalChecker(language, filters)

    def rule(self, rule: Rule) -> None:
        bound: set[str] = set()
        self.goals.events[rule.event.variable.name] = self.filters.filter(rule.event, bound)
        for condition in (rule.timer_duration, rule.timer_info):
            if condition is not None:
                self._kind(rule, condition, "timer_rule")
                self._timer(condition, bound)
        self._change(rule, bound)
        if not rule.actions:
            self.report.add(rule.place, f"{rule.kind} {rule.name!r} has no action", "add action: name: ( ... )")
        for action in rule.actions:
            self._action(rule, action, bound)

    def _kind(self, rule: Rule, clause: Condition, kind: str) -> None:
        if rule.kind != kind:
            kinds = f"{kind.replace('_', ' ')}s"
            self.report.add(
                clause.place, f"{clause.slot!r} is for {kinds}, {rule.name!r} is a {rule.kind}", "take it out"
            )

    def _timer(self, condition: Condition, bound: set[str]) -> None:
        for test in condition.tests:
            self.filters.shape(test)
            for operand in _operands(test.operand):
                if condition.slot == "timer_duration" and isinstance(operand, (Atom, Text)):
                    self.report.add(operand.place, f"timer_duration is a number of seconds, not {shown_term(operand)}")
        self._bind(condition, bound)

    def _bind(self, condition: Condition, bound: set[str]) -> None:
        for test in condition.tests:
            bound.update(var.name for var in variables(test.operand))
        if condition.variable is not None:
            bound.add(condition.variable.name)

    def _change(self, rule: Rule, bound: set[str]) -> None:
        # in the order in which the engine looks at them
        if rule.sender is not None:
            self._kind(rule, rule.sender, "change_rule")
            self._sender(rule.sender)
            self._bind(rule.sender, bound)
        if rule.attribute is not None:
            named = Condition("attribute", None, place=rule.attribute.place)
            self._kind(rule, named, "change_rule")
            if isinstance(rule.attribute, Var):
                bound.add(rule.attribute.name)
        if rule.set_to is not None:
            self._kind(rule, rule.set_to, "change_rule")
        if isinstance(rule.attribute, Atom):
            classes = self.goals.events[rule.event.variable.name]
            if classes or rule.event.class_variable is not None:
                self.filters.changed(classes, rule.attribute, rule.set_to)
        if rule.set_to is not None:
            self._bind(rule.set_to, bound)

    def _sender(self, condition: Condition) -> None:
        for test in condition.tests:
            if test.operator not in _SENDER_TESTS:
                self.report.add(test.place, f"a sender cannot be tested with {test.operator!r}", "use within [...]")
            elif self.filters.shape(test):
                for operand in _operands(test.operand):
                    self._one_sender(operand)

    def _one_sender(self, term: Term) -> None:
        if isinstance(term, Var):
            return
        if isinstance(term, Compound):
            name, arity = term.name, len(term.args)
        else:
            name, arity = (term.value, 0) if isinstance(term, Atom) else ("", 0)
        if (name, arity) not in (("operator", 1), ("rule", 1), ("closed_event", 0)):
            known = ["operator", "rule", "closed_event"]
            hint = "" if name in known else did_you_mean(name, known)
            self.report.add(term.place, f"{_SENDERS}, not {repr(name) if name else shown_term(term)}", hint)

    def _action(self, rule: Rule, action: Action, bound: set[str]) -> None:
        if rule.kind in _ONLY_ACTION and action.kind in _NEW_EVENTS_ONLY:
            self.report.add(
                action.place,
                f"{action.kind} is not allowed in a {rule.kind}",
                f"a {rule.kind} has only action: ( ... )",
            )
        misplaced = {} if rule.kind == "change_rule" else {"drop_change_request": "is for change rules"}
        if rule.kind != "rule":
            misplaced["drop_received_event"] = f"drops an event that is new, and none is when a {rule.kind} runs"
        elif action.kind == "redo_action":
            misplaced["drop_received_event"] = "drops an event that is new, and none is in a redo_action"
        # what an action binds is forgotten behind it; what the event filter binds is not (tec.md 3.4)
        events = dict(self.goals.events)
        self.goals.misplaced = misplaced if self.filters.reach else {}
        self.goals.goal(action.body, set(bound))
        self.goals.events = events


def _operands(term: Term) -> Sequence[Term]:
    return term.items if isinstance(term, ListTerm) else (term,)
