"""Rules that note what tests see of them. They are compiled once more, with marks among their goals.

A mark costs no step of a record, and nothing here changes what a rule does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentec.events.classes import ClassTable
from opentec.rules.ast import Compound, RuleSet, Term
from opentec.rules.compiled import ChangeView, CompiledAction, CompiledRule, Registry, TimerView
from opentec.rules.compiler import Compiler
from opentec.rules.effects import Timer
from opentec.rules.evaluation import COMMIT_RULE, COMMIT_SET, Ask, Evaluation, Sender
from opentec.rules.event import Event
from opentec.rules.filters import FilterCode
from opentec.rules.goals import Code, Goal
from opentec.rules.scope import Frame, Scope
from opentec.rules.selector import Selectable
from opentec.testing.coverage_plan import NOWHERE, ActionPlan, FilterPlan, Pair, Plan, RulePlan
from opentec.testing.coverage_timers import SET_TIMER


class Seen:
    """What was seen so far, by the places of the plan, and what is needed to tell."""

    def __init__(self, size: int) -> None:
        self.sides = bytearray(size)
        self.timers: dict[int, int] = {}  # where it is seen that a pending timer fires, by its number
        self.classes: set[str] = set()  # of events
        self.asked: set[str] = set()  # slots that a change was asked for
        # rules that ended evaluation, by index, each with a class and whether later rule sets were ended too
        self.ended: set[tuple[int, str, bool]] = set()


class CoveringCompiler(Compiler):
    """Compiles with marks: at the goals of actions, at the first goal of clauses, and behind every set_timer."""

    def __init__(
        self, table: ClassTable, rule_sets: Iterable[RuleSet], registry: Registry, plan: Plan, seen: Seen
    ) -> None:
        self._plan, self._seen = plan, seen
        self._inside = False
        self.marking = True  # until all is compiled: what is asserted or called at run time is not counted
        super().__init__(table, rule_sets, registry)

    def _goal(self, term: Term, scope: Scope) -> list[Code]:
        if not self.marking:
            return super()._goal(term, scope)
        outer, self._inside = self._inside, True
        try:
            codes = super()._goal(term, scope)
        finally:
            self._inside = outer
        at = self._plan.goals.get(term.place, NOWHERE)
        if not outer and at:
            codes = [_mark(self._seen.sides, at), *codes]
        if isinstance(term, Compound) and (term.name, len(term.args)) == SET_TIMER:
            codes = [*codes, _timer_mark(self._seen, self._plan.timers.get(term.place, (NOWHERE, NOWHERE)))]
        return codes


def _mark(sides: bytearray, at: int) -> Goal:
    def mark(frame: Frame, run: Evaluation) -> bool:
        sides[at] = 1
        return True

    return mark


def _timer_mark(seen: Seen, pair: Pair) -> Goal:
    was_set, fired = pair

    def mark(frame: Frame, run: Evaluation) -> bool:
        seen.sides[was_set] = 1
        seen.timers[run.next_timer - 1] = fired
        return True

    return mark


class CoveredRule(CompiledRule):
    """A rule that notes which conditions held and which did not, and how far its actions came."""

    def __init__(self, rule: CompiledRule, compiler: CoveringCompiler, plan: RulePlan, seen: Seen) -> None:
        super().__init__(rule.source, rule.index, rule.rule_set, rule.set_name, compiler)
        self._plan, self._seen = plan, seen
        self._covered = _covered(self.filter, plan.event, seen.sides)
        self._timer = self._request = None
        if self.timer_filter is not None and plan.timer is not None:
            self._timer = _covered(self.timer_filter, plan.timer, seen.sides)
        if self.request_filter is not None and plan.request is not None:
            self._request = _covered(self.request_filter, plan.request, seen.sides)
        self.actions = tuple(map(self._watched, self.actions, plan.actions))
        self.redo_actions = tuple(map(self._watched, self.redo_actions, plan.redo_actions))

    @property
    def selectable(self) -> Selectable:
        """Tests are left out: an event that the selector would keep away makes a condition false."""
        return Selectable(self.index, self.rule_set, self.filter.roots or ("EVENT",), ())

    def _watched(self, action: CompiledAction, plan: ActionPlan) -> CompiledAction:
        step, seen, sides = action.step, self._seen, self._seen.sides
        begun, ended, last = plan
        fired, index = self._plan.fired, self.index

        def watched(frame: Frame, run: Evaluation) -> bool:
            if type(run.ask) is not _Asked:
                run.ask = _Asked(run.ask, seen.asked)
            sides[begun] = 1
            before, class_name = len(run.did), run.event.shape.name
            seen.classes.add(class_name)
            over = False
            try:
                over = step(frame, run)
            finally:
                if run.succeeded or (last and sides[last]):
                    sides[ended] = 1
                if run.succeeded or len(run.did) > before:
                    sides[fired] = 1
            halts = run.settings.drop_ends and run.dropped is not None and not run.requests
            if halts or run.commit >= (COMMIT_RULE if run.settings.commit_rule_ends_set else COMMIT_SET):
                seen.ended.add((index, class_name, halts))
            return over

        return action._replace(step=watched)

    def match(self, event: Event, run: Evaluation) -> Frame | None:
        """A frame with the filter's variables, or None when the rule does not concern the event."""
        plan, sides = self._plan, self._seen.sides
        classes = self._classes
        if classes is not None and event.shape.name not in classes:
            sides[plan.of_class[1]] = 1
            return None
        sides[plan.of_class[0]] = sides[plan.tried] = 1
        frame = self._frame.copy()
        return frame if self._covered(event, frame, run) else None

    def match_timer(self, event: Event, timer: Timer, run: Evaluation) -> Frame | None:
        """The same for a timer rule and the timer that fired."""
        seen = self._seen
        seen.sides[seen.timers.get(timer.id, NOWHERE)] = 1
        frame = self.match(event, run)
        if frame is not None and self._timer is not None and not self._timer(TimerView(timer), frame, run):
            return None
        return frame

    def match_change(self, event: Event, request: ChangeView, run: Evaluation) -> Frame | None:
        """The same for a change rule and the change that is asked for."""
        plan, sides = self._plan, self._seen.sides
        self._seen.asked.add(request.slots["attribute"])
        sides[plan.attribute[0]] = 1
        frame = self.match(event, run)
        if frame is None:
            return None
        if self.match_sender is not None:
            view: Any = request
            held = self.match_sender(view, frame, run)
            sides[plan.sender[0 if held else 1]] = 1
            if not held:
                return None
        return frame if self._request is None or self._request(request, frame, run) else None


