"""What a replay came to, as plain data and as lines for people. The same replay gives the same bytes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from opentec.events.image import key_name
from opentec.events.names import nearest
from opentec.events.records import Disposition, name_of
from opentec.testing.instants import show_instant
from opentec.testing.replay_diff import EventDifference, OutboxDifference, Summary
from opentec.testing.replay_tally import Tally

SHOWN: Final = 20  # lines of one part of the report for people; --json has everything


class Ending(msgspec.Struct):
    """What is in the repository when the log ends."""

    events: int
    statuses: dict[str, int]
    severities: dict[str, int]  # of the events that are not CLOSED
    timers: int


def ending(repository: Path) -> Ending:
    """Counts of a scratch repository. Raises sqlite3.Error."""
    with closing(_open(repository)) as connection:
        statuses = dict(connection.execute("SELECT status, count(*) FROM event GROUP BY status ORDER BY status"))
        severities = dict(
            connection.execute(
                "SELECT severity, count(*) FROM event WHERE status <> 'CLOSED' GROUP BY severity ORDER BY severity"
            )
        )
        timers = connection.execute("SELECT count(*) FROM timer").fetchone()[0]
    return Ending(sum(statuses.values()), statuses, severities, timers)


def firings(repository: Path, rule: str) -> Iterator[dict[str, Any]]:
    """Every record at which a rule, SET/RULE, fired, with what it did. Raises sqlite3.Error."""
    rule_set, _, name = rule.partition("/")
    query = (
        "SELECT position, disposition, date_reception, event_handle, rules FROM outcome "
        "WHERE instr(rules, ?) ORDER BY position"
    )
    with closing(_open(repository)) as connection:
        for position, disposition, date, handle, rules in connection.execute(
            query, (msgspec.json.encode(name).decode(),)
        ):
            for entry in msgspec.json.decode(rules):
                if entry[:2] == [rule_set, name] and entry[2]:
                    own = key_name((date, handle, 1)) if handle else ""
                    yield {
                        "position": name_of(position),
                        "event": entry[4] or own or None,
                        "disposition": Disposition(disposition).name,
                        "actions": entry[2],
                        "did": entry[3],
                    }


def firing_text(one: Mapping[str, Any]) -> Iterator[str]:
    """One of them for people."""
    yield f"{one['position']} {one['event'] or ''} {one['disposition']}: {', '.join(one['actions'])}"
    for sentence in one["did"]:
        yield f"    {sentence}"


def unknown_rule(name: str, tallies: Iterable[Tally]) -> str:
    """What to say when no rule base has this rule, SET/RULE; "" when one has."""
    known = {rule for tally in tallies for rule in tally.known}
    if name in known:
        return ""
    near = nearest(name, known)
    return f"there is no rule {name!r}" + (f"; did you mean {near!r}?" if near else "")


def as_data(tally: Tally, repository: Path, side: str = "") -> dict[str, Any]:
    """A replay as one JSON object; of two, `side` says which. Raises sqlite3.Error."""
    return {
        "side": side or None,
        "rule_base": tally.name,
        "rule_bases": tally.rule_bases,
        "from": name_of(tally.first),
        "to": name_of(tally.after),
        "since": show_instant(tally.started),
        "until": show_instant(tally.ended),
        "records": _sorted(tally.records),
        "outcomes": _sorted(tally.outcomes),
        "derived": _sorted(tally.derived),
        "notices": _most(tally.notices),
        "not_stored": _most(tally.reasons),
        "outbox": _most(tally.outbox),
        "rules": {
            name: {"fired": count.fired, "actions": _sorted(count.actions)}
            for name, count in sorted(tally.rules.items())
        },
        "at_the_end": msgspec.to_builtins(ending(repository)),
    }


def as_text(tally: Tally, repository: Path, side: str = "") -> Iterator[str]:
    """The same for people."""
    data = as_data(tally, repository)
    end = data["at_the_end"]
    if side:
        yield f"{side}:"
    hashes = ", ".join(content_hash[:12] for content_hash in tally.rule_bases)
    yield f"rule base {tally.name} ({hashes})"
    yield f"  log       {data['from']} to {data['to']}, {data['since']} to {data['until']}"
    yield f"  records   {_listed(data['records'])}"
    yield f"  outcomes  {_listed(data['outcomes'])}"
    yield f"  derived   {_listed(data['derived'])}"
    yield f"  at end    {_listed(end['statuses'])}; timers {end['timers']}"
    yield f"  not closed  {_listed(end['severities'])}"
    for title, found in (
        ("notices", data["notices"]),
        ("not stored", data["not_stored"]),
        ("would go out", data["outbox"]),
    ):
        yield from _part(title, found)
    if tally.rules:
        yield "  rules that fired:"
        for name, rule in data["rules"].items():
            actions = ", ".join(f"{action} {count}" for action, count in rule["actions"].items())
            yield f"    {rule['fired']:>8}  {name}: {actions}"


def summary_data(summary: Summary) -> dict[str, Any]:
    """What differs, counted, as one JSON object."""
    return {
        "same": not summary.differs,
        "events": _most(summary.events),
        "outcomes": _most(summary.outcomes),
        "outbox": _most(summary.outbox),
        "timers": summary.timers,
        "rules": {
            name: {"only_old": rule.old, "only_new": rule.new, "changes": _most(rule.changes)}
            for name, rule in sorted(summary.rules.items())
        },
    }


def summary_text(summary: Summary) -> Iterator[str]:
    """The same for people."""
    if not summary.differs:
        yield "no difference: the same events, outcomes, timers, and the same would go out"
    else:
        yield "what differs, old -> new"
    for title, counter in (
        ("events", summary.events),
        ("outcomes", summary.outcomes),
        ("would go out", summary.outbox),
    ):
        yield from _part(title, _most(counter))
    if any(summary.timers.values()):
        yield f"  timers that wait at the end: only old {summary.timers['old']}, only new {summary.timers['new']}"
    if summary.rules:
        yield "  by rule:"
        for name, rule in sorted(summary.rules.items()):
            fired = f": fired otherwise {rule.old} times in the old, {rule.new} times in the new"
            yield f"    {name}{fired if rule.old or rule.new else ''}"
            for text, count in list(_most(rule.changes).items())[:SHOWN]:
                yield f"      {count:>8}  {text}"


def difference_data(difference: EventDifference | OutboxDifference) -> dict[str, Any]:
    """One difference as a JSON object."""
    data: dict[str, Any] = msgspec.to_builtins(difference)
    return (
        {"differs": "event" if isinstance(difference, EventDifference) else "outbox"}
        | data
        | {"position": name_of(difference.position)}
    )


def difference_text(difference: EventDifference | OutboxDifference) -> Iterator[str]:
    """One difference for people."""
    by = f"  [{', '.join(difference.rules)}]" if difference.rules else ""
    if isinstance(difference, OutboxDifference):
        yield f"{name_of(difference.position)}: only {difference.side}: {difference.what}{by}"
        return
    keys = " / ".join(dict.fromkeys(key for key in (difference.old, difference.new) if key))
    subject = f"{keys} {difference.class_name} {difference.hostname}: {difference.msg}"
    if difference.old is not None and difference.new is not None:
        yield f"{subject}{by}"
        for slot, (before, now) in difference.slots.items():
            yield f"    {slot}: {_value(before)} -> {_value(now)}"
    else:
        side = "old" if difference.new is None else "new"
        instead = f" (the other: {difference.instead})" if difference.instead else ""
        yield f"{subject}: only {side}{instead}{by}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:197]}..."


def _part(title: str, found: Mapping[str, int]) -> Iterator[str]:
    if not found:
        return
    yield f"  {title}:"
    for text, count in list(found.items())[:SHOWN]:
        yield f"    {count:>8}  {text}"
    if len(found) > SHOWN:
        yield f"    ... and {len(found) - SHOWN} more: --json has all"


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items()) or "none"


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _most(counter: Counter[str]) -> dict[str, int]:
    """The most frequent first; an order that nothing but the counts and the names decide."""
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _open(repository: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(repository.absolute()))}?mode=ro", uri=True, isolation_level=None)
