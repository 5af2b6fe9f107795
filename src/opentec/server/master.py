"""tec_master: holds the lease, supervises the other four, answers status and stop (spine: lease, processes).

One thread and no executor, so that fork is safe. As standby it only watches the lease; when it claims it forks the
four and from then on beats, watches and gives way when another node is newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import opentec
from opentec.events.records import name_of
from opentec.ha import epochs, marks
from opentec.ha.errors import LeaseDirectoryError, LeaseLost
from opentec.ha.lease import PRESETS, Lease
from opentec.ha.lease import gc as drop_old_epochs
from opentec.ha.watch import Decision, Watch
from opentec.log.codec import parse_segment_name
from opentec.log.segments import bytes_between, segment_paths
from opentec.server.child import Context
from opentec.server.config import Config
from opentec.server.errors import Refused, ServerError
from opentec.server.instance import Instance
from opentec.server.progress import CHILDREN, Progress, Word, boot_us
from opentec.server.rpc import Peer, RpcClient, RpcServer
from opentec.server.supervisor import GiveUp, Supervisor

_log = logging.getLogger("master")
_PR_SET_CHILD_SUBREAPER: Final = 36
_WATCH: Final = 0.25
_DRAIN: Final = 10.0
_QUARANTINE: Final = 5.0  # seconds that reception has for it, and for a notice
_LOOK: Final = 0.05  # seconds between a standby's looks at the lease

EXIT_REJOIN: Final = 75  # another node took over: this one stands by again
EXIT_GAVE_WAY: Final = 76  # this node's own fault: it stands by again after a pause


class Master:
    """One node's master process. `run` gives its exit status."""

    def __init__(
        self,
        instance: Instance,
        config: Config,
        node: str,
        rule_base: Any,
        notices: list[tuple[str, dict[str, Any]]],
        ready: Callable[[dict[str, Any]], None],
        *,
        selector: str = "indexed",
        repository_epoch: int = 0,
        skip_to_log: bool = False,
        cool_off: float = 0.0,
        load_rule_base: Callable[[], Any] | None = None,
        activates: bool = True,
    ) -> None:
        """`ready` is called when this node serves or stands by. `load_rule_base` gives the active one at a takeover.

        `activates`: this start chose `rule_base`; else, and at a takeover, the log's last one rules.
        """
        self._instance, self._config, self._node = instance, config, node
        self._rule_base, self._notices, self._ready = rule_base, notices, ready
        self._load_rule_base, self._activates = load_rule_base, activates
        self._cool_off, self._selector = cool_off, selector
        self._repository_epoch, self._skip_to_log = repository_epoch, skip_to_log
        self._preset = PRESETS[config.ha.heartbeat]
        self._state = "starting"
        self._progress = Progress()
        self._supervisor: Supervisor | None = None
        self._lease: Lease | None = None
        self._context: Context | None = None
        self._started = self._moving_at = boot_us()
        self._last_committed = 0
        self._stop = asyncio.Event()
        self._stop_kind = ""
        self._failure: GiveUp | None = None
        self._child_died = asyncio.Event()
        self._rpc = RpcServer(instance.runtime(node) / "master.sock", self._handle)

    async def run(self) -> int:
        """Stand by, serve, end. 0 = stopped as asked, EXIT_REJOIN = another node took over, else failed."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, "node")
        loop.add_signal_handler(signal.SIGCHLD, self._child_died.set)
        await self._rpc.start()
        try:
            if not await self._stand_by():
                return 0
            return await self._serve()
        finally:
            if self._supervisor is not None:
                self._supervisor.end_all()
            if self._lease is not None:
                self._lease.release()
            self._rpc.close()

    def _asked_to_stop(self, kind: str) -> None:
        self._stop_kind = self._stop_kind or kind
        self._stop.set()

    # -- standby ----------------------------------------------------------------------------------------------------

    async def _stand_by(self) -> bool:
        """Wait for the lease; True when it was claimed, False when asked to stop before."""
        watch = Watch(self._instance.ha, self._node, self._preset)
        not_before = boot_us() + int(self._cool_off * 1e6)
        trouble = ""
        while not self._stop.is_set():
            try:
                ended = self._look(watch, not_before)
                trouble = ""
            except LeaseDirectoryError as error:
                if self._state != "standby":
                    raise ServerError(str(error)) from error
                # storage that is away for a moment must not cost the standby
                if str(error) != trouble:
                    trouble = str(error)
                    _log.warning("cannot look at the lease: %s", trouble)
                ended = None
            if ended is not None:
                return ended
            await asyncio.sleep(_LOOK)
        return False

    def _look(self, watch: Watch, not_before: int) -> bool | None:
        """One look at the lease: True when it was claimed, False when this node shall rest, None to look again."""
        directory = self._instance.ha
        if self._state == "standby" and marks.stopped(directory):
            _log.info("the logical server was stopped: this node rests too")
            return False
        decision = watch.decide()
        if decision is not None and boot_us() >= not_before:
            started = boot_us()
            lease = Lease.claim(
                directory,
                self._node,
                [self._config.nodes[self._node].listen],
                decision.expect,
                repository_epoch=max(self._last_logged(), self._repository_epoch),
            )
            if lease is not None:
                self._lease = lease
                self._claimed(decision, started)
                return True
        elif self._state == "starting" and boot_us() >= not_before:
            self._state = "standby"
            active = epochs.newest(directory)
            _log.info("standing by for %s", active.node if active else "nobody")
            self._ready({"state": "standby", "active": active.node if active else ""})
        return None

    def _last_logged(self) -> int:
        """The newest epoch that has a segment: it got as far as opening its port."""
        return max(
            (key[0] for path in segment_paths(self._instance.rx) if (key := parse_segment_name(path.name))), default=0
        )

    def _claimed(self, decision: Decision, now: int) -> None:
        """Put together what the notice will say, and what the four processes need to know."""
        assert self._lease is not None
        epoch, before, last_logged = self._lease.epoch, decision.holder, self._last_logged()
        if self._load_rule_base is not None and self._state == "standby":
            self._rule_base = self._load_rule_base()
        if before is None or not last_logged or marks.ended_cleanly(self._instance.ha, before.number):
            takeover: dict[str, Any] = {
                "class": "TEC_Start",
                "msg": f"server {self._config.server.name} starts on node {self._node}",
                "epoch": epoch,
                "node": self._node,
            }
        else:
            planned = marks.switch_requested(self._instance.ha, before.number) is not None
            reason = "planned switch" if planned else decision.reason
            gap = 0.0
            with contextlib.suppress(OSError):
                gap = max(0.0, time.time() - before.path.stat().st_mtime)  # the last beat is its last write
            takeover = {
                "class": "TEC_Failover",
                "msg": f"{before.node or 'unknown'} -> {self._node}: {reason}",
                "epoch": epoch,
                "from_node": before.node,
                "to_node": self._node,
                "reason": reason,
                "gap": round(gap, 3),
                "skipped_epochs": max(0, epoch - last_logged - 1),
                "rule_base": self._rule_base.content_hash,
            }
        takeover |= {"source": "TEC", "hostname": self._config.server.name}
        _log.info("epoch %d is ours: %s", epoch, decision.reason)
        self._context = Context(
            self._instance,
            self._config,
            self._node,
            epoch,
            self._progress,
            self._rule_base,
            takeover,
            self._notices,
            self._selector,
            self._skip_to_log,
            self._activates and self._state != "standby",
        )

    # -- active -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> int:
        assert self._context is not None and self._lease is not None
        self._state = "starting"
        (self._context.runtime / "fatal").unlink(missing_ok=True)
        gc.collect()
        gc.freeze()
        self._supervisor = Supervisor(self._context, self._quarantine, self._post)
        self._supervisor.start_all()
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._beating(), self._watching(), self._reaping(), self._stop.wait(), self._becoming_ready())
        ]
        try:
            pending = set(tasks)
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if self._stop.is_set():
                    break
            return await self._end()
        except GiveUp as error:
            return self._give_up(error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _beating(self) -> None:
        assert self._lease is not None
        drop_old_epochs(self._instance.ha)
        while True:
            try:
                self._lease.beat()
            except LeaseLost as error:
                raise GiveUp("superseded", str(error)) from error
            except OSError as error:
                if self._lease.overdue(self._preset):
                    raise GiveUp("demote", f"the lease cannot be renewed: {error}") from error
            await asyncio.sleep(self._preset.beat_us / 1e6)

    async def _watching(self) -> None:
        assert self._supervisor is not None
        while True:
            await asyncio.sleep(_WATCH)
            self._supervisor.watch()
            committed = self._progress[Word.COMMITTED]
            if committed != self._last_committed or committed >= self._progress[Word.DURABLE]:
                self._last_committed, self._moving_at = committed, boot_us()

    async def _reaping(self) -> None:
        assert self._supervisor is not None
        while True:
            await self._supervisor.reaped()
            await self._child_died.wait()
            self._child_died.clear()

    async def _becoming_ready(self) -> None:
        while not all(self._progress[Word.READY_RECEPTION + number] for number in range(len(CHILDREN))):
            await asyncio.sleep(0.01)
            if self._progress[Word.READY_RECEPTION] and self._state == "starting":
                self._state = "up"  # the port is open: what follows does not widen the gap
        self._state = "up"
        assert self._lease is not None
        _log.info("up: epoch %d on node %s", self._lease.epoch, self._node)
        self._ready({"state": "up", "epoch": self._lease.epoch})

    async def _quarantine(self, position: int, reason: str) -> None:
        problem = await self._tell_reception("quarantine", [position, reason])
        if problem:
            _log.error("the record at %s could not be set aside: %s", name_of(position), problem)

    async def _post(self, class_name: str, slots: dict[str, Any]) -> None:
        """Append an event of the server's own to the log."""
        problem = await self._tell_reception("notice", [class_name, slots])
        if problem:
            _log.error("%s cannot be posted: %s; it would have said: %s", class_name, problem, slots.get("msg"))

    async def _tell_reception(self, operation: str, argument: list[Any]) -> str:
        """Ask reception for something; "" when it is done, else why it is not."""
        assert self._context is not None
        try:
            client = await RpcClient.connect(self._context.runtime / "reception.sock")
            try:
                # while the disk is full there is no answer, and the other processes must be watched meanwhile
                async with asyncio.timeout(_QUARANTINE):
                    await client.call(operation, argument)
            finally:
                client.close()
        except (OSError, ServerError, TimeoutError) as error:
            return str(error) or type(error).__name__
        return ""

    async def _end(self) -> int:
        """A stop that was asked for: finish what is in the log, mark the epoch, give the lease back."""
        assert self._lease is not None and self._supervisor is not None
        self._state = "stopping"
        drained = await self._supervisor.drain(_DRAIN)
        if not drained:
            _log.warning("stopped with events waiting in the log: the next start processes them")
        self._supervisor.end_all()
        if self._stop_kind == "stop":
            marks.mark_stopped(self._instance.ha, self._lease.epoch)
        elif marks.switch_requested(self._instance.ha, self._lease.epoch) is None:
            marks.request_switch(self._instance.ha, self._lease.epoch)
        return 0

    def _give_up(self, error: GiveUp) -> int:
        assert self._lease is not None and self._supervisor is not None
        _log.error("%s: %s", error.kind, error.reason)
        self._supervisor.end_all()
        self._failure = error
        if error.kind == "superseded":
            return EXIT_REJOIN
        if error.kind == "demote":
            with contextlib.suppress(LeaseDirectoryError):
                marks.request_switch(self._instance.ha, self._lease.epoch)
            return EXIT_GAVE_WAY
        self._ready({"state": "failed", "reason": error.reason})
        return 1

    # -- control socket ---------------------------------------------------------------------------------------------

    async def _handle(self, peer: Peer, operation: str, argument: Any) -> Any:
        if operation != "status" and not peer.is_own:
            raise Refused("only the server's own user may do that")
        match operation:
            case "status":
                return self.status()
            case "stop":
                self._asked_to_stop("node" if argument == "node" else "stop")
                return os.getpid()
        raise Refused(f"the master has no operation {operation!r}")

    def status(self) -> dict[str, Any]:
        """Everything that `tec status` shows. Healthy is progress, not processes (redbook appendix C)."""
        progress, now = self._progress, boot_us()
        reasons: list[str] = []
        processes: dict[str, Any] = {"tec_master": {"pid": os.getpid(), "beat": 0.0}}
        if self._supervisor is not None:
            for child in self._supervisor.children:
                silent = (now - progress[Word.BEAT_RECEPTION + child.number]) / 1e6
                processes[f"tec_{child.name}"] = {"pid": child.pid, "beat": round(silent, 2)}
                if not child.pid:
                    reasons.append(f"tec_{child.name} is not running")
                elif silent > max(2.0, self._config.supervision.hang_after / 2):
                    reasons.append(f"tec_{child.name} shows no sign of life for {silent:.0f} s")
                elif not progress[Word.READY_RECEPTION + child.number]:
                    reasons.append(f"tec_{child.name} is not ready yet")
        waiting = bytes_between(self._instance.rx, progress[Word.COMMITTED], progress[Word.DURABLE])
        if self._state in ("up", "starting") and self._lease is not None:
            reasons += self._trouble(now, waiting)
        return {
            "server": self._config.server.name,
            "node": self._node,
            "state": self._state,
            "healthy": self._state == "up" and not reasons,
            "reasons": reasons,
            "epoch": self._lease.epoch if self._lease else None,
            "version": opentec.__version__,
            "processes": processes,
            "durable": name_of(progress[Word.DURABLE]),
            "committed": name_of(progress[Word.COMMITTED]),
            "waiting_bytes": waiting,
            "connections": progress[Word.CONNECTIONS],
            "acknowledged": progress[Word.ACKED],
            "rejected": progress[Word.REJECTED],
            "log_bytes": progress[Word.RX_BYTES],
            "programs_waiting": progress[Word.PROGRAMS],
            "forwards_waiting": progress[Word.FORWARDS],
            "recovered": bool(progress[Word.RECOVERED]),
            "rule_base": self._rule_base_at_work(),
            "recent": list(self._supervisor.events) if self._supervisor else [],
            "uptime": round((now - self._started) / 1e6, 1),
        }

    def _rule_base_at_work(self) -> str:
        """What the rule process runs; "" before it runs any. A standby's is the one it would begin with."""
        if self._supervisor is None:
            return str(getattr(self._rule_base, "content_hash", ""))[:12]
        at_work = self._progress[Word.RULE_BASE]
        return f"{at_work:012x}" if at_work else ""

    def _trouble(self, now: int, waiting: int) -> list[str]:
        progress, reasons = self._progress, []
        away = progress[Word.REPOSITORY_ERROR_SINCE]
        if away:
            reasons.append(f"the repository does not answer for {(now - away) / 1e6:.0f} s; events wait in the log")
        stuck = (now - self._moving_at) / 1e6
        if waiting > 0 and stuck > self._config.supervision.stuck_after and not away:
            reasons.append(f"events wait in the log and nothing was committed for {stuck:.0f} s")
        if progress[Word.PAUSED]:
            reasons.append("sockets are not read: the reception log or its disk is full")
        return reasons
