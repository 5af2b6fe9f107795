"""Control frames: what is written is read back, and what is malformed is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.eif.control import (
    MAX_REASON,
    REJECTED_PER_FRAME,
    Ack,
    Busy,
    Control,
    Error,
    File,
    Hello,
    Unknown,
    Welcome,
    parse_control,
)
from opentec.eif.errors import ProtocolError
from opentec.eif.frame import Frame, FrameReader, encode_frame, text_of

SENDER = bytes.fromhex("5c0f0c2e8f2b4c3f9c55d3c0a2b1f9aa")


def frames(data: bytes) -> list[Frame]:
    reader = FrameReader(strict=True, max_event=1 << 20)
    reader.feed(data)
    found = [frame for frame in reader.frames() if isinstance(frame, Frame)]
    assert reader.pending == 0
    return found


def parse(text: str, sequence: int = 0) -> Control | None:
    return parse_control(Frame(sequence, 0, 0, text.encode() + b"\n\x01"))


def test_the_example_of_the_protocol() -> None:
    (hello,) = frames(Hello(SENDER, 1).encode())
    assert text_of(hello.data) == "$HELLO;protocol=1;sender=5c0f0c2e8f2b4c3f9c55d3c0a2b1f9aa;kind=long;next=1;END"
    (welcome,) = frames(Welcome(7, 0, 256).encode())
    assert text_of(welcome.data) == "$WELCOME;protocol=1;epoch=7;last=0;window=256;END"
    (ack,) = frames(Ack(1).encode())
    assert (text_of(ack.data), ack.sequence) == ("$ACK;END", 1)


texts = st.text(st.characters(codec="utf-8"), max_size=MAX_REASON)
numbers = st.integers(0, 2**63 - 1)
controls = st.one_of(
    st.builds(
        Hello, st.binary(min_size=16, max_size=16).filter(any), numbers.filter(bool), st.sampled_from(["long", "once"])
    ),
    st.builds(Welcome, numbers, numbers, numbers.filter(bool)),
    st.builds(Unknown, numbers, numbers, numbers.filter(bool)),
    st.builds(Busy, numbers),
    st.builds(File, st.integers(1, 65535), texts, texts, texts),
    st.builds(Ack, numbers, st.lists(st.tuples(numbers, texts), max_size=REJECTED_PER_FRAME).map(tuple)),
    st.builds(Error, texts),
)


@given(controls)
def test_what_is_written_is_read_back(control: Control) -> None:
    (frame,) = frames(control.encode())
    assert parse_control(frame) == control


@pytest.mark.parametrize("count", [REJECTED_PER_FRAME, REJECTED_PER_FRAME + 1, 3 * REJECTED_PER_FRAME + 7])
def test_many_rejected_events_take_several_frames(count: int) -> None:
    rejected = tuple((100 + 2 * n, f"reason {n}") for n in range(count))
    found = [parse_control(frame) for frame in frames(Ack(10_000, rejected).encode())]
    assert len(found) == -(-count // REJECTED_PER_FRAME)
    acks = [ack for ack in found if isinstance(ack, Ack)]
    assert tuple(item for ack in acks for item in ack.rejected) == rejected
    assert [ack.sequence for ack in acks] == sorted(ack.sequence for ack in acks)
    for ack in acks:
        assert ack.rejected[-1][0] <= ack.sequence
    assert acks[-1].sequence == 10_000


def test_long_reasons_are_cut() -> None:
    (frame,) = frames(Error("x" * 100_000).encode())
    assert parse_control(frame) == Error("x" * MAX_REASON)
    (frame,) = frames(Ack(1, ((1, "x" * 100_000),)).encode())
    assert parse_control(frame) == Ack(1, ((1, "x" * MAX_REASON),))


def test_a_lone_surrogate_does_not_stop_a_verdict() -> None:
    (frame,) = frames(Error("bad \udcff").encode())
    assert parse_control(frame) == Error("bad ?")


def test_events_are_no_control_frames() -> None:
    assert parse("NT_Disk_Full;END") is None
    assert parse_control(Frame(0, 0, 0, b"")) is None
    assert parse_control(Frame(0, 0, 0, b"\x03A;END\n\x01")) is None


def test_the_utf8_flag_may_stand_in_front() -> None:
    (frame,) = frames(encode_frame(b"\x03$ERROR;reason='\xc3\xbc';END\n\x01"))
    assert parse_control(frame) == Error("ü")


def test_one_rejected_item_may_come_bare_and_unknown_slots_are_ignored() -> None:
    assert parse("$ACK;rejected='5 no';later=1;END", 6) == Ack(6, ((5, "no"),))


HELLO = f"$HELLO;protocol=1;sender={SENDER.hex()};kind=long;next=1;END"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$HELLO", "malformed"),
        ("$;END", "malformed"),
        ("$GRUESS;END", r"\$GRUESS is not a control frame"),
        (HELLO.replace("protocol=1", "protocol=7"), "version 7 is not spoken here"),
        ("$WELCOME;protocol=0;epoch=7;last=0;window=256;END", "version 0 is not spoken here"),
        ("$HELLO;sender=x;END", "slot 'protocol' is missing"),
        (HELLO.replace("5c0f", "xx0f"), "32 hex digits"),
        (HELLO.replace("5c0f", ""), "32 hex digits"),
        (HELLO.replace(SENDER.hex(), "0" * 32), "32 hex digits"),
        (HELLO.replace("5c0f", "5c 0f"), "32 hex digits"),
        (HELLO.replace("long", "short"), "neither 'long' nor 'once'"),
        (HELLO.replace("next=1", "next=0"), "next '0' is not a number from 1"),
        (HELLO.replace("next=1", "next=-1"), "next '-1'"),
        (HELLO.replace("next=1", "next=[1]"), "slot 'next' is a list"),
        (HELLO.replace("next=1", f"next={2**63}"), "is not a number"),
        (HELLO.replace("next=1", f"next={'9' * 5000}"), "is not a number"),
        (HELLO.replace("next=1", "next=²"), "is not a number"),
        ("$WELCOME;protocol=1;epoch=7;last=0;window=0;END", "window '0'"),
        ("$FILE;number=65536;scope=a;path=b;generation=c;END", "from 1 to 65535"),
        ("$FILE;number=1;scope=a;path=b;END", "'generation' is missing"),
        ("$ACK;rejected=['x no'];END", "is not SEQUENCE REASON"),
        ("$BUSY;END", "'retry_ms' is missing"),
        ("$ERROR;END", "'reason' is missing"),
    ],
)
def test_malformed_control_frames_are_named(text: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(text)
