"""What there is to be seen of a rule base: a place for everything that tests may do with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from opentec.events.classes import ClassTable
from opentec.rules.ast import Action, Atom, Clause, Compound, EventArgument, ListTerm, Place, Rule, RuleSet, Term, Var
from opentec.rules.compiled import NEW_EVENT_ACTIONS, REDO_ACTIONS, CompiledRule
from opentec.rules.filters import FilterCode, Source
from opentec.rules.guards import without_guard
from opentec.rules.source_text import condition_text, goal_text, test_text
from opentec.testing.coverage_data import ACTION, BOTH, CLASS, CLAUSE, CONDITION, RULE, TIMER, Item, Tried
from opentec.testing.coverage_timers import all_of_class, all_pass, setters, timer_goals

NOWHERE: Final = 0  # what is not counted is seen here
_OF_TIMERS: Final = ("timer_info", "timer_duration")
_SECOND: Final = " (2)"  # ends the name of the other plain rule that a correlation rule is made of

Pair = tuple[int, int]  # where it is seen that a condition held, and that it did not


class FilterPlan(NamedTuple):
    """The conditions of a filter, beside its checks and binds."""

    checks: tuple[Pair, ...]
    binds: tuple[Pair, ...]


class ActionPlan(NamedTuple):
    begun: int
    ended: int
    last: int  # where its last goal is seen, when that is one that always fails


class RulePlan(NamedTuple):
    """Where everything of one rule of the engine is seen."""

    tried: int
    fired: int
    attribute: Pair
    of_class: Pair
    event: FilterPlan
    timer: FilterPlan | None
    sender: Pair
    request: FilterPlan | None
    actions: tuple[ActionPlan, ...]  # as CompiledRule.actions
    redo_actions: tuple[ActionPlan, ...]


class Plan:
    """Everything that can be seen, for `CoverageData`; `size` is the number of places.

    `rules` are all rules of the rule base, compiled, by index. Places in texts begin with `folder`.
    """

    def __init__(self, rule_sets: Sequence[RuleSet], rules: Sequence[CompiledRule], table: ClassTable, folder: Path):
        self._folder = folder
        self._table = table
        self._at: dict[tuple[object, ...], int] = {}
        self.items: list[Item] = []
        self.tried: list[Tried] = []
        self.size = 1
        self.goals: dict[Place, int] = {}  # where a goal of an action or the first of a clause is seen
        self.timers: dict[Place, Pair] = {}  # set and fired, by the place of set_timer
        self.classes: list[tuple[str, int]] = []
        self._setters = setters(rule_sets, rules)
        self.rules = [self._rule(rule) for rule in rules]
        for rule_set in rule_sets:
            for rule in rule_set.rules:
                for action in rule.actions:
                    self._timers(rule_set.name, author(rule), action.body)
            for clause in rule_set.clauses:
                self._clause(rule_set.name, clause)
        self._classes(rule_sets)

    def where(self, place: Place) -> str:
        """A place as the user would open it."""
        return f"{self._folder / place.file}:{place.line}"

    def _hidden(self) -> int:
        self.size += 1
        return self.size - 1

    def _add(
        self,
        kind: str,
        owner: tuple[str, str],
        place: Place,
        text: str,
        sides: tuple[str, ...],
        begun: int = NOWHERE,
        goals: tuple[tuple[int, str], ...] = (),
    ) -> int:
        """An item; the same one again where two rules of the engine are one of the author's."""
        key = (kind, owner, place, text)
        at = self._at.get(key)
        if at is None:
            at = self._at[key] = self.size
            self.size += len(sides)
            self.items.append(Item(kind, *owner, self.where(place), text, at, sides, begun, goals))
        return at

    # rules

    def _rule(self, rule: CompiledRule) -> RulePlan:
        source = rule.source
        owner = rule.set_name, author(source)
        fired = self._add(RULE, owner, source.place, author(source), ("fired",))
        tried = self._hidden()
        guard = _guard(source.actions) if rule.guard is not None else ""
        self.tried.append(Tried(*owner, tried, guard))
        attribute = of_class = sender = (NOWHERE, NOWHERE)
        if isinstance(source.attribute, Atom):
            attribute = self._condition(owner, source.attribute.place, f"attribute: {source.attribute.value}")
        classes = rule.filter.classes
        if classes is not None and len(classes) < len(self._table.classes):
            of_timer = source.kind == "timer_rule" and all_of_class(self._setters, classes)
            sides = BOTH[:1] if of_timer else BOTH
            names = ", ".join(f"'{name}'" for name in rule.filter.roots)
            text = f"of_class {names}" if len(rule.filter.roots) == 1 else f"of_class within [{names}]"
            of_class = self._condition(owner, source.event.place, text, sides)
        if source.sender is not None:
            sender = self._condition(owner, source.sender.place, condition_text(source.sender))
        actions = [self._action(owner, rule, action) for action in source.actions]
        planned = list(zip(source.actions, actions, strict=True))
        return RulePlan(
            tried,
            fired,
            attribute,
            of_class,
            self._filter(owner, rule.filter, classes),
            None if rule.timer_filter is None else self._filter(owner, rule.timer_filter, classes),
            sender,
            None if rule.request_filter is None else self._filter(owner, rule.request_filter, classes),
            tuple(plan for action, plan in planned if action.kind in NEW_EVENT_ACTIONS),
            tuple(plan for action, plan in planned if action.kind in REDO_ACTIONS),
        )

    def _condition(self, owner: tuple[str, str], place: Place, text: str, sides: tuple[str, ...] = BOTH) -> Pair:
        at = self._add(CONDITION, owner, place, text, sides)
        return at, at + 1 if len(sides) > 1 else NOWHERE

    def _filter(self, owner: tuple[str, str], code: FilterCode, classes: frozenset[str] | None) -> FilterPlan:
        return FilterPlan(
            tuple(self._source(owner, said, classes) for said in code.checks_said),
            tuple(self._source(owner, said, classes) for said in code.binds_said),
        )

    def _source(self, owner: tuple[str, str], said: Source, classes: frozenset[str] | None) -> Pair:
        slot, test = said.slot, said.test
        if test is not None:
            of_timer = slot in _OF_TIMERS and all_pass(self._setters, classes, slot, test)
            return self._condition(owner, test.place, f"{slot}: {test_text(test)}", BOTH[:1] if of_timer else BOTH)
        if said.read is None or said.variable is None:
            return NOWHERE, NOWHERE  # a variable gets its value: that asks nothing
        return self._condition(owner, said.variable.place, f"{said.slot or 'event'}: {said.variable.name}")

    def _action(self, owner: tuple[str, str], rule: CompiledRule, action: Action) -> ActionPlan:
        text = f"{action.kind} {action.name}"
        if rule.source.source_kind == "correlation_rule":  # both orders in which its events may arrive
            text = f"what is done when {' or '.join(rule.filter.roots)} arrives"
        begun = self._hidden()
        goals: list[tuple[int, str]] = []
        last = NOWHERE
        # what stands for several goals of a rule of another kind has one place, so they are not told apart
        for leaf in without_guard(action.body) if not rule.source.source_kind else ():
            at = self.goals[leaf.place] = self._hidden()
            goals.append((at, f"{self.where(leaf.place)}: {goal_text(leaf)}"))
            # nothing reaches the end behind these: all is done when they are begun
            last = at if isinstance(leaf, Atom) and leaf.value in ("fail", "false") else NOWHERE
        ended = self._add(ACTION, owner, action.place, text, ("ended",), begun, tuple(goals))
        return ActionPlan(begun, ended, last)

    # the rest

    def _timers(self, rule_set: str, rule: str, body: Term) -> None:
        for goal in timer_goals(body):
            at = self._add(TIMER, (rule_set, rule), goal.place, goal_text(goal), ("set", "fired"))
            self.timers[goal.place] = at, at + 1

    def _clause(self, rule_set: str, clause: Clause) -> None:
        if clause.body is None:
            return
        self._timers(rule_set, "", clause.body)
        first = next(leaves_of(clause.body))
        self.goals[first.place] = self._add(CLAUSE, (rule_set, ""), clause.place, goal_text(clause.head), ("called",))

    def _classes(self, rule_sets: Iterable[RuleSet]) -> None:
        named: dict[str, Place] = {}
        for rule_set in rule_sets:
            for rule in rule_set.rules:
                for atom in rule.event.classes:
                    named.setdefault(atom.value, atom.place)
                for action in rule.actions:
                    for atom in _mentioned(action.body):
                        named.setdefault(atom.value, atom.place)
            for clause in rule_set.clauses:
                for atom in _mentioned(clause.body) if clause.body is not None else ():
                    named.setdefault(atom.value, atom.place)
        for name, place in sorted(named.items()):
            if name in self._table.classes:
                self.classes.append((name, self._add(CLASS, ("", ""), place, name, ("seen",))))


