"""Send one event and wait for its verdict, without an event loop: what wpostemsg does (docs/protocol.md)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from opentec.eif.control import ONCE
from opentec.eif.frame import data_of, encode_frame
from opentec.eif.session import Acked, ClientSession, Closed, Welcomed

Server = tuple[str, int]
Status = Literal["accepted", "rejected", "unconfirmed", "sent"]

_PAUSE: Final = 0.2  # seconds between two passes over the server list
_READ: Final = 65536


class PostResult(msgspec.Struct, frozen=True):
    """How a post ended.

    accepted     durable on `server`
    rejected     recorded on `server`, but the classes refuse it; `reason` says why
    unconfirmed  nobody confirmed it; `reason` names each server and its problem. It may be durable all the same
                 if it was sent, and then it is there once: every try carried the same identity
    sent         plain mode: handed to TCP, nothing more is known
    """

    status: Status
    reason: str = ""
    server: Server | None = None
    sequence: int = 1


def new_sender() -> bytes:
    """A random UUID as 16 bytes."""
    return uuid.uuid4().bytes


def post(
    servers: Sequence[Server],
    text: str | bytes,
    *,
    greeting_timeout: float = 2.0,
    ack_timeout: float = 10.0,
    patience: float = 0.0,
    sender: bytes | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> PostResult:
    """Post one event in acknowledged mode; never falls back to plain.

    Tries `servers` in order. Each try carries the same sender (a new UUID unless given) and sequence 1, so that servers
    which share a log record it once. Without an answer to the greeting in `greeting_timeout` seconds, or without an
    acknowledgement in `ack_timeout`, the next one is tried. The list is gone through once, and again while less than
    `patience` seconds have passed, or less than `ack_timeout` if a server got the event and did not answer.
    """
    identity = new_sender() if sender is None else sender
    data = data_of(text)
    started = clock()
    problems: dict[Server, str] = {}
    sent = False
    while True:
        for server in servers:
            result, was_sent = _try(server, identity, data, greeting_timeout, ack_timeout, clock)
            sent |= was_sent
            if result.status != "unconfirmed":
                return result
            problems[server] = result.reason
        if not servers or clock() - started >= (max(patience, ack_timeout) if sent else patience):
            reason = "; ".join(f"{host}:{port}: {problem}" for (host, port), problem in problems.items())
            return PostResult("unconfirmed", reason or "no server is configured")
        sleep(_PAUSE)


def post_plain(servers: Sequence[Server], text: str | bytes, *, timeout: float = 2.0) -> PostResult:
    """Post one event in plain mode to the first server that takes the connection. No server confirms anything."""
    problems = []
    for host, port in servers:
        try:
            with socket.create_connection((host, port), timeout) as connection:
                connection.sendall(encode_frame(data_of(text)))
                connection.shutdown(socket.SHUT_WR)
                return PostResult("sent", server=(host, port), sequence=0)
        except OSError as error:
            problems.append(f"{host}:{port}: {why(error)}")
    return PostResult("unconfirmed", "; ".join(problems) or "no server is configured", sequence=0)


def why(error: OSError) -> str:
    """An operating-system error in a few words, without its number."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # asyncio puts the address into strerror; names that cannot be resolved have negative numbers
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return text.lower() or type(error).__name__


def _try(
    server: Server,
    sender: bytes,
    data: bytes,
    greeting_timeout: float,
    ack_timeout: float,
    clock: Callable[[], float],
) -> tuple[PostResult, bool]:
    """One connection to one server; the second value says whether the event has left."""
    session = ClientSession(sender, 1, kind=ONCE, newest=1)
    sent = False
    deadline = clock() + greeting_timeout
    try:
        with socket.create_connection(server, greeting_timeout) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(session.to_send())
            while True:
                for event in session.received(_read(connection, deadline - clock())):
                    match event:
                        case Welcomed(last=0):
                            session.send(data, 1)
                            sent = True
                            deadline = clock() + ack_timeout
                            connection.settimeout(ack_timeout)
                            connection.sendall(session.to_send())
                        case Welcomed():
                            return PostResult("accepted", server=server), True
                        case Acked(rejected=()):
                            return PostResult("accepted", server=server), True
                        case Acked(rejected=rejected):
                            return PostResult("rejected", rejected[0][1], server), True
                        case Closed(reason=reason):
                            return PostResult("unconfirmed", reason), sent
    except TimeoutError:
        waited, what = (ack_timeout, "acknowledgement") if sent else (greeting_timeout, "answer to the greeting")
        return PostResult("unconfirmed", f"no {what} within {waited:g} s"), sent
    except OSError as error:
        return PostResult("unconfirmed", why(error)), sent


def _read(connection: socket.socket, remaining: float) -> bytes:
    if remaining <= 0:
        raise TimeoutError
    connection.settimeout(remaining)
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(_READ)
    return b""
