"""What a test can look at, of the server as it is now, in the form that expectations are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from opentec.events.classes import ClassTable, EventClass
from opentec.rules.effects import Program
from opentec.rules.facts import SECTION as FACT
from opentec.rules.facts import Fact
from opentec.rules.store import SEPARATOR
from opentec.rules.terms import thaw
from opentec.testing.expectations import Found, Said, show_field
from opentec.testing.instants import show_length
from opentec.testing.simulated import Server

_from_json = msgspec.json.Decoder().decode


def actions_of(programs: list[Program], table: ClassTable) -> list[Found]:
    """Programs and tasks that rules asked for, each with the event as it was then."""
    return [_action(program, table) for program in programs if program.kind != "forward"]


def _action(program: Program, table: ClassTable) -> Found:
    environment = program.environment
    event = Said(_class(table, environment["CLASS_NAME"]), environment, as_text=True)
    is_task = program.kind == "task"
    args = program.argv if is_task else program.argv[1:]
    fields = {
        "program": None if is_task else program.argv[0],
        "task": program.name if is_task else None,
        "args": args,
        "watch": program.watch,
    }
    words = " ".join(map(repr, args))
    what = f"task {program.name}" if is_task else f"program {program.argv[0]}"
    return Found(f"{what} {words}".rstrip() + f", for {event.class_name} {program.event}", fields, event)


def forwarded_of(programs: list[Program], table: ClassTable) -> list[Found]:
    """Events for other servers, as they are sent."""
    found = []
    for program in programs:
        if program.forward is not None:
            class_name, slots = program.forward
            event = Said(_class(table, class_name), slots)
            title = f"{class_name} {program.event}, to {program.name}"
            found.append(Found(title, {"to": program.name}, event))
    return found


def _class(table: ClassTable, name: str) -> EventClass:
    # a rule base that was loaded since then may have lost it
    return table.classes.get(name) or table.classes["EVENT"]


def timers_of(server: Server, now: int) -> list[Found]:
    """The pending timers of the test's events, in the order in which they fall due."""
    found = []
    for timer in sorted(server.timers.values(), key=lambda timer: (timer.due, timer.id)):
        if timer.eid in server.own:
            continue
        event = server.events.get(timer.eid)
        info, waits = thaw(timer.info), timer.due - now
        title = f"timer {show_field('info', info)!r}, due in {show_length(waits)}"
        if event is not None:
            title += f", of {event.class_name} {event}"
        found.append(Found(title, {"due_in": waits, "info": info}, event))
    return found


def state_of(server: Server) -> list[Found]:
    """What rules remember: global variables, counters, facts, recorded values, thresholds."""
    found: list[Found] = []
    for key in sorted(server.state):
        section, _, name = key.partition(SEPARATOR)
        read = _READERS.get(section)
        value = server.state[key]
        if read is not None and value is not None:
            found += read(name, value)
    return found


def _global(name: str, value: Any) -> Iterator[Found]:
    group, variable = _from_json(name)
    plain = thaw(value)
    yield _found({"global": [group, variable], "value": plain})


def _counter(name: str, value: Any) -> Iterator[Found]:
    yield _found({"counter": _from_json(name), "value": value[0]})


def _fact(name: str, value: Any) -> Iterator[Found]:
    if name.lstrip("-").isdigit():
        fact = Fact(int(name), value)
        yield _found({"fact": fact.key[0], "args": list(fact.args)})


def _recorded(name: str, value: Any) -> Iterator[Found]:
    keys = _from_json(name)
    yield _found({"recorded": keys if len(keys) > 1 else keys[0], "value": [thaw(item) for item in value]})


def _threshold(name: str, value: Any) -> Iterator[Found]:
    """What a threshold has counted for a key: in a sliding window so many times, in a fixed one a number."""
    read = _threshold_key(name)
    if read is not None:
        window = value[6]
        count = len(window) if isinstance(window, list) else value[7]
        yield _found({"threshold": read[0], "key": read[1], "value": count})


def _threshold_key(name: str) -> tuple[str, list[Any]] | None:
    """Name and values of predicates/thresholds.py's keys: a JSON list, or "name"/class=value."""
    if name.startswith("["):
        what, *rest = _from_json(name)
        return (rest[0], rest[1:]) if what == "threshold" else None
    end = name.find('"', 1)
    while name[end - 1 : end] == "\\":
        end = name.find('"', end + 1)
    values: list[Any] = []
    rest_text = name[end + 1 :]
    if rest_text.startswith("/"):
        class_name, equals, rest_text = rest_text[1:].partition("=")
        values.append(class_name)
        rest_text = equals + rest_text
    if rest_text.startswith("="):
        values.append(rest_text[1:])
    return _from_json(name[: end + 1]), values


def _found(fields: dict[str, Any]) -> Found:
    return Found(", ".join(f"{field} {show_field(field, value)}" for field, value in fields.items()), fields)


_READERS: Final[dict[str, Callable[[str, Any], Iterator[Found]]]] = {
    "global": _global,
    "counter": _counter,
    FACT: _fact,
    "recorded": _recorded,
    "window": _threshold,
}
