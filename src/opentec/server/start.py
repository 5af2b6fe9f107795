"""Starting a node: checks in the foreground, then the daemon, which says when it serves or stands by.

`python -m opentec.server.start INSTANCE NODE COOL_OFF LOCK` is how a node that gave way becomes a fresh standby.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentec.ha import epochs, marks, readers
from opentec.ha.disk import Trial
from opentec.ha.errors import LeaseDirectoryError
from opentec.rules.snapshots import CURRENT, SEEN, WAITING, read_mark, write_mark
from opentec.server import hooks
from opentec.server.config import Config, load_config
from opentec.server.control import Control
from opentec.server.errors import ConfigError, InstanceError, NotRunning, Refused, ServerError
from opentec.server.folders import require_access, short_of_room
from opentec.server.instance import Instance, make_private, runtime_root
from opentec.server.notify import Notifier
from opentec.server.port import port_trouble
from opentec.server.preflight import refuse_network, standing

if TYPE_CHECKING:
    from opentec.server.activation import Chosen

_log = logging.getLogger("master")
_COOL_OFF: Final = 5.0  # seconds that a node which gave way leaves the lease to others
_START_LIMIT: Final = 60.0
_DISK_LIMIT: Final = 10.0  # seconds that the disks may take to answer
_DISK_AGAIN: Final = 5.0  # seconds until a node whose disk failed looks again
_READERS_PATIENCE: Final = 3.0  # seconds that commands which read the files have to end by themselves
_READERS_LIMIT: Final = 15.0  # seconds after which one that could not be told to end refuses the start
_ENDING_LIMIT: Final = 2.0  # seconds between the end of a master's lock and that of its lease
_BUSY_LIMIT: Final = 15.0  # seconds that another master may take to end or to answer
_NO_ANSWER: Final = {"": "does not answer (it hangs, waits for its disk, or has just begun)", "stopping": "is ending"}

Say = Callable[[dict[str, Any]], None]


class DiskTrouble(ServerError):
    """A disk that this node needs cannot be written, or does not answer."""


class AlreadyRunning(ServerError):
    """This node's master runs already."""


def start_daemon(
    instance: Instance, node: str, say: Callable[[str], None], *, accept_gap: bool = False
) -> dict[str, Any]:
    """Start this node in the background; gives {"state": "up"|"standby", ...} once it serves or stands by.

    `say` prints what a person should know meanwhile. Raises AlreadyRunning, ServerError with the reason.
    """
    prepared = Prepared(instance, node, say, accept_gap=accept_gap)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        os.setsid()
        if os.fork():
            os._exit(0)
        _detach(instance, node)
        prepared.become_master(_writer(write_end))
    os.close(write_end)
    os.close(prepared.lock)  # the daemon holds it now
    prepared.lease_settled()  # so it does this one
    os.waitpid(pid, 0)
    try:
        return _wait_for_word(read_end, instance, node)
    finally:
        os.close(read_end)


def run_foreground(instance: Instance, node: str, say: Callable[[str], None], *, accept_gap: bool = False) -> None:
    """Become this node's master here, for units and containers; never returns. Raises as `start_daemon`."""
    prepared = Prepared(instance, node, say, accept_gap=accept_gap)

    def tell(word: dict[str, Any]) -> None:
        say(json.dumps(word))

    prepared.become_master(tell)


def _writer(descriptor: int) -> Say:
    def tell(word: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(word).encode() + b"\n")

    return tell


def _wait_for_word(descriptor: int, instance: Instance, node: str) -> dict[str, Any]:
    end, heard = time.monotonic() + _START_LIMIT, b""
    while b"\n" not in heard:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise ServerError(
                f"node {node} is not up after {_START_LIMIT:.0f} s; `tec status` says what it waits for, "
                f"{instance.logs(node)} holds its logs"
            )
        part = os.read(descriptor, 65536)
        if not part:
            raise ServerError(f"node {node} ended while it started; {instance.logs(node)} holds its logs")
        heard += part
    word: dict[str, Any] = json.loads(heard.split(b"\n", 1)[0])
    if word["state"] == "failed":
        raise ServerError(word["reason"])
    return word


