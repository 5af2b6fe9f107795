"""Results as text for people, and as lines of JSON for programs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from opentec.rules.profile import Cost
from opentec.testing.results import Failure, Happened, Near, Result, Unfired
from opentec.testing.spec_data import ABSENT, KINDS, NOTHING

_WIDTH = 160  # characters of a line that quotes an event
_UNFIRED = 8  # rules that did not fire, shown for one record; as JSON all of them are


def as_text(result: Result) -> str:
    """The lines of one test: one when it passed, the whole story when it failed."""
    if result.passed:
        return f"ok    {result.name}"
    # a text of an event, as in what a rule did, must not begin a line: CI systems read commands there
    return "\n".join(line.replace("\n", "\\n").replace("\r", "\\r") for line in _failed(result))


def command_of(result: Result) -> str:
    """The command that runs just this test, for a shell of this system."""
    if result.file.endswith((".yaml", ".rls")):
        words = ["tec", "test", f"{result.file}::{result.name}"]
    else:
        words = ["tec", "test", result.file, "-k", result.name]
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline(words)
    return shlex.join(words)


def _failed(result: Result) -> Iterator[str]:
    yield f"FAIL  {result.name}"
    for failure in result.failures:
        yield from _failure(failure)
    yield "    what happened:"
    if result.left_out:
        yield f"        ... {result.left_out} earlier records"
    for happened in result.happened:
        yield from _happened(happened)
    if not result.fired:
        yield "        no rule fired"
    yield f"    only this test: {command_of(result)}"


# how a failure calls what was expected, and says that there is nothing like it
_NOUNS: Final = {
    "event": ("", "nothing in the repository is like it"),
    "notice": (" event of rules or the server", "none was made since notices were looked at before"),
    "action": (" action", "no program or task was asked for since actions were looked at before"),
    "forwarded": (" forwarded event", "no event was forwarded since that was looked at before"),
    "timer": (" timer", "no timer is pending"),
    "state": (" value", "nothing of the kind is kept"),
}


def _failure(failure: Failure) -> Iterator[str]:
    yield f"    {failure.file}:{failure.line}: at {failure.at} ({failure.instant})"
    if failure.kind == "change":
        yield f"        expected: {failure.wanted}"
        yield f"        but {failure.said}"
        return
    noun, nothing = _NOUNS[KINDS[failure.kind]]
    if failure.kind in ABSENT and failure.wanted == NOTHING:
        yield f"        expected: no{noun} at all"
        yield from _unwanted(failure.near)
    elif failure.kind in ABSENT:
        yield f"        not expected{noun}, but there: {failure.wanted}"
        yield from _unwanted(failure.near)
    elif failure.kind == "expect_exact":
        yield f"        expected: {failure.wanted}"
        yield from _unwanted(failure.near)
    else:
        yield f"        expected{noun}: {failure.wanted}"
        if not failure.near:
            yield f"        {nothing}"
        for place, near in zip(("nearest:", "next:"), failure.near, strict=False):
            yield f"        {place} {_event(near)}"
            yield from _slots(near)
            if all(slot.wanted == slot.actual for slot in near.slots):
                what = "this event" if near.event else "this one"
                yield f"            {what} meets another expectation of the step; each needs one of its own"


def _unwanted(there: Sequence[Near]) -> Iterator[str]:
    for near in there:
        yield f"        {_event(near)}"
        yield from _slots(near)


def _event(near: Near) -> str:
    return near.what or f"{near.class_name} {near.event}, received {near.received}"


def _slots(near: Near) -> Iterator[str]:
    for slot in near.slots:
        if slot.wanted == slot.actual:
            yield f"              {slot.slot}: {slot.actual!r}"
        else:
            yield f"            - {slot.slot}: {slot.wanted!r}"
            yield f"            + {slot.slot}: {'no such slot' if slot.actual is None else repr(slot.actual)}"


def _happened(happened: Happened) -> Iterator[str]:
    became = f" -> {happened.became}" if happened.became else ""
    what = happened.what if len(happened.what) <= _WIDTH else happened.what[: _WIDTH - 3] + "..."
    yield f"        {happened.at:>6}  {what}{became}"
    for rule in happened.fired:
        for_event = f" for {rule.event}" if rule.event else ""
        yield f"                {rule.rule} ({rule.place}){for_event}: {'; '.join(rule.did) or 'changed nothing'}"
        for ended in rule.ended:
            yield f"                    {ended}"
    yield from _not_fired(happened.not_fired)


def _not_fired(rules: tuple[Unfired, ...]) -> Iterator[str]:
    # those whose filter took the event come first: they were nearest to firing
    nearest = sorted(rules, key=lambda rule: not any(text.startswith("action ") for text in rule.no))
    for rule in nearest[:_UNFIRED]:
        for_event = f" for {rule.event}" if rule.event else ""
        yield f"                {rule.rule} ({rule.place}){for_event} did not fire:"
        for no in rule.no:
            yield f"                    {no}"
    if len(rules) > _UNFIRED:
        yield f"                {len(rules) - _UNFIRED} more rules did not fire; --json shows all"


def as_data(result: Result) -> dict[str, Any]:
    """One object per test: file, line, name, outcome, and for a failed one what failed and what happened."""
    data: dict[str, Any] = {
        "file": result.file,
        "line": result.line,
        "name": result.name,
        "outcome": "passed" if result.passed else "failed",
        "rules": list(result.fired),
    }
    if not result.passed:
        data["command"] = command_of(result)
        data["failures"] = msgspec.to_builtins(result.failures)
        data["happened"] = msgspec.to_builtins(result.happened)
    return data


def profile_lines(costs: Sequence[Cost]) -> Iterator[str]:
    """A table of what rules cost. Times are microseconds; the last column is for one try of the filter."""
    rows: list[tuple[str, ...]] = [("rule", "tried", "matched", "actions", "steps", "total us", "us each")]
    for cost in costs:
        each = cost.nanoseconds / cost.tried / 1000
        counts = (cost.tried, cost.matched, cost.actions, cost.steps, f"{cost.nanoseconds / 1000:.0f}", f"{each:.2f}")
        rows.append((cost.rule, *map(str, counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        numbers = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *numbers])


def profile_data(folder: str, costs: Sequence[Cost]) -> dict[str, Any]:
    """The same as one object."""
    return {"rulebase": folder, "profile": msgspec.to_builtins(costs)}


def summary(passed: int, failed: int, not_run: int) -> str:
    """The last line of a run."""
    parts = [f"{passed} passed"] if passed or not failed else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{not_run} not run"] if not_run else []
    return ", ".join(parts)
