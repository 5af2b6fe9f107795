"""Runs tests on the production engine. The only clock is the specification's: it jumps from record to record.

Records are those of a real log: their positions count bytes from 0 in epoch 1, and a timer that falls due between two
steps gets a TICK at its due time, as reception would append one (spine: the reception log). A test begins with an
ACTIVATE of its rule base, a second before its start; the events that come of it are not looked at by `expect`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from opentec.events.errors import SourceError
from opentec.events.image import key_name
from opentec.events.records import ActivatePayload, Disposition, Kind, Record, Verdict, encode, position_of
from opentec.log.codec import RECORD_SIZE
from opentec.rules.effects import Effects, Explained, Fired
from opentec.rules.engine import Engine
from opentec.rules.event import Event
from opentec.rules.profile import Profile
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.testing.binding import BoundCase, BoundStep, Wanted
from opentec.testing.instants import show_instant, show_length
from opentec.testing.matching import unmet, unwanted
from opentec.testing.results import Failure, FiredRule, Happened, Near, Result, Unfired

STORY: Final = 20  # records of a test that a failure tells
ACTIVE_BEFORE: Final = 1_000_000  # microseconds from the ACTIVATE record to the start of a test
MAX_TICKS: Final = 1_000_000  # timers between two steps; a rule that sets timers for ever ends here


class Runner:
    """Runs the tests of one rule base, each from an empty repository.

    `folder` is the rule base's as the user gave it, for the places of rules. Raises SourceErrors where a rule does
    not compile. `profile` counts and times the rules.
    """

    def __init__(self, rule_base: RuleBase, folder: Path | None = None, profile: Profile | None = None) -> None:
        self.rule_base = rule_base
        self._engine = Engine(rule_base, IndexedSelector(), profile)
        self._places = {
            f"{rule_set.name}/{rule.name}": f"{(folder or Path()) / rule.place.file}:{rule.place.line}"
            for rule_set in rule_base.rule_sets
            for rule in rule_set.rules
        }

    def run(self, bound: BoundCase) -> Result:
        """Run one test to its end, or to the first instant at which an expectation does not hold.

        One that fails is run again, to say of every event which rules did not fire.
        """
        result = self._run(bound)
        if not result.passed:
            self._engine.explain(True)
            result = self._run(bound)
            self._engine.explain(False)
        return result

    def _run(self, bound: BoundCase) -> Result:
        self._engine.prime([], [], {})
        run = _Run(self._engine, bound, self._places)
        run.activate()
        failures: list[Failure] = []
        for at, steps in groupby(bound.steps, key=lambda step: step.at):
            failures = run.instant(at, list(steps))
            if failures:
                break
        case = bound.case
        return Result(
            case.file,
            case.mark.line,
            case.name,
            tuple(failures),
            tuple(run.story) if failures else (),
            run.records - len(run.story) if failures else 0,
            tuple(sorted(run.fired)),
        )


class _Run:
    """One test at work: its log, its repository, its story."""

    def __init__(self, engine: Engine, bound: BoundCase, places: Mapping[str, str]) -> None:
        self.engine = engine
        self.case = bound.case
        self.places = places
        self.offset = 0
        self.repository: dict[int, Event] = {}
        self.own: set[int] = set()  # events of the activation, by eid
        self.story: deque[Happened] = deque(maxlen=STORY)
        self.records = 0
        self.fired: set[str] = set()

    def activate(self) -> None:
        """What a server does before anything else: rule sets are configured by rules on TEC_Rulebase_Loaded."""
        base, time = self.engine.rule_base, self.case.start - ACTIVE_BEFORE
        payload = ActivatePayload(base.content_hash, base.name, msgspec.to_builtins(base.settings))
        effects = self._process(Kind.ACTIVATE, time, encode(payload))
        self.own.update(self.repository)
        self.repository.clear()
        if effects.fired:
            self._tell(time, "the rule base is activated", "", effects)

    def instant(self, at: int, steps: Sequence[BoundStep]) -> list[Failure]:
        """Everything at one instant: the timers due until then, all events, and then all expectations."""
        time = self.case.start + at
        self._tick(time, steps[0])
        for step in steps:
            if step.event is not None:
                effects = self._process(Kind.EVENT, time, step.event.payload)
                self._tell(time, step.event.text, _became(effects), effects)
        return [failure for step in steps for failure in self._check(step, time)]

    def _tick(self, until: int, step: BoundStep) -> None:
        ticks = 0
        while (due := self.engine.next_due()) is not None and due <= until:
            if ticks == MAX_TICKS:
                raise SourceError(
                    f"more than {MAX_TICKS} timers fire before {step.said!r}, the next at {show_instant(due)}",
                    file=self.case.file,
                    line=step.mark.line,
                    column=step.mark.column,
                    hint="a timer rule sets its timer again for ever; let it end, or test a shorter time",
                )
            ticks += 1
            effects = self._process(Kind.TICK, due, b"")
            self._tell(due, "a timer fires", "", effects)

    def _process(self, kind: Kind, time: int, payload: bytes) -> Effects:
        position = position_of(1, self.offset)
        self.offset += RECORD_SIZE + len(payload)
        record = Record(position, position_of(1, self.offset), kind, Verdict.ACCEPTED, time, payload=payload)
        effects = self.engine.process(record)
        for event in (*effects.inserted, *effects.changed):
            if event.eid not in self.own:
                self.repository[event.eid] = event
        return effects

    def _tell(self, time: int, what: str, became: str, effects: Effects) -> None:
        self.records += 1
        fired = tuple(self._rules(effects.fired))
        self.fired.update(rule.rule for rule in fired)
        at = time - self.case.start
        not_fired = tuple(self._not_fired(effects.fired))
        self.story.append(Happened("-" * (at < 0) + show_length(abs(at)), what, became, fired, not_fired))

    def _rules(self, fired: Sequence[Fired]) -> Iterator[FiredRule]:
        for rule in fired:
            name = f"{rule.rule_set}/{rule.rule}"
            if type(rule) is Fired:
                yield FiredRule(name, self.places[name], rule.event, tuple(rule.did))
            elif type(rule) is Explained and rule.actions:
                yield FiredRule(name, self.places[name], rule.event, tuple(rule.did), tuple(rule.no))

    def _not_fired(self, fired: Sequence[Fired]) -> Iterator[Unfired]:
        for rule in fired:
            if type(rule) is Explained and not rule.actions:
                name = f"{rule.rule_set}/{rule.rule}"
                yield Unfired(name, self.places[name], rule.event, tuple(rule.no))

    def _check(self, step: BoundStep, time: int) -> Iterator[Failure]:
        if not step.expect and not step.expect_no:
            return
        events = [self.repository[eid] for eid in sorted(self.repository)]
        for want, near in unmet(step.expect, events):
            yield self._failure(step, time, "expect", want, near)
        for want in step.expect_no:
            found = unwanted(want, events)
            if found:
                yield self._failure(step, time, "expect_no", want, found)

    def _failure(self, step: BoundStep, time: int, kind: str, want: Wanted, near: tuple[Near, ...]) -> Failure:
        return Failure(self.case.file, want.mark.line, step.said, show_instant(time), kind, str(want), near)


def _became(effects: Effects) -> str:
    """What the engine made of an event that was sent."""
    outcome = effects.outcome
    assert outcome is not None  # every EVENT has one
    if outcome.disposition == Disposition.STORED:
        return f"stored as {key_name(outcome.key)}" if outcome.key else "stored"
    return outcome.reason or Disposition(outcome.disposition).name.lower()