def _detach(instance: Instance, node: str) -> None:
    """Standard input from nothing, output to a file beside the logs."""
    instance.logs(node).mkdir(parents=True, exist_ok=True)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(instance.logs(node) / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


class Prepared:
    """A node whose configuration and rule base were checked, ready to become the master.

    It has locks, and nothing that outlives them but the end of a stop: what it chose is noted when the log has it.
    """

    def __init__(
        self,
        instance: Instance,
        node: str,
        say: Callable[[str], None],
        *,
        accept_gap: bool = False,
        lock: int | None = None,
    ) -> None:
        """`accept_gap`: go on although records between repository and log are missing. `lock`: the descriptor that says
        that this is the node's only master, from a node that gave way: nobody asked for this start, so it takes what
        is active and clears no mark.

        Raises ConfigError, InstanceError, AlreadyRunning, ServerError: each says what to do.
        """
        self.instance, self.node = instance, node
        self.config = load_config(instance)
        if node not in self.config.nodes:
            raise ConfigError(f"node {node!r} is not in {instance.config_file}")
        if lock is not None:
            self._require_disks()  # first: a disk that fails is waited for then, and nothing else is
        require_access(instance, self.config, node, asked=lock is None)
        make_private(instance.runtime(node))
        self.lock = self._only_master() if lock is None else lock
        self.repository_epoch = 0
        self.skip_to_log = False
        self.chosen: Chosen | None = None  # None: what the log names last
        self.alone = False  # nobody was at work when this start looked
        self.rejoins = lock is not None
        self.refused = ""  # why the rule base that was to become active is not
        self._reader_lock: int | None = None  # held alone until the lease is settled: no command reads the files
        self.notices: list[tuple[str, dict[str, Any]]] = []
        try:
            if lock is None:
                self._only_runtime()
                refuse_network(instance, self.config)
                self._require_disks()
                if short := short_of_room(instance, self.config):
                    say(f"warning: {short}")
                self.alone = self._is_alone()
            if self.alone:
                self._compare_log(say, accept_gap)
                self.rule_base = self._choose_rule_base(say)
            else:
                self.rule_base = self.active_rule_base(tried=True)
            self.selector = self._choose_selector(say)
            self._warn(say)
            if self.alone:
                marks.clear_stopped(instance.ha)  # last: a start that is refused leaves the server stopped
        except BaseException:
            if lock is None:
                os.close(self.lock)
            self.lease_settled()
            raise

    def _only_master(self) -> int:
        """A descriptor whose lock only one master of this node can hold; it lives as long as that one does."""
        runtime = self.instance.runtime(self.node)
        descriptor = os.open(runtime / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + _BUSY_LIMIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                state = self._state_of_other(runtime)
                if state not in _NO_ANSWER or time.monotonic() > end:
                    os.close(descriptor)
                    if state not in _NO_ANSWER:
                        raise AlreadyRunning(f"node {self.node} runs already ({state})") from None
                    raise ServerError(
                        f"node {self.node} has a master that {_NO_ANSWER[state]}, waited for {_BUSY_LIMIT:.0f} s; `tec "
                        f"stop --node {self.node}` ends it, then start again; {self.instance.logs(self.node)} has its "
                        "logs"
                    ) from None
            time.sleep(0.05)

    def _only_runtime(self) -> None:
        """Raises ServerError when a master of this node runs on this machine under another runtime directory.

        The lock of this one is ours, so whoever holds the lease in this node's name took that of another directory.
        """
        end = time.monotonic() + _ENDING_LIMIT  # a master that ends lets go of its lock before the lease
        while (file := epochs.newest(self.instance.ha)) and file.node == self.node and epochs.holder_here(file):
            if time.monotonic() > end:
                raise ServerError(
                    f"node {self.node} already runs with pid {file.pid} under another runtime directory than "
                    f"{runtime_root()}; set TEC_RUNTIME_DIR as it has it"
                )
            time.sleep(0.05)

    def _state_of_other(self, runtime: Path) -> str:
        """What the master that holds the lock says of itself, "" while it does not answer."""
        try:
            with Control(runtime / "master.sock", timeout=3) as control:
                state: str = control.call("status")["state"]
        except (NotRunning, Refused):
            return ""
        return state

    def _require_disks(self) -> None:
        """A node that cannot write does not stand by either. Raises ServerError."""
        trial = Trial(self.config.disks(self.instance), self.node, limit=_DISK_LIMIT)
        try:
            if trouble := trial.finish():
                raise DiskTrouble(f"{trouble}; mend the disk, or check the mount and its free space")
        finally:
            trial.close()

    def _is_alone(self) -> bool:
        """True when nobody holds the lease, once no command reads the stopped server's files; none does then, until
        the lease is settled. False when this node will stand by. Raises ServerError when a command reads too long.
        """
        begun, wanted = time.monotonic(), None
        try:
            while self._lease_is_free():
                self._reader_lock = readers.take(self.instance.ha)
                waited = time.monotonic() - begun
                if self._reader_lock is not None:
                    if self._lease_is_free():
                        return True
                    self.lease_settled()
                elif hooks.unsafe("no-reader-lock"):
                    return True
                elif waited > _READERS_LIMIT:
                    raise ServerError(
                        f"a command still reads the files of the stopped server, or another node is about to start: "
                        f"`fuser {self.instance.ha / readers.NAME}` names it; end it and start again"
                    )
                elif waited > _READERS_PATIENCE and wanted is None:
                    wanted = readers.take(self.instance.ha, readers.WANTED)
                time.sleep(0.05)
            return False
        finally:
            if wanted is not None:
                os.close(wanted)

    def lease_settled(self) -> None:
        """This node holds the lease or stands by: commands see that by themselves from here on."""
        if self._reader_lock is not None:
            os.close(self._reader_lock)
            self._reader_lock = None

    def _compare_log(self, say: Callable[[str], None], accept_gap: bool) -> None:
        found = standing(self.instance, self.config)
        self.repository_epoch = found.epoch
        if not found.gap:
            return
        if not accept_gap:
            raise ServerError(f"{found.gap}; put the missing files back, or start with --accept-gap and lose them")
        say(f"warning: {found.gap}; going on without them")
        self.skip_to_log = True
        self.notices.append(
            ("TEC_Error", {"msg": f"accepted a gap: {found.gap}", "source": "TEC", "severity": "FATAL"})
        )

    def _lease_is_free(self) -> bool:
        newest = epochs.newest(self.instance.ha)
        return newest is None or epochs.holder_dead(newest)

    def _choose_rule_base(self, say: Callable[[str], None]) -> Any:
        """The rule base that waits for a start; else that of the configured folder, where it was edited since a rule
        base was last chosen; else, and where the chosen one is broken, the one that was active before.
        """
        from opentec.events.errors import SourceErrors
        from opentec.rules.rulebase import RuleBaseError, snapshot
        from opentec.server.activation import Chosen, hash_of_folder

        rule_bases, current = self.instance.rule_bases, self._current_hash()
        folder, waiting = self.config.rule_base_path(self.instance), read_mark(rule_bases, WAITING)
        seen, seen_before = hash_of_folder(folder), read_mark(rule_bases, SEEN)
        known = current is not None and (rule_bases / current).is_dir()
        if known and not waiting and seen and seen == seen_before:
            return self.active_rule_base(tried=True)
        what = f"the rule base {waiting[:12]}, loaded for this start," if waiting else f"the rule base in {folder}"
        try:
            content_hash = waiting or snapshot(folder, rule_bases)
            base = self._that_runs_here(content_hash)
        except (SourceErrors, RuleBaseError, OSError) as error:
            if current is None:
                raise ServerError(f"{what} is refused:\n{error}") from error
            say(f"{what} is refused and the one before stays active:\n{error}")
            first = str(error).partition("\n")[0]
            slots = {
                "msg": f"{what} is refused, the one before stays active: {first}",
                "source": "TEC",
                "hostname": self.config.server.name,
            }
            self.notices.append(("TEC_Error", slots))
            self.refused = f"{what} was refused at the start, the one before stays active: {first}"
            self.chosen = Chosen("", seen, seen_before, waiting)
            return self.active_rule_base(tried=True)
        if current is None:
            write_mark(rule_bases, CURRENT, content_hash)  # a node that starts behind this one has nothing else to take
        self.chosen = Chosen(content_hash, seen if waiting else content_hash, seen_before, waiting)
        return base

    def _that_runs_here(self, content_hash: str) -> Any:
        """A snapshot's rule base; raises RuleBaseError when this node cannot run it, OSError."""
        from opentec.rules.rulebase import RuleBaseError, load_compiled
        from opentec.server.trial import problem_of

        base = load_compiled(self.instance.rule_bases, content_hash)
        problem = problem_of(base, self.instance.rule_bases)
        if problem:
            raise RuleBaseError(f"rule base {base.name} ({content_hash[:12]}) does not run here: {problem}")
        return base

    def _current_hash(self) -> str | None:
        return read_mark(self.instance.rule_bases, CURRENT) or None

    def active_rule_base(self, *, tried: bool = False) -> Any:
        """The rule base that `rulebase/current` names; raises ServerError.

        `tried`: it must run on this node too. At a takeover there is no time for that, and nothing else to take.
        """
        from opentec.rules.rulebase import RuleBaseError, load_compiled

        content_hash = self._current_hash()
        if content_hash is None:
            raise ServerError(f"{self.instance.rule_bases} names no active rule base; the active node must start first")
        try:
            if tried:
                return self._that_runs_here(content_hash)
            return load_compiled(self.instance.rule_bases, content_hash)
        except (RuleBaseError, OSError) as error:
            raise ServerError(f"the active rule base cannot be loaded: {error}") from error

    def _choose_selector(self, say: Callable[[str], None]) -> str:
        """The selector's name; its self-test runs here once, in a process of its own, and never at a takeover."""
        from opentec.rules.selectors import durable_rules_problem

        wanted = self.config.rules.selector
        if wanted == "indexed":
            return wanted
        problem = durable_rules_problem()
        if problem and wanted == "durable-rules":
            say(f"warning: rules.selector is durable-rules, but {problem}; the indexed selector is used")
        return "indexed" if problem else "durable-rules"

    def _warn(self, say: Callable[[str], None]) -> None:
        if not self.rejoins and not self.alone and (trouble := port_trouble(self.node, self.config.nodes[self.node])):
            say(f"warning: this node could not take over now: {trouble}")
        host = self.config.nodes[self.node].host
        if not (host == "localhost" or host.startswith("127.") or host == "::1"):
            say(
                f"warning: listening on {host}: events travel unencrypted and anyone who reaches the port may send them"
            )

    def become_master(self, ready: Say, cool_off: float = 0.0) -> None:
        """Run the master in this process until it ends, then leave (or begin again as a standby)."""
        import setproctitle

        from opentec.server.logs import log_to_file
        from opentec.server.master import EXIT_GAVE_WAY, EXIT_REJOIN, Master

        setproctitle.setproctitle(f"tec_master -d {self.instance.directory} --node {self.node}")
        log_to_file(self.instance.logs(self.node) / "tec_master.log")
        status = 1
        try:
            master = Master(
                self.instance,
                self.config,
                self.node,
                self.rule_base,
                self.notices,
                ready,
                selector=self.selector,
                repository_epoch=self.repository_epoch,
                skip_to_log=self.skip_to_log,
                cool_off=cool_off,
                load_rule_base=self.active_rule_base,
                active_hash=self._current_hash,
                chosen=self.chosen,
                alone=self.alone,
                refused=self.refused,
                claimed=self.lease_settled,
            )
            status = asyncio.run(master.run())
        except ServerError as error:
            _log.error("%s", error)
            if self.rejoins and _may_come_back(error):
                _wait_for_disk(str(error))
                status = EXIT_REJOIN
            ready({"state": "failed", "reason": str(error)})
        except BaseException as error:
            _log.exception("the master ends")
            ready(
                {"state": "failed", "reason": f"unexpected error: {error!r}; {self.instance.logs(self.node)} has more"}
            )
        if status in (EXIT_REJOIN, EXIT_GAVE_WAY):
            pause = _COOL_OFF if status == EXIT_GAVE_WAY else 0.0
            os.set_inheritable(self.lock, True)
            # a fresh image: nothing of the old epoch stays in memory
            os.execv(  # noqa: S606 - our own program, an argument list
                sys.executable,
                [
                    sys.executable,
                    "-P",  # not a module of whoever owns the directory that this was started in
                    "-m",
                    "opentec.server.start",
                    str(self.instance.directory),
                    self.node,
                    str(pause),
                    str(self.lock),
                ],
            )
        logging.shutdown()
        os._exit(status)


def _wait_for_disk(trouble: str) -> None:
    """A while, and then until no process of this one waits for the disk: trials that hang must not pile up."""
    notifier = Notifier()
    while True:
        # systemd would take the wait for a hang, and after a few starts that fail it would give the node up
        notifier.send("WATCHDOG=1", "STATUS=" + " ".join(trouble.split())[:500])
        time.sleep(_DISK_AGAIN)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            continue  # one is still there
        return


def _may_come_back(error: Exception) -> bool:
    """Is it the storage that is away or fails? Then a node that was at work waits for it."""
    away = (DiskTrouble, InstanceError, LeaseDirectoryError, OSError)
    return isinstance(error, away) or isinstance(error.__cause__, away)


def _rejoin(arguments: list[str]) -> None:
    from opentec.server.logs import log_to_file

    directory, node, pause, lock = arguments
    os.set_inheritable(int(lock), False)
    said = ""
    while True:
        try:
            instance = Instance(Path(directory))
            log_to_file(instance.logs(node) / "tec_master.log")
            prepared = Prepared(instance, node, _log.warning, lock=int(lock))
            break
        except (ServerError, LeaseDirectoryError, OSError) as error:
            if not _may_come_back(error):
                _log.error("node %s cannot stand by again, start it when this is mended: %s", node, error)
                sys.exit(1)
            if str(error) != said:  # that of the disk for which it gave way, most likely
                said = str(error)
                _log.error("node %s stands by again when this is mended: %s", node, error)
            _wait_for_disk(said)
    prepared.become_master(lambda word: None, float(pause))


if __name__ == "__main__":
    _rejoin(sys.argv[1:])


__all__ = ["AlreadyRunning", "Config", "Prepared", "Refused", "run_foreground", "start_daemon"]
