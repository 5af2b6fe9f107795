"""Looks at the expectations of a step, all kinds of them (docs/testing-rules.md: what a step may expect)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from opentec.rules.event import Event
from opentec.testing.binding import BoundExpectation, BoundStep
from opentec.testing.document import Mark
from opentec.testing.expectations import Found, Wanted, WantedThing
from opentec.testing.looking import actions_of, forwarded_of, state_of, timers_of
from opentec.testing.matching import (
    UNWANTED,
    left_over,
    show_near,
    titles,
    unmet_events,
    unmet_things,
    unwanted_events,
    unwanted_things,
)
from opentec.testing.results import Near
from opentec.testing.simulated import Server
from opentec.testing.spec_data import ABSENT, KINDS, NOTHING

# these look at what came since they were looked at before, actions and what is forwarded apart from one another
_WINDOWS: Final = ("action", "forwarded", "notice")


class Broken(NamedTuple):
    """An expectation that does not hold."""

    kind: str
    mark: Mark
    wanted: str
    near: tuple[Near, ...]


class Checker:
    """Looks at one server. It remembers up to where actions, forwarded events and notices were looked at."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = dict.fromkeys(_WINDOWS, 0)

    def check(self, steps: Sequence[BoundStep], now: int) -> Iterator[tuple[BoundStep, Broken]]:
        """Everything that does not hold of the steps of one instant, `now` in microseconds since 1970."""
        seen: set[str] = set()
        for step in steps:
            for expectation in step.expectations:
                subject = KINDS[expectation.kind]
                seen.add(subject)
                if subject == "event" or subject == "notice":
                    found = self._of_events(expectation, self._events(subject))
                else:
                    found = self._of_things(expectation, self._things(subject, now))
                for broken in found:
                    yield step, broken
        for subject in seen.intersection(_WINDOWS):
            self._seen[subject] = len(self._server.made if subject == "notice" else self._server.programs)

    def _events(self, subject: str) -> list[Event]:
        server = self._server
        return server.visible() if subject == "event" else server.named(server.made[self._seen["notice"] :])

    def _things(self, subject: str, now: int) -> list[Found]:
        server = self._server
        if subject == "timer":
            return timers_of(server, now)
        if subject == "state":
            return state_of(server)
        of: Callable[..., list[Found]] = actions_of if subject == "action" else forwarded_of
        return of(server.programs[self._seen[subject] :], server.engine.rule_base.classes)

    def _of_events(self, expectation: BoundExpectation, events: list[Event]) -> Iterator[Broken]:
        kind = expectation.kind
        wanted = [want for want in expectation.wanted if isinstance(want, Wanted)]
        if kind in ABSENT:
            if not wanted and events:
                near = tuple(show_near(Wanted(None, {}, expectation.mark), event) for event in events[:UNWANTED])
                yield Broken(kind, expectation.mark, NOTHING, near)
            for want in wanted:
                if found := unwanted_events(want, events):
                    yield Broken(kind, want.mark, str(want), found)
            return
        for want, near in unmet_events(wanted, events):
            yield Broken("expect" if kind == "expect_exact" else kind, want.mark, str(want), near)
        if kind == "expect_exact" and (left := left_over(wanted, events)):
            yield Broken(kind, expectation.mark, "no other event", left)

    def _of_things(self, expectation: BoundExpectation, there: list[Found]) -> Iterator[Broken]:
        kind = expectation.kind
        wanted = [want for want in expectation.wanted if isinstance(want, WantedThing)]
        if kind in ABSENT:
            if not wanted and there:
                yield Broken(kind, expectation.mark, NOTHING, titles(there))
            for want in wanted:
                if found := unwanted_things(want, there):
                    yield Broken(kind, want.mark, str(want), found)
            return
        for want, near in unmet_things(wanted, there, shared=kind == "state"):
            yield Broken(kind, want.mark, str(want), near)
