"""Runs tests on the production engine. The only clock is the specification's: it jumps from record to record.

A timer that falls due between two steps gets a TICK at its due time, as reception would append one (spine: the
reception log). A test begins with an ACTIVATE of its rule base, a second before its start; the events that come of it
are not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from opentec.events.errors import SourceError
from opentec.events.image import key_name
from opentec.events.records import Disposition, Kind
from opentec.rules.effects import Effects, Explained, Fired
from opentec.rules.engine import Engine
from opentec.rules.event import Shapes
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.watching import Watcher
from opentec.testing.binding import FAILOVER, RECOVERED, BoundCase, BoundChange, BoundFailover, BoundStep
from opentec.testing.checking import Checker
from opentec.testing.document import Mark
from opentec.testing.instants import SECOND, show_instant, show_length
from opentec.testing.results import Failure, FiredRule, Happened, Near, Result, Unfired
from opentec.testing.simulated import Begun, Saw, Server

STORY: Final = 20  # records of a test that a failure tells
ACTIVE_BEFORE: Final = 1_000_000  # microseconds from the ACTIVATE record to the start of a test
MAX_TICKS: Final = 1_000_000  # timers between two steps; a rule that sets timers for ever ends here
_EVENT: Final = int(Kind.EVENT)
_TICK: Final = int(Kind.TICK)


class Runner:
    """Runs the tests of one rule base, each from an empty repository.

    `folder` is the rule base's as the user gave it, for the places of rules. Raises SourceErrors where a rule does
    not compile. `watcher` wraps the compiled rules (profile, coverage); `saw` is called with every record of every
    test and its effects, in order; it does not see the second run of a test that fails.
    """

    def __init__(
        self,
        rule_base: RuleBase,
        folder: Path | None = None,
        watcher: Watcher | None = None,
        saw: Saw | None = None,
    ) -> None:
        self.rule_base = rule_base
        self._watcher = watcher
        self._saw = saw
        self._places = _places(rule_base, folder or Path())
        self._engine = Engine(rule_base, IndexedSelector(), watcher)
        self._other: Engine | None = None
        self._shapes: dict[str, Shapes] = {}
        self._begun: tuple[int, Begun] | None = None

    def run(self, bound: BoundCase) -> Result:
        """Run one test to its end, or to the first instant at which an expectation does not hold.

        One that fails is run again, to say of every event which rules did not fire.
        """
        result = self._run(bound, self._saw)
        if result.passed:
            return result
        told = self._run(bound, None, explain=True)
        return result if told.passed else told

    def _run(self, bound: BoundCase, saw: Saw | None, *, explain: bool = False) -> Result:
        engine = self._ready(self._engine, self.rule_base)
        keep = any(step.restart or step.failover is not None for step in bound.steps)
        begun = None if explain else self._begin(engine, bound.case.start)
        server = Server(engine, self, saw, keep=keep)
        run = _Run(server, bound, dict(self._places), begun, explain=explain)
        try:
            failures = run.all()
        finally:
            if explain:
                for known in (self._engine, self._other):
                    if known is not None:
                        known.explain(False)
        case = bound.case
        return Result(
            case.file,
            case.mark.line,
            case.name,
            tuple(failures),
            tuple(run.story),
            run.records - len(run.story),
            tuple(sorted(run.fired)),
        )

    def _begin(self, engine: Engine, start: int) -> Begun:
        """A server that has begun at that time: rules that configure may cost more than all the rest of a test."""
        if self._begun is None or self._begun[0] != start:
            server = Server(engine, self, None, keep=True)
            server.activate(self.rule_base, start - ACTIVE_BEFORE)
            self._begun = start, server.begun()
        return self._begun[1]

    def forget(self) -> None:
        """Run the activation again before the next test: for a watcher whose rules now do something else."""
        self._begun = None

    def shapes(self, base: RuleBase) -> Shapes:
        """What makes events of rows, made once for each rule base."""
        if base.content_hash not in self._shapes:
            self._shapes[base.content_hash] = Shapes(base.classes)
        return self._shapes[base.content_hash]

    def spare(self, base: RuleBase) -> Engine:
        """The engine that is not at work: after a restart nothing is left of the one before."""
        if self._other is None:
            self._other = Engine(base, IndexedSelector(), self._watcher)
        self._engine, self._other = self._ready(self._other, base), self._engine
        return self._engine

    def _ready(self, engine: Engine, base: RuleBase) -> Engine:
        if engine.rule_base is not base:
            engine.prime([], [], {})
            engine.activate(base)
        return engine


def _places(rule_base: RuleBase, folder: Path) -> dict[str, str]:
    return {
        f"{rule_set.name}/{rule.name}": f"{folder / rule.place.file}:{rule.place.line}"
        for rule_set in rule_base.rule_sets
        for rule in rule_set.rules
    }


class _Run:
    """One test at work: its server and its story. The story is told where `explain` is set: it costs."""

    def __init__(
        self, server: Server, bound: BoundCase, places: dict[str, str], begun: Begun | None, *, explain: bool
    ) -> None:
        self.server = server
        self.begun = begun
        self.bound = bound
        self.case = bound.case
        self.places = places
        self.explain = explain
        self.checker = Checker(server)
        self.story: deque[Happened] = deque(maxlen=STORY)
        self.records = 0
        self.fired: set[str] = set()
        if explain:
            server.engine.explain(True)

    def all(self) -> list[Failure]:
        """Run the test; gives what does not hold at the first instant at which something does not."""
        self._activate()
        for at, steps in groupby(self.bound.steps, key=lambda step: step.at):
            failures = self._instant(self.case.start + at, list(steps))
            if failures:
                return failures
        return []

    def _activate(self) -> None:
        """What a server does before anything else: rule sets are configured by rules on TEC_Rulebase_Loaded."""
        time = self.case.start - ACTIVE_BEFORE
        if self.begun is not None:
            self.server.begin(self.begun)
            effects = self.begun.effects
        else:
            effects = self.server.activate(self.server.engine.rule_base, time)
        if effects.fired:
            self._tell(time, "the rule base is activated", "", effects)

    def _instant(self, time: int, steps: Sequence[BoundStep]) -> list[Failure]:
        """Everything at one instant: the timers due until then, all that happens, and then all expectations."""
        # while nobody served, nothing fired
        gaps = [step.failover.slots.get("gap") for step in steps if step.failover is not None]
        gap = max((gap for gap in gaps if isinstance(gap, int | float)), default=0.0)
        self._tick(time - int(max(0.0, gap) * SECOND), steps[0])
        failures: list[Failure] = []
        for step in steps:
            self._serve(step, time)
            for sent in step.events:
                effects = self.server.process(_EVENT, time, sent.payload)
                self._tell(time, sent.text, _became(effects) if self.explain else "", effects)
            if step.change is not None:
                failures += self._change(step, step.change, time)
        for step, broken in self.checker.check(steps, time):
            failures.append(self._failure(step, time, broken.mark, broken.kind, broken.wanted, near=broken.near))
        return failures

    def _tick(self, until: int, step: BoundStep) -> None:
        ticks, server = 0, self.server
        while (due := server.engine.next_due()) is not None and due <= until:
            if ticks == MAX_TICKS:
                raise SourceError(
                    f"more than {MAX_TICKS} timers fire before {step.said!r}, the next at {show_instant(due)}",
                    file=step.mark.file or self.case.file,
                    line=step.mark.line,
                    column=step.mark.column,
                    hint="a timer rule sets its timer again for ever; let it end, or test a shorter time",
                )
            ticks += 1
            effects = server.process(_TICK, due, b"")
            self._tell(due, "a timer fires", "", effects)

    def _serve(self, step: BoundStep, time: int) -> None:
        """Restart, failover or another rule base."""
        server = self.server
        if step.restart:
            server.restart()
            if self.explain:
                server.engine.explain(True)
            self._tell(time, "the server begins anew", self._primed(), None)
        if step.failover is not None:
            self._take_over(step.failover, time)
        if step.reload is not None:
            base, folder = step.reload.rule_base, step.reload.folder
            is_new = base.content_hash != server.engine.rule_base.content_hash
            self.places |= _places(base, folder)
            effects = server.activate(base, time)
            became = f"rule base {base.name} rules" if is_new else f"rule base {base.name} ruled before, too"
            self._tell(time, f"the rule base {folder} is loaded", became, effects)

    def _take_over(self, failover: BoundFailover, time: int) -> None:
        """Another node claims the next epoch, primes, and says so (server/master.py, server/rule.py)."""
        server = self.server
        server.take_over()
        if self.explain:
            server.engine.explain(True)
        base, became = server.engine.rule_base, self._primed()
        slots: dict[str, Any] = {"epoch": server.epoch, "rule_base": base.content_hash} | failover.slots
        effects = server.notice(FAILOVER, _known(base, FAILOVER, slots), time)
        self._tell(time, f"another node takes over, in epoch {server.epoch}", became, effects)
        if RECOVERED in base.classes.classes:
            said = {
                "msg": "recovered: 1 records processed, 0 tasks interrupted",
                "epoch": slots["epoch"],
                "records": 1,
                "interrupted_tasks": 0,
                "source": "TEC",
                "hostname": slots.get("hostname", "TECServer"),
            }
            effects = server.notice(RECOVERED, _known(base, RECOVERED, said), time)
            self._tell(time, "it has recovered", "", effects)

    def _primed(self) -> str:
        return f"primed with {len(self.server.events)} events and {len(self.server.timers)} timers"

    def _change(self, step: BoundStep, change: BoundChange, time: int) -> Iterator[Failure]:
        """An operator's change; gives a failure where it goes otherwise than expected."""
        found = [event for event in self.server.visible() if change.wanted.matches(event)]
        if len(found) != 1:
            said = f"{len(found)} events are like that; name more of its slots" if found else "no event is like that"
            yield self._failure(step, time, change.mark, "change", change.text, said)
            return
        effects = self.server.change(found[0], change.slots, change.user, time)
        outcome = effects.outcome
        assert outcome is not None  # every CHANGE has one
        refused = outcome.reason if outcome.disposition == Disposition.REFUSED else None
        became = "it is made" if refused is None else f"it is refused: {refused}"
        self._tell(time, change.text, became, effects)
        if change.refused is None:
            if refused is not None:
                yield self._failure(step, time, change.mark, "change", change.text, became)
        elif refused is None or change.refused not in refused:
            why = f"because of {change.refused!r}" if change.refused else "for any reason"
            yield self._failure(step, time, change.mark, "change", f"{change.text}, refused {why}", became)

    def _tell(self, time: int, what: str, became: str, effects: Effects | None) -> None:
        self.records += 1
        fired = effects.fired if effects is not None else []
        if not self.explain:
            for rule in fired:
                if type(rule) is Fired:
                    self.fired.add(f"{rule.rule_set}/{rule.rule}")
            return
        rules = tuple(self._rules(fired))
        self.fired.update(rule.rule for rule in rules)
        at = show_length(time - self.case.start)
        self.story.append(Happened(at, what, became, rules, tuple(self._not_fired(fired))))

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

    def _failure(
        self,
        step: BoundStep,
        time: int,
        mark: Mark,
        kind: str,
        wanted: str,
        said: str = "",
        near: tuple[Near, ...] = (),
    ) -> Failure:
        file = mark.file or self.case.file
        return Failure(file, mark.line, step.said, show_instant(time), kind, wanted, near, said)


def _known(base: RuleBase, class_name: str, slots: dict[str, Any]) -> dict[str, Any]:
    """The slots that this rule base's class has: reception leaves out no slot, but a small rule base may know few."""
    known = base.classes.classes[class_name].slots
    return {slot: value for slot, value in slots.items() if slot in known}


def _became(effects: Effects) -> str:
    """What the engine made of an event that was sent."""
    outcome = effects.outcome
    assert outcome is not None  # every EVENT has one
    if outcome.disposition == Disposition.STORED:
        return f"stored as {key_name(outcome.key)}" if outcome.key else "stored"
    return outcome.reason or Disposition(outcome.disposition).name.lower()
