"""Results as text for people, and as lines of JSON for programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from opentec.rules.profile import Cost
from opentec.testing.results import Failure, Happened, Near, Result, Unfired

_WIDTH = 160  # characters of a line that quotes an event
_UNFIRED = 8  # rules that did not fire, shown for one record; as JSON all of them are


def as_text(result: Result) -> str:
    """The lines of one test: one when it passed, the whole story when it failed."""
    if result.passed:
        return f"ok    {result.name}"
    return "\n".join(_failed(result))


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
    yield f"    only this test: tec test {shlex.quote(result.file)} -k {shlex.quote(result.name)}"


def _failure(failure: Failure) -> Iterator[str]:
    yield f"    {failure.file}:{failure.line}: at {failure.at} ({failure.instant})"
    if failure.kind == "expect_no":
        yield f"        not expected, but there: {failure.wanted}"
        for near in failure.near:
            yield f"        {_event(near)}"
            yield from _slots(near)
        return
    yield f"        expected: {failure.wanted}"
    if not failure.near:
        yield "        nothing in the repository is like it"
    for place, near in zip(("nearest:", "next:"), failure.near, strict=False):
        yield f"        {place} {_event(near)}"
        yield from _slots(near)
        if all(slot.wanted == slot.actual for slot in near.slots):
            yield "            this event meets another expectation of the step; each needs one of its own"


def _event(near: Near) -> str:
    return f"{near.class_name} {near.event}, received {near.received}"


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
