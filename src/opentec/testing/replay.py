"""Replay: recorded records through a rule base, in log time, as the rule process would process them.

Nothing leaves: programs, tasks and events for other servers are rows of a scratch repository that nobody works from.
The scratch repository also gives back the rows of events that left the cache, so that memory stays flat (spine: the
rule process).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from opentec.events.image import EventKey, EventRow
from opentec.events.records import ActivatePayload, Disposition, Kind, Record, decode_activate, encode, name_of
from opentec.log.codec import DAMAGED
from opentec.rules.batching import BatchBuilder, RuleBatch
from opentec.rules.effects import Effects, Outcome
from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.testing.replay_log import Recording
from opentec.testing.replay_tally import Tally

BATCH: Final = 1000  # records of one transaction
ROWS: Final = 20_000
BATCH_BYTES: Final = 8 << 20
OWN_POSITION: Final = 0  # of the record that a replay adds; no log has one there

Load = Callable[[str], RuleBase]


class ReplayError(Exception):
    """A recording cannot be replayed; the text says why and what to do."""


class Scratch(Protocol):
    """An empty repository in one SQLite file, written by the code that dispatch writes with."""

    path: Path

    def commit(self, batch: RuleBatch) -> None:
        """Write a batch. Raises ReplayError where the repository refuses it."""
        ...

    def event_row(self, key: EventKey) -> EventRow | None:
        """The stored event of a key."""
        ...


class Explain(msgspec.Struct, frozen=True):
    """For which records the outcome also says which rules did not fire, and why: one position, or one second."""

    position: int | None = None
    second: int | None = None  # of log time; with the record behind it, at which timers of that second may fire

    def wants(self, record: Record, before: int) -> bool:
        """`before` is the log time of the record before, microseconds."""
        if self.position is not None:
            return record.position == self.position
        if self.second is None:
            return False
        return before // 1_000_000 <= self.second <= record.time // 1_000_000


NOTHING: Final = Explain()


class Replay:
    """One run of a recording through one rule base, or, with `given` None, through those that ruled then."""

    def __init__(
        self,
        recording: Recording,
        scratch: Scratch,
        load: Load,
        given: RuleBase | None = None,
        explain: Explain = NOTHING,
    ) -> None:
        """`load` gives a rule base of the recording by its content hash, or raises RuleBaseError.

        Raises ReplayError when nothing says which rule base ruled where the recording begins.
        """
        self._recording, self._scratch, self._load, self._given = recording, scratch, load, given
        self._explain = explain
        if given is None and not recording.rule_base:
            raise ReplayError(f"{recording.place}: no record says which rule base was active; give one with --rules")
        self._bases: dict[str, RuleBase] = {}
        base = given or self._base(recording.rule_base)
        self.tally = Tally()
        self.tally.active(base)
        self._engine = Engine(base, IndexedSelector())
        self._engine.prime([], [], {})
        self._engine.quarantine(recording.quarantined)
        self._builder = BatchBuilder(0)
        self._bytes = 0
        self._time = 0
        self._explained = False

    def run(self) -> Iterator[int]:
        """Replay everything; gives the size of what is done, page by page. Raises what `load` raises, ReplayError."""
        begun = False
        for page in self._recording.pages(self._engine.rule_base.classes):
            for record in page:
                if not begun:
                    begun = True
                    self._begin(record)
                self.tally.saw(record)
                self._add(record, self._one(record))
            yield page[-1].after - page[0].position
        self._flush()

    def _base(self, content_hash: str) -> RuleBase:
        found = self._bases.get(content_hash)
        if found is None:
            found = self._bases[content_hash] = self._load(content_hash)
        return found

    def _begin(self, first: Record) -> None:
        """Activate the rule base at the first record's time, unless the recording does that itself."""
        if self._given is None and self._recording.whole:
            return
        base = self._engine.rule_base
        payload = ActivatePayload(base.content_hash, base.name, msgspec.to_builtins(base.settings))
        record = Record(OWN_POSITION, first.position, Kind.ACTIVATE, 0, first.time, payload=encode(payload))
        self._add(record, self._engine.process(record))

    def _add(self, record: Record, effects: Effects) -> None:
        self.tally.did(effects)
        self._builder.add(effects)
        self._bytes += len(record.payload)
        if self._builder.records >= BATCH or self._bytes >= BATCH_BYTES or self._builder.rows >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._builder.records:
            self._scratch.commit(self._builder.build())
            self._bytes = 0

    def _one(self, record: Record) -> Effects:
        """What the rule process does with this record, in its order of questions (opentec.server.rule)."""
        if record.kind == DAMAGED:
            reason = f"the record at {name_of(record.position)} is damaged"
            return Effects(record.position, record.after, Outcome(Disposition.FAILED, reason=reason))
        if self._explain is not NOTHING:
            wanted = self._explain.wants(record, self._time)
            if wanted != self._explained:
                self._engine.explain(wanted)
                self._explained = wanted
        self._time = record.time
        if record.position in self._recording.quarantined:
            return self._engine.process(record)
        if record.kind == Kind.ACTIVATE:
            if self._given is not None:
                # the time passes all the same
                record = msgspec.structs.replace(record, kind=int(Kind.TICK), payload=b"")
            else:
                self._activate(decode_activate(record.payload).rule_base)
        key = self._engine.needs_row(record)
        if key is None:
            return self._engine.process(record)
        self._flush()
        return self._engine.process(record, self._scratch.event_row(key))

    def _activate(self, wanted: str) -> None:
        if wanted != self._engine.rule_base.content_hash:
            base = self._base(wanted)
            self._engine.activate(base)
            self.tally.active(base)
