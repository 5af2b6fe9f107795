"""What each rule costs: how often it is tried and runs, its steps, and its time by a clock that is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from opentec.rules.compiled import ChangeView, CompiledAction, CompiledRule, CompiledRules
from opentec.rules.effects import Timer
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.scope import Frame


class Cost(msgspec.Struct):
    """One rule. Steps and time are its own: what change rules cost that it asked for is theirs."""

    rule: str  # RULE_SET/RULE
    place: str  # file:line
    tried: int = 0  # its filter was
    matched: int = 0
    actions: int = 0  # that were run
    steps: int = 0  # of the step limit of a record
    nanoseconds: int = 0


class Profile:
    """Collects the costs of the rules of one rule base. `clock` counts nanoseconds from anywhere, never back."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._costs: dict[str, Cost] = {}
        self._inner = [0, 0]  # time and steps of what ran within what is measured now

    def costs(self) -> list[Cost]:
        """One for each rule that was tried, the most expensive first."""
        tried = [cost for cost in self._costs.values() if cost.tried]
        return sorted(tried, key=lambda cost: (-cost.nanoseconds, cost.rule))

    def watch(self, rules: CompiledRules) -> CompiledRules:
        """The same rules, counted and timed."""
        return rules._replace(
            plain={index: self._watched(rule) for index, rule in rules.plain.items()},
            timer=tuple(map(self._watched, rules.timer)),
            change=tuple(map(self._watched, rules.change)),
        )

    def _watched(self, rule: CompiledRule) -> CompiledRule:
        cost = self._costs.setdefault(rule.full_name, Cost(rule.full_name, rule.place))
        return ProfiledRule(rule, cost, self)

    def begin(self, run: Evaluation) -> tuple[list[int], int, int]:
        """Begin to measure; `end` takes what this gives."""
        outer, self._inner = self._inner, [0, 0]
        return outer, run.steps, self._clock()

    def end(self, cost: Cost, run: Evaluation, begun: tuple[list[int], int, int]) -> None:
        """Add what happened since then to the rule's cost."""
        now = self._clock()
        outer, steps, start = begun
        time, spent = now - start, steps - run.steps
        cost.nanoseconds += time - self._inner[0]
        cost.steps += spent - self._inner[1]
        self._inner = [outer[0] + time, outer[1] + spent]


class ProfiledRule(CompiledRule):
    """A rule that is counted and timed."""

    def __init__(self, rule: CompiledRule, cost: Cost, profile: Profile) -> None:
        self.__dict__.update(rule.__dict__)
        self._rule, self._cost, self._profile = rule, cost, profile
        self.actions = tuple(map(self._watched, rule.actions))
        self.redo_actions = tuple(map(self._watched, rule.redo_actions))

    def _watched(self, action: CompiledAction) -> CompiledAction:
        step, cost, profile = action.step, self._cost, self._profile

        def measured(frame: Frame, run: Evaluation) -> bool:
            cost.actions += 1
            begun = profile.begin(run)
            try:
                return step(frame, run)
            finally:
                profile.end(cost, run, begun)

        return action._replace(step=measured)

    def match(self, event: Event, run: Evaluation) -> Frame | None:
        """A frame with the filter's variables, or None when the rule does not concern the event."""
        return self._tried(run, partial(self._rule.match, event, run))

    def match_timer(self, event: Event, timer: Timer, run: Evaluation) -> Frame | None:
        """The same for a timer rule and the timer that fired."""
        return self._tried(run, partial(self._rule.match_timer, event, timer, run))

    def match_change(self, event: Event, request: ChangeView, run: Evaluation) -> Frame | None:
        """The same for a change rule and the change that is asked for."""
        return self._tried(run, partial(self._rule.match_change, event, request, run))

    def _tried(self, run: Evaluation, match: Callable[[], Frame | None]) -> Frame | None:
        cost, frame = self._cost, None
        cost.tried += 1
        begun = self._profile.begin(run)
        try:
            frame = match()
        finally:  # a filter may raise
            self._profile.end(cost, run, begun)
        cost.matched += frame is not None
        return frame
