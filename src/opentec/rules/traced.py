"""Which events are traced: names of classes and hosts, each until some time of the log.

It is part of the engine's state, changed by ACTIVATE records with `trace` in their settings, so it is the same after a
restart or failover and in a replay, and goes on when another rule base is activated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentec.rules.event import Event

NAMES: Final = 20  # traced at a time
LONGEST_NAME: Final = 255  # characters
HOURS: Final = 24  # that a trace lasts where nothing else is said: a forgotten one must not fill the repository
LONGEST_HOURS: Final = 168
_HOUR: Final = 3_600_000_000  # microseconds


class TraceError(Exception):
    """A request to trace is not as it must be; the text says why."""


class TraceRequest:
    """Trace these names for so many hours; 0 hours end the trace of these, or of all where there are no names.

    Raises TraceError.
    """

    def __init__(self, names: Any, hours: Any = HOURS) -> None:
        if type(names) is not list or not all(type(name) is str for name in names):
            raise TraceError("a trace has a list of names: classes and hosts")
        if type(hours) is not int or not 0 <= hours <= LONGEST_HOURS:
            raise TraceError(f"a trace lasts 1 to {LONGEST_HOURS} hours, not {hours!r}")
        if hours and not names:
            raise TraceError("a trace needs a name: a class or a host")
        if len(names) > NAMES:
            raise TraceError(f"at most {NAMES} names are traced, not {len(names)}")
        for name in names:
            if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
                raise TraceError(f"{name[:40]!r} is not the name of a class or host")
        self.names: list[str] = names
        self.hours = hours

    def settings(self) -> dict[str, Any]:
        """As it stands in the settings of an ACTIVATE record, under `trace`."""
        return {"names": self.names, "hours": self.hours}

    def applied(self, traced: Mapping[str, int], now: int) -> dict[str, int]:
        """What is traced afterwards. Raises TraceError where that is too much."""
        left = {name: until for name, until in traced.items() if until > now}
        if not self.hours:
            return {name: until for name, until in left.items() if self.names and name not in self.names}
        left |= dict.fromkeys(self.names, now + self.hours * _HOUR)
        if len(left) > NAMES:
            raise TraceError(f"{len(left)} names would be traced, {NAMES} at most; `tec trace off` ends some")
        return left


class Traced:
    """What is traced: name -> until when, microseconds of log time. `ancestors`: of the rule base's classes."""

    def __init__(self, until: Mapping[str, int], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        self.until = dict(sorted(until.items()))
        self.ends = min(self.until.values(), default=0)  # when something ends next; 0: nothing is traced
        self._classes = frozenset(self.until).union(
            name for name, line in ancestors.items() if not self.until.keys().isdisjoint(line)
        )
        self._hosts = frozenset(name.lower() for name in self.until)

    def wants(self, event: Event) -> bool:
        """Whether an event's class, with all that inherit from it, or its hostname is traced."""
        if event.shape.name in self._classes:
            return True
        host = event.get("hostname")
        return type(host) is str and host.lower() in self._hosts
