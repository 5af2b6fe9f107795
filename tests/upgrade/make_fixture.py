"""Makes fixtures/version-1.tar.xz: what a server and an adapter of format version 1 left behind when they were killed.

    python -m tests.upgrade.make_fixture FOLDER     FOLDER: a checkout of the last commit that wrote version 1 (e0b2ad9)

It was run once, and is kept to say what is in the fixture: an instance directory with two epochs, records that nobody
processed, rejected events, operators' changes, pending timers, an unfinished outbox; an adapter's folder with a buffer
that nobody took; and `promise.json`, what senders had been promised.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

from tests.faults.client import Load, Sender
from tests.faults.harness import ROOT, Cluster, wait_for
from tests.faults.tailing import FORMATS
from tests.upgrade.kit import PLANS
from tests.upgrade.promise import Promise, SenderPromise

LINES = 40
CLASSES = "TEC_CLASS: Late_Event ISA EVENT DEFINES { source: default = LATE; }; END\n"
RULES = """
rule: wait: (
  event: _event of_class 'Late_Event',
  reception_action: wait: ( set_timer(_event, 60, 'late'), exec_program(_event, 'sleep', '%s', ['600'], 'NO') )
).
timer_rule: late: (
  event: _event of_class 'Late_Event' where [status: outside ['CLOSED']],
  timer_info: equals 'late',
  action: raise: ( set_event_severity(_event, 'CRITICAL') )
).
"""


def rule_base(code: Path, folder: Path) -> Path:
    """The rule base of the fault tests of that version, and a rule set with a timer and a program."""
    base = folder / "rulebase"
    shutil.copytree(code / "tests" / "faults" / "rulebase", base)
    (base / "TEC_CLASSES" / "late.baroc").write_text(CLASSES)
    (base / "TEC_RULES" / "late.rls").write_text(RULES)
    with (base / "TEC_RULES" / "rule_sets").open("a") as file:
        file.write("late\n")
    return base


def course(cluster: Cluster, folder: Path) -> Promise:
    cluster.start()
    senders = [
        Sender(cluster.servers, lambda number, name=name: PLANS[name].text(name, number), name, rate=60)  # type: ignore[misc]
        for name in PLANS
    ]
    with Load(senders) as load:
        wait_for("events are acknowledged", lambda: load.acked > 200)
        cluster.tec("post", "-m", "wait for me", "hostname=web1", "Late_Event", "LATE", check=True)
        events = [json.loads(line) for line in cluster.tec("list", "--json", check=True).stdout.splitlines()]
        plain = [event for event in events if event["class"] == "Load_Event"]
        cluster.tec("ack", plain[0]["event"], check=True)
        cluster.tec("close", plain[1]["event"], check=True)
        cluster.kill_all()
        cluster.start()
        reached = load.acked
        wait_for("senders go on", lambda: load.acked > reached + 100)
        cluster.tec("post", "-m", "me too", "hostname=web1", "Late_Event", "LATE", check=True)
        wait_for("its program runs", lambda: claimed(cluster))
        # what is acknowledged from here on waits in the log
        cluster.process("black", "tec_rule").signal(signal.SIGSTOP)
        reached = load.acked
        wait_for("more is acknowledged", lambda: load.acked > reached + 60)
        adapter(cluster, folder)
        cluster.kill_all()
    return Promise(
        senders=[
            SenderPromise(one.name, one.uuid.hex(), one.acked, one.produced, sorted(one.rejected), one.epochs)
            for one in senders
        ],
        acknowledged=[plain[0]["event"]],
        closed=[plain[1]["event"]],
        lines=LINES,
    )


def claimed(cluster: Cluster) -> bool:
    query = "SELECT count(*) FROM outbox WHERE status = 'claimed'"
    with closing(sqlite3.connect(f"file:{cluster.repository}?mode=ro", uri=True, timeout=10)) as connection:
        return bool(connection.execute(query).fetchone()[0])


def adapter(cluster: Cluster, folder: Path) -> None:
    """An adapter that finds no server, and is killed with everything in its buffer."""
    home = folder / "adapter"
    home.mkdir()
    (home / "app.log").write_text("".join(f"line {number} some words\n" for number in range(1, LINES + 1)))
    (home / "adapter.fmt").write_text(FORMATS)
    (home / "adapter.conf").write_text(
        f"ServerLocation=127.0.0.1:1\nNodeName=web1\nBufEvtPath={home}/buffer\nLogSources={home}/app.log\n"
        "FormatFile=adapter.fmt\nReadExisting=YES\nPollInterval=0.1\nRetryInterval=0.1\n"
    )
    command = [sys.executable, "-m", "opentec.commands.main", "adapter", "logfile", "--foreground", "-c"]
    child = subprocess.Popen(
        [*command, str(home / "adapter.conf")],
        env=cluster.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("lines are buffered", lambda: any(path.stat().st_size for path in home.glob("buffer*/*")))
        time.sleep(1.0)
    finally:
        child.kill()
        child.wait()
    for name in ("app.log", "adapter.conf"):
        (home / name).unlink()


def main(code: Path) -> None:
    folder = Path("/tmp/tec-version-1")  # it stands in the adapter's buffer
    folder.mkdir()
    try:
        with Cluster(folder, rule_base=rule_base(code, folder), hang_after=60, code=code) as cluster:
            promise = course(cluster, folder)
        shutil.rmtree(cluster.directory / "log")
        (cluster.directory / "log").mkdir()
        _shrink(cluster)
        (folder / "promise.json").write_bytes(promise.encoded())
        target = ROOT / "tests" / "upgrade" / "fixtures" / "version-1.tar.xz"
        with tarfile.open(target, "w:xz") as archive:
            for part in ("tec", "adapter", "promise.json"):
                archive.add(folder / part, part, filter=_anonymous)
        print(target, target.stat().st_size, "bytes;", promise)
    finally:
        shutil.rmtree(folder)


def _shrink(cluster: Cluster) -> None:
    """What is large and says nothing: pages of the WAL, and the id of the machine's boot."""
    with closing(sqlite3.connect(cluster.repository)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in (cluster.directory / "ha").glob("epoch.*"):
        path.write_bytes(re.sub(rb'("boot_id": ")[^"]*', rb"\g<1>" + b"0" * 36, path.read_bytes()))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    main(Path(sys.argv[1]))
