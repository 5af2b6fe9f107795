"""Checks of bodies: predicates and their arguments, variables, and what stands behind a goal that fails."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from opentec.events.classes import EventClass
from opentec.rules.ast import Atom, Compound, EventArgument, ListTerm, Number, Term, Text, Var
from opentec.rules.checker_filters import FilterChecker
from opentec.rules.checker_report import asserted_clause, conjuncts, shown_term, variables
from opentec.rules.clauses import GOAL_ARGUMENTS
from opentec.rules.destinations import DEFAULT
from opentec.rules.destinations import FILE as DESTINATIONS
from opentec.rules.parser_tokens import did_you_mean

if TYPE_CHECKING:
    from opentec.rules.predicates.registry import Predicate

Names = Mapping[str, Collection[int]]  # arities by name

# part of the language itself, whatever predicates there are
CONTROL: Final[Names] = {",": {2}, ";": {2}, "->": {2}, "\\+": {1}, "not": {1}}
_COMPARES_NUMBERS: Final = ("=:=", "=\\=", "<", ">", "=<", ">=")
OPERATORS: Final[Names] = dict.fromkeys((*_COMPARES_NUMBERS, "is", "=", "\\=", "==", "\\=="), frozenset({2}))
# predicates that store their second argument in a slot of the event in their first
_STORES: Final = {
    f"{verb}_event_{slot}": slot for verb in ("set", "change") for slot in ("status", "severity", "administrator")
}
_BY_SLOT: Final = ("bo_get_slotval", "bo_set_slotval", "place_change_request")  # (event, slot, value)
_DUPLICATES: Final = ("first_duplicate", "all_duplicates")
_INSTANCES: Final = ("first_instance", "all_instances")
_FAILS: Final = ("fail", "false")
_COMPUTES: Final = "it computes a value, which '_x is ...' takes"
_HINTS: Final = {
    "!": "commit_action ends an action",
    ":-": "a clause stands in brackets in an argument",
    **dict.fromkeys(("+", "-", "*", "/", "//", "mod", "rem", "**", "^"), _COMPUTES),
}


class Language:
    """Every name that may be a goal, and what is known of it.

    `own` are the clauses of the rule base, `asserted` what its rules assert. Without `complete` there are others.
    """

    def __init__(
        self,
        predicates: Names,
        registry: Mapping[tuple[str, int], Predicate],
        refused: Mapping[str, str],
        own: Names,
        asserted: Names,
        *,
        complete: bool = True,
        destinations: Collection[str] | None = None,
    ) -> None:
        self.complete = complete
        self.destinations = destinations
        self.predicates = {**predicates, **CONTROL, **OPERATORS}
        self.registry = registry
        self.refused = refused
        self.goals: dict[str, set[int]] = {name: set(arities) for name, arities in self.predicates.items()}
        for names in (own, asserted):
            for name, arities in names.items():
                self.goals.setdefault(name, set()).update(arities)


class GoalChecker:
    """Checks bodies. `bound` sets hold the variables that can have a value where the walk is."""

    def __init__(self, language: Language, filters: FilterChecker) -> None:
        self.language = language
        self.filters = filters
        self.report = filters.report
        self.events: dict[str, list[EventClass]] = {}  # event variables and their classes, [] where not known
        self.misplaced: Mapping[str, str] = {}  # goals that cannot work in this action, and why

    def goal(self, body: Term, bound: set[str]) -> None:
        """Check the goals of a body in order; `bound` grows with every variable that a goal could give a value."""
        failed = ""
        for term in conjuncts(body):
            if failed and self.filters.reach:
                self.report.add(
                    term.place, f"this goal is never reached: {failed!r} stands before it", "take one of them out"
                )
                failed = ""
            if isinstance(term, Atom):
                self._known(term, term.value, 0)
                failed = term.value if term.value in _FAILS else ""
            elif isinstance(term, Compound) and term.name in (";", "->", "\\+", "not"):
                self._control(term, bound)
            elif isinstance(term, Compound):
                if self._known(term, term.name, len(term.args)) and term.args:
                    self._predicate(term, bound)
                bound.update(var.name for var in variables(term))
            elif not isinstance(term, Var):
                self.report.add(term.place, f"{shown_term(term)} is not a goal", "a goal is a predicate or a test")

    def head(self, head: Atom | Compound) -> bool:
        """Whether a clause may have this head; reports when it is a predicate of the language."""
        name, arity = (head.value, 0) if isinstance(head, Atom) else (head.name, len(head.args))
        if arity in self.language.predicates.get(name, ()):
            self.report.add(
                head.place, f"{name}/{arity} is a predicate of the language, and no clause can redefine it", "rename it"
            )
            return False
        return True

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
        goals = self.language.goals
        arities = goals.get(name)
        if arities is None:
            if reason := self.language.refused.get(name):
                self.report.add(term.place, f"predicate {name!r} is refused: {reason}")
                return False
            if not self.language.complete and name not in _HINTS:
                return False
            hint = _HINTS.get(name) or did_you_mean(name, [known for known in goals if known[:1].isalpha()])
            self.report.add(term.place, f"predicate {name!r} is not defined", hint)
            return False
        if arity not in arities:
            takes = " or ".join(str(n) for n in sorted(arities))
            plural = "argument" if takes == "1" else "arguments"
            known = self.language.registry
            forms = [
                known[name, n].signature for n in sorted(arities) if (name, n) in known and known[name, n].signature
            ]
            hint = f"write {' or '.join(forms)}" if 0 < len(forms) <= 3 else ""
            self.report.add(term.place, f"{name} takes {takes} {plural}, not {arity}", hint)
            return False
        if name in self.misplaced and arity == 0:
            self.report.add(term.place, f"{name} {self.misplaced[name]}", "take it out")
        return True

    def _predicate(self, term: Compound, bound: set[str]) -> None:
        name, args = term.name, term.args
        if name in _COMPARES_NUMBERS or name == "is":
            for operand in args[1:] if name == "is" else args:
                self._valued(operand, bound, f"{name!r} computes with it")
        if predicate := self.language.registry.get((name, len(args))):
            self._arguments(predicate, term, bound)
        for position in GOAL_ARGUMENTS.get((name, len(args)), ()):
            self.goal(args[position], bound)
        self._searches(term, bound)
        if clause := asserted_clause(term):
            self._asserted(*clause, bound)
        elif name in _STORES and len(args) == 2:
            self._stored(args[0], Atom(_STORES[name], place=term.place), args[1])
        elif name in _BY_SLOT and len(args) == 3 and isinstance(args[1], Atom):
            self._stored(args[0], args[1], args[2])
        elif name == "generate_event" and len(args) == 2:
            self._generated(args[0], args[1])
        elif name == "forward_event" and self.language.destinations is not None:
            self._forwarded(term, self.language.destinations)

    def _arguments(self, predicate: Predicate, term: Compound, bound: set[str]) -> None:
        """Arguments that can never be what the predicate takes there (its modes say what)."""
        for number, (mode, argument) in enumerate(zip(predicate.modes, term.args, strict=True), 1):
            if mode == "e":
                self._event(predicate.name, argument, bound)
                continue
            if mode not in "vis" or predicate.compile is not None:
                continue
            self._valued(argument, bound, f"{predicate.name} needs its value")
            wanted = "a whole number" if mode == "i" else "text"
            if mode == "i":
                fits = isinstance(argument, Var) or (isinstance(argument, Number) and type(argument.value) is int)
            else:
                fits = mode == "v" or isinstance(argument, (Var, Atom, Text))
            if not fits:
                hint = "compute it with '_x is ...' first" if isinstance(argument, Compound) else ""
                self.report.add(
                    argument.place,
                    f"argument {number} of {predicate.name} must be {wanted}, not {shown_term(argument)}",
                    hint,
                )

    def _valued(self, term: Term, bound: set[str], why: str) -> None:
        for var in variables(term):
            if var.name not in bound:
                self.filters.unbound(var, bound, why)

    def _event(self, name: str, term: Term, bound: set[str]) -> None:
        if isinstance(term, Var):
            if term.name not in bound:
                self.filters.unbound(term, bound, f"{name} needs an event")
        else:
            hint = "give its variable"
            if isinstance(term, Atom) and not term.quoted:
                hint += f"; a variable begins with '_', as in _{term.value}"
            self.report.add(term.place, f"{name} needs an event here, not {shown_term(term)}", hint)

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

    def _asserted(self, head: Atom | Compound, body: Term | None, bound: set[str]) -> None:
        if self.head(head) and body is not None:
            # its variables get their values when it is called
            events, misplaced = dict(self.events), self.misplaced
            self.misplaced = {}
            self.goal(body, bound | {var.name for var in (*variables(head), *variables(body))})
            self.events, self.misplaced = events, misplaced

    def _stored(self, event: Term, slot: Atom, value: Term) -> None:
        classes = self.events.get(event.name, []) if isinstance(event, Var) else []
        found = self.filters.slots(classes, slot, exact=False)
        if not classes:
            # base slots have one type everywhere
            table = self.filters.table.classes.values()
            root = next((cls for cls in table if slot.value in cls.slots and not cls.parent), None)
            classes, found = ([root], [root.slots[slot.value]]) if root else ([], [])
        having = next((cls for cls in classes if slot.value in cls.slots), None)
        if having is not None and found:
            self.filters.constant(having, found[0], value, stored=True)

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
                    self.filters.constant(cls, found, item.args[1], stored=True)
            elif isinstance(slot, Number):
                self.report.add(slot.place, f"{slot.value} is not a slot")

    def _forwarded(self, term: Compound, known: Collection[str]) -> None:
        """A destination that the goal names must be one of tec_forward.conf."""
        named = term.args[1] if len(term.args) == 2 else Atom(DEFAULT, place=term.place)
        if isinstance(named, (Atom, Text)) and named.value not in known:
            add = "add ServerLocation=HOST[:PORT] to it" if len(term.args) == 1 else f"add [{named.value}] to it"
            hint = did_you_mean(named.value, known) or add
            self.report.add(named.place, f"{DESTINATIONS} has no destination {named.value!r}", hint)


def _is_search(term: Term) -> bool:
    return isinstance(term, EventArgument)
