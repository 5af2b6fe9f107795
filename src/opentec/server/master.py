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
from opentec.ha.disk import Trial
from opentec.ha.errors import LeaseDirectoryError, LeaseLost
from opentec.ha.lease import Lease
from opentec.ha.lease import gc as drop_old_epochs
from opentec.ha.watch import Decision, Watch
from opentec.rim.schema import SCHEMA_VERSION
from opentec.server import hooks, leaving, report
from opentec.server.activation import Chosen
from opentec.server.child import Context
from opentec.server.config import Config
from opentec.server.errors import Refused, ServerError
from opentec.server.health import Limits, Reason, Vitals, judge
from opentec.server.instance import Instance
from opentec.server.notify import Notifier
from opentec.server.progress import CHILDREN, Progress, Word, boot_us
from opentec.server.rpc import Peer, RpcClient, RpcServer
from opentec.server.supervisor import GiveUp, Supervisor
from opentec.server.takeover import first_notice

_log = logging.getLogger("master")
_PR_SET_CHILD_SUBREAPER: Final = 36
_WATCH: Final = 0.25
_DRAIN: Final = 10.0
_QUARANTINE: Final = 5.0  # seconds that reception has for it, and for a notice
_LOOK: Final = 0.05  # seconds between a standby's looks at the lease
_TRIAL: Final = 10.0  # seconds between a standby's trials of its disks
_WARM_US: Final = 500_000  # microseconds between a standby's looks at which rule base is active
_TRIAL_LIMIT: Final = 10.0  # seconds after which a disk hangs

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
        active_hash: Callable[[], str | None] | None = None,
        chosen: Chosen | None = None,
        alone: bool = False,
        refused: str = "",
        claimed: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready` is called when this node serves or stands by, `claimed` when it holds the lease or waits for it.

        `load_rule_base` gives the active one while this node stands by, `active_hash` says which. `chosen`: by this
        start, `alone` if it found nobody at work; else the log's last one rules. `refused`: why what it chose does not.
        """
        self._instance, self._config, self._node, self._log = instance, config, node, instance.log_store()
        self._notifier = Notifier()
        self._rule_base, self._notices, self._ready = rule_base, notices, self._notifier.before(ready)
        self._load_rule_base, self._active_hash, self._chosen = load_rule_base, active_hash, chosen
        self._alone, self._refused, self._lease_settled = alone, refused, claimed
        self._cool_off, self._selector = cool_off, selector
        self._repository_epoch, self._skip_to_log = repository_epoch, skip_to_log
        self._preset = config.ha.preset
        self._state, self._progress = "starting", Progress()
        self._supervisor: Supervisor | None = None
        self._lease: Lease | None = None
        self._context: Context | None = None
        self._started = boot_us()
        self._vitals = Vitals(self._progress, Limits.of(config))
        self._warnings = report.warnings_of(instance, config)
        self._disk_trouble = ""  # of a node that stands by
        self._disk_looked, self._disk_excused = boot_us(), 0
        self._too_old = ""  # to take over from the node at work
        self._warm_at = 0
        self._stop, self._stop_kind = asyncio.Event(), ""
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
        self._notifier.stopping()
        self._stop.set()

    # -- standby ----------------------------------------------------------------------------------------------------

    async def _stand_by(self) -> bool:
        """Wait for the lease; True when it was claimed, False when asked to stop before."""
        watch = Watch(self._instance.ha, self._node, self._preset, version=SCHEMA_VERSION, alone=self._alone)
        not_before = boot_us() + int(self._cool_off * 1e6)
        trial = Trial(self._config.disks(self._instance), self._node, limit=_TRIAL_LIMIT, interval=_TRIAL)
        try:
            return await self._watch_lease(watch, not_before, trial)
        finally:
            trial.close()

    def _tell_systemd(self) -> None:
        self._notifier.look(lambda: self._state, lambda: self._causes(self._waiting()))

    async def _watch_lease(self, watch: Watch, not_before: int, trial: Trial) -> bool:
        trouble = ""
        while not self._stop.is_set():
            try:
                if self._state == "standby":
                    self._tell_systemd()
                    self._try_disks(trial)
                    self._keep_warm()
                ended = self._look(watch, not_before)
                trouble = ""
            except (LeaseDirectoryError, OSError) as error:
                if self._state != "standby":
                    raise ServerError(str(error)) from error
                if self._lease is not None:  # claimed, but nobody would serve: it must not look alive
                    self._lease.release()
                    self._lease = None
                # storage that is away for a moment must not cost the standby
                if str(error) != trouble:
                    trouble = str(error)
                    _log.warning("cannot look at the lease: %s", trouble)
                ended = None
            if ended is not None:
                return ended
            await asyncio.sleep(_LOOK)
        return False

    def _try_disks(self, trial: Trial) -> None:
        """A node whose own disk fails must not take over: it could not write."""
        before, self._disk_trouble = self._disk_trouble, trial.look(time.monotonic())
        if self._disk_trouble != before:
            _log.warning("%s", f"not ready to take over: {self._disk_trouble}" if self._disk_trouble else "ready again")

    def _keep_warm(self) -> None:
        """Have the active rule base compiled before it is needed; what fails here is told when it matters."""
        if boot_us() < self._warm_at:
            return
        self._warm_at = boot_us() + _WARM_US
        with contextlib.suppress(OSError, ServerError):
            marks.forget_left(self._instance.ha, self._node)
            if self._load_rule_base is not None and not self._is_warm():
                self._rule_base = self._load_rule_base()
                _log.info("rule base %s (%s) is loaded", self._rule_base.name, self._rule_base.content_hash[:12])

    def _is_warm(self) -> bool:
        """Is the rule base in memory the active one?"""
        return self._active_hash is not None and self._active_hash() == self._rule_base.content_hash

    def _look(self, watch: Watch, not_before: int) -> bool | None:
        """One look at the lease: True when it was claimed, False when this node shall rest, None to look again."""
        directory = self._instance.ha
        if self._state == "standby" and marks.stopped(directory):
            _log.info("the logical server was stopped: this node rests too")
            return False
        decision = watch.decide()
        self._outdated(watch)
        if decision is not None and boot_us() >= not_before and not self._disk_trouble:
            lease = Lease.claim(
                directory,
                self._node,
                [self._config.nodes[self._node].listen],
                decision.expect,
                repository_epoch=max(self._log.newest_epoch(), self._repository_epoch),
                version=SCHEMA_VERSION,
            )
            if lease is not None:
                self._lease = lease
                self._lease_settled()
                self._claimed(decision)
                return True
        elif self._state == "starting" and boot_us() >= not_before and not watch.undecided:
            self._state, self._chosen = "standby", None  # the next start looks again
            self._lease_settled()
            gc.collect()
            gc.freeze()  # now, so that a takeover forks at once
            active = epochs.newest(directory)
            _log.info("standing by for %s", active.node if active else "nobody")
            self._ready({"state": "standby", "active": active.node if active else ""})
        return None

    def _outdated(self, watch: Watch) -> None:
        """A node that is older than the one at work is of no use as a standby, and says so (docs/upgrade.md)."""
        before, self._too_old = self._too_old, report.too_old(watch.newer) if watch.newer else ""
        if self._too_old and self._state == "starting":
            raise ServerError(self._too_old)
        if self._too_old not in ("", before):
            _log.error("this node would not take over: %s", self._too_old)

    def _claimed(self, decision: Decision) -> None:
        """Put together what the notice will say, and what the four processes need to know."""
        assert self._lease is not None
        if self._load_rule_base is not None and self._state == "standby" and not self._is_warm():
            try:
                self._rule_base = self._load_rule_base()
            except (OSError, ServerError) as error:  # reception takes what the log names, which this one may well be
                _log.error("taking over with rule base %s: %s", self._rule_base.content_hash[:12], error)
        epoch = self._lease.epoch
        takeover = first_notice(
            self._instance.ha,
            decision,
            server=self._config.server.name,
            node=self._node,
            epoch=epoch,
            last_logged=self._log.newest_epoch(),
            rule_base=self._rule_base.content_hash,
        )
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
            self._chosen is not None and self._chosen.activates,
            self._chosen,
        )

    # -- active -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> int:
        assert self._context is not None and self._lease is not None
        if self._state != "standby":
            gc.collect()
        gc.freeze()
        self._state = "starting"
        (self._context.runtime / "fatal").unlink(missing_ok=True)
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
        with contextlib.suppress(OSError, LeaseDirectoryError):  # the beat says it better
            drop_old_epochs(self._instance.ha)
        while True:
            begun = boot_us()
            try:
                self._lease.beat()
            except LeaseLost as error:
                raise GiveUp("superseded", str(error)) from error
            except OSError as error:
                if self._lease.overdue(self._preset) and not hooks.unsafe("no-self-demotion"):
                    raise GiveUp("demote", f"the lease cannot be renewed: {error}") from error
            else:
                took = boot_us() - begun
                # a disk_limit of 0, as of a single node, says that slowness is no reason to give way
                bounded = self._config.disk_limit and not hooks.unsafe("no-self-demotion")
                if bounded and took > self._preset.step_down_us:
                    raise GiveUp("demote", f"renewing the lease took {took / 1e6:.1f} s: the disk hangs")
            await asyncio.sleep(self._preset.beat_us / 1e6)

    async def _watching(self) -> None:
        assert self._supervisor is not None
        while True:
            await asyncio.sleep(min(_WATCH, self._preset.beat_us / 4e6))
            self._supervisor.watch()
            self._vitals.look(self._waiting)
            self._tell_systemd()
            self._watch_disk()

    def _watch_disk(self) -> None:
        """A disk that takes too long: this node acknowledges nothing, and another one may do better."""
        limit = self._config.disk_limit
        if not limit or hooks.unsafe("no-self-demotion"):
            return
        progress, now = self._progress, boot_us()
        away, self._disk_looked = now - self._disk_looked, now
        # Reception that hangs is the supervisor's affair. What stood still with it, or with this master, proves nothing
        # about the disk: a write under way gets the whole time again.
        if max(now - progress[Word.BEAT_RECEPTION], away) > max(limit / 2, 0.5) * 1e6:
            self._disk_excused = now
            return
        for word, what in ((Word.SYNC_SINCE, "making records durable"), (Word.PROBE_SINCE, "a trial write")):
            since = progress[word]
            if since and now - max(since, self._disk_excused) > limit * 1e6:
                raise GiveUp("demote", f"{what} has taken longer than {limit:.3g} s: the disk hangs")

    def _waiting(self) -> int:
        """Bytes of the log that are not committed."""
        progress = self._progress
        return self._log.bytes_between(progress[Word.COMMITTED], progress[Word.DURABLE])

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
        # another node goes on with the log at once; to finish it first would be part of the gap
        moves = self._stop_kind != "stop" and len(self._config.nodes) > 1
        drained = await self._supervisor.drain(0.0 if moves else _DRAIN)
        if not drained:
            _log.warning("stopped with events waiting in the log: the next start processes them")
        self._supervisor.end_all()
        if self._stop_kind != "stop" and marks.switch_requested(self._instance.ha, self._lease.epoch) is None:
            marks.request_switch(self._instance.ha, self._lease.epoch)
        return 0

    def _give_up(self, error: GiveUp) -> int:
        assert self._supervisor is not None
        if error.kind == "demote":
            return self._give_way(error.reason)
        _log.error("%s", error.told(self._instance.ha))
        self._supervisor.end_all()
        if error.kind == "superseded":
            return EXIT_REJOIN
        self._ready({"state": "failed", "reason": error.reason})
        return 1

    def _give_way(self, reason: str) -> int:
        """Let the standby have the lease now: a process that waits for a hung disk ends only when that answers."""
        assert self._lease is not None and self._supervisor is not None
        left = self._supervisor.end_all(patience=(self._preset.ttl_us - self._preset.step_down_us) / 2e6)
        self._supervisor = None  # nobody waits for what is left: it ends when its disk answers
        leaving.give_way(self._lease, self._node, reason, left)
        _log.error("demote: %s", reason)  # not before: the log's disk may be the one that hangs
        if left:
            _log.error("still waiting for the disk, and killed: pid %s", ", ".join(map(str, left)))
        return EXIT_GAVE_WAY

    # -- control socket ---------------------------------------------------------------------------------------------

    async def _handle(self, peer: Peer, operation: str, argument: Any) -> Any:
        if operation != "status" and not peer.is_own:
            raise Refused("only the server's own user may do that")
        match operation:
            case "status":
                return self.status()
            case "stop":
                if argument != "node" and self._lease is not None:
                    leaving.mark_stopped(self._lease, others=len(self._config.nodes) > 1)
                self._asked_to_stop("node" if argument == "node" else "stop")
                return os.getpid()
        raise Refused(f"the master has no operation {operation!r}")

    def status(self) -> dict[str, Any]:
        """Everything that `tec status` shows. Healthy is progress, not processes (redbook appendix C)."""
        progress, now = self._progress, boot_us()
        processes: dict[str, Any] = {"tec_master": {"pid": os.getpid(), "beat": 0.0}}
        for child in self._supervisor.children if self._supervisor is not None else []:
            silent = (now - progress[Word.BEAT_RECEPTION + child.number]) / 1e6
            processes[f"tec_{child.name}"] = {"pid": child.pid, "beat": round(silent, 2)}
        waiting = self._waiting()
        causes = self._causes(waiting)
        return {
            "server": self._config.server.name,
            "node": self._node,
            "state": self._state,
            "healthy": self._state == "up" and not causes,
            "reasons": [cause.text for cause in causes],
            "causes": [
                {"code": cause.code, "since": round(cause.since, 1), "restart": cause.restart} for cause in causes
            ],
            "warnings": self._warnings,
            "epoch": self._lease.epoch if self._lease else None,
            "version": opentec.__version__,
            "processes": processes,
            "waiting_bytes": waiting,
            **report.numbers(progress),
            "rule_base": self._rule_base_at_work(),
            "recent": list(self._supervisor.events) if self._supervisor else [],
            "uptime": round((now - self._started) / 1e6, 1),
        }

    def _causes(self, waiting: int) -> list[Reason]:
        """Why this node is not healthy, or would not take over."""
        if trouble := self._too_old or self._disk_trouble:
            code = "version" if self._too_old else "disk"
            return [Reason(code, f"this node would not take over: {trouble}", 0.0, False)]
        if self._supervisor is None:
            return []
        pids = {child.name: child.pid for child in self._supervisor.children}
        serving = self._state in ("up", "starting") and self._lease is not None
        stayed, at_work = str(getattr(self._rule_base, "content_hash", ""))[:12], self._rule_base_at_work()
        readings = self._vitals.readings(
            pids,
            waiting,
            stale=report.stale_writer(self._instance, self._progress),
            # whatever was activated since is what somebody wanted
            refused=self._refused if at_work in ("", stayed) else "",
        )
        found = judge(readings, self._vitals.limits)
        return found if serving else [reason for reason in found if reason.code in ("process", "hung", "not-ready")]

    def _rule_base_at_work(self) -> str:
        """What the rule process runs; "" before it runs any. A standby's is the one it would begin with."""
        if self._supervisor is None:
            return str(getattr(self._rule_base, "content_hash", ""))[:12]
        at_work = self._progress[Word.RULE_BASE]
        return f"{at_work:012x}" if at_work else ""
