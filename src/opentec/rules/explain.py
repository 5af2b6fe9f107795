"""Why rules did not fire for an event that is traced: which condition said no, or at which goal an action ended.

Rules are selected by class alone, and compiled once more with a mark before each goal; what they do is the same. For
events that are not traced none of this exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final

from opentec.rules.ast import Compound, Term
from opentec.rules.compiled import ChangeView, CompiledAction, CompiledRule, CompiledRules, TimerView
from opentec.rules.compiler import Compiler
from opentec.rules.effects import FIRED_LIMIT, Explained, Timer
from opentec.rules.evaluation import COMMIT_SET, FILTER_FAULTS, Evaluation
from opentec.rules.event import Event
from opentec.rules.filters import FilterCode, Source
from opentec.rules.goals import Code, Goal
from opentec.rules.scope import Frame, Scope, variables
from opentec.rules.source_text import condition_text, goal_text, test_text
from opentec.rules.terms import RuleError, deref, show, undo

NO_LIMIT: Final = 1_000  # rules that did not fire, kept for one record
LONGEST_VALUE: Final = 80  # characters of a value that is quoted
VALUES: Final = 5  # variables of a goal whose values are told
_NO_ACTION: Final = "it has no action for this case"
# goals inside these are told apart; of all others only the whole is
_TRANSPARENT: Final = frozenset(((";", 2), ("->", 2), ("once", 1), ("call", 1), ("ignore", 1)))

Wants = Callable[[Event], bool]
Fire = Callable[[CompiledRule, Sequence[CompiledAction], Frame, str], int]


class Marks:
    """How far the goals of a rule's actions came: the furthest one that was begun, with the values it had then."""

    def __init__(self) -> None:
        self.goals: list[str] = []
        self.furthest = -1
        self.times = 0
        self.values: list[tuple[str, Any]] = []

    def mark(self, term: Term, scope: Scope) -> Goal:
        """A goal that always holds, to stand before that of the term."""
        number = len(self.goals)
        self.goals.append(f"{term.place.file}:{term.place.line}: {goal_text(term)}")
        known = {var.name: scope.place(var.name) for var in variables(term) if scope.known(var)}
        places = list(known.items())[:VALUES]

        def mark(frame: Frame, run: Evaluation) -> bool:
            if number >= self.furthest:
                self.times = self.times + 1 if number == self.furthest else 1
                self.furthest = number
                self.values = [(name, _as_it_is(frame[place])) for name, place in places]
            return True

        return mark

    def said(self, event: Event) -> str:
        """Where it ended, in words; `event` is the one that everybody knows of."""
        if self.furthest < 0:
            return "before its first goal"
        values = ", ".join(f"{name} = {brief(value)}" for name, value in self.values if value is not event)
        times = f" (the last of {self.times} times)" if self.times > 1 else ""
        return self.goals[self.furthest] + (f" with {values}" if values else "") + times


def _as_it_is(term: Any) -> Any:
    try:
        return deref(term)
    except RuleError:  # a list without end: it is the goal that fails by it, if any does
        return term


class MarkingCompiler(Compiler):
    """Compiles bodies with marks; the predicates of the rule base's own are those of the compiler before."""

    def __init__(self, base: Compiler) -> None:
        self.table = base.table
        self.registry = base.registry
        self.program = base.program
        self.marks = Marks()
        self._inside = False

    def _goal(self, term: Term, scope: Scope) -> list[Code]:
        if self._inside or (isinstance(term, Compound) and (term.name, len(term.args)) in _TRANSPARENT):
            return super()._goal(term, scope)
        mark = self.marks.mark(term, scope)
        self._inside = True
        try:
            return [mark, *super()._goal(term, scope)]
        finally:
            self._inside = False


