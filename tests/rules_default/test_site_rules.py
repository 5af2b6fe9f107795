"""The shipped rule sets with other parameters, and across a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.testing.report import as_text
from tests.rules.engine_kit import START, Kit
from tests.rules_default.site_kit import default_base, site_base, site_cases, site_result

CASES = site_cases()
DAY = 86_400


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{name}: {bound.case.name}" for name, bound in CASES])
def test_other_parameters(number: int) -> None:
    result = site_result(number)
    assert result.passed, as_text(result)


class Server(Kit):
    """An engine on a rule base that begins with its activation. Its time zone is UTC, START is a Sunday at 08:00."""

    def __init__(self, base: RuleBase, at: float = -1) -> None:
        super().__init__("")
        self.base = base
        self.engine = Engine(base, IndexedSelector())
        self.process(self.log.activate(at, base))

    def restart(self) -> None:
        """Another node, primed with what was committed, behaves like the one before."""
        before = self.engine.state_hash()
        self.engine = self.repository.prime(Engine(self.base, IndexedSelector()))
        assert self.engine.state_hash() == before

    def reload(self, at: float, base: RuleBase) -> None:
        self.engine.activate(base)
        self.base = base
        self.process(self.log.activate(at, base))

    def until(self, at: float) -> None:
        """Fire every timer that is due until then, each with a record of its own."""
        while (due := self.engine.next_due()) is not None and due <= (START + at) * 1_000_000:
            self.tick(due / 1_000_000 - START)

    def statuses(self, class_name: str) -> list[Any]:
        return self.values("status", class_name)


@pytest.fixture
def default() -> RuleBase:
    return default_base()


@pytest.fixture
def server(default: RuleBase) -> Iterator[Server]:
    found = Server(default)
    yield found
    found.restart()


def sent(server: Server) -> list[tuple[str, str, str]]:
    """What was forwarded so far: destination, class, status."""
    programs = [program for effects in server.effects for program in effects.programs if program.kind == "forward"]
    return [(one.name, one.forward[0], one.forward[1].get("status", "OPEN")) for one in programs if one.forward]


def told(server: Server) -> list[tuple[str, list[str]]]:
    """The tasks that were started so far, with their arguments."""
    programs = [program for effects in server.effects for program in effects.programs if program.kind == "task"]
    return [(one.name, one.argv) for one in programs]


def test_mail_and_page_say_to_whom_and_what() -> None:
    server = Server(site_base("notify"))
    server.event(0, "NT_Disk_Error", hostname="web1", drive="C:", severity="FATAL", msg='it\'s "broken"; rm -rf /')
    server.until(60)
    text = 'FATAL NT_Disk_Error web1: it\'s "broken"; rm -rf /'
    assert told(server) == [
        ("notify_mail", ["ann@example.org", text]),
        ("notify_page", ["+44 20 7946 0000", text]),
        ("notify_mail", ["bob@example.org", text]),
    ]


def test_a_summary_says_how_many_were_left_out_and_a_restart_forgets_nobody() -> None:
    server = Server(site_base("notify"))
    for number in range(10):
        server.event(number, "NT_Disk_Full", hostname=f"web{number}", drive="C:")
    server.until(35)
    server.restart()
    server.until(DAY)
    assert [arguments[1] for _, arguments in told(server)][3:] == ["7 more events, see the console"]
    server.event(DAY, "NT_Disk_Full", hostname="last", drive="C:")
    server.until(DAY + 60)
    assert told(server)[-1] == ("notify_mail", ["ann@example.org", "CRITICAL NT_Disk_Full last: "])


def test_an_event_and_its_closing_are_forwarded_once() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "Kernel_IO_Error", hostname="web1", device="sda")
    server.event(0, "Kernel_IO_Error", hostname="web1", device="sda")
    server.event(0, "Logfile_Message", hostname="web1", msg="harmless")
    assert sent(server) == []
    server.until(10)
    assert sent(server) == [("headquarters", "Kernel_IO_Error", "OPEN")]
    server.restart()
    server.event(20, "Kernel_IO_Error", hostname="web1", device="sda", status="CLOSED")
    server.until(30)
    assert sent(server)[1:] == [("headquarters", "Kernel_IO_Error", "CLOSED")]


def test_a_recovery_that_is_dropped_closes_its_problem_at_the_other_server_too() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "NT_Disk_Full", hostname="web1", drive="C:")
    server.until(5)
    assert server.event(10, "NT_Disk_OK", hostname="web1", drive="C:").inserted == []
    server.until(20)
    assert sent(server) == [("headquarters", "NT_Disk_Full", "OPEN"), ("headquarters", "NT_Disk_Full", "CLOSED")]


def test_a_recovery_that_found_nothing_here_may_find_its_problem_there() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "NT_Disk_OK", hostname="web1", drive="C:")
    server.until(5)
    assert sent(server) == [("headquarters", "NT_Disk_OK", "OPEN")]


def test_an_event_is_forwarded_when_it_becomes_severe_and_not_again() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "Kernel_Temperature", hostname="web1")
    server.until(99)
    assert sent(server) == []
    server.until(DAY)
    assert sent(server) == [("headquarters", "Kernel_Temperature", "OPEN")]


def test_what_is_not_wanted_there_is_not_closed_there() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "Auth_Failure", hostname="web1", user="eve")
    server.event(9, "Auth_Failure", hostname="web1", user="eve", status="CLOSED")
    server.until(20)
    assert server.statuses("Auth_Failure") == ["CLOSED"]
    assert sent(server) == []


def test_an_event_that_came_from_there_does_not_go_back() -> None:
    server = Server(site_base("forwarding"))
    server.event(0, "Kernel_Panic", hostname="web1", server_path=["headquarters"])
    server.event(0, "Su_Failure", hostname="web1", to_user="root", server_path=["headquarters"])
    server.until(20)
    assert sent(server) == [("audit", "Su_Failure", "OPEN")]


def test_a_window_ends_after_a_restart_as_it_was_planned(server: Server) -> None:
    server.event(0, "TEC_Maintenance", hostname="web1", start_time="2026 03 01 08 10 00", max_time=10)
    server.restart()
    server.until(600)
    server.restart()
    assert server.event(601, "NT_Disk_Full", hostname="web1", drive="C:").inserted == []
    server.restart()
    server.until(1300)
    assert server.statuses("TEC_Maintenance") == ["CLOSED"]
    server.event(1301, "NT_Disk_Full", hostname="web1", drive="C:")
    assert server.values("repeat_count", "TEC_Maintenance") == [1]
    assert server.statuses("NT_Disk_Full") == ["OPEN"]


def test_a_window_is_in_the_time_zone_of_the_rule_base_also_when_summer_time_begins(default: RuleBase) -> None:
    settings = msgspec.structs.replace(default.settings, time_zone="Europe/Berlin")
    for begins, summer in (((3 * 3600), 0), (28 * DAY + 2 * 3600, 1)):  # 11:00 UTC, and 10:00 from the 29th of March on
        server = Server(msgspec.structs.replace(default, settings=settings), at=summer * 27 * DAY)
        server.event(summer * 27 * DAY, "TEC_Maintenance", hostname="web1", start_time="12 00", weekdays=["Sun"])
        server.until(begins - 1)
        assert server.statuses("TEC_Maintenance") == ["OPEN"]
        server.until(begins)
        assert server.statuses("TEC_Maintenance") == ["ACK"]


def test_an_operator_closes_a_window_and_does_not_acknowledge_it(server: Server) -> None:
    server.event(0, "TEC_Maintenance", hostname="web1")
    server.event(0, "TEC_Maintenance", hostname="web2", start_time="2026 03 02 08 00 00")
    running, planned = server.stored("TEC_Maintenance")
    refused = server.change(1, planned.key, status="ACK").outcome
    assert refused is not None
    assert "maintenance_mode/maintenance_acknowledged" in refused.reason
    server.change(2, running.key, status="CLOSED")
    server.event(3, "NT_Disk_Full", hostname="web1", drive="C:")
    assert server.statuses("NT_Disk_Full") == ["OPEN"]
    assert server.statuses("TEC_Maintenance") == ["CLOSED", "OPEN"]
    assert server.values("administrator", "TEC_Maintenance") == ["ann", ""]


def test_a_window_that_left_the_cache_drops_all_the_same(default: RuleBase) -> None:
    settings = msgspec.structs.replace(default.settings, cache_size=5)
    server = Server(msgspec.structs.replace(default, settings=settings))
    server.event(0, "TEC_Maintenance", hostname="web1", max_time=10)
    for number in range(10):
        server.event(1, "Logfile_Message", hostname="web2", msg=str(number))
    assert server.event(2, "NT_Disk_Full", hostname="web1", drive="C:").inserted == []
    server.restart()
    server.until(700)
    server.event(701, "NT_Disk_Full", hostname="web1", drive="C:")
    assert server.statuses("NT_Disk_Full") == ["OPEN"]
    assert server.statuses("TEC_Maintenance") == ["CLOSED"]


def test_another_rule_base_takes_over_the_clocks(server: Server) -> None:
    """Each clock ticks once, however often rule bases change; what is planned stays."""
    server.event(0, "TEC_Maintenance", hostname="web1", start_time="2026 03 01 10 00 00")
    for number in range(1, 4):
        server.reload(number, msgspec.structs.replace(server.base, content_hash=str(number) * 64))
    server.until(DAY - 10)
    fired = [(rule.rule, rule.timer) for effects in server.effects for rule in effects.fired if rule.timer is not None]
    assert sorted(set(fired)) == [
        ("check_overtime_timer", "maintenance_over"),
        ("cleanup", "cleanup"),
        ("escalate_old_events", "escalate"),
        ("maintenance_begins", "maintenance_begin"),
        ("maintenance_ends", "maintenance_end"),
    ]
    assert fired.count(("escalate_old_events", "escalate")) == (DAY - 10 - 3) // 300
    assert fired.count(("cleanup", "cleanup")) == (DAY - 10 - 3) // 3600 + 3  # each old clock once, and no more


def test_what_escalation_remembers_goes_with_the_event(server: Server) -> None:
    for host in ("closed", "open"):
        server.event(0, "Kernel_Panic", hostname=host)
    server.until(DAY // 2 + 600)
    remembered = [name for name in server.repository.state if name.startswith("global:") and "escalated" in name]
    assert len(remembered) == 2
    server.event(DAY // 2 + 601, "Kernel_Panic", hostname="closed", status="CLOSED")
    server.until(DAY + 600)
    remembered = [name for name in server.repository.state if name.startswith("global:") and "escalated" in name]
    assert len(remembered) == 1
    assert server.values("administrator", "Kernel_Panic") == ["", "escalate.rls"]
