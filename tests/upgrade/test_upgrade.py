"""Version N reads what version N-1 left behind: an instance that was killed at work, and a full buffer of an adapter.

The fixtures were made by `tests.upgrade.make_fixture` with the older version.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from opentec.adapters.logfile import positions
from opentec.eif.segment import FORMAT_VERSION
from opentec.log.codec import PREAMBLE_SIZE, VERSION
from opentec.rim.schema import SCHEMA_VERSION
from opentec.server.config import load_config
from opentec.server.instance import Instance
from tests.faults.checker import Checker
from tests.faults.client import Load
from tests.faults.harness import ROOT, wait_for
from tests.upgrade.kit import FIXTURES, OldInstance

pytestmark = pytest.mark.acceptance


@pytest.fixture
def old(tmp_path: Path) -> Iterator[OldInstance]:
    with OldInstance(tmp_path) as instance:
        yield instance


def query(old: OldInstance, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{old.repository}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(statement).fetchall()


def stored(old: OldInstance) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row for row in query(old, "SELECT * FROM event")}


def caught_up(old: OldInstance) -> bool:
    status = old.status("black")
    return bool(status and status["recovered"] and status["committed"] == status["durable"])


def test_what_an_older_server_left_is_finished_and_nothing_is_lost_or_doubled(old: OldInstance) -> None:
    before = stored(old)
    ((waiting,),) = query(old, "SELECT count(*) FROM outbox WHERE status = 'claimed'")
    assert waiting, "the fixture has no program that ran when its server was killed"
    old.start()
    wait_for("everything of before is stored", lambda: caught_up(old))
    senders = old.senders()
    with Load([sender for sender, _ in senders]) as load:
        reached = load.acked
        wait_for("senders go on", lambda: load.acked > reached + 100)
        assert load.finish()
    wait_for("everything is stored", lambda: caught_up(old))
    old.stop()
    verdict = Checker(old.directory, senders).check()
    verdict.problems = [problem for problem in verdict.problems if "is from nobody" not in problem]
    assert verdict.sound, str(verdict)
    assert verdict.epochs == 3
    after = stored(old)
    assert set(before) <= set(after)
    plain = [row for row in before.values() if "Load_Event" in row]
    assert plain
    assert all(after[row[0]] == row for row in plain)  # nothing that no rule is about is touched
    assert query(old, "SELECT schema_version FROM repository") == [(SCHEMA_VERSION,)]
    assert query(old, "SELECT DISTINCT status FROM outbox") == [("interrupted",)]


def test_operators_changes_and_timers_of_before_hold(old: OldInstance) -> None:
    old.start()
    wait_for("everything of before is stored", lambda: caught_up(old))
    events = {
        event["event"]: event
        for event in map(json.loads, old.tec("list", "--json", "-n", "0", check=True).stdout.splitlines())
    }
    assert [events[key]["status"] for key in old.promise.acknowledged] == ["ACK"]
    assert [events[key]["status"] for key in old.promise.closed] == ["CLOSED"]
    # the timers were set for a minute, by the older version
    late = [event for event in events.values() if event["class"] == "Late_Event"]
    assert [event["severity"] for event in late] == ["CRITICAL", "CRITICAL"]
    why = old.tec("why", old.promise.acknowledged[0], check=True).stdout
    assert "ack" in why.lower()


def test_a_replay_of_an_older_log_gives_what_was_stored(old: OldInstance) -> None:
    old.start()
    wait_for("everything of before is stored", lambda: caught_up(old))
    old.stop()
    done = old.tec("replay", "--log", str(old.directory), "--rules", str(old.rules), "--json")
    assert done.returncode == 0, done.stderr
    assert "STORED" in done.stdout


def test_the_configuration_of_an_older_version_is_read(tmp_path: Path) -> None:
    with tarfile.open(FIXTURES / "version-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert load_config(Instance(tmp_path / "tec")).server.name == "tec"


def test_a_buffer_of_an_older_adapter_is_flushed(old: OldInstance) -> None:
    old.start()
    servers = ",".join(f"{host}:{port}" for host, port in old.servers)
    (old.adapter / "adapter.conf").write_text(
        f"ServerLocation={servers}\nNodeName=web1\nBufEvtPath={old.adapter}/buffer\n"
        f"LogSources={old.adapter}/none.log\nFormatFile=adapter.fmt\nPollInterval=0.1\nRetryInterval=0.1\n"
    )
    command = [sys.executable, "-m", "opentec.commands.main", "adapter", "logfile", "--foreground", "-c"]
    child = subprocess.Popen(
        [*command, str(old.adapter / "adapter.conf")],
        env=old.environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        numbers = "SELECT json_extract(slots, '$.number') FROM event WHERE \"class\" = 'Load_Line'"
        wait_for("the lines are stored", lambda: len(query(old, numbers)) >= old.promise.lines)
    finally:
        child.terminate()
        child.wait(10)
    assert sorted(query(old, numbers)) == [(number,) for number in range(1, old.promise.lines + 1)]


# a downgrade is refused by name


def test_a_newer_repository_is_refused_by_name(old: OldInstance) -> None:
    with closing(sqlite3.connect(old.repository)) as connection:
        connection.execute("UPDATE repository SET schema_version = ?", (SCHEMA_VERSION + 1,))
        connection.commit()
    done = old.tec("start", node="black")
    assert done.returncode != 0
    assert f"schema version {SCHEMA_VERSION + 1}" in done.stderr + old.logs()
    assert "newer opentec" in done.stderr + old.logs()
    assert not old.left()


def test_a_newer_log_is_refused_by_name(old: OldInstance) -> None:
    newest = sorted((old.directory / "rx").glob("rx.*"))[-1]
    data = bytearray(newest.read_bytes())
    for start in (0, PREAMBLE_SIZE):  # two copies, each with a checksum of what is before it
        struct.pack_into("<I", data, start + 8, VERSION + 1)
        struct.pack_into("<I", data, start + 48, crc32(data[start : start + 48]))
    newest.write_bytes(data)
    done = old.tec("start", node="black")
    assert done.returncode != 0
    assert f"format version {VERSION + 1}; this program reads version {VERSION}" in done.stderr + old.logs()
    assert not old.left()


def test_a_node_that_is_older_than_the_one_at_work_does_not_start(old: OldInstance) -> None:
    old.start()
    old.kill_all()
    newest = sorted((old.directory / "ha").glob("epoch.*"), key=lambda path: int(path.suffix[1:]))[-1]
    text = newest.read_bytes()
    assert f'"version": {SCHEMA_VERSION}'.encode() in text
    newest.write_bytes(text.replace(f'"version": {SCHEMA_VERSION}'.encode(), b'"version": 9'))
    done = old.tec("start", node="black")
    assert done.returncode != 0
    assert f"writes version 9 of the repository, this opentec version {SCHEMA_VERSION}" in done.stderr
    assert not old.left()


def _newer_identity(data: bytes) -> bytes:
    body = data[: len(data) // 2][9:-1].replace(b'"version":1', b'"version":%d' % (FORMAT_VERSION + 1))
    return b"%08x %s\n" % (crc32(body), body) * 2


def _newer_positions(data: bytes) -> bytes:
    body = data.partition(b"\n")[2]
    version = positions.VERSION + 1
    return b"opentec-positions %d %08x %d\n" % (version, crc32(body[:-1], version), len(body) - 1) + body


def _newer_segment(data: bytes) -> bytes:
    changed = bytearray(data)
    for start in (0, 32):  # two copies, as in the log
        struct.pack_into("<I", changed, start + 8, FORMAT_VERSION + 1)
        struct.pack_into("<I", changed, start + 28, crc32(changed[start : start + 28]))
    return bytes(changed)


_BUFFER_REFUSED = f"is of format version {FORMAT_VERSION + 1}, this program reads version {FORMAT_VERSION}: empty the"
_POSITIONS_REFUSED = (
    f"saved positions of version {positions.VERSION + 1}, this program reads version {positions.VERSION}"
)


@pytest.mark.parametrize(
    ("name", "newer", "said"),
    [
        ("identity", _newer_identity, _BUFFER_REFUSED),
        ("0000000000000001.seg", _newer_segment, _BUFFER_REFUSED),
        ("positions", _newer_positions, _POSITIONS_REFUSED),
    ],
)
def test_a_newer_buffer_of_an_adapter_is_refused_by_name(
    tmp_path: Path, name: str, newer: Callable[[bytes], bytes], said: str
) -> None:
    with tarfile.open(FIXTURES / "version-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    buffer = tmp_path / "adapter" / "buffer"
    (buffer / name).write_bytes(newer((buffer / name).read_bytes()))
    conf = tmp_path / "adapter" / "adapter.conf"
    conf.write_text(
        f"ServerLocation=127.0.0.1:1\nNodeName=web1\nBufEvtPath={buffer}\nLogSources={tmp_path}/none.log\n"
        "FormatFile=adapter.fmt\n"
    )
    before = {path.name: path.read_bytes() for path in buffer.iterdir()}
    command = [sys.executable, "-m", "opentec.commands.main", "adapter", "logfile", "--once", "-c", str(conf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert str(buffer / name) in done.stderr and said in done.stderr
    del before["lock"]
    assert {path.name: path.read_bytes() for path in buffer.iterdir() if path.name != "lock"} == before
