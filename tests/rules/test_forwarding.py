"""forward_event: what is sent, what stays here, and the destinations of tec_forward.conf."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opentec.events.errors import SourceErrors
from opentec.events.text import format_event, parse_event
from opentec.rules.destinations import FILE, Destination, parse_destinations
from opentec.rules.effects import Effects
from opentec.rules.rulebase import load_rule_base, snapshot
from tests.rules.engine_kit import START, Kit, classes

RULE = "rule: r: ( event: _e of_class 'Disk' where [ ], reception_action: ( {body} ) )."


def run(body: str, **slots: Any) -> tuple[Kit, Effects]:
    kit = Kit(RULE.format(body=body))
    return kit, kit.event(0, "Disk_Full", **slots)


def notes(effects: Effects) -> list[str]:
    assert effects.outcome is not None
    return effects.outcome.fired[0].did


def test_an_event_is_forwarded_as_it_is_at_that_goal() -> None:
    kit, effects = run(
        "set_event_severity(_e, 'FATAL'), forward_event(_e), set_event_message(_e, later)",
        hostname="web1",
        msg="it's full",
        tags=["a b", "c"],
        size=0,
        administrator="ann",
    )
    ((_, _, eid, kind, data),) = kit.repository.outbox.values()
    assert (eid, kind) == (1, "forward:default")
    assert msgspec.json.decode(data) == {
        "argv": [],
        "environment": {},
        "event": f"{START}.1",
        "forward": [
            "Disk_Full",
            {
                "hostname": "web1",
                "msg": "it's full",
                "tags": ["a b", "c"],
                "size": 0,
                "severity": "FATAL",
                "status": "OPEN",
                "owner": "root",
            },
        ],
    }
    assert kit.values("num_actions") == [0]
    assert notes(effects)[1] == "forwards the event to default"


def test_what_is_forwarded_is_taken_by_a_server_with_the_same_classes() -> None:
    kit, _ = run("forward_event(_e, far)", hostname="web1", load=1.5, repeat_count=2, server_path=["a@1"])
    (row,) = kit.repository.outbox.values()
    assert row[3] == "forward:far"
    class_name, slots = msgspec.json.decode(row[4])["forward"]
    name, raw = parse_event(format_event(class_name, slots))
    assert classes().check(name, raw) == slots
    assert slots["server_path"] == ["a@1"] and not {"acl", "administrator", "credibility"} & set(slots)


def test_a_dropped_event_is_forwarded_all_the_same() -> None:
    _, effects = run("forward_event(_e), drop_received_event")
    assert [program.eid for program in effects.programs] == [None]


@pytest.mark.parametrize(
    ("path", "note"),
    [
        (["far@1234", "x@1"], "not forwarded to far: it has passed that server"),
        (["far"], "not forwarded to far: it has passed that server"),
        ([f"s{n}@1" for n in range(16)], "not forwarded to far: it has passed 16 servers, 16 at most"),
    ],
)
def test_loops_end(path: list[str], note: str) -> None:
    _, effects = run("forward_event(_e, far), set_event_message(_e, on)", server_path=path)
    assert effects.programs == [] and notes(effects)[0] == note and len(notes(effects)) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("forward_event(_e, 'a b')", "'a b' is not the name of a destination"),
        ("forward_event(_e, '')", "'' is not the name of a destination"),
    ],
)
def test_wrong_names(body: str, message: str) -> None:
    _, effects = run(body)
    assert effects.programs == [] and message in notes(effects)[0]


def test_an_event_too_large_to_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.predicates.forwarding._TEXT_LIMIT", 100)
    _, effects = run("forward_event(_e)", msg="x" * 100)
    assert effects.programs == [] and "more than 100 characters cannot be forwarded" in notes(effects)[0]


def test_at_most_so_many_leave_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.evaluation.PROGRAM_LIMIT", 1)
    _, effects = run("forward_event(_e, a), forward_event(_e, b)")
    assert [program.name for program in effects.programs] == ["a"]


# -- tec_forward.conf ---------------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, Destination]:
    found, errors = parse_destinations(text)
    assert not errors, errors
    return found


def test_tecs_own_file() -> None:
    text = "# for forward_event\r\nServerLocation=tec2\r\nserverport = 5530\r\nTestMode=NO\r\nBufEvtPath=/etc/x\r\n"
    assert parsed(text) == {"default": Destination("default", (("tec2", 5530),))}


def test_several_destinations() -> None:
    found = parsed(
        """
        ServerLocation=a,b:1,[::1]:2,[::2]
        ServerPort=9
        [old]
        ServerLocation=c, d
        ServerPort=3, 4
        AckMode=no
        """
    )
    assert found["default"].servers == (("a", 9), ("b", 1), ("::1", 2), ("::2", 9))
    assert found["old"] == Destination("old", (("c", 3), ("d", 4)), acknowledged=False)


def test_the_first_section_is_the_default() -> None:
    found = parsed("[x]\nServerLocation=a\n[y]\nServerLocation=b")
    assert found["default"] is found["x"] and found["x"].servers == (("a", 5529),)
    assert parsed("[x]\nServerLocation=a\n[default]\nServerLocation=b")["default"].servers == (("b", 5529),)
    assert parsed("") == parsed("# nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("ServerLocation", 1, "'ServerLocation' is not keyword=value"),
        ("\nServrLocation=a", 2, "keyword 'ServrLocation' is not known; did you mean 'ServerLocation'?"),
        ("Zzz=a", 1, "keyword 'Zzz' is not known; the keywords are"),
        ("ServerLocation=", 1, "ServerLocation has no value"),
        ("ServerLocation=a\nServerLocation=b", 2, "ServerLocation is given twice; the first is in line 1"),
        ("ServerPort=1", 1, "destination 'default' has no ServerLocation"),
        ("ServerLocation=a\n[x]", 2, "destination 'x' has no ServerLocation"),
        ("ServerLocation=a b", 1, "'a b' is not HOST or HOST:PORT"),
        ("ServerLocation=@EventServer", 1, "Framework destinations"),
        ("ServerLocation=a:0", 1, "port 0 would ask a portmapper"),
        ("ServerLocation=a\nServerPort=99999", 2, "'99999' is not a port"),
        ("ServerLocation=a,b,c\nServerPort=1,2", 2, "ServerPort names 2 ports for 3 servers"),
        (f"ServerLocation={','.join('abcdefghi')}", 1, "names 9 servers, 8 at most"),
        ("ServerLocation=a\nAckMode=maybe", 2, "AckMode is YES or NO, not 'maybe'"),
        ("[a b]\nServerLocation=a", 1, "'[a b]' does not begin a destination"),
        ("[x", 1, "'[x' does not begin a destination"),
        ("[x]\nServerLocation=a\n[x]\nServerLocation=b", 3, "destination 'x' is given twice"),
        ("ServerLocation=a\n[default]\nServerLocation=b", 2, "destination 'default' is given twice"),
    ],
)
def test_what_is_wrong_with_it(text: str, line: int, message: str) -> None:
    errors = parse_destinations(text)[1]
    assert any(error.line == line and message in str(error) for error in errors), errors


def test_there_is_a_limit_to_destinations() -> None:
    text = "".join(f"[d{number}]\nServerLocation=a\n" for number in range(101))
    found, errors = parse_destinations(text)
    assert len(found) == 101 and [error.message for error in errors][:1] == ["there are more than 100 destinations"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "base"
    shutil.copytree(Path(__file__).parents[2] / "examples/first-rule-base", made)
    return made


def test_the_file_is_part_of_the_rule_base(folder: Path, tmp_path: Path) -> None:
    without = snapshot(folder, tmp_path / "snapshots")
    (folder / FILE).write_text("ServerLocation=a\n")
    content_hash = snapshot(folder, tmp_path / "snapshots")
    assert content_hash != without
    assert (tmp_path / "snapshots" / content_hash / FILE).read_text() == "ServerLocation=a\n"


@pytest.mark.parametrize(("data", "message"), [(b"Server=a\n", "keyword 'Server' is not known"), (b"\xff", "UTF-8")])
def test_a_rule_base_with_a_wrong_one_is_refused(folder: Path, tmp_path: Path, data: bytes, message: str) -> None:
    (folder / FILE).write_bytes(data)
    with pytest.raises(SourceErrors) as error:
        snapshot(folder, tmp_path / "snapshots")
    assert f"{FILE}:1:1: " in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    ("conf", "goal", "message"),
    [
        ("", "forward_event(_e)", f":46: {FILE} has no destination 'default'; add ServerLocation=HOST[:PORT] to it"),
        ("[archive]\nServerLocation=a\n", "forward_event(_e, archiv)", "'archiv'; did you mean 'archive'?"),
        ("[archive]\nServerLocation=a\n", "forward_event(_e, 'hq')", "no destination 'hq'; add [hq] to it"),
        ("[archive]\nServerLocation=a\n", "forward_event(_e), get_time(_x), forward_event(_e, _x)", ""),
        ("[archive]\nServerLocation=a\n", "forward_event(_e, archive)", ""),
        ("Server=a\n", "forward_event(_e, 'hq')", "keyword 'Server' is not known"),
    ],
)
def test_a_destination_that_a_rule_names_is_looked_for(folder: Path, conf: str, goal: str, message: str) -> None:
    (folder / FILE).write_text(conf)
    (folder / "TEC_RULES/rule_sets").write_text("far\n")
    (folder / "TEC_RULES/far.rls").write_text(f"rule: r: (event: _e of_class EVENT, action: ({goal})).\n")
    if not message:
        assert load_rule_base(folder).rule_sets[0].name == "far"
        return
    with pytest.raises(SourceErrors) as error:
        load_rule_base(folder)
    (only,) = error.value.errors
    assert message in str(only)
