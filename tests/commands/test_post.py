from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.commands import names
from opentec.commands.post import event_of
from opentec.eif import client
from opentec.eif.client import PostResult
from opentec.events.text import format_event, parse_event
from tests.commands.running import Runner


class Posted:
    """Stands in for the client, and keeps what it was given."""

    def __init__(self, result: PostResult) -> None:
        self.result, self.calls = result, list[tuple[Any, Any, Any]]()

    def __call__(self, servers: Any, text: Any, **settings: Any) -> PostResult:
        self.calls.append((servers, text, settings))
        return self.result


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Posted:
    fake = Posted(PostResult("accepted", server=("tec1", 5529)))
    monkeypatch.setattr(client, "post", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def test_an_event_is_sent_as_it_was_given(tec: Runner, posted: Posted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLOCALHOST", "tecserver")
    ran = tec("post", "-r", "CRITICAL", "-m", "it's; full", "drive=C:", "acl=[a, 'b c']", "NT_Disk_Full", "NT")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    servers, text, settings = posted.calls[0]
    assert servers == [("127.0.0.1", 5529)]
    assert parse_event(text) == (
        "NT_Disk_Full",
        {
            "source": "NT",
            "severity": "CRITICAL",
            "msg": "it's; full",
            "drive": "C:",
            "acl": ["a", "b c"],
            "hostname": "tecserver",
        },
    )
    assert settings == {"greeting_timeout": 2.0, "ack_timeout": 10.0, "patience": 0.0}


def test_tec_names_post_too(tec: Runner, posted: Posted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wpostemsg", "-S", "a,b:6", "hostname=h", "TEC_Notice", "TEC"])
    assert tec.entry(names.wpostemsg).status == 0
    assert posted.calls[0][:2] == ([("a", 5529), ("b", 6)], "TEC_Notice;source=TEC;hostname=h;END")


HINT = "; `tec status` says how the server is"


@pytest.mark.parametrize(
    ("result", "status", "said"),
    [
        (PostResult("rejected", "class 'X' is not defined"), 3, "recorded, but rejected: class 'X' is not defined"),
        (PostResult("unconfirmed", "tec1:5529: no answer"), 4, f"not confirmed: tec1:5529: no answer{HINT}"),
    ],
)
def test_what_did_not_work_is_said(tec: Runner, posted: Posted, result: PostResult, status: int, said: str) -> None:
    posted.result = result
    ran = tec("post", "X", "Y")
    assert (ran.status, ran.err) == (status, said + "\n")
    shown = json.loads(tec("post", "--json", "X", "Y").out)
    assert shown == {"result": result.status, "reason": result.reason, "server": None}


def test_of_a_server_elsewhere_its_status_is_not_here(tec: Runner, posted: Posted) -> None:
    posted.result = PostResult("unconfirmed", "tec1:5529: no answer")
    assert tec("post", "-S", "tec1", "X", "Y").err == "not confirmed: tec1:5529: no answer\n"


def test_plain_mode_is_asked_for_only(tec: Runner, posted: Posted, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Posted(PostResult("sent", server=("h", 1)))
    monkeypatch.setattr(client, "post_plain", plain)
    assert json.loads(tec("post", "--plain", "--json", "X", "Y").out)["result"] == "sent"
    assert len(plain.calls) == 1
    assert posted.calls == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument"),
        (["Class"], "SOURCE is missing"),
        (["-r", "CRITICL", "X", "Y"], "did you mean 'CRITICAL'?"),
        (["-r", "critical", "X", "Y"], "did you mean 'CRITICAL'?"),
        (["-r", "9", "X", "Y"], "FATAL"),
        (["oops", "X", "Y"], "'oops' is not SLOT=VALUE"),
        (["1a=b", "X", "Y"], "'1a=b' is not SLOT=VALUE"),
        (["a=1", "a=2", "X", "Y"], "slot 'a' is given twice"),
        (["-m", "x", "msg=y", "X", "Y"], "slot 'msg' is given twice, -m sets it"),
        (["source=y", "X", "Y"], "SOURCE sets it"),
        (["X", "Y", "a=b"], "'a=b'"),
        (["X", "a=b"], "SOURCE comes behind the slots"),
        (["my class", "Y"], "is not the name of a class"),
        (["a='x'y'", "X", "Y"], "slot 'a'"),
        (["a=[x", "b=[x,]", "X", "Y"], "slot 'b'"),
        (["-S", "host:99999", "X", "Y"], "is not HOST[:PORT]"),
        (["-S", "", "X", "Y"], "is not HOST[:PORT]"),
        (["-S", ",".join("abcdefghi"), "X", "Y"], "8 at most"),
        (["-f", "none.conf", "X", "Y"], "none.conf"),
        (["--nonsense", "X", "Y"], "No such option"),
        (["-d", "nowhere", "X", "Y"], "is not an instance directory"),
    ],
)
def test_wrong_usage_sends_nothing(tec: Runner, posted: Posted, words: list[str], said: str) -> None:
    ran = tec("post", *words)
    assert ran.status == 2
    assert said in ran.err
    assert posted.calls == []


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(text, st.sampled_from(["msg", "hostname", "date"]))
def test_any_text_arrives_as_it_is_in_a_slot_of_text(value: str, name: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    class_name, slots = event_of([f"{name}={quoted}", "Class", "src"], None, None)
    assert slots[name] == value
    assert parse_event(format_event(class_name, slots))[1][name] == value


@given(text)
def test_a_message_is_never_interpreted(value: str) -> None:
    assert event_of(["Class", "src"], None, value)[1]["msg"] == value


def test_brackets_are_text_in_slots_of_text() -> None:
    assert event_of(["msg=[kernel]", "C", "S"], None, None)[1]["msg"] == "[kernel]"
    assert event_of(["list=[a,b]", "C", "S"], None, None)[1]["list"] == ["a", "b"]
    assert event_of(["empty=", "C", "S"], None, None)[1]["empty"] == ""


def test_bytes_that_are_not_utf8_are_latin1() -> None:
    assert event_of([os.fsdecode(b"a=caf\xe9"), "C", "S"], None, None)[1]["a"] == "café"


def test_hostname_is_the_machine_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "machine")
    assert event_of(["C", "S"], None, None)[1]["hostname"] == "machine"
    assert event_of(["hostname=h", "C", "S"], None, None)[1]["hostname"] == "h"
