"""The logfile adapter's pipeline: tail, match, filter, write the event text, hand it to a sink.

A sink is what `opentec.eif.buffer.DiskBuffer` is: it takes event texts and makes them durable. The order is: events
durable first, positions saved after. A crash in between sends lines again with the same identity, and the server
notices; the other order would lose them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, Protocol

from opentec.adapters.conf import AdapterConf
from opentec.adapters.filters import passes
from opentec.adapters.logfile.fmt import Context, Format
from opentec.adapters.logfile.matcher import Matcher
from opentec.adapters.logfile.positions import PositionFile
from opentec.adapters.logfile.rotation import Lost
from opentec.adapters.logfile.tail import Chunk, Tailer, saved_files
from opentec.adapters.logfile.text import event_text, line_text
from opentec.adapters.logfile.unmatched import UnmatchLog
from opentec.eif.errors import BufferFull
from opentec.eif.segment import FileRef
from opentec.events.text import format_event

POLL_BYTES: Final = 262_144
NOTICES: Final = 1000  # events about lost lines that wait for room

Report = Callable[[str], None]


class Sink(Protocol):
    """Where events go. `append` raises BufferFull when it takes no more, and then has not taken the event."""

    @property
    def full(self) -> bool: ...

    def append(self, text: str | bytes, file: FileRef | None = None, end_offset: int = 0) -> int: ...

    def flush(self) -> None: ...


@dataclass(slots=True)
class Counters:
    """What became of the lines: lines = discarded + unmatched + filtered + events.

    They are saved with the positions and so count each line once, however often the adapter was killed.
    """

    lines: int = 0
    discarded: int = 0
    unmatched: int = 0
    filtered: int = 0
    events: int = 0
    cut: int = 0  # lines or events that were over EventMaxSize
    lost_lines: int = 0
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
    """A chunk that is being handed over, and how far."""

    chunk: Chunk
    file: FileRef
    context: Context
    at: int = 0
    end: int = 0  # offset behind the line before
    before: list[str] = field(default_factory=list)  # for formats of several lines


class LogfileAdapter:
    """Everything between the files and the sink; the caller decides when to poll and when to make durable."""

    def __init__(
        self,
        conf: AdapterConf,
        formats: Sequence[Format],
        sink: Sink,
        positions: PositionFile | None = None,
        *,
        report: Report = lambda _text: None,
    ) -> None:
        """`positions` None keeps them in memory. `report` gets sentences for a person.

        Raises OSError when saved positions exist and cannot be read, BufferUnusable when they are of another version.
        """
        self.conf = conf
        self._sink = sink
        self._positions = positions
        self._report = report
        self._matcher = Matcher(formats)
        self._work: deque[_Work] = deque()
        self._notices: deque[str] = deque(maxlen=NOTICES)
        self._before: dict[tuple[str, str], list[str]] = {}
        self._problems: dict[str, str] = {}
        self._saved: object = None
        self._unmatched = UnmatchLog(conf.unmatch_log, report) if conf.unmatch_log is not None else None
        loaded = positions.load(saved_files) if positions is not None else None
        if loaded is not None and loaded.problem:
            report(loaded.problem)
        saved = loaded.data if loaded is not None else None
        self.counters = Counters.from_data(saved.get("counters") if isinstance(saved, dict) else None)
        self._tailer = Tailer(
            conf.log_sources,
            saved,
            read_existing=conf.read_existing,
            line_limit=conf.event_max_size,
            context=self._matcher.window - 1,
            doubt=loaded.doubt if loaded is not None else 0,
            on_lost=self._lost,
        )

    @property
    def has_work(self) -> bool:
        """Whether anything is known to be left to read or to hand over."""
        return self.waiting or self._tailer.behind

    @property
    def waiting(self) -> bool:
        """Whether lines were read that the sink has not taken yet."""
        return bool(self._work or self._notices)

    def step(self) -> bool:
        """Read and hand over some lines. True when there is more to do at once.

        A full sink stops it: nothing is read then, but rotated files are held open. Raises what the sink raises,
        except BufferFull.
        """
        full = self._sink.full or not self._hand_over()
        for chunk in self._tailer.poll(0 if full else POLL_BYTES):
            self._work.append(self._begin(chunk))
        self._tell_problems()
        if full:
            return False
        return self._hand_over() and self._tailer.behind

    def flush(self) -> None:
        """Make durable what was handed over. Blocks on the disk; raises what the sink raises."""
        self._sink.flush()
        if self._unmatched is not None:
            self._unmatched.flush()

    def save(self) -> None:
        """Save the positions, after `flush`. Blocks on the disk; raises OSError, and the positions stay as they were.

        Nothing is saved while lines wait for the sink: a position behind a line that was not taken would drop it.
        """
        if self._positions is None or self.waiting:
            return
        data = {**self._tailer.to_data(), "counters": self.counters.to_data()}
        if data != self._saved:
            self._positions.save(data)
            self._saved = data

    def close(self) -> None:
        self._tailer.close()
        if self._unmatched is not None:
            self._unmatched.close()

    def _begin(self, chunk: Chunk) -> _Work:
        conf = self.conf
        path = os.fsencode(chunk.path).decode("utf-8", "backslashreplace")
        work = _Work(
            chunk,
            FileRef(conf.file_scope, path, chunk.generation),
            Context(conf.label_host, conf.adapter_hostname, path),
            end=chunk.start,
        )
        if self._matcher.window > 1:
            known = self._before.pop((chunk.path, chunk.generation), None)
            limit = conf.event_max_size
            work.before = known if known is not None else [line_text(line, limit)[0] for line in chunk.before]
        return work

    def _hand_over(self) -> bool:
        """Give the sink what waits; False when it takes no more."""
        try:
            while self._notices:
                self._sink.append(self._notices[0])
                self._notices.popleft()
            while self._work:
                self._lines(self._work[0])
                work = self._work.popleft()
                if self._matcher.window > 1:
                    self._remember(work)
        except BufferFull:
            return False
        return True

    def _remember(self, work: _Work) -> None:
        self._before[work.chunk.path, work.chunk.generation] = work.before
        while len(self._before) > 2000:
            del self._before[next(iter(self._before))]

    def _lines(self, work: _Work) -> None:
        counters, limit, window = self.counters, self.conf.event_max_size, self._matcher.window
        lines = work.chunk.lines
        while work.at < len(lines):
            data, end = lines[work.at]
            length = end - work.end - 1
            text, cut = line_text(data, limit, length if length > len(data) else None)
            found = self._matcher.find(text, work.before)
            if found is None:
                counters.unmatched += 1
                if self._unmatched is not None:
                    self._unmatched.write(text)
            elif found[0].discards:
                counters.discarded += 1
            else:
                slots = found[0].slots_of(found[1], text, work.context)
                if passes(self.conf.filters, self.conf.filter_mode, found[0].class_name, slots):
                    cut = self._send(found[0], slots, work.file, end) or cut
                    counters.events += 1
                else:
                    counters.filtered += 1
            counters.lines += 1
            counters.cut += cut
            work.at += 1
            work.end = end
            if window > 1:
                consumed = found is not None and found[0].pattern.lines > 1
                work.before = [] if consumed else [*work.before, text][1 - window :]

    def _send(self, format_: Format, slots: dict[str, str], file: FileRef, end: int) -> bool:
        slots.setdefault("adapter_host", self.conf.adapter_hostname)
        text, cut = event_text(format_.class_name, slots, self.conf.event_max_size)
        self._sink.append(text, file, end)
        return cut

    def _lost(self, lost: Lost) -> None:
        """Name lost lines by an event and to the person who watches."""
        self.counters.lost_lines += lost.lines or 0
        self.counters.lost_bytes += lost.bytes
        known = f"{lost.lines} lines" if lost.lines is not None else "lines, how many is not known"
        message = f"lost from {lost.path}: {known}, at least {lost.bytes} bytes: {lost.reason}"
        self._report(message)
        slots: dict[str, object] = {
            "source": "LOGFILE",
            "hostname": self.conf.label_host,
            "adapter_host": self.conf.adapter_hostname,
            "file": lost.path.encode("utf-8", "backslashreplace").decode(),
            "bytes": min(lost.bytes, 2**31 - 1),
            "msg": message.encode("utf-8", "backslashreplace").decode(),
        }
        if lost.lines is not None:
            slots["lines"] = min(lost.lines, 2**31 - 1)
        self._notices.append(format_event("TEC_BufferOverflow" if lost.overflow else "TEC_LinesLost", slots))

    def _tell_problems(self) -> None:
        for path, problem in self._tailer.problems.items():
            if self._problems.get(path) != problem:
                self._report(f"{path} cannot be read: {problem}")
        self._problems = self._tailer.problems
