"""The NT adapter's pipeline: read, pre-filter, map to a class, filter, write the event text, hand it to a sink.

An event of a `.evtx` log carries its record number as end offset, so a record that is sent again, or by a second
reader, is noticed by the server. In files of JSON lines it is the offset in bytes, as in any tailed file: forwarders
mix computers and channels, and there record numbers do not rise.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from opentec.adapters.filters import passes
from opentec.adapters.logfile.adapter import Sink
from opentec.adapters.logfile.generation import READ_BYTES
from opentec.adapters.logfile.positions import PositionFile
from opentec.adapters.logfile.rotation import Lost
from opentec.adapters.logfile.tail import Chunk, Tailer, saved_files
from opentec.adapters.logfile.text import event_text, line_text
from opentec.adapters.logfile.unmatched import UnmatchLog
from opentec.adapters.nt.conf import NtConf
from opentec.adapters.nt.decode import Decoder, decode
from opentec.adapters.nt.evtxlog import Batch, Damaged, Found, Item, Missing
from opentec.adapters.nt.forms import read_record
from opentec.adapters.nt.mapping import DISCARD, OTHER, Mapping
from opentec.adapters.nt.reader import CHUNKS, EvtxReader, saved_logs
from opentec.adapters.nt.record import NotAnEvent, NtRecord, slots_of
from opentec.eif.errors import BufferFull
from opentec.eif.segment import FileRef

POLL_BYTES: Final = 262_144
CHUNK_BYTES: Final = 65_536  # of a damaged chunk
NOTICES: Final = 1000  # events about lost lines that wait for room
_INT: Final = 2**31 - 1

Report = Callable[[str], None]


@dataclass(slots=True)
class Counters:
    """What became of the records: records = unreadable + prefiltered + discarded + filtered + events.

    They are saved with the positions and so count each record once, however often the adapter was killed.
    """

    records: int = 0
    unreadable: int = 0  # no Windows event in any form that is known
    prefiltered: int = 0
    discarded: int = 0
    filtered: int = 0
    events: int = 0
    cut: int = 0  # events that were over EventMaxSize
    lost_records: int = 0  # of .evtx logs
    damaged_chunks: int = 0
    lost_lines: int = 0  # of JSON lines
    lost_bytes: int = 0

    def to_data(self) -> dict[str, int]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_data(cls, data: object) -> Counters:
        """What was saved; what is missing or no number counts from 0."""
        saved = data if isinstance(data, dict) else {}
        return cls(**{name.name: value for name in fields(cls) if type(value := saved.get(name.name)) is int})


@dataclass(slots=True)
class _Work:
    """Items of one log or file that are being handed over, and how far."""

    path: str
    file: FileRef
    items: list[Item] | list[tuple[bytes, int]]
    at: int = 0


class NtAdapter:
    """Everything between the logs and the sink; the caller decides when to poll and when to make durable."""

    def __init__(
        self,
        conf: NtConf,
        mapping: Mapping,
        sink: Sink,
        positions: PositionFile | None = None,
        *,
        report: Report = lambda _text: None,
        decoder: Decoder = decode,
    ) -> None:
        """`positions` None keeps them in memory. `report` gets sentences for a person.

        Raises OSError when saved positions exist and cannot be read, BufferUnusable when they are of another version.
        """
        self.conf = conf
        self._common = conf.common
        self._mapping = mapping
        self._sink = sink
        self._positions = positions
        self._report = report
        self._work: deque[_Work] = deque()
        self._notices: deque[bytes] = deque(maxlen=NOTICES)
        self._problems: dict[str, str] = {}
        self._told: set[str] = set()  # files with lines that are no event
        self._saved: object = None
        unmatch = conf.common.unmatch_log
        self._unmatched = UnmatchLog(unmatch, report) if unmatch is not None else None
        loaded = positions.load(_check_saved) if positions is not None else None
        if loaded is not None and loaded.problem:
            report(loaded.problem)
        saved = loaded.data if loaded is not None and loaded.data is not None else {}
        self.counters = Counters.from_data(saved.get("counters"))
        self._evtx = EvtxReader(conf.evtx_sources, saved.get("evtx"), catch_up=conf.catch_up, decoder=decoder)
        self._tailer = Tailer(
            conf.json_sources,
            saved.get("json"),
            read_existing=conf.catch_up != 0,
            line_limit=READ_BYTES,
            doubt=loaded.doubt if loaded is not None else 0,
            on_lost=self._lost,
        )

    @property
    def has_work(self) -> bool:
        """Whether anything is known to be left to read, to look at again, or to hand over."""
        return self.waiting or self._evtx.behind or self._tailer.behind

    @property
    def waiting(self) -> bool:
        """Whether records were read that the sink has not taken yet."""
        return bool(self._work or self._notices)

    def step(self) -> bool:
        """Read and hand over some records. True when there is more to do at once.

        A full sink stops it: nothing is read then, but rotated files are held open. Raises what the sink raises,
        except BufferFull.
        """
        full = self._sink.full or not self._hand_over()
        for chunk in self._tailer.poll(0 if full else POLL_BYTES):
            self._work.append(self._from_lines(chunk))
        read = 0
        if not full:
            for batch in self._evtx.poll(CHUNKS):
                read += len(batch.items)
                self._work.append(self._from_log(batch))
        self._tell_problems()
        if full:
            return False
        # a log that only has to be looked at again waits for the next poll
        return self._hand_over() and (self._tailer.behind or (self._evtx.behind and read > 0))

    def flush(self) -> None:
        """Make durable what was handed over. Blocks on the disk; raises what the sink raises."""
        self._sink.flush()
        if self._unmatched is not None:
            self._unmatched.flush()

    def save(self) -> None:
        """Save the positions, after `flush`. Blocks on the disk; raises OSError, and the positions stay as they were.

        Nothing is saved while records wait for the sink: a position behind one that was not taken would drop it.
        """
        if self._positions is None or self.waiting:
            return
        data = {
            "evtx": self._evtx.to_data(),
            "json": self._tailer.to_data(),
            "counters": self.counters.to_data(),
        }
        if data != self._saved:
            self._positions.save(data)
            self._saved = data

    def close(self) -> None:
        self._tailer.close()
        if self._unmatched is not None:
            self._unmatched.close()

    # from items to events

    def _from_log(self, batch: Batch) -> _Work:
        path = _printable(batch.path)
        return _Work(path, FileRef(self._common.file_scope, path, batch.generation), batch.items)

    def _from_lines(self, chunk: Chunk) -> _Work:
        path = _printable(chunk.path)
        return _Work(path, FileRef(self._common.file_scope, path, chunk.generation), chunk.lines)

    def _hand_over(self) -> bool:
        """Give the sink what waits; False when it takes no more."""
        try:
            while self._notices:
                self._sink.append(self._notices[0])
                self._notices.popleft()
            while self._work:
                work = self._work[0]
                while work.at < len(work.items):
                    self._item(work, work.items[work.at])
                    work.at += 1
                self._work.popleft()
        except BufferFull:
            return False
        return True

    def _item(self, work: _Work, item: Item | tuple[bytes, int]) -> None:
        match item:
            case Found():
                self._record(work, item.text, item.number, in_log=True)
            case Missing():
                self._missing(work, item)
            case Damaged():
                self._damaged(work, item)
            case (bytes() as line, int() as end):
                text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
                if text:
                    self._record(work, text, end, in_log=False)

    def _record(self, work: _Work, text: str, end: int, in_log: bool) -> None:
        counters = self.counters
        try:
            record = read_record(text)
        except NotAnEvent as error:
            if in_log:
                self._missing(work, Missing(end, end, f"it is damaged: {error}"))
            else:
                self._unreadable(work, text, error)
            counters.records += 1
            counters.unreadable += 1
            return
        kind = self._send(work, record, end)
        counters.records += 1
        setattr(counters, kind, getattr(counters, kind) + 1)

    def _send(self, work: _Work, record: NtRecord, end: int) -> str:
        """Send a record as an event, or not; gives the counter that counts it."""
        conf, common = self.conf, self._common
        if not conf.passes(record):
            return "prefiltered"
        block = self._mapping.find(record)
        if block is not None and block.class_name == DISCARD:
            return "discarded"
        slots = slots_of(
            record,
            replace_spaces=conf.replace_spaces,
            adapter_host=common.adapter_hostname,
            label_host=common.label_host if conf.hostname_is_adapter_host else "",
        )
        if block is None:
            class_name, slots["severity"] = OTHER, record.severity
        else:
            class_name = block.class_name
            slots.update(block.slots_of(record))
        if not passes(common.filters, common.filter_mode, class_name, slots):
            return "filtered"
        data, cut = event_text(class_name, slots, common.event_max_size)
        self._sink.append(data, work.file, end)
        self.counters.cut += cut
        return "events"

    # what cannot be read

    def _missing(self, work: _Work, item: Missing) -> None:
        count = item.last - item.first + 1
        which = f"record {item.first}" if count == 1 else f"{count} records, {item.first} to {item.last},"
        message = f"lost from {work.path}: {which} cannot be read: {item.reason}"
        self._sink.append(self._notice("TEC_LinesLost", work.path, message, lines=count), work.file, item.last)
        self._report(message)
        self.counters.lost_records += count

    def _damaged(self, work: _Work, item: Damaged) -> None:
        message = f"{work.path}: the chunk at byte {item.place} is damaged; what can be read around it is sent"
        # an identity of its own: damage is named once, though found by two readers or again after a crash
        file = FileRef(self._common.file_scope, f"{work.path}#{item.place}", f"{item.check:08x}")
        self._sink.append(self._notice("TEC_LinesLost", work.path, message, bytes=CHUNK_BYTES), file, 1)
        self._report(message)
        self.counters.damaged_chunks += 1

    def _unreadable(self, work: _Work, text: str, error: NotAnEvent) -> None:
        if self._unmatched is not None:
            self._unmatched.write(line_text(text.encode("utf-8", "replace"), POLL_BYTES)[0])
        if work.path not in self._told and len(self._told) < NOTICES:
            self._told.add(work.path)
            self._report(
                f"{work.path} has a line that is no Windows event: {error}; such lines are counted" + self._where
            )

    @property
    def _where(self) -> str:
        return "" if self._unmatched is not None else ", and UnmatchLog=FILE would keep them"

    def _lost(self, lost: Lost) -> None:
        """Name lost lines by an event and to the person who watches."""
        self.counters.lost_lines += lost.lines or 0
        self.counters.lost_bytes += lost.bytes
        path = _printable(lost.path)
        known = f"{lost.lines} lines" if lost.lines is not None else "lines, how many is not known"
        message = f"lost from {path}: {known}, at least {lost.bytes} bytes: {lost.reason}"
        self._report(message)
        numbers = {"bytes": lost.bytes} | ({"lines": lost.lines} if lost.lines is not None else {})
        class_name = "TEC_BufferOverflow" if lost.overflow else "TEC_LinesLost"
        self._notices.append(self._notice(class_name, path, message, **numbers))

    def _notice(self, class_name: str, path: str, message: str, **numbers: int) -> bytes:
        slots = {
            "source": "NT",
            "hostname": self._common.label_host,
            "adapter_host": self._common.adapter_hostname,
            "file": path,
            "msg": message,
            **{name: str(min(number, _INT)) for name, number in numbers.items()},
        }
        return event_text(class_name, slots, self._common.event_max_size)[0]

    def _tell_problems(self) -> None:
        for note in self._evtx.notes:
            self._report(note)
        problems = {**self._tailer.problems, **self._evtx.problems}
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                self._report(f"{path} cannot be read: {problem}")
        self._problems = problems


def _check_saved(data: Any) -> None:
    """Raises ValueError when `data` is not what `NtAdapter.save` saves."""
    if not isinstance(data, dict):
        raise ValueError("the saved state is none of this adapter")
    saved_logs(data.get("evtx"))
    saved_files(data.get("json"))


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