class _Asked:
    """Notes which slots rules ask to change, also where no change rule is about them."""

    def __init__(self, ask: Ask, slots: set[str]) -> None:
        self._ask, self._slots = ask, slots

    def __call__(self, event: Event, slot: str, value: Any, sender: Sender) -> CompiledRule | None:
        self._slots.add(slot)
        return self._ask(event, slot, value, sender)


def _covered(code: FilterCode, plan: FilterPlan, sides: bytearray) -> Callable[[Any, Frame, Evaluation], bool]:
    """`FilterCode.match`, one condition after the other; those behind the first that does not hold are not asked."""
    checks = tuple((check, *pair) for check, pair in zip(code.checks, plan.checks, strict=True))
    binds = tuple((bind, *pair) for bind, pair in zip(code.binds, plan.binds, strict=True))
    place = code.place

    def covered(event: Any, frame: Frame, run: Evaluation) -> bool:
        for check, held, failed in checks:
            if not check(event):
                sides[failed] = 1
                return False
            sides[held] = 1
        frame[place] = event
        for bind, held, failed in binds:
            if not bind(event, frame, run):
                sides[failed] = 1
                return False
            sides[held] = 1
        return True

    return covered


def finish(seen: Seen, rules: Iterable[CompiledRule], plan: Plan, ancestors: Mapping[str, Iterable[str]]) -> bytes:
    """What was seen, with what follows from it: classes, and conditions of rules that were not even asked."""
    sides = bytearray(seen.sides)
    for rule, planned in zip(rules, plan.rules, strict=True):
        classes = rule.filter.classes
        if rule.source.kind == "rule" and classes is not None and not seen.classes <= classes:
            sides[planned.of_class[1]] = 1  # the selector gives a plain rule only events of its class
        if rule.attribute is not None and not seen.asked <= {rule.attribute}:
            sides[planned.attribute[1]] = 1
    above = {name for found in seen.classes for name in ancestors.get(found, (found,))}
    for name, at in plan.classes:
        if name in above:
            sides[at] = 1
    sides[NOWHERE] = 0
    return bytes(sides)
