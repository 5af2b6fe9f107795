"""The client's session: every answer in every state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.eif.control import Ack, Busy, Error, File, Hello, Unknown, Welcome, parse_control
from opentec.eif.errors import ProtocolError
from opentec.eif.frame import Frame, FrameReader, data_of, encode_frame
from opentec.eif.session import Acked, ClientSession, Closed, State, Welcomed

SENDER = bytes(range(16))
EVENT = data_of("A;END")


def greeted(next_sequence: int = 1, window: int = 3) -> ClientSession:
    session = ClientSession(SENDER, next_sequence)
    session.received(Welcome(7, next_sequence - 1, window).encode())
    session.to_send()
    return session


def frames(data: bytes) -> list[Frame]:
    reader = FrameReader(strict=True)
    reader.feed(data)
    return [frame for frame in reader.frames() if isinstance(frame, Frame)]


def test_a_whole_session() -> None:
    session = ClientSession(SENDER, 5, kind="once")
    assert session.state is State.GREETING
    (hello,) = frames(session.to_send())
    assert parse_control(hello) == Hello(SENDER, 5, "once")
    assert session.to_send() == b""
    assert session.room == 0
    assert session.received(Welcome(7, 4, 3).encode()) == [Welcomed(7, 4, 3, True)]
    assert (session.state, session.room, session.acked) == (State.READY, 3, 4)
    session.declare(File(1, "node", "/log", "g"))
    for sequence in (5, 6, 7):
        session.send(EVENT, sequence, sequence * 10, 1)
    assert (session.room, session.under_way) == (0, 3)
    declaration, *events = frames(session.to_send())
    assert parse_control(declaration) == File(1, "node", "/log", "g")
    assert events == [Frame(n, n * 10, 1, EVENT) for n in (5, 6, 7)]
    assert session.received(Ack(6, ((5, "no such class"),)).encode()) == [Acked(6, ((5, "no such class"),))]
    assert (session.room, session.acked) == (2, 6)
    assert session.received(b"") == [Closed("the server closed the connection")]
    assert session.received(b"") == session.received(Ack(7).encode()) == []


def test_answers_may_come_in_pieces_and_together() -> None:
    stream = Welcome(7, 4, 3).encode() + Ack(4).encode()
    for cut in range(1, len(stream)):
        session = ClientSession(SENDER, 5)
        found = session.received(stream[:cut]) + session.received(stream[cut:])
        assert found == [Welcomed(7, 4, 3, True)]


def test_the_server_may_have_more_than_was_acknowledged() -> None:
    session = ClientSession(SENDER, 5, newest=9)
    assert session.received(Welcome(7, 9, 3).encode()) == [Welcomed(7, 9, 3, True)]
    with pytest.raises(ProtocolError, match="event 5 sent where 10 is next"):
        session.send(EVENT, 5)
    session.send(EVENT, 10)


def test_the_server_remembers_a_later_life() -> None:
    (closed,) = ClientSession(SENDER, 5, newest=9).received(Welcome(7, 10, 3).encode())
    assert isinstance(closed, Closed)
    assert closed.ahead
    assert "remembers event 10" in closed.reason


def test_the_server_has_forgotten() -> None:
    assert ClientSession(SENDER, 5).received(Unknown(7, 4, 3).encode()) == [Welcomed(7, 4, 3, False)]


@pytest.mark.parametrize("answer", [Welcome(7, 3, 9), Unknown(7, 3, 9), Unknown(7, 5, 9)])
def test_the_server_must_not_ask_for_what_is_gone(answer: Welcome | Unknown) -> None:
    (closed,) = ClientSession(SENDER, 5).received(answer.encode())
    assert isinstance(closed, Closed)
    assert f"wants event {answer.last + 1}, but everything up to 4" in closed.reason
    assert not closed.ahead


def test_busy() -> None:
    (closed,) = ClientSession(SENDER, 1).received(Busy(1500).encode())
    assert closed == Closed("the server is busy", retry_ms=1500)


@pytest.mark.parametrize("ready", [False, True])
def test_an_error_closes(ready: bool) -> None:
    session = greeted() if ready else ClientSession(SENDER, 1)
    assert session.received(Error("epoch 8 has begun").encode()) == [Closed("the server refuses: epoch 8 has begun")]
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    ("ready", "answer", "what"),
    [
        (False, Ack(0), r"\$ACK in state greeting"),
        (False, File(1, "a", "b", "c"), r"\$FILE in state greeting"),
        (True, Welcome(7, 0, 3), r"\$WELCOME in state ready"),
        (True, Unknown(7, 0, 3), r"\$UNKNOWN in state ready"),
        (True, Busy(1), r"\$BUSY in state ready"),
        (True, Hello(SENDER, 1), r"\$HELLO in state ready"),
    ],
)
def test_answers_out_of_place(ready: bool, answer: Ack | File | Welcome | Unknown | Busy | Hello, what: str) -> None:
    session = greeted() if ready else ClientSession(SENDER, 1)
    (closed,) = session.received(answer.encode())
    assert isinstance(closed, Closed)
    assert closed.reason == f"the server sent {what}".replace("\\", "")


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400 Bad Request\r\n", encode_frame(b"$ACK;rejected=[;END\n\x01"), encode_frame(b"$WHAT;END\n\x01")],
)
def test_what_is_not_the_protocol(data: bytes) -> None:
    (closed,) = ClientSession(SENDER, 1).received(data)
    assert isinstance(closed, Closed)
    assert closed.reason.startswith("not an answer of the acknowledged mode")


def test_an_event_from_the_server() -> None:
    (closed,) = greeted().received(encode_frame(EVENT))
    assert closed == Closed("the server sent an event in state ready")


def test_acknowledgements_never_go_back_or_ahead() -> None:
    session = greeted()
    session.send(EVENT, 1)
    session.send(EVENT, 2)
    assert session.received(Ack(1, ((2, "early"), (1, "no"))).encode()) == [Acked(1, ((1, "no"),))]
    assert session.received(Ack(1).encode() + Ack(0).encode()) == []
    assert session.received(Ack(2).encode() + Ack(3).encode()) == [
        Acked(2, ()),
        Closed("the server acknowledges event 3, but only 2 were sent"),
    ]


def test_nothing_is_sent_out_of_turn() -> None:
    session = ClientSession(SENDER, 1)
    with pytest.raises(ProtocolError, match="in state greeting"):
        session.send(EVENT, 1)
    with pytest.raises(ProtocolError, match="file 1 declared in a session that is greeting"):
        session.declare(File(1, "a", "b", "c"))
    session = greeted(window=1)
    with pytest.raises(ProtocolError, match="where 1 is next"):
        session.send(EVENT, 2)
    session.send(EVENT, 1)
    with pytest.raises(ProtocolError, match="while 1 are under way"):
        session.send(EVENT, 2)


def test_a_huge_answer_is_not_held() -> None:
    session = ClientSession(SENDER, 1)
    (closed,) = session.received(b"<START>>" + bytes(20) + b"\x7f\0\0\0" * 2)
    assert isinstance(closed, Closed)


@given(st.lists(st.integers(1, 4), max_size=40), st.integers(1, 5))
def test_the_window_is_kept(acks: list[int], window: int) -> None:
    session = greeted(window=window)
    for step in acks:
        while session.room:
            session.send(EVENT, session.sent + 1)
        assert session.under_way == window
        to = min(session.acked + step, session.sent)
        assert session.received(Ack(to).encode()) == [Acked(to, ())]