class TracedRule(CompiledRule):
    """A rule that tells why it did not fire. `ended` gets a sentence for each action that did not reach its end."""

    def __init__(self, rule: CompiledRule, compiler: Compiler) -> None:
        marking = MarkingCompiler(compiler)
        super().__init__(rule.source, rule.index, rule.rule_set, rule.set_name, marking)
        self.ended: list[str] = []
        self.begun: set[str] = set()  # names of actions
        # guards follow the variables only in the rule that is known to do so
        self.guard = rule.guard
        self.actions = tuple(map(self._watched, self.actions, rule.actions, repeat(marking.marks)))
        self.redo_actions = tuple(map(self._watched, self.redo_actions, rule.redo_actions, repeat(marking.marks)))

    def _watched(self, action: CompiledAction, plain: CompiledAction, marks: Marks) -> CompiledAction:
        step = action.step

        def watched(frame: Frame, run: Evaluation) -> bool:
            self.begun.add(action.name)
            # a change rule may run while it asks for a change itself
            outer = marks.furthest, marks.times, marks.values
            marks.furthest, marks.times, marks.values = -1, 0, []
            event = run.event
            try:
                over = step(frame, run)
                if not run.succeeded:
                    self.ended.append(f"action {action.name} ended at {marks.said(event)}")
            finally:
                marks.furthest, marks.times, marks.values = outer
            return over

        return action._replace(step=watched, guard=plain.guard)

    def closed(self, actions: Iterable[CompiledAction], run: Evaluation) -> list[str]:
        """A sentence for each of these actions whose guard says no, so that it was not begun."""
        said = []
        for action in actions:
            if action.guard is not None and action.name not in self.begun and action.guard.closed(run):
                goal = action.guard.failing(run)
                said.append(f"action {action.name} ended at {goal.place.file}:{goal.place.line}: {goal_text(goal)}")
        return said

    def refusal(self, event: Event, run: Evaluation, view: Any = None) -> str:
        """Which condition said no: of the filter, or of the rest of the rule to `view`, a timer or a request."""
        frame = self._frame.copy()
        said = refusal(self.filter, event, frame, run)
        if said or view is None:
            return said
        if self.match_sender is not None and not self.match_sender(view, frame, run):
            assert self.source.sender is not None
            return f"{condition_text(self.source.sender)} said no: it was {brief(view.get('sender'))}"
        code = self.timer_filter or self.request_filter
        return refusal(code, view, frame, run) if code is not None else ""


