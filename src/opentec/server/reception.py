"""tec_reception: recovers the log, opens the port, takes events and changes in (spine: takeover, reception log)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import time
from typing import Any, Final

import msgspec

from opentec.events.errors import EventError
from opentec.events.image import EventKey, is_key, key_name
from opentec.events.names import nearest
from opentec.events.records import (
    ActivatePayload,
    ChangePayload,
    Kind,
    QuarantinePayload,
    epoch_of,
    name_of,
    position_of,
)
from opentec.log.clock import LogClock
from opentec.log.errors import LogWriteFailed
from opentec.log.segments import Recovered
from opentec.rules.rulebase import RuleBase
from opentec.rules.traced import TraceError, TraceRequest
from opentec.server import activation, hooks
from opentec.server.child import Context, Demote, Fatal
from opentec.server.damage import Damage
from opentec.server.disks import try_disks
from opentec.server.errors import Refused
from opentec.server.folders import too_little
from opentec.server.intake import Intake
from opentec.server.progress import CHILDREN, Word
from opentec.server.receiver import Connection
from opentec.server.rpc import Peer, RpcServer

_log = logging.getLogger("reception")
_ME: Final = CHILDREN.index("reception")
_TICK_SHORTEST: Final = 0.1  # seconds: at most ten TICKs a second
_HOUSEKEEPING: Final = 2.0
_PORT_TRIES: Final = 100
_INTERNAL: Final = frozenset(("follow", "notice", "quarantine", "damaged"))
_DISK_FAILS: Final = (errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE)  # another node may do better


class Reception:
    """The reception process."""

    def __init__(self, context: Context) -> None:
        self._context = context = dataclasses.replace(context)  # its rule base is this process's own
        self._config, self._log = context.config.rx, context.log
        recovered = self._recover()
        # a segment that is still empty began this epoch, but the notice is not in it
        self._continued = recovered.end > position_of(context.epoch, 0)
        context.rule_base = activation.rule_base_of_log(context, recovered.rule_base, self._continued)
        self._loading = asyncio.Lock()
        self._loaded: tuple[int, RuleBase] | None = None  # of the last load: its position, and the rule base before
        self._told = 0  # where the last notice of a record that was set aside stands
        self._reserve = int(self._log.disk()[0] * self._config.free_percent / 100)
        writer = self._log.open_writer(
            context.epoch, recovered, segment_size=self._config.segment_size, free_reserve=self._reserve
        )
        self._intake = Intake(
            writer,
            LogClock(recovered.time),
            context.rule_base.classes,
            context.progress,
            context.superseded,
            max_event=self._config.max_event,
            max_connections=self._config.max_connections,
            window=self._config.window,
            backlog=self._config.backlog,
            slow=context.config.ha.preset.ttl_us / 3e6,
        )
        self._damage = Damage(
            context.instance.rx, self._tell_error, lambda: context.progress[Word.DURABLE], self._log.place_of
        )
        self._rule: Peer | None = None
        self._rpc = RpcServer(context.runtime / "reception.sock", self._handle, gone=self._gone)
        self._server: asyncio.Server | None = None
        self._start_slots = dict(context.takeover)
        self._recovered = recovered
        writer.unsafe_skip_sync = hooks.unsafe("no-fdatasync")
        writer.superseded = context.superseded

    def _recover(self) -> Recovered:
        started = time.monotonic()
        recovered = self._log.recover()
        if recovered.discarded:
            _log.warning(
                "%d bytes at the end of the log, from %s on, are discarded: a write that was cut short, or damage of "
                "the last record",
                recovered.discarded,
                name_of(recovered.end),
            )
        if recovered.end and epoch_of(recovered.end) > self._context.epoch:
            raise Fatal(f"the log has records of epoch {epoch_of(recovered.end)}, this is epoch {self._context.epoch}")
        _log.info("log recovered up to %s in %.3f s", name_of(recovered.end), time.monotonic() - started)
        return recovered

    # -- start ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Seal what was, post the notice as first record, open the port, go on until the end."""
        context, intake = self._context, self._intake
        intake.published = self._published
        if not self._continued:
            self._post_start()
        activated = None
        if intake.writer.rule_base != context.rule_base.content_hash:
            self._append(context.rule_base)
            activated = intake.writer.time
        for name, slots in context.notices if not self._continued else []:
            intake.try_notice(name, slots)
        if self._continued:
            intake.add(Kind.TICK)  # a first record: the segment that seals the one before must exist
        try:
            await intake.commit()
        except LogWriteFailed as error:
            raise Demote(str(error)) from error
        activation.remember(context, log_time=activated, loaded=False)
        hooks.reach("takeover.sealed")
        await self._rpc.start()
        await self._open_port()
        context.progress.ready(_ME)
        try:
            await asyncio.gather(
                intake.run(), self._ticks(), self._housekeeping(), self._rpc.failed(), try_disks(context)
            )
        except LogWriteFailed as error:
            raise Demote(str(error)) from error

    def _activate(self, **more: Any) -> ActivatePayload:
        base = self._context.rule_base
        return ActivatePayload(base.content_hash, base.name, {**msgspec.to_builtins(base.settings), **more})

    def _append(self, base: RuleBase) -> int:
        """Add the record that makes a rule base the active one; gives its position.

        Nothing else runs meanwhile: what was added before it was checked against the classes before, the rest against
        these.
        """
        self._context.rule_base = base
        position = self._intake.add(Kind.ACTIVATE, self._activate())
        self._intake.writer.activated(base.content_hash, base.name)
        self._intake.use(base.classes)
        return position

    def _post_start(self) -> None:
        name = self._start_slots.pop("class")
        if "rule_base" in self._start_slots:
            self._start_slots["rule_base"] = self._context.rule_base.content_hash
        try:
            self._intake.add_notice(name, self._start_slots)
        except EventError as error:
            raise Fatal(f"the active rule base does not know {name} as the server posts it: {error}") from error

    async def _open_port(self) -> None:
        node = self._context.config.nodes[self._context.node]
        loop = asyncio.get_running_loop()
        for attempt in range(_PORT_TRIES):
            try:
                self._server = await loop.create_server(
                    lambda: Connection(self._intake), node.host, node.port, reuse_address=True, backlog=1024
                )
                return
            except OSError as error:
                if attempt + 1 == _PORT_TRIES:
                    raise Fatal(
                        f"cannot listen on {node.listen}: {error.strerror}; another program has the port, or the "
                        f"address is not this machine's; [nodes.{self._context.node}] listen in tec_server.toml sets it"
                    ) from error
                await asyncio.sleep(0.02)

    # -- other processes and commands -------------------------------------------------------------------------------

    def _published(self, position: int) -> None:
        if self._rule is not None:
            self._rule.send("published", position)

    def _gone(self, peer: Peer) -> None:
        if peer is self._rule:
            self._rule = None

    async def _handle(self, peer: Peer, operation: str, argument: Any) -> Any:
        if operation in _INTERNAL and not peer.is_own:
            raise Refused(f"{operation!r} is between the processes of this server")
        match operation:
            case "follow":
                self._rule = peer
                return self._context.progress[Word.DURABLE]
            case "change":
                return await self._change(peer, argument)
            case "activate":
                return await self._load(peer, str(argument))
            case "trace":
                return await self._trace(peer, argument)
            case "notice":
                return self._notice(*argument)
            case "quarantine":
                return await self._quarantine(*argument)
            case "damaged":
                self._damage.records(argument)
                return self._damage.look()
        raise Refused(f"reception has no operation {operation!r}")

    def _notice(self, name: str, slots: dict[str, Any]) -> int:
        try:
            return self._intake.add_notice(name, slots)
        except EventError as error:
            raise Refused(str(error)) from error

    async def _change(self, peer: Peer, argument: dict[str, Any]) -> int:
        """Record an operator's change; the user comes from the socket's credentials, never from the message."""
        try:
            date, handle, server = (int(part) for part in argument["event"])
            slots = dict(argument["slots"])
        except (TypeError, ValueError, KeyError) as error:
            raise Refused("a change names an event by three numbers, and slots with their values") from error
        key: EventKey = (date, handle, server)
        if not is_key(key):
            raise Refused(f"there is no event {key_name(key)[:100]}")
        if set(slots) - {"status", "severity"} or not slots:
            raise Refused(f"a change sets status or severity, not {', '.join(sorted(slots)) or 'nothing'}")
        try:
            slots = self._intake.classes.check("EVENT", slots)
        except EventError as error:
            raise Refused(str(error)) from error
        position = self._intake.add(Kind.CHANGE, ChangePayload(key, slots, user_name(peer.uid)))
        await self._intake.durable()
        return position

    async def _load(self, peer: Peer, content_hash: str) -> dict[str, Any]:
        """Activate another snapshot, unless it is active. Answers when that is durable; `after` is behind it.

        Asking again does no harm, so a command whose answer was lost asks again.
        """
        if not peer.is_own:
            raise Refused("only the server's own user may load a rule base: it holds code and programs that it runs")
        context, intake = self._context, self._intake
        async with self._loading:
            ruled, position, log_time = context.rule_base, None, None
            if content_hash != ruled.content_hash:
                base = await asyncio.to_thread(activation.may_activate, context.instance.rule_bases, content_hash)
                hooks.reach("rx.activating")
                position = self._append(base)
                log_time, self._loaded = intake.writer.time, (position, ruled)
                hooks.reach("rx.activated")
            after = await intake.durable()
            hooks.reach("rx.activate-durable")
            await asyncio.to_thread(activation.remember, context, log_time=log_time, loaded=True)
            if position is not None:
                _log.info("%s loads rule base %s (%s)", user_name(peer.uid), context.rule_base.name, content_hash[:12])
                await asyncio.to_thread(activation.prune_rule_bases, context)
            hooks.reach("rx.activate-remembered")
            return {"before": ruled.content_hash, "name": context.rule_base.name, "position": position, "after": after}

    async def _quarantine(self, position: int, reason: str) -> int:
        """Record that all readers skip the record at `position`; gives the position behind that.

        Where that is the record of a load, the rules stay those before, so the classes must too.
        """
        self._intake.add(Kind.QUARANTINE, QuarantinePayload(position, reason))
        if self._loaded is not None and self._loaded[0] == position:
            _log.error("rule base %s is given up again: %s", self._context.rule_base.name, reason)
            self._append(self._loaded[1])
            activation.remember(self._context, log_time=self._intake.writer.time, loaded=False)
        self._tell_set_aside(position, reason)
        return await self._intake.durable()

    def _tell_set_aside(self, position: int, reason: str) -> None:
        if position == self._told:
            return  # rules that cannot bear this notice would ask for the next one, without end
        name = name_of(position)
        told = self._tell_error(f"the record at {name} is set aside: {reason}; tec why {name} shows it")
        self._told = self._told if told is None else told

    def _tell_error(self, text: str) -> int | None:
        """Add a TEC_Error to the log; gives its position, None when the rule base does not know it."""
        hostname = self._context.config.server.name
        slots = {"msg": text, "severity": "CRITICAL", "source": "TEC", "hostname": hostname}
        try:
            return self._intake.add_notice("TEC_Error", slots)
        except EventError as error:
            _log.error("TEC_Error cannot be posted: %s; it would have said: %s", error, text)
            return None

    async def _trace(self, peer: Peer, argument: dict[str, Any]) -> dict[str, Any]:
        """Record that names are traced, or no more; `unknown` tells of names that are no class, with the nearest."""
        try:
            request = TraceRequest(argument["names"], argument["hours"])
        except (TypeError, KeyError) as error:
            raise Refused("a trace has names and hours") from error
        except TraceError as error:
            raise Refused(str(error)) from error
        _log.info("%s asks: trace %s for %d hours", user_name(peer.uid), request.names, request.hours)
        position = self._intake.add(Kind.ACTIVATE, self._activate(trace=request.settings()))
        await self._intake.durable()
        known = self._intake.classes.classes
        unknown = {name: nearest(name, known) or "" for name in request.names if name not in known}
        return {"position": position, "unknown": unknown}

    # -- time and space ---------------------------------------------------------------------------------------------

    async def _ticks(self) -> None:
        """Append a TICK when the earliest timer is due and no record comes."""
        progress, intake = self._context.progress, self._intake
        while True:
            await asyncio.sleep(_TICK_SHORTEST)
            due = progress[Word.DUE]
            # a record as late as that fires it, unless it was the last one and was skipped (damaged, quarantined)
            passed = intake.writer.time >= due and progress[Word.PROCESSED] < intake.writer.end
            if due and not passed and due <= intake.clock.now():
                intake.add(Kind.TICK)

    async def _housekeeping(self) -> None:
        # not before the port is open: recovery needs one of the heads, this reads them all
        with contextlib.suppress(OSError):  # who cannot list the folder cannot go on either, and says so there
            damaged = await asyncio.to_thread(self._log.damage)
            for said in damaged:
                _log.error("%s", said)
            self._damage.heads(damaged)
        while True:
            self._damage.look()
            await asyncio.sleep(_HOUSEKEEPING)
            # never in the loop: a disk that hangs must be seen as such, not as a reception that does
            size, (_, free) = await asyncio.to_thread(lambda: (self._log.size(), self._log.disk()))
            self._context.progress[Word.RX_BYTES] = size
            if size > self._config.limit:
                self._intake.hold(f"the log has {size >> 20} MiB, rx.limit is {self._config.limit >> 20} MiB")
            elif free < self._reserve + self._config.segment_size:
                place = f"{self._context.instance.rx}: "
                if not self._intake.held.startswith(place):  # told once: what is free changes all the time
                    self._intake.hold(place + too_little(free, self._reserve, self._config))
            else:
                self._intake.hold("")
            self._intake.close_idle(self._config.idle_limit)
            await self._retain()

    async def _retain(self) -> None:
        """Delete what is committed and too old or too much, always keeping the last two segments."""
        self._context.progress[Word.OLDEST] = await asyncio.to_thread(self._log.oldest)
        oldest_kept = time.time() - self._config.retain_days * 86400
        committed = self._context.progress[Word.COMMITTED]
        gone = await asyncio.to_thread(self._log.expire, committed, self._config.retain_size, oldest_kept)
        if gone:
            _log.info("committed and past their time, so deleted: %s", ", ".join(gone))
            self._intake.writer.forget(gone)
            await asyncio.to_thread(activation.prune_rule_bases, self._context)


def user_name(uid: int) -> str:
    """The login name of a user id, else the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


async def main(context: Context) -> None:
    try:
        reception = Reception(context)
    except OSError as error:
        if error.errno not in _DISK_FAILS:
            raise
        raise Demote(f"the log cannot be recovered: {error}") from error
    await reception.run()
