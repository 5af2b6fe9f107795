"""tec_dispatch: the only writer of the repository; one transaction for each batch, and the answers to queries."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from typing import Any, Final

import msgspec

from opentec.events.image import EventKey, EventRow, is_key
from opentec.events.records import name_of, position_of
from opentec.log.errors import LogError
from opentec.rim.batch import Batch
from opentec.rim.errors import (
    PositionMismatch,
    RepositoryError,
    RepositoryLocked,
    RepositoryRefused,
    RepositoryUnavailable,
)
from opentec.rim.outbox import OutboxTask
from opentec.rim.repository import Repository
from opentec.rim.sqlite import open_repository
from opentec.rules.rulebase import load_compiled
from opentec.rules.rulebase_sources import RuleBaseError
from opentec.server import hooks, outbox
from opentec.server.child import Context, Fatal
from opentec.server.errors import Refused
from opentec.server.fencing import Fencing
from opentec.server.progress import CHILDREN, Word, boot_us
from opentec.server.queries import answer
from opentec.server.reception import user_name
from opentec.server.rpc import Peer, RpcClient, RpcServer

_log = logging.getLogger("dispatch")
_ME: Final = CHILDREN.index("dispatch")
_RETRY: Final = 0.25
_PRUNE: Final = 10.0
_PROBE: Final = 2.0  # seconds between two looks at whether the repository answers
_PAGE_BYTES: Final = 32 << 20
_OF_RULE: Final = ("batch", "rule-hello", "prime-state", "prime-events", "prime-timers", "event-row", "event-by-eid")
_OF_TASK: Final = ("task-hello", "task-claim", "task-finish")
_INTERNAL: Final = frozenset((*_OF_RULE, *_OF_TASK))
_COMPLAINT: Final = 5.0  # seconds that reception has for it
_UNANSWERABLE: Final = (LogError, AttributeError, LookupError, TypeError, ValueError, OverflowError)
_decode_batch: Final = msgspec.msgpack.Decoder(Batch).decode


class Dispatch:
    """The dispatch process."""

    def __init__(self, context: Context) -> None:
        self._context = dataclasses.replace(context)  # its rule base is that of the committed position
        self._repository: Repository
        self._rpc = RpcServer(context.runtime / "dispatch.sock", self._handle, gone=self._gone)
        self._turn = asyncio.Lock()
        self._claims = asyncio.Lock()  # between what a task process claims and the hello of the next one
        self._connection = 0
        self._task: Peer | None = None
        self._interrupted: list[str] = []
        self._untold: list[OutboxTask] = []
        self._moved = asyncio.Condition()
        self._fencing = Fencing(context, self._post)
        self._under_way: dict[object, int] = {}  # when each call of the repository that writes began

    async def run(self) -> None:
        """Open and claim the repository, then write what the rule process sends."""
        await self._open()
        await self._rpc.start()
        self._context.progress.ready(_ME)
        await asyncio.gather(self._rpc.failed(), self._prune(), self._outbox(), self._probe())

    async def _probe(self) -> None:
        """Does the repository answer while nothing is to be written? Otherwise nobody would know until it is needed."""
        while True:
            await asyncio.sleep(_PROBE)
            if not self._under_way:
                await self._retried(self._repository.check, self._context.epoch)

    async def _prune(self) -> None:
        """Outcomes are kept as long as the log: drop those of segments that retention has deleted."""
        pruned = 0
        while True:
            await asyncio.sleep(_PRUNE)
            oldest = self._context.progress[Word.OLDEST]
            if oldest > pruned:
                # each transaction by itself: all of them together may take longer than a sound one does
                while await self._retried(self._repository.prune_step, oldest, self._context.epoch):
                    pass
                pruned = oldest

    async def _outbox(self) -> None:
        """Count what waits in the outbox, and delete what is past its time, in small steps."""
        while True:
            for text in await self._retried(outbox.keep_house, self._repository, self._context):
                await self._complain(text)
            await asyncio.sleep(outbox.HOUSEKEEPING)

    async def _complain(self, text: str) -> None:
        """Post a TEC_Error; where reception is away it is in the log file at least."""
        _log.error("%s", text)
        await self._post("TEC_Error", "", text)

    async def _post(self, class_name: str, severity: str, text: str) -> None:
        slots = {"msg": text, "source": "TEC", "hostname": self._context.config.server.name}
        slots |= {"severity": severity} if severity else {}
        try:
            async with asyncio.timeout(_COMPLAINT):
                reception = await RpcClient.connect(self._context.runtime / "reception.sock")
                try:
                    await reception.call("notice", [class_name, slots])
                finally:
                    reception.close()
        except (OSError, Refused, TimeoutError) as error:
            _log.warning("it cannot be posted: %s", str(error) or "reception does not answer")

    # -- the repository ---------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        context = self._context
        path = context.config.repository_path(context.instance)
        while True:
            try:
                self._repository = await open_repository(
                    path,
                    context.instance.uuid(),
                    context.config.server.name,
                    allow_network_fs=context.config.rim.allow_network_fs,
                    unsafe_no_epoch_check=hooks.unsafe("no-epoch-check"),
                    pause_after_check=_pause if hooks.active else None,
                )
                break
            except RepositoryUnavailable as error:
                await self._away(error)
            except RepositoryError as error:
                raise Fatal(str(error)) from error
        for warning in self._repository.warnings:
            _log.warning("%s", warning)
        position = await self._retried(self._repository.claim, context.epoch)
        if context.skip_to_log and not context.progress[Word.RECOVERED]:
            position = await self._skip_gap(position)
        self._untold = await self._retried(self._repository.interrupt_outbox, context.epoch, _now())
        self._interrupted = [task.id for task in self._untold]
        active = await self._retried(self._repository.rule_value, "rule_base")
        await self._use_rule_base(active[0] if active else context.rule_base.content_hash)
        context.progress[Word.COMMITTED] = position
        _log.info("repository claimed for epoch %d at %s", context.epoch, name_of(position))

    async def _use_rule_base(self, content_hash: str) -> None:
        """Answer queries from here on with the classes of this rule base. Raises Fatal."""
        context = self._context
        if content_hash != context.rule_base.content_hash:
            try:
                base = await asyncio.to_thread(load_compiled, context.instance.rule_bases, content_hash)
            except (RuleBaseError, OSError) as error:
                raise Fatal(f"rule base {content_hash[:12]} of the repository cannot be loaded: {error}") from error
            context.rule_base = base
        enumerations = context.rule_base.classes.enumerations
        await self._retried(
            self._repository.set_enumerations,
            dict(enumerations["SEVERITY"].members),
            dict(enumerations["STATUS"].members),
            context.epoch,
        )

    async def _skip_gap(self, position: int) -> int:
        """An operator accepted that records are missing: the repository goes on where the log begins."""
        found = self._context.log.extents()
        while not found or found[-1].epoch < self._context.epoch:  # reception is about to seal what was before
            await asyncio.sleep(_RETRY)
            found = self._context.log.extents()
        if any(part.start <= position and (part.end is None or position <= part.end) for part in found):
            return position  # skipped before this process was started again
        oldest = found[0].start
        target = oldest if oldest > position else position_of(self._context.epoch, 0)
        _log.error("gap accepted: from %s to %s", name_of(position), name_of(target))
        await self._retried(self._repository.commit, Batch(before=position, after=target), self._context.epoch)
        return target

    async def _retried(self, call: Any, *arguments: Any, **named: Any) -> Any:
        """Until it works: a locked database is a stale writer to end, anything else that may pass is waited for."""
        progress, me = self._context.progress, object()
        self._began(me)
        try:
            while True:
                try:
                    result = await call(*arguments, **named)
                except RepositoryLocked as error:
                    if not await self._fencing.end_writer():
                        await self._away(error)
                except RepositoryUnavailable as error:
                    self._fencing.settled()
                    await self._away(error)
                else:
                    if progress[Word.REPOSITORY_ERROR_SINCE]:
                        progress[Word.REPOSITORY_ERROR_SINCE] = 0
                        self._fencing.settled()
                        _log.info("the repository answers again")
                    return result
        finally:
            self._ended(me)

    def _began(self, call: object) -> None:
        """The page says since when the oldest of what is under way has been."""
        self._under_way[call] = boot_us()
        self._context.progress[Word.TRANSACTION_SINCE] = min(self._under_way.values())

    def _ended(self, call: object) -> None:
        del self._under_way[call]
        self._context.progress[Word.TRANSACTION_SINCE] = min(self._under_way.values(), default=0)

    async def _away(self, error: Exception) -> None:
        progress = self._context.progress
        if not progress[Word.REPOSITORY_ERROR_SINCE]:
            progress[Word.REPOSITORY_ERROR_SINCE] = boot_us()
            _log.warning("the repository is away, events wait in the log: %s", error)
        await asyncio.sleep(_RETRY)

    # -- requests ---------------------------------------------------------------------------------------------------

    def _gone(self, peer: Peer) -> None:
        if peer is self._task:
            self._task = None

    async def _handle(self, peer: Peer, operation: str, argument: Any) -> Any:
        if operation in _INTERNAL and not peer.is_own:
            raise Refused(f"{operation!r} is between the processes of this server")
        match operation:
            case "batch":
                return await self._batch(peer, argument)
            case "rule-hello":
                return await self._rule_hello(peer)
            case "prime-state":
                return await self._retried(self._repository.rule_state, str(argument or ""))
            case "prime-events":
                return _page(await self._retried(self._repository.cached_events, *argument))
            case "prime-timers":
                return await self._retried(self._repository.timers, argument)
            case "event-row":
                key = _key(argument)
                # what no event can be called is in the log as well as anything else that an operator asked for
                return await self._retried(self._repository.event_by_key, key) if is_key(key) else None
            case "event-by-eid":
                return await self._retried(self._repository.event_row, int(argument))
            case "task-hello":
                return await self._task_hello(peer)
            case "task-claim":
                return await self._claim(peer, argument)
            case "task-run":
                return await self._run_task(peer, argument)
            case "task-finish":
                return await self._retried(
                    self._repository.finish_outbox,
                    argument["id"],
                    self._context.epoch,
                    _now(),
                    exit_status=argument["exit_status"],
                    output=argument["output"],
                    done=argument["done"],
                )
        try:
            if operation == "verdict":
                position, wait = argument
                return await self._verdict(peer, int(position), float(wait))
            if operation == "applied":
                position, wait = argument
                return await self._applied(peer, int(position), float(wait))
            return await answer(self._repository, self._context, operation, argument)
        except RepositoryError as error:
            raise Refused(f"the repository does not answer: {error}") from error
        except _UNANSWERABLE as error:
            # a question that cannot be answered must not end the one writer of the repository
            raise Refused(f"{operation} cannot be answered: {error}") from error

    async def _task_hello(self, peer: Peer) -> list[OutboxTask]:
        """A new task process: what the one before it had claimed is interrupted, and told to this one."""
        self._task = peer
        # a claim of the one before may still wait for the repository: what it gets must be interrupted as well
        async with self._claims:
            # those that dispatch found itself have not been reported yet
            untold, self._untold = self._untold, []
            found: list[OutboxTask] = await self._retried(
                self._repository.interrupt_outbox, self._context.epoch, _now()
            )
            return untold + found

    async def _claim(self, peer: Peer, argument: dict[str, Any]) -> list[OutboxTask]:
        async with self._claims:
            if peer is not self._task:
                raise Refused("a newer task process has taken over")
            claimed: list[OutboxTask] = await self._retried(
                self._repository.claim_outbox,
                argument["limit"],
                self._context.epoch,
                self._context.node,
                _now(),
                forwards=argument["forwards"],
                room=argument["room"],
            )
            return claimed

    async def _run_task(self, peer: Peer, argument: Any) -> str:
        """An operator asks for a task; gives the id of its row. The user is the socket's."""
        try:
            row = await outbox.operator_task(self._repository, self._context, peer.uid, user_name(peer.uid), argument)
        except RepositoryError as error:
            raise Refused(f"the repository does not answer: {error}") from error
        except _UNANSWERABLE as error:
            raise Refused(f"task-run cannot be answered: {error}") from error
        await self._retried(self._repository.add_outbox, row, self._context.epoch)
        if self._task is not None:
            self._task.send("work", [row.kind])
        return row.id

    async def _rule_hello(self, peer: Peer) -> dict[str, Any]:
        """A new connection of the rule process: what is queued is finished, what older connections send is dropped."""
        async with self._turn:
            self._connection += 1
            peer.data["connection"] = self._connection
            return {
                "connection": self._connection,
                "position": await self._retried(self._repository.position),
                "interrupted": self._interrupted,
            }

    async def _batch(self, peer: Peer, data: bytes) -> int:
        """Write one batch; gives the committed position."""
        async with self._turn:
            if peer.data.get("connection") != self._connection:
                raise Refused("a newer connection of the rule process has taken over")
            batch = await asyncio.to_thread(_decode_batch, data)
            hooks.reach("dispatch.before-commit")
            try:
                await self._retried(self._repository.commit, batch, self._context.epoch)
            except RepositoryRefused as error:
                peer.send("refused", [error.position, str(error)])
                raise Refused(str(error)) from error
            except PositionMismatch as error:
                raise Refused(str(error)) from error
            hooks.reach("dispatch.committed")
            active = batch.state.get("rule_base")
            if active and active[0] != self._context.rule_base.content_hash:
                await self._use_rule_base(active[0])
            progress = self._context.progress
            progress[Word.COMMITTED] = batch.after
        async with self._moved:
            self._moved.notify_all()
        if batch.outbox and self._task is not None:
            self._task.send("work", sorted({row.kind for row in batch.outbox}))
        return batch.after

    async def _verdict(self, peer: Peer, position: int, wait: float) -> Any:
        """The outcome of a log position, waiting up to `wait` seconds for its commit; None if that did not come."""
        if not await self._committed(peer, position + 1, wait):
            return None
        return await self._repository.outcome(position)

    async def _applied(self, peer: Peer, position: int, wait: float) -> str | None:
        """The rule base that rules at the committed position, once that is `position` or behind it; None: not yet."""
        if not await self._committed(peer, position, wait):
            return None
        return str(self._context.rule_base.content_hash)

    async def _committed(self, peer: Peer, position: int, wait: float) -> bool:
        """Wait up to `wait` seconds until everything before `position` is committed."""
        end = time.monotonic() + min(wait, 3600)
        async with self._moved:
            while self._context.progress[Word.COMMITTED] < position:
                left = end - time.monotonic()
                if left <= 0 or peer.closed:
                    return False
                # not wait_for, which may swallow a cancellation before Python 3.12
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 1)):
                        await self._moved.wait()
        return True


async def _pause() -> None:
    hooks.reach("dispatch.checked")


def _page(rows: list[EventRow]) -> list[EventRow]:
    """As many rows from the first on as go into one message; the next page begins behind them."""
    size = 0
    for count, row in enumerate(rows):
        size += sum(len(value) for value in row if isinstance(value, str))
        if size > _PAGE_BYTES and count:
            return rows[:count]
    return rows


def _key(argument: list[int]) -> EventKey:
    date, handle, server = argument
    return int(date), int(handle), int(server)


def _now() -> int:
    return time.time_ns() // 1000


async def main(context: Context) -> None:
    await Dispatch(context).run()
