from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from opentec.commands.cli import Failure
from opentec.commands.listing import time_of
from opentec.ha.lease import Lease
from opentec.server.errors import Refused
from tests.commands.rows import row
from tests.commands.running import FakeProcess, Runner, lines

Process = Callable[..., FakeProcess]
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def stored(count: int) -> Callable[[str, Any], Any]:
    """A dispatch with `count` events, eid 1 to `count`."""

    def answer(operation: str, argument: Any) -> Any:
        assert operation == "list"
        newest = count if argument["before"] is None else argument["before"] - 1
        return [row(eid) for eid in range(newest, max(0, newest - min(argument["limit"], 1000)), -1)]

    return answer


def test_columns(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda *_: [row(2, msg="bell\x07 and\nline", **{"class": "NT_Disk_Full"}), row(1, msg=None)])
    ran = tec("list")
    assert ran.status == 0
    assert lines(ran.out) == [
        "EVENT         RECEIVED              CLASS         HOST  SEVERITY  STATUS  REPEAT  MSG",
        "1772352002.1  2026-03-01T08:00:02Z  NT_Disk_Full  web1  WARNING   OPEN    0       bell\\x07 and\\nline",
        "1772352001.1  2026-03-01T08:00:01Z  TEC_Notice    web1  WARNING   OPEN    0",
    ]


def test_the_filter_is_asked_for(tec: Runner, lease: Lease, process: Process) -> None:
    dispatch = process("dispatch", lambda *_: [])
    ran = tec(
        *("list", "--class", "A", "--class", "B", "--status", "open", "--severity", "minor", "--host", "h"),
        *("--since", "2026-03-01T08:00:00Z", "--until", "2026-03-01T08:00:01+00:00", "-n", "5"),
    )
    assert (ran.status, ran.out, ran.err) == (0, "", "no events\n")
    assert dispatch.calls == [
        (
            "list",
            {
                "classes": ["A", "B"],
                "statuses": ["OPEN"],
                "severity": "MINOR",
                "hostname": "h",
                "since": 1772352000,
                "until": 1772352001,
                "before": None,
                "limit": 6,
            },
        )
    ]


@pytest.mark.parametrize(
    ("stored_events", "number", "shown", "says_more"),
    [(60, 50, 50, True), (50, 50, 50, False), (3, 50, 3, False), (2500, 0, 2500, False), (2500, 1500, 1500, True)],
)
def test_pages(
    tec: Runner, lease: Lease, process: Process, stored_events: int, number: int, shown: int, says_more: bool
) -> None:
    dispatch = process("dispatch", stored(stored_events))
    ran = tec("list", "-n", number)
    found = [line.split()[0] for line in lines(ran.out)[1:]]
    assert found == [f"{1772352000 + eid}.1" for eid in range(stored_events, stored_events - shown, -1)]
    assert ("there are more" in ran.err) == says_more
    assert all(argument["limit"] <= 1000 for _, argument in dispatch.calls)


def test_json_has_the_slots_by_name(tec: Runner, lease: Lease, process: Process) -> None:
    process("dispatch", lambda *_: [row(1, slots='{"drive":"C:","event":"no"}')])
    (line,) = lines(tec("list", "--json").out)
    shown = json.loads(line)
    assert list(shown)[:2] == ["event", "class"]
    assert shown["event"] == "1772352001.1"
    assert (shown["class"], shown["drive"], shown["acl"]) == ("TEC_Notice", "C:", ["admin"])
    assert shown["server_path"] == []


def test_a_wrong_name_is_refused_with_the_servers_words(tec: Runner, lease: Lease, process: Process) -> None:
    def refuse(operation: str, argument: Any) -> Any:
        raise Refused("class 'EVNT' is not defined; did you mean 'EVENT'?")

    process("dispatch", refuse)
    ran = tec("list", "--class", "EVNT")
    assert (ran.status, ran.err) == (3, "tec: class 'EVNT' is not defined; did you mean 'EVENT'?\n")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (["opne"], "no events; did you mean --status OPEN?\n"),
        (["OPEN", "CLOSD"], "no events; did you mean --status CLOSED?\n"),
        (["OPEN"], "no events\n"),
        (["FOR_ANN"], "no events\n"),
    ],
)
def test_a_status_that_no_event_has(tec: Runner, lease: Lease, process: Process, status: list[str], said: str) -> None:
    process("dispatch", lambda *_: [])
    assert tec("list", *(word for name in status for word in ("--status", name))).err == said


def test_times() -> None:
    at = int(NOW.timestamp())
    assert time_of("90s", NOW) == at - 90
    assert time_of("10m", NOW) == at - 600
    assert time_of("2h", NOW) == at - 7200
    assert time_of("3d", NOW) == at - 3 * 86400
    assert time_of("2026-03-01T09:00:00+01:00", NOW) == at
    local = datetime(2026, 3, 1, 8, 0).astimezone()
    assert time_of("2026-03-01 08:00", NOW) == int(local.timestamp())


@pytest.mark.parametrize("wrong", ["10", "m", "10 minutes", "yesterday", "-5m", "99999999d", "2026-13-01"])
def test_a_wrong_time_says_what_is_right(wrong: str) -> None:
    with pytest.raises(Failure, match="is not a time"):
        time_of(wrong, NOW)