def author(rule: Rule) -> str:
    """The name that the author gave: the second rule that a correlation rule is made of has another."""
    return rule.name.removesuffix(_SECOND) if rule.source_kind == "correlation_rule" else rule.name


def leaves_of(body: Term) -> Iterator[Term]:
    """The goals of a body in order, however they are put in parentheses."""
    if isinstance(body, Compound) and body.name == "," and len(body.args) >= 2:
        for goal in body.args:
            yield from leaves_of(goal)
    else:
        yield body


def _guard(actions: Sequence[Action]) -> str:
    """The goals that the first action asks before anything else."""
    body = actions[0].body
    leaves = list(leaves_of(body))
    return ", ".join(map(goal_text, leaves[: len(leaves) - len(without_guard(body))]))


def _mentioned(term: Term) -> Iterator[Atom]:
    """Classes that a body looks for, or makes events of."""
    if isinstance(term, EventArgument):
        yield from term.filter.classes
    elif isinstance(term, ListTerm):
        for item in term.items:
            yield from _mentioned(item)
    elif isinstance(term, Compound):
        if term.name == "generate_event" and term.args and isinstance(term.args[0], Atom):
            yield term.args[0]
        for argument in term.args:
            if not isinstance(argument, Var):
                yield from _mentioned(argument)
