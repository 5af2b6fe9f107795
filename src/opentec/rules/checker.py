"""Checks of a rule base before it is loaded: classes, slots, constants, predicates, variables.

Only what is certainly wrong is reported, so a rule base that passes may still fail at run time, and one that does
not pass could not have worked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from opentec.events.classes import ClassTable, EventClass
from opentec.events.errors import SourceError
from opentec.rules.ast import (
    Action,
    Atom,
    Compound,
    Condition,
    EventArgument,
    ListTerm,
    Number,
    Rule,
    RuleSet,
    Term,
    Text,
    Var,
)
from opentec.rules.checker_filters import FilterChecker
from opentec.rules.checker_report import Report, conjuncts, shown_term, variables
from opentec.rules.parser_tokens import did_you_mean

# part of the language itself, whatever predicates there are
CONTROL: Final[Mapping[str, Collection[int]]] = {",": {2}, ";": {2}, "->": {2}, "\\+": {1}, "not": {1}}
_COMPARES_NUMBERS: Final = ("=:=", "=\\=", "<", ">", "=<", ">=")
OPERATORS: Final[Mapping[str, Collection[int]]] = dict.fromkeys(
    (*_COMPARES_NUMBERS, "is", "=", "\\=", "==", "\\=="), frozenset({2})
)
# arguments that are goals
_GOALS: Final = {"findall": (1,), "forall": (0, 1), "once": (0,), "ignore": (0,), "call": (0,)}
# arguments that must be events already (tec.md 3.6)
_EVENTS: Final = {
    **dict.fromkeys(("link_effect_to_cause",), (0, 1)),
    **dict.fromkeys(
        (
            *("add_to_repeat_count", "first_duplicate", "all_duplicates", "unlink_from_cause", "re_mark_as_modified"),
            *("set_event_status", "set_event_severity", "set_event_administrator", "set_event_message"),
            *("change_event_status", "change_event_severity", "change_event_administrator"),
            *("bo_get_slotval", "bo_set_slotval", "bo_get_class_of", "set_timer", "cancel_timer", "cancel_all_timers"),
            *("exec_program", "exec_program_local", "exec_task", "exec_task_local", "forward_event", "redo_analysis"),
            "place_change_request",
        ),
        (0,),
    ),
}
# predicates that store their second argument in a slot of the event in their first
_STORES: Final = {
    f"{verb}_event_{slot}": slot for verb in ("set", "change") for slot in ("status", "severity", "administrator")
}
_BY_SLOT: Final = ("bo_get_slotval", "bo_set_slotval", "place_change_request")  # (event, slot, value)
_DUPLICATES: Final = ("first_duplicate", "all_duplicates")
_INSTANCES: Final = ("first_instance", "all_instances")
_COMPUTES: Final = "it computes a value, which '_x is ...' takes"
_HINTS: Final = {
    "!": "commit_action ends an action",
    ":-": "a clause stands in brackets in an argument",
    **dict.fromkeys(("+", "-", "*", "/", "//", "mod", "rem", "**", "^"), _COMPUTES),
}
_NEW_EVENTS_ONLY: Final = ("reception_action", "redo_action")


def check_rules(
    rule_sets: Iterable[RuleSet],
    table: ClassTable,
    predicates: Mapping[str, Collection[int]],
    texts: Mapping[str, str] | None = None,
) -> list[SourceError]:
    """Everything that is certainly wrong with these rule sets, in their order.

    `predicates` gives the arities of each predicate by name; control constructs, unification and arithmetic need not
    be in it. `texts` are the sources by file name, to show the offending lines.
    """
    report = Report(texts)
    for rule_set in rule_sets:
        first: dict[str, Rule] = {}
        for rule in rule_set.rules:
            earlier = first.setdefault(rule.name, rule)
            if earlier is not rule:
                report.add(
                    rule.place,
                    f"rule set {rule_set.name!r} has two rules named {rule.name!r}",
                    f"the first is in line {earlier.place.line}",
                )
            _RuleChecker(table, predicates, report).rule(rule)
    return report.errors


class _RuleChecker:
    """Checks one rule. `bound` sets hold the variables that can have a value where the walk is."""

    def __init__(self, table: ClassTable, predicates: Mapping[str, Collection[int]], report: Report) -> None:
        self.table = table
        self.predicates = {**predicates, **CONTROL, **OPERATORS}
        self.report = report
        self.filters = FilterChecker(table, report)
        self.events: dict[str, list[EventClass]] = {}  # event variables and their classes, [] where not known

    def rule(self, rule: Rule) -> None:
        bound: set[str] = set()
        self.events[rule.event.variable.name] = self.filters.filter(rule.event, bound)
        for condition in (rule.timer_duration, rule.timer_info):
            if condition is not None:
                self._timer(rule, condition, bound)
        if not rule.actions:
            self.report.add(rule.place, f"{rule.kind} {rule.name!r} has no action", "add action: name: ( ... )")
        for action in rule.actions:
            self._action(rule, action, bound)

    def _timer(self, rule: Rule, condition: Condition, bound: set[str]) -> None:
        if rule.kind != "timer_rule":
            self.report.add(
                condition.place, f"{condition.slot!r} is for timer rules, {rule.name!r} is a {rule.kind}", "take it out"
            )
        for test in condition.tests:
            self.filters.shape(test)
            operands = test.operand.items if isinstance(test.operand, ListTerm) else (test.operand,)
            for operand in operands:
                if condition.slot == "timer_duration" and isinstance(operand, (Atom, Text)):
                    self.report.add(operand.place, f"timer_duration is a number of seconds, not {shown_term(operand)}")
            bound.update(var.name for var in variables(test.operand))
        if condition.variable is not None:
            bound.add(condition.variable.name)

    def _action(self, rule: Rule, action: Action, bound: set[str]) -> None:
        if rule.kind == "timer_rule" and action.kind in _NEW_EVENTS_ONLY:
            self.report.add(
                action.place, f"{action.kind} is not allowed in a timer_rule", "a timer_rule has only action: ( ... )"
            )
        # what an action binds is forgotten behind it; what the event filter binds is not (tec.md 3.4)
        events = dict(self.events)
        self.goal(action.body, set(bound))
        self.events = events

    def goal(self, body: Term, bound: set[str]) -> None:
        """Check the goals of a body in order; `bound` grows with every variable that a goal could give a value."""
        for term in conjuncts(body):
            if isinstance(term, Atom):
                self._known(term, term.value, 0)
            elif isinstance(term, Compound) and term.name in (";", "->", "\\+", "not"):
                self._control(term, bound)
            elif isinstance(term, Compound):
                if self._known(term, term.name, len(term.args)) and term.args:
                    self._predicate(term, bound)
                bound.update(var.name for var in variables(term))
            elif not isinstance(term, Var):
                self.report.add(term.place, f"{shown_term(term)} is not a goal", "a goal is a predicate or a test")

    def _control(self, term: Compound, bound: set[str]) -> None:
        if not self._known(term, term.name, len(term.args)):
            return
        if term.name != ";":
            for argument in term.args:
                self.goal(argument, bound)
            return
        left, right = set(bound), set(bound)
        self.goal(term.args[0], left)
        self.goal(term.args[1], right)
        bound |= left | right

    def _known(self, term: Atom | Compound, name: str, arity: int) -> bool:
        arities = self.predicates.get(name)
        if arities is None:
            hint = _HINTS.get(name) or did_you_mean(name, [known for known in self.predicates if known[0].isalpha()])
            self.report.add(term.place, f"predicate {name!r} is not defined", hint)
            return False
        if arity not in arities:
            takes = " or ".join(str(n) for n in sorted(arities))
            plural = "argument" if takes == "1" else "arguments"
            self.report.add(term.place, f"{name} takes {takes} {plural}, not {arity}")
            return False
        return True

    def _predicate(self, term: Compound, bound: set[str]) -> None:
        name, args = term.name, term.args
        if name in _COMPARES_NUMBERS or name == "is":
            for operand in args[1:] if name == "is" else args:
                self._valued(operand, bound, f"{name!r} computes with it")
        for position in _EVENTS.get(name, ()):
            self._event(name, args[position], bound)
        for position in _GOALS.get(name, ()):
            self.goal(args[position], bound)
        self._searches(term, bound)
        if name in _STORES and len(args) == 2:
            self._stored(args[0], Atom(_STORES[name], place=term.place), args[1])
        elif name in _BY_SLOT and len(args) == 3 and isinstance(args[1], Atom):
            self._stored(args[0], args[1], args[2])
        elif name == "generate_event" and len(args) == 2:
            self._generated(args[0], args[1])

    def _valued(self, term: Term, bound: set[str], why: str) -> None:
        for var in variables(term):
            if var.name not in bound:
                self.filters.unbound(var, bound, why)

    def _event(self, name: str, term: Term, bound: set[str]) -> None:
        if isinstance(term, Var):
            if term.name not in bound:
                self.filters.unbound(term, bound, f"{name} needs an event")
        elif not isinstance(term, Compound):
            self.report.add(term.place, f"{name} needs an event here, not {shown_term(term)}", "give its variable")

    def _searches(self, term: Compound, bound: set[str]) -> None:
        reference = term.args[0]
        like = self.events.get(reference.name) if isinstance(reference, Var) and term.name in _DUPLICATES else None
        for argument in term.args:
            if isinstance(argument, Compound) and argument.name == "-" and any(_is_search(a) for a in term.args):
                self._valued(argument, bound, "the time window counts from it")
        for argument in term.args:
            if isinstance(argument, EventArgument):
                event = argument.filter
                if term.name in _INSTANCES and not event.classes and event.class_variable is None:
                    self.report.add(event.place, f"{term.name} needs a class", f"{event.variable.name} of_class ...")
                self.events[event.variable.name] = self.filters.filter(event, bound, like)

    def _stored(self, event: Term, slot: Atom, value: Term) -> None:
        classes = self.events.get(event.name, []) if isinstance(event, Var) else []
        found = self.filters.slots(classes, slot, exact=False)
        if not classes:
            # base slots have one type everywhere
            root = next(
                (cls for cls in self.table.classes.values() if slot.value in cls.slots and not cls.parent), None
            )
            classes, found = ([root], [root.slots[slot.value]]) if root else ([], [])
        having = next((cls for cls in classes if slot.value in cls.slots), None)
        if having is not None and found:
            self.filters.constant(having, found[0], value)

    def _generated(self, name: Term, slots: Term) -> None:
        if not isinstance(name, (Atom, Text)):
            return
        cls = self.filters.class_named(Atom(name.value, place=name.place))
        if cls is None or not isinstance(slots, ListTerm):
            return
        for item in slots.items:
            if not isinstance(item, Compound) or item.name != "=":
                if not isinstance(item, Var):
                    self.report.add(item.place, "generate_event takes a list of slot=value", "write slot='value'")
            elif isinstance(slot := item.args[0], (Atom, Text)):
                at = Atom(slot.value, place=slot.place)
                for found in self.filters.slots([cls], at, exact=True):
                    self.filters.constant(cls, found, item.args[1])
            elif isinstance(slot, Number):
                self.report.add(slot.place, f"{slot.value} is not a slot")


def _is_search(term: Term) -> bool:
    return isinstance(term, EventArgument)
