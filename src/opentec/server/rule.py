"""tec_rule: reads the published log, runs the engine, sends effects to dispatch (spine: the rule process)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from opentec.events.errors import SourceErrors
from opentec.events.image import EventKey
from opentec.events.records import Disposition, Kind, Record, decode_activate, name_of, position_of
from opentec.log.codec import DAMAGED
from opentec.log.store import Reader
from opentec.rules.batching import BatchBuilder, timer_of_row
from opentec.rules.effects import Effects, Outcome
from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase, RuleBaseError, load_compiled
from opentec.rules.selector import Selector
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.server import hooks
from opentec.server.child import Context, Fatal, Restart
from opentec.server.errors import Refused
from opentec.server.progress import CHILDREN, Word
from opentec.server.recovery import Recovery
from opentec.server.rpc import RpcClient
from opentec.server.task import connect

_log = logging.getLogger("rule")
_ME: Final = CHILDREN.index("rule")
# plain integers: a member of an enumeration costs a look-up each time
_ATTEMPT: Final = int(Word.ATTEMPT)
_EVENT: Final = int(Kind.EVENT)
_SLICE: Final = 256  # records processed before the loop turns: the beat must go on
_PAGE: Final = 1000
_BATCH_BYTES: Final = 8 << 20  # payload of one batch; its message stays far below what a socket takes
_WINDOW_BYTES: Final = 64 << 20
_DAMAGED: Final = 10_000  # records of which reception is told in one message
_encode_batch: Final = msgspec.msgpack.Encoder().encode


class Reprime(Restart):
    """What this process holds does not fit the repository any more: it ends and its successor primes."""


class _Sent(msgspec.Struct):
    """A batch that waits for its commit."""

    first: int  # position of its first record
    before: int
    after: int
    size: int
    data: bytes


class RuleProcess:
    """The rule process: the engine between the log's reader and dispatch."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.config.rules
        self._batch = 1 if context.progress[Word.SINGLE] else self._settings.batch
        self._engine: Engine
        self._selector: Selector
        self._reason_told = False  # of the selector that gave way
        self._reader: Reader
        self._reception: RpcClient
        self._dispatch: RpcClient
        self._builder = BatchBuilder(0)
        self._sent: deque[_Sent] = deque()
        self._wake = asyncio.Event()
        self._processed_since_start = 0
        self._replay_to = 0
        self._recovery = Recovery(context.progress, context.log)
        self._interrupted: list[str] = []
        self._refused: tuple[int | None, str] | None = None
        self._out_of_step = ""
        self._skipped: dict[int, str] = {}
        self._damaged: list[int] = []  # positions of records that could not be read, of which reception is to be told
        self._bytes = 0  # of the records in the builder
        self._first = 0  # position of the first record in the builder
        self._bases: dict[str, RuleBase] = {context.rule_base.content_hash: context.rule_base}

    async def run(self) -> None:
        """Prime at the committed position, then process until the end of the process."""
        context = self._context
        self._replay_to = await self._follow()
        self._dispatch = await connect(context, "dispatch.sock")
        await self._prime()
        context.progress.ready(_ME)
        following: asyncio.Task[int] | None = None
        while True:
            self._wake.clear()  # here, so that nothing said during this turn is missed
            await self._in_step()
            if self._reception.closed.is_set() and (following is None or following.done()):
                following = asyncio.ensure_future(self._follow())
            worked = await self._work()
            await self._tell_damage()  # before the commit: behind that nobody reads them again
            self._flush()
            await self._recovered()
            await self._selector_gave_way()
            if worked:
                await asyncio.sleep(0)
                continue
            if context.progress[Word.DURABLE] > self._reader.position and self._room():
                continue
            await self._wake.wait()

    async def _follow(self) -> int:
        """Connect to reception (again, when it was restarted); gives the published position."""
        while True:
            self._reception = await connect(self._context, "reception.sock")
            self._reception.pushed = lambda name, argument: self._wake.set()
            self._reception.gone = self._wake.set
            with contextlib.suppress(ConnectionError):  # the old one's socket, in the moment of its end
                position: int = await self._reception.call("follow")
                self._wake.set()
                return position

    # -- priming ----------------------------------------------------------------------------------------------------

    async def _prime(self) -> None:
        from opentec.rules.selectors.durable import DurableSelector

        context = self._context
        hello = await self._hello()
        position = hello["position"]
        self._interrupted = hello["interrupted"]
        state: dict[str, Any] = {}
        while part := await self._dispatch.call("prime-state", next(reversed(state), "")):
            state |= part
        active = state.get("rule_base")
        base = self._base(active[0]) if active else context.rule_base
        self._selector = DurableSelector() if context.selector == "durable-rules" else IndexedSelector()
        with self._at_work(base):
            self._engine = Engine(base, self._selector)
        # after a long outage one record fires all timers of it: that is progress, not a hang
        self._engine.alive = lambda: context.progress.beat(_ME)
        _log.info("rule base %s (%s), selector %s", base.name, base.content_hash[:12], self._selector.name)
        timers: list[Any] = []
        while page := await self._dispatch.call("prime-timers", timers[-1][0] if timers else 0):
            timers += page
        events: list[tuple[Any, ...]] = []
        f2, f = state.get("f2", 0), state.get("f", 0)
        while page := await self._dispatch.call("prime-events", [f2, f, events[-1][0] if events else 0, _PAGE]):
            events += [tuple(row) for row in page]
        known = {row[0] for row in events}
        for eid in sorted({timer[2] for timer in timers} - known):  # timers outlive their event's place in the cache
            row = await self._dispatch.call("event-by-eid", eid)
            if row is not None:
                events.append(tuple(row))
        self._engine.prime(events, [timer_of_row(*timer) for timer in timers], state)
        # reads all of the log that is not committed: the sign of life must go on meanwhile
        durable = context.progress[Word.DURABLE]
        self._skipped = await asyncio.to_thread(context.log.quarantined, position, durable)
        self._engine.quarantine(self._skipped)
        self._reader = context.log.reader(position)
        self._builder = BatchBuilder(position)
        context.progress[Word.PROCESSED] = position
        self._recovery.begin(position, position_of(context.epoch, 0))
        context.progress[Word.DUE] = self._engine.next_due() or 0
        _log.info("primed at %s: %d events, %d timers", name_of(position), len(events), len(timers))

    async def _hello(self) -> dict[str, Any]:
        hello: dict[str, Any] = await self._dispatch.call("rule-hello")
        self._dispatch.pushed = self._dispatch_says
        return hello

    def _base(self, content_hash: str) -> RuleBase:
        found = self._bases.get(content_hash)
        if found is None:
            try:
                found = load_compiled(self._context.instance.rule_bases, content_hash)
            except Exception as error:
                raise Fatal(f"rule base {content_hash[:12]} of the log cannot be loaded: {error}") from error
            self._bases[content_hash] = found
        return found

    @contextlib.contextmanager
    def _at_work(self, base: RuleBase) -> Iterator[None]:
        """Where the engine takes a rule base. That it runs here was tried before the log named it, at a start; so if
        it does not, this node is not as the one that tried it.
        """
        short = base.content_hash[:12]
        try:
            yield
        except (RuleBaseError, SourceErrors) as error:
            raise Fatal(
                f"rule base {base.name} ({short}) of the log cannot be run on node {self._context.node}: {error}; "
                "events wait in the log: make this node like the one that activated it (the same Python packages), or "
                "start the server there"
            ) from error
        # what `tec status` shows: the rule base that is at work, not the one that is to come
        self._context.progress[Word.RULE_BASE] = int(short, 16)

    # -- records ----------------------------------------------------------------------------------------------------

    def _room(self) -> bool:
        waiting = self._builder.records + sum(sent.size for sent in self._sent)
        size = self._bytes + sum(len(sent.data) for sent in self._sent)
        return waiting < self._settings.window and size < _WINDOW_BYTES

    async def _work(self) -> bool:
        """Process one slice; False when there is nothing to read or no room for its effects."""
        if not self._room():
            return False
        progress, builder, skipped = self._context.progress, self._builder, self._skipped
        records = self._reader.read(progress[Word.DURABLE], _SLICE)
        if not records:
            return False
        for record in records:
            position = record.position
            progress[_ATTEMPT] = position
            if record.kind == _EVENT and position not in skipped:
                # what nearly all records are, without a coroutine for each
                hooks.reach("rule.record")
                effects = self._engine.process(record)
            else:
                effects = await self._one(record)
            if not builder.records:
                self._first = position
            builder.add(effects)
            self._bytes += len(record.payload)
            progress[_ATTEMPT] = 0
            if builder.records >= self._batch or self._bytes >= _BATCH_BYTES:
                self._flush(full=True)
        self._processed_since_start += len(records)
        if self._recovery.active:
            self._recovery.count(records)
        progress[Word.PROCESSED] = self._builder.after
        progress[Word.DUE] = self._engine.next_due() or 0
        return True

    async def _one(self, record: Record) -> Effects:
        if record.kind == DAMAGED:
            reason = f"the record at {name_of(record.position)} is damaged"
            _log.error("%s; it is skipped", reason)
            if len(self._damaged) < _DAMAGED:
                self._damaged.append(record.position)
            outcome = Outcome(disposition=Disposition.FAILED, reason=reason)
            return Effects(record.position, record.after, outcome=outcome)
        if record.position in self._skipped:
            return self._engine.process(record)
        if record.kind == Kind.ACTIVATE:
            wanted = decode_activate(record.payload).rule_base
            if wanted != self._engine.rule_base.content_hash:
                # it may take a while, and the sign of life must go on
                base = await asyncio.to_thread(self._base, wanted)
                hooks.reach("rule.activating")
                with self._at_work(base):
                    self._engine.activate(base)
                self._bases = {wanted: base}  # the one before is of no more use
                _log.info("rule base %s (%s) rules from %s on", base.name, wanted[:12], name_of(record.position))
                hooks.reach("rule.activated")
        hooks.reach("rule.record")
        key = self._engine.needs_row(record)
        if key is None:
            return self._engine.process(record)
        # an operator's change for an event outside the cache: its row is right once all before is committed
        row = await self._committed_row(record, key)
        return self._engine.process(record, tuple(row) if row else None)

    # -- batches ----------------------------------------------------------------------------------------------------

    def _flush(self, *, full: bool = False) -> None:
        """Send what is built, at once when dispatch is idle, else when there is a batch of it."""
        size = self._builder.records
        if not size or (self._sent and not full):
            return
        batch = self._builder.build()
        self._bytes = 0
        sent = _Sent(self._first, batch.before, batch.after, size, _encode_batch(batch))
        self._sent.append(sent)
        self._send(sent)

    def _send(self, sent: _Sent) -> None:
        future = self._dispatch.start("batch", sent.data)
        future.add_done_callback(self._committed)

    def _committed(self, future: asyncio.Future[Any]) -> None:
        self._wake.set()
        error = future.exception()
        if error is None:
            while self._sent and self._sent[0].after <= future.result():
                self._sent.popleft()
        elif not isinstance(error, ConnectionError):
            # what the database refuses dispatch has named before; any other refusal blames no record
            self._out_of_step = str(error)

    async def _committed_row(self, record: Record, key: EventKey) -> Any:
        """The stored row of an event, once everything before `record` is committed; None when there is none."""
        progress = self._context.progress
        progress[Word.ATTEMPT] = 0  # who dies while it waits for the repository does not die of this record
        self._flush(full=True)
        while True:
            self._wake.clear()
            await self._in_step()
            if self._sent:
                await self._wake.wait()
                continue
            with contextlib.suppress(ConnectionError):  # dispatch ended: ask the next one
                row = await self._dispatch.call("event-row", key)
                progress[Word.ATTEMPT] = record.position
                return row

    async def _in_step(self) -> None:
        """Deal with what dispatch said or with its end; raises Reprime when what this process holds is of no use."""
        if self._refused:
            await self._quarantine(*self._refused)
        if self._out_of_step:
            raise Reprime(self._out_of_step)
        if self._dispatch.closed.is_set():
            await self._dispatch_again()

    def _dispatch_says(self, name: str, argument: Any) -> None:
        if name == "refused":
            self._refused = (argument[0], argument[1])
            self._wake.set()

    async def _quarantine(self, position: int | None, reason: str) -> None:
        """The database refuses a record: all who come after skip it, and this process primes again.

        Where it does not say which record it was, the next run sends batches of one until it does.
        """
        if position is None and self._sent and self._sent[0].size == 1:
            position = self._sent[0].first
        if position is None:
            self._context.progress[Word.SINGLE] = 1
        else:
            _log.error("the repository refuses the record at %s: %s", name_of(position), reason)
            self._context.progress[Word.SINGLE] = 0
            await self._reception.call("quarantine", [position, reason])
        raise Reprime(reason)

    async def _dispatch_again(self) -> None:
        """Dispatch was restarted: what it has not committed is sent again."""
        self._dispatch.close()
        self._dispatch = await connect(self._context, "dispatch.sock")
        position = (await self._hello())["position"]
        while self._sent and self._sent[0].after <= position:
            self._sent.popleft()
        start = self._sent[0].before if self._sent else self._builder.before
        if start != position:
            raise Reprime(f"dispatch stands at {name_of(position)}, effects begin at {name_of(start)}: priming again")
        for sent in self._sent:
            self._send(sent)
        self._wake.set()

    # -- recovery ---------------------------------------------------------------------------------------------------

    async def _recovered(self) -> None:
        """Say once for each failover that what the epoch before left behind is processed."""
        progress = self._context.progress
        self._recovery.look()
        if progress[Word.RECOVERED] or progress[Word.COMMITTED] < self._replay_to:
            return
        progress[Word.RECOVERED] = 1
        if self._context.takeover.get("class") == "TEC_Failover":
            records, tasks = self._processed_since_start, len(self._interrupted)
            slots = {
                "msg": f"recovered: {records} records processed, {tasks} tasks interrupted",
                "epoch": self._context.epoch,
                "records": records,
                "interrupted_tasks": tasks,
                "source": "TEC",
                "hostname": self._context.config.server.name,
            }
            try:
                await self._reception.call("notice", ["TEC_Recovered", slots])
            except ConnectionError:
                progress[Word.RECOVERED] = 0  # said when reception is back
            except Refused as error:
                _log.warning("TEC_Recovered cannot be posted: %s", error)

    async def _tell_damage(self) -> None:
        """An acknowledged event may be lost: reception posts that, as it does not forget what it told already."""
        if self._damaged and not self._reception.closed.is_set():
            with contextlib.suppress(ConnectionError):  # said when reception is back
                await self._reception.call("damaged", self._damaged)
                self._damaged = []

    async def _selector_gave_way(self) -> None:
        """Say once that another selector does its work: whoever is on duty should know."""
        reason = getattr(self._selector, "reason", "")
        if not reason or self._reason_told:
            return
        self._reason_told = True
        node, name = self._context.node, self._context.config.server.name
        slots = {
            "msg": f"{reason}: the indexed selector takes over until the rule process of node {node} begins anew",
            "severity": "WARNING",
            "source": "TEC",
            "hostname": name,
        }
        try:
            await self._reception.call("notice", ["TEC_Notice", slots])
        except ConnectionError:
            self._reason_told = False  # said when reception is back
        except Refused as error:
            _log.warning("TEC_Notice cannot be posted: %s; it would have said: %s", error, slots["msg"])


async def main(context: Context) -> None:
    try:
        await RuleProcess(context).run()
    except ConnectionError as error:  # a neighbour died in the middle of a question
        raise Restart(str(error)) from error