class Explainer:
    """Runs rules over traced events, and notes in `Evaluation.fired` those that did not fire, as Explained.

    `fire` runs a rule's actions (`Running.fire`).
    """

    def __init__(self, rules: CompiledRules, fire: Fire) -> None:
        self._rules = rules
        self._fire = fire
        self._run: Evaluation
        self._traced: dict[int, TracedRule] = {}
        self._position = -1
        self._noted = 0

    def attach(self, run: Evaluation) -> None:
        self._run = run
        self._position = -1

    def plain(self, event: Event, name: str, again: bool) -> None:
        """Every plain rule of the event's class, as `Running.plain`."""
        run = self._run
        self._all(
            self._rules.plain.values(),
            event,
            lambda rule: rule.match(event, run),
            lambda rule: rule.refusal(event, run),
            name,
            again,
        )

    def timer(self, event: Event, timer: Timer) -> None:
        """Every timer rule of the event's class, as `Running.timer`."""
        run = self._run
        view = TimerView(timer)
        self._all(
            self._rules.timer,
            event,
            lambda rule: rule.match_timer(event, timer, run),
            lambda rule: rule.refusal(event, run, view),
            str(event),
        )

    def change(self, rules: Iterable[CompiledRule], event: Event, request: ChangeView) -> None:
        """Those of these change rules that are about the event's class, as `Running.ask`."""
        run = self._run
        self._all(
            rules,
            event,
            lambda rule: rule.match_change(event, request, run),
            lambda rule: rule.refusal(event, run, request),
            str(event),
        )

    def _all(
        self,
        rules: Iterable[CompiledRule],
        event: Event,
        match: Callable[[TracedRule], Frame | None],
        refuses: Callable[[TracedRule], str],
        name: str,
        again: bool = False,
    ) -> None:
        run = self._run
        class_name = event.shape.name
        committed, skipped, over = "", -1, ""
        for plain in rules:
            if plain.filter.classes is not None and class_name not in plain.filter.classes:
                continue
            rule = self._rule(plain)
            actions = rule.redo_actions if again else rule.actions
            if over or rule.rule_set == skipped:
                self._note(rule, name, [over or committed])
                continue
            if rule.guard is not None and rule.guard.closed(run):
                self._note(rule, name, rule.closed(actions, run) or [_NO_ACTION])
                continue
            mark = len(run.trail)
            try:
                frame = match(rule)
            except FILTER_FAULTS as error:
                undo(run.trail, mark)
                self._note(rule, name, [f"the filter cannot be tested: {run.unmatched(rule, error)}"])
                continue
            if frame is None:
                undo(run.trail, mark)
                self._note(rule, name, [self._refusal(rule, refuses)])
                continue
            commit = self._fire_rule(rule, actions, frame, name)
            if commit == COMMIT_SET:
                skipped, committed = rule.rule_set, f"not tried: rule {rule.full_name} committed the rule set"
            elif commit > COMMIT_SET:
                over = f"not tried: evaluation ended with rule {rule.full_name}"
        run.analysed_changed = False

    def _refusal(self, rule: TracedRule, refuses: Callable[[TracedRule], str]) -> str:
        """Which condition said no. To look for it costs the record nothing."""
        run = self._run
        mark, parts, steps = len(run.trail), run.trail.parts, run.steps
        try:
            said = refuses(rule)
        except FILTER_FAULTS:
            said = ""
        undo(run.trail, mark)
        run.trail.parts, run.steps = parts, steps
        return said or "its filter said no"

    def _rule(self, rule: CompiledRule) -> TracedRule:
        found = self._traced.get(rule.index)
        if found is None:
            found = self._traced[rule.index] = TracedRule(rule, self._rules.compiler)
        return found

    def _fire_rule(self, rule: TracedRule, actions: Sequence[CompiledAction], frame: Frame, name: str) -> int:
        run = self._run
        outer = rule.ended, rule.begun
        rule.ended, rule.begun = [], set()
        commit = self._fire(rule, actions, frame, name)
        ended = rule.ended
        if not commit:  # else what was not begun may have been cut off
            ended += rule.closed(actions, run)
        rule.ended, rule.begun = outer
        fired = run.fired
        if fired and fired[-1].did is run.did:  # the entry of this rule, not of a change rule within it
            if ended:
                last = fired[-1]
                fired[-1] = Explained(last.rule_set, last.rule, last.actions, last.did, last.event, last.timer, ended)
        else:
            self._note(rule, name, ended or [_NO_ACTION])
        return commit

    def _note(self, rule: CompiledRule, name: str, no: list[str]) -> None:
        run = self._run
        if self._position != run.position:
            self._position, self._noted = run.position, 0
        if self._noted < NO_LIMIT and len(run.fired) < FIRED_LIMIT - 1:
            self._noted += 1
            info = run.timer.info if run.timer is not None else None
            run.fired.append(Explained(rule.set_name, rule.name, [], [], name, info, no))


def refusal(code: FilterCode, event: Any, frame: Frame, run: Evaluation) -> str:
    """Which condition of a filter an event, or what looks like one, does not meet, and why; "" when it meets all."""
    for check, said in zip(code.checks, code.checks_said, strict=True):
        if not check(event):
            return _said_no(said, event, frame)
    frame[code.place] = event
    for bind, said in zip(code.binds, code.binds_said, strict=True):
        if not bind(event, frame, run):
            return _said_no(said, event, frame)
    return ""


def _said_no(said: Source, event: Any, frame: Frame) -> str:
    slot, variable = said.slot, said.variable
    if not slot:
        assert variable is not None
        assert said.read is not None
        return f"{variable.name} said no: it was {brief(said.read(frame))}"
    condition = f"{slot}: {test_text(said.test) if said.test is not None else variable.name if variable else ''}"
    found = event.get(slot)
    if found is None:
        return f"{condition} said no: " + (
            "it has no value" if slot in event.shape.slots else f"class {event.shape.name} has no such slot"
        )
    compared = f", compared with {brief(said.read(frame))}" if said.read is not None else ""
    return f"{condition} said no: it was {brief(found)}{compared}"


def brief(value: Any) -> str:
    """A value for people: texts in quotes, cut to LONGEST_VALUE characters."""
    try:
        return _brief(deref(value))
    except RuleError:  # a term with too many parts to be shown; that must not fail the action
        return "a very large term"


def _brief(value: Any) -> str:
    if type(value) is list and all(type(item) is str for item in value):
        text = f"[{', '.join(repr(item[:LONGEST_VALUE]) for item in value[:VALUES])}{', ...' * (len(value) > VALUES)}]"
    else:
        text = repr(value[:LONGEST_VALUE]) if type(value) is str else show(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
