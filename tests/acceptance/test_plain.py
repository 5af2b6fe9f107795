"""Plain EIF as old senders write it: the captured vectors, packets cut and joined, and bytes that are no events."""

from __future__ import annotations

import os
import socket
import struct
import time

import pytest

from tests.acceptance.conftest import MakeCluster
from tests.acceptance.test_commands import listed, wait_listed
from tests.faults import plans
from tests.faults.checker import check
from tests.faults.client import Load, Sender
from tests.faults.harness import Cluster, wait_for

# tec.md 1.2: A captured from a log file agent, B the pack template of a Perl sender
TEXT_A = (
    b"AllRecords;text='12/29/14 13:37:45:032 EST [Thread-52] INFO  - StatisticsTrackerManager : flushStatistics() - "
    b"Updating summary statistcs, product total, high water mark and product average.';RemoteHost='';"
    b"hostname='nc043210';logpath='/opt/scala/driver/logs/UnityApplication.log';END"
)
VECTOR_A = b"<START>>" + bytes(20) + bytes.fromhex("0000011d00000004") + b"\x03" + TEXT_A + b"\n\x01"
TEXT_B = b"Logfile_Vector;\nsource=Logfile;\nseverity=WARNING;\nmsg='hello';\nhostname=tec1;\nEND\n"
VECTOR_B = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, len(TEXT_B) + 1, len(TEXT_B) + 1) + TEXT_B + b"\x01"
CLASSES = """
TEC_CLASS: AllRecords ISA EVENT DEFINES { text: STRING; RemoteHost: STRING; logpath: STRING; }; END
TEC_CLASS: Logfile_Vector ISA EVENT; END
"""


@pytest.fixture
def server(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster()
    classes = cluster.rules / "TEC_CLASSES"
    (classes / "vectors.baroc").write_text(CLASSES)
    with (classes / ".load_classes").open("a") as order:
        order.write("vectors.baroc\n")
    cluster.start()
    return cluster


def send(cluster: Cluster, *parts: bytes) -> None:
    """One connection; every part in a packet of its own."""
    with socket.create_connection(cluster.servers[0], timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
            time.sleep(0.002)  # only so that packets tend to arrive apart; nothing depends on it


def test_the_captured_vectors(server: Cluster) -> None:
    send(server, VECTOR_A)
    send(server, VECTOR_B)
    send(server, VECTOR_A + VECTOR_B + VECTOR_A)
    stream = VECTOR_B + VECTOR_A
    send(server, *(stream[at : at + 7] for at in range(0, len(stream), 7)))
    found = wait_listed(server, 4, "--class", "AllRecords")
    assert len(found) == 4
    assert found[0]["text"].endswith("high water mark and product average.")
    assert found[0]["hostname"] == "nc043210"
    found = wait_listed(server, 3, "--class", "Logfile_Vector")
    assert [(event["msg"], event["severity"], event["source"]) for event in found] == [
        ("hello", "WARNING", "Logfile")
    ] * 3


def oversized(size: int) -> bytes:
    text = b"Load_Event;msg='" + b"x" * size + b"';END\n\x01"
    return struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, len(text), len(text)) + text


def test_bytes_that_are_no_events_harm_nobody(server: Cluster) -> None:
    sender = Sender(server.servers, lambda number: plans.PLAIN.text("steady", number), "steady", rate=200)
    with Load([sender]) as load:
        for rubbish in (
            os.urandom(5000),
            b"<START>>" + b"\xff" * 28 + b"rubbish",
            b"GET / HTTP/1.1\r\nHost: tec\r\n\r\n",
            VECTOR_B[:-20],
            b"<START>>" + bytes(27),
            b"<START>>" + bytes(20) + struct.pack(">II", 5, 5) + b"\x03\x00\xff\x01\x01",
            os.urandom(200_000),
        ):
            try:
                send(server, rubbish)
            except ConnectionError:
                continue  # the server may close before everything is sent
        # garbage before and between events costs only itself
        send(server, b"\x01\x00\x01" + VECTOR_B + b"\x01\x01" + VECTOR_B)
        assert len(wait_listed(server, 2, "--class", "Logfile_Vector")) == 2
        send(server, oversized(100_000) + VECTOR_B)
        wait_listed(server, 3, "--class", "Logfile_Vector")
        before = sender.acked
        wait_for("the other sender goes on", lambda: sender.acked > before)
        assert load.finish()
    assert sender.epochs == [1], "its connection was never closed"
    assert server.tec("status").returncode == 0
    reasons = server.tec("log", "--json", check=True).stdout
    assert "over the limit" in reasons
    server.stop()
    verdict = check(server.directory, [sender])
    assert verdict.sound, verdict


def test_acknowledged_mode_refuses_what_is_not_a_frame(server: Cluster) -> None:
    uuid = os.urandom(16).hex()
    hello = f"$HELLO;protocol=1;sender={uuid};kind=long;next=1;END".encode() + b"\n\x01"
    greeting = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, len(hello), len(hello)) + hello
    for rubbish in (b"x" * 100, struct.pack(">8s7I", b"<START>>", 0, 9, 0, 0, 0, 4, 4) + b"A;\n\x01", greeting):
        with socket.create_connection(server.servers[0], timeout=10) as connection:
            connection.sendall(greeting)
            assert b"$WELCOME" in connection.recv(4096)
            connection.sendall(rubbish)
            answer = b""
            while part := connection.recv(4096):
                answer += part
            assert b"$ERROR" in answer
    assert not listed(server, "--class", "Load_Event")
