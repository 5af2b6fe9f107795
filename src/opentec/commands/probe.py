"""`tec probe`: one cheap question with a deadline, for whatever watches a server or an adapter from outside.

Cluster managers, systemd timers, keepalived and Kubernetes run it every few seconds. Processes alone do not say that a
server works (redbook, appendix C), so it asks tec_master, and what does not answer in time is red.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

import typer

from opentec.commands import processes
from opentec.commands.cli import Debug, Directory, Failure, Json, Node, Status, say, say_json, visible

if TYPE_CHECKING:
    from opentec.adapters.conf import AdapterConf
    from opentec.adapters.sign import Sign
    from opentec.events.errors import SourceErrors

_REASONS: Final = 3  # reasons of a red line; more would not fit
_LINE: Final = 400  # characters of a line, as much as cluster managers keep
_SHARE: Final = 0.8  # of the deadline, for the master; the rest is for finding out who does not answer


class Verdict(NamedTuple):
    """What a probe found. OK is green, FAILED red, REFUSED certainly not running."""

    status: Status
    text: str


class _Late(Exception):
    """The deadline has passed. No OSError: whoever waits for an answer must not take it for one."""


def probe(
    instance: Annotated[
        Path | None, typer.Argument(metavar="INSTANCE", help="Instance directory, as with -d.", show_default=False)
    ] = None,
    directory: Directory = None,
    node: Node = None,
    ready: Annotated[bool, typer.Option("--ready", help="Green: healthy, as `tec status` says.  [default]")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Green: the master answers, and knows of nothing that a restart may mend.")
    ] = False,
    startup: Annotated[bool, typer.Option("--startup", help="Green: the port is open.")] = False,
    standby: Annotated[bool, typer.Option("--standby", help="A node that stands by is green too.")] = False,
    adapter: Annotated[
        Path | None,
        typer.Option(
            "--adapter",
            metavar="PATH",
            help="Probe an adapter: its configuration, or its BufEvtPath.  [default: the server]",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="When to call it hung.")] = 2.0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say in one line whether a node of the server, or an adapter, works.

    Of --ready, --live and --startup, everything that is asked for must be green.
    Exit status 0 green, 1 red: it runs and does not work, 2 it cannot be asked, 3 it certainly does not run.
    """
    if not timeout > 0:
        raise Failure(f"--timeout {timeout:g}: more than 0 seconds", Status.USAGE)
    asked = [name for name, wanted in (("live", live), ("startup", startup), ("ready", ready)) if wanted] or ["ready"]
    try:
        with _deadline(timeout):
            if adapter is not None:
                asked, found = ["adapter"], probe_adapter(adapter, timeout)
            else:
                found = _server(instance or directory, node, asked, standby, timeout)
    except _Late:
        found = Verdict(Status.FAILED, f"no answer within {timeout:g} s")
    text = visible(found.text)[:_LINE]
    if json:
        say_json({"probe": asked, "green": found.status == Status.OK, "reason": text, "status": int(found.status)})
    else:
        say(f"{ {Status.OK: 'green', Status.REFUSED: 'stopped'}.get(found.status, 'red') }: {text}")
    raise typer.Exit(found.status)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raises _Late in this thread after `seconds`, also out of a call that blocks."""

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- the server -------------------------------------------------------------------------------------------------------


def _server(directory: Path | None, node: str | None, asked: list[str], standby: bool, timeout: float) -> Verdict:
    from opentec.commands.link import active, instance_of, node_status, other_runtime, require_own, silent
    from opentec.ha.errors import LeaseDirectoryError
    from opentec.server.errors import Refused
    from opentec.server.instance import choose_node

    instance = instance_of(directory)
    name = choose_node(instance, node)
    try:
        report = node_status(instance, name, timeout * _SHARE)
    except Refused as error:
        return Verdict(Status.FAILED, f"node {name}: {error}")
    if report is not None:
        return judge(report, asked, standby)
    require_own(instance, name)
    newest = None
    with suppress(LeaseDirectoryError):  # whether processes run is known without it
        newest = active(instance)
        if hidden := other_runtime(instance, name, newest):
            return Verdict(Status.FAILED, f"node {name}: {hidden}")
    found = [process for process in processes.find(instance.directory) if process.node == name]
    if not found:
        return Verdict(Status.REFUSED, f"node {name} does not run")
    names = ", ".join(f"{process.name} ({process.pid})" for process in found)
    if any(process.rejoins for process in found):
        return Verdict(Status.FAILED, f"node {name}: {silent(instance, name, newest, found)}")
    if any(process.name == "tec_master" for process in found):
        return Verdict(Status.FAILED, f"node {name}: tec_master does not answer: it hangs, starts, or ends ({names})")
    return Verdict(Status.FAILED, f"node {name}: tec_master is gone and processes of it remain: {names}")


def judge(report: dict[str, Any], asked: list[str], standby: bool) -> Verdict:
    """The verdict on what tec_master says of itself. `asked` holds "ready", "live", "startup"; all must be green.

    `standby`: whether a node that stands by has started, and is ready.
    """
    state, epoch = report["state"], report.get("epoch")
    waits = standby and state == "standby"
    green = {
        "live": not any(cause["restart"] for cause in report.get("causes", ())),
        "startup": waits or state == "up",
        "ready": (waits and not report["reasons"]) or (state == "up" and bool(report["healthy"])),
    }
    text = f"node {report['node']} {'stands by' if state == 'standby' else 'is ' + state}"
    text += f", epoch {epoch}" if epoch is not None else ""
    reasons = report["reasons"]
    if reasons:
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        text += f": {'; '.join(reasons[:_REASONS])}{more}"
    return Verdict(Status.OK if all(green[name] for name in asked) else Status.FAILED, text)


# -- adapters ---------------------------------------------------------------------------------------------------------


def probe_adapter(
    path: Path, timeout: float, proc: Path = Path("/proc"), clock: Callable[[], int] | None = None
) -> Verdict:
    """An adapter by its configuration file, or by its BufEvtPath: does it run, and does it read?

    It writes when it last read into the lock file of its buffer (`opentec.adapters.sign`); `clock` is the boot clock of
    that. Where it writes none, as one of an older version, only that its loop turns is looked at: a loop that polls
    gives up the processor at least once in every PollInterval. That takes two of them; where the timeout is shorter,
    only that the process is there and is not stopped is looked at.
    """
    from opentec.adapters.sign import read_sign
    from opentec.ha.clock import boottime_us

    poll, lock = 1.0, path / "lock"
    if path.is_dir():
        pid = _holder(lock, proc)
    else:
        poll, buffer = _settings(path)
        pid = _titled(path.absolute(), proc)
        if pid is not None:
            lock = buffer / "lock" if buffer is not None else _lock_in_memory(proc, pid)
    state = _state(proc, pid) if pid is not None else None
    if pid is None or state is None:
        return Verdict(Status.REFUSED, f"no adapter runs for {path}")
    if state in ("T", "t"):
        return Verdict(Status.FAILED, f"the adapter (pid {pid}) is stopped by a signal or a debugger")
    sign = read_sign(lock, pid)
    if sign is not None:
        silent = ((clock or boottime_us)() - sign.round) / 1e6
        if silent >= 0:  # else it is of another boot
            return judge_sign(sign, silent, pid, waits=_waits_for_disk(proc, pid))
    patience = 2 * poll
    if patience < timeout and not _turns(proc, pid, patience):
        return Verdict(Status.FAILED, f"the adapter (pid {pid}) shows no sign of life for {patience:g} s")
    return Verdict(Status.OK, f"the adapter runs, pid {pid}")


def judge_sign(sign: Sign, silent: float, pid: int, waits: bool) -> Verdict:
    """The verdict on what an adapter says of itself. `silent`: seconds since its last round of reading; `waits`:
    whether a thread of it waits for a disk right now.

    A full buffer is green: a restart of the adapter would not make room.
    """
    if silent > sign.patience:
        why = {
            "disk": "it waits for the disk of its buffer",
            "fault": "its buffer cannot be written; its messages say why",
        }.get(sign.state, "a thread of it waits for a disk" if waits else "its reading hangs")
        return Verdict(Status.FAILED, f"the adapter (pid {pid}) has read nothing for {silent:.0f} s: {why}")
    waiting = f"{sign.waiting} event{'' if sign.waiting == 1 else 's'} in the buffer"
    server = "connected" if sign.connected else "no server answers"
    full = ", which is full: reading waits until there is room" if sign.state == "full" else ""
    return Verdict(Status.OK, f"the adapter runs, pid {pid}, {server}, {waiting}{full}")


def _settings(conf: Path) -> tuple[float, Path | None]:
    """PollInterval in seconds, and the folder of the disk buffer; None for a buffer in memory."""
    from opentec.adapters.conf import read_conf
    from opentec.events.errors import SourceErrors

    try:
        try:
            found = read_conf(conf)
        except SourceErrors as errors:
            found = _nt_settings(conf, errors)
    except SourceErrors as error:
        raise Failure(str(error), Status.USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename or conf}: {error.strerror}", Status.USAGE) from error
    return found.poll_interval, found.buffer_path if found.buffering == "YES" else None


def _nt_settings(conf: Path, errors: SourceErrors) -> AdapterConf:
    """A file that is not right for the logfile adapter may be one of the NT adapter. Raises SourceErrors of the one
    that it is nearer to."""
    from opentec.adapters.nt.conf import read_nt_conf
    from opentec.events.errors import SourceErrors

    try:
        return read_nt_conf(conf, node="any").common  # the name may be given when the adapter starts
    except SourceErrors as others:
        raise (others if len(others.errors) < len(errors.errors) else errors) from None


def _lock_in_memory(proc: Path, pid: int) -> Path:
    """The lock file of a buffer in memory: its folder has a name that only the adapter knows. A path that does not
    exist where none is found, or may not be looked for."""
    with suppress(OSError):
        for entry in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                file = entry.readlink()
                if file.name == "lock" and file.parent.name.startswith("tecad_"):
                    return file
    return proc / str(pid) / "no-lock"


def _titled(conf: Path, proc: Path) -> int | None:
    """The adapter that runs with this configuration; adapters name themselves `tecad_logfile -c CONF`."""
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            title = os.fsdecode((entry / "cmdline").read_bytes().rstrip(b"\0"))
            own = (entry / "cmdline").stat().st_uid in (os.geteuid(), 0) or os.geteuid() == 0
        except OSError:
            continue
        name, _, rest = title.partition(" -c ")
        if own and name.startswith("tecad_") and rest == str(conf):
            return int(entry.name)
    return None


def _holder(lock: Path, proc: Path) -> int | None:
    """Who holds the flock of a file. Trying to take it would refuse an adapter that starts in this moment."""
    try:
        inode = lock.stat().st_ino
        named = lock.read_text("ascii", "replace").partition("\n")[0].strip()  # the adapter's process id
    except FileNotFoundError:
        return None
    for line in (proc / "locks").read_text().splitlines():
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or words[5].rpartition(":")[2] != str(inode):
            continue
        if named in ("", words[4]):  # else it is a file of that number on another disk
            return int(words[4])
    return None


def _state(proc: Path, pid: int) -> str | None:
    """The state letter of proc(5); None when the process has ended."""
    try:
        state = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    return None if state in ("Z", "X") else state


def _waits_for_disk(proc: Path, pid: int) -> bool:
    """Whether a thread is in uninterruptible sleep."""
    tasks = proc / str(pid) / "task"
    with suppress(OSError):
        return any(_state(tasks, int(task.name)) == "D" for task in tasks.iterdir())
    return False


def _turns(proc: Path, pid: int, seconds: float) -> bool:
    """Does the main thread get or give up a processor within `seconds`? Ends as soon as it does."""
    import time

    def switches() -> str:
        lines = (proc / str(pid) / "status").read_text().splitlines()
        return " ".join(line for line in lines if "ctxt_switches" in line)

    end = time.monotonic() + seconds
    try:
        first = switches()
        while time.monotonic() < end:
            time.sleep(min(0.02, max(0.0, end - time.monotonic())))
            if switches() != first:
                return True
    except OSError:
        return False  # it ended meanwhile
    return False
