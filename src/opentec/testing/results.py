"""What a run of the tests found, as data; `opentec.testing.report` prints it."""

from __future__ import annotations

from typing import Any

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """A named slot or field: what was wanted, and what it is. Equal where it is right."""

    slot: str
    wanted: Any
    actual: Any


class Near(msgspec.Struct, frozen=True):
    """Something beside an expectation: the nearest one to what was expected, or one that should not be there."""

    event: str  # of an event, its key, as `tec list` shows it
    class_name: str
    received: str  # date_reception, ISO 8601 UTC
    slots: tuple[Difference, ...]
    what: str = ""  # of what is no event: an action, a timer, a value


class FiredRule(msgspec.Struct, frozen=True):
    """A rule that fired, with its place in the rule base and one sentence per effect."""

    rule: str  # RULE_SET/RULE
    place: str  # file:line
    event: str  # the key of the event it fired for; "" for the one that was sent
    did: tuple[str, ...]
    ended: tuple[str, ...] = ()  # of its actions, those that did not reach their end, and where


class Unfired(msgspec.Struct, frozen=True):
    """A rule for the class of an event that did not fire, and why."""

    rule: str
    place: str
    event: str
    no: tuple[str, ...]


class Happened(msgspec.Struct, frozen=True):
    """One record of the test: an event that was sent, timers that fired, a change, a restart."""

    at: str  # from the start of the test
    what: str
    became: str
    fired: tuple[FiredRule, ...] = ()
    not_fired: tuple[Unfired, ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """One expectation that does not hold."""

    file: str
    line: int
    at: str  # as the step says it
    instant: str  # ISO 8601 UTC
    kind: str  # one of spec_data.KINDS; change, for a change that went otherwise
    wanted: str
    near: tuple[Near, ...] = ()
    said: str = ""  # what there is instead, where nothing can be compared


class Result(msgspec.Struct, frozen=True):
    """How one test ended. `happened` is its story, cut to its last records, kept when it failed."""

    file: str
    line: int
    name: str
    failures: tuple[Failure, ...] = ()
    happened: tuple[Happened, ...] = ()
    left_out: int = 0  # records before the first one of `happened`
    fired: tuple[str, ...] = ()  # RULE_SET/RULE of every rule that fired, sorted

    @property
    def passed(self) -> bool:
        return not self.failures
