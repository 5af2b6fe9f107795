"""What came in, as events: raw log lines through an adapter's format file, and dumps.

Of lines this is what tecad_logfile sends (docs/adapters.md), without its filters; of dumps, what `tec log` (wtdumprl)
and `tec dump` (wtdumper) print (tec.md 2.3, tec-2.md 5). Values are text: the classes of a rule base give them types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from opentec.adapters.logfile.fmt import Context, Format, read_formats
from opentec.adapters.logfile.matcher import Matcher
from opentec.adapters.logfile.text import event_text, line_text
from opentec.adapters.logfile.trying import LINE_LIMIT, Explainer
from opentec.events.errors import EventSyntaxError, SourceError, SourceErrors
from opentec.events.names import shown
from opentec.events.text import decode_text, parse_event

HOST: Final = "localhost"  # of lines that name none
EVENT_SIZE: Final = 4096  # bytes; the default of EventMaxSize
TEXT_LIMIT: Final = 1 << 20  # bytes of one record of a dump

# what the server gives an event, and what rules and operators change: not what a sender sent
_SET_BY_SERVER: Final = frozenset(
    {
        *("date_reception", "event_handle", "server_handle", "last_modified_time", "status", "administrator", "acl"),
        *("num_actions", "repeat_count", "duration", "cause_date_reception", "cause_event_handle"),
    }
)
_HEADER: Final = re.compile(r"\d+~\d+~\d+~(\d{9,10})\(", re.ASCII)
_BEGIN: Final = "### EVENT ###"
_END: Final = "### END EVENT ###"
_FAILED: Final = "PARSING_FAILED"
_QUOTE: Final = re.compile("['\"]")
_LAST: Final = re.compile(r"(?:^|;)[ \t]*END[ \t\r\n\x01]*\Z")

Slots = dict[str, str | list[str]]


class ReadLine(NamedTuple):
    """What an adapter makes of one line. `time` is the time that the line's format found in it, as it stands there."""

    number: int  # of the line, from 1
    line: str
    verdict: Literal["event", "discarded", "unmatched"]
    class_name: str  # "" of a line that is unmatched
    slots: Slots
    time: str
    place: str  # `file:line` of the format that decided


class LineReader:
    """Formats at work on the lines of one file."""

    def __init__(
        self, formats: Sequence[Format], hostname: str = HOST, file: str = "", limit: int = EVENT_SIZE
    ) -> None:
        """`hostname` is the adapter's, `file` what formats know as FILENAME, `limit` the adapter's EventMaxSize."""
        self.formats = formats
        self._matcher = Matcher(formats)
        self._context = Context(hostname, hostname, file)
        self._limit = limit
        self._explainer: Explainer | None = None

    def read(self, lines: Iterable[str | bytes]) -> Iterator[ReadLine]:
        """The lines in their order, each with what becomes of it."""
        window, before = self._matcher.window, list[str]()
        for number, raw in enumerate(lines, 1):
            data = raw.encode("utf-8", "backslashreplace") if isinstance(raw, str) else raw
            line, _ = line_text(data.removesuffix(b"\n"), self._limit)
            found = self._matcher.find(line, before)
            if window > 1:
                consumed = found is not None and found[0].pattern.lines > 1
                before = [] if consumed else [*before, line][1 - window :]
            if found is None:
                yield ReadLine(number, line, "unmatched", "", {}, "", "")
                continue
            format_, match = found
            times = format_.pattern.times
            time = match[times[0]] if times else ""
            if format_.discards:
                yield ReadLine(number, line, "discarded", format_.class_name, {}, time, format_.place)
            else:
                slots = self._sent(format_.class_name, format_.slots_of(match, line, self._context))
                yield ReadLine(number, line, "event", format_.class_name, slots, time, format_.place)

    def why_unmatched(self, line: str) -> str:
        """Which format comes nearest to a line that none matches, and where the line leaves it."""
        if self._explainer is None:
            self._explainer = Explainer(self.formats)
        place, why = self._explainer.explain(line)
        return f"{why} ({place})" if place else why

    def _sent(self, class_name: str, slots: dict[str, str]) -> Slots:
        slots.setdefault("adapter_host", self._context.adapter_host)
        # a character has at most four bytes, a quote is doubled
        if sum(len(name) + 4 * len(value) + 4 for name, value in slots.items()) + len(class_name) + 4 <= self._limit:
            return dict(slots)
        return parse_event(decode_text(event_text(class_name, slots, self._limit)[0]))[1]


def formats_in(path: Path) -> list[Format]:
    """The formats of a file. Raises SourceErrors, also where the file cannot be read."""
    try:
        return read_formats(path)
    except OSError as wrong:
        raise _unreadable(path, wrong) from wrong


def read_lines(format_file: Path, lines: Iterable[str | bytes], hostname: str = HOST, file: str = "") -> list[ReadLine]:
    """What tecad_logfile on the host `hostname` makes of these lines of the log `file`.

    Raises SourceErrors with everything that is wrong in the format file.
    """
    return list(LineReader(formats_in(format_file), hostname, file).read(lines))


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a log, of each at most LINE_LIMIT bytes. Raises SourceErrors where it cannot be read."""
    try:
        with path.open("rb") as stream:
            while line := stream.readline(LINE_LIMIT):
                yield line
                while len(line) == LINE_LIMIT and not line.endswith(b"\n"):
                    line = stream.readline(LINE_LIMIT)
    except OSError as wrong:
        raise _unreadable(path, wrong) from wrong


class Dumped(NamedTuple):
    """One record of a dump: an event, an operator's change (`class_name` CHANGE, with slots `event` and `user`), or
    what reception rejected: `reason` says why, and there may be neither class nor slots."""

    line: int  # where its text begins
    kind: Literal["event", "change", "rejected"]
    class_name: str
    slots: Slots
    time: int | None  # of reception, microseconds since 1970; None where the dump does not say
    reason: str = ""
    text: str = ""
    error: SourceError | None = None  # the text is no event, and no disposition said so


def read_dump(path: Path, file: str | None = None) -> list[Dumped]:
    """Every record of a dump; `file` is its name in messages. Raises SourceErrors with all that is no event."""
    found = list(iterate_dump(path, file))
    errors = [one.error for one in found if one.error is not None]
    if not found:
        errors.append(_nothing(file or str(path)))
    if errors:
        raise SourceErrors(errors)
    return found


def iterate_dump(path: Path, file: str | None = None) -> Iterator[Dumped]:
    """As `read_dump`, one by one; what is no event has its `error`.

    Raises SourceErrors where the file cannot be read, or its layout is that of no dump.
    """
    return _Dump(path, file or str(path)).records()


class _Dump:
    """One reading of one dump."""

    def __init__(self, path: Path, file: str) -> None:
        self._path, self._file = path, file
        self._number = 0
        self._lines = self._read()

    def _read(self) -> Iterator[str]:
        for raw in lines_of(self._path):
            self._number += 1
            if len(raw) >= TEXT_LIMIT:
                raise SourceErrors([self._wrong(f"the line has more than {TEXT_LIMIT} bytes", "is this a dump?")])
            yield decode_text(raw.removeprefix(b"\x03"))

    def _wrong(self, message: str, hint: str = "", line: int = 0, source: str = "") -> SourceError:
        return SourceError(
            message, file=self._file, line=line or self._number, column=1, source_line=source[:1000], hint=hint
        )

    def records(self) -> Iterator[Dumped]:
        time: int | None = None
        framed: Dumped | None = None  # it waits for the disposition that follows
        for line in self._lines:
            text = line.strip()
            if not text:
                continue
            if framed is not None and _is_disposition(text):
                framed = _disposed(framed, text)
                continue
            if framed is not None:
                yield framed
                framed = None
            if header := _HEADER.match(text):
                time = int(header[1]) * 1_000_000
            elif text == _BEGIN:
                framed = self._framed(time)
                time = None
            else:
                yield self._plain(line)
        if framed is not None:
            yield framed

    def _framed(self, time: int | None) -> Dumped:
        start, size, parts = self._number + 1, 0, list[str]()
        for line in self._lines:
            if line.strip() == _END:
                return self._event("".join(parts).strip(), start, time)
            size += len(line)
            if size > TEXT_LIMIT:
                break
            parts.append(line)
        raise SourceErrors([self._wrong(f"no {_END!r} ends this record", "is the dump whole?", start - 1)])

    def _plain(self, first: str) -> Dumped:
        """An event outside a frame, as the repository's dump has it: up to the END that is outside of quotes."""
        start = self._number
        if not re.match(r"\s*[A-Za-z_]\w*\s*;", first, re.ASCII):
            hint = "a dump is what `tec log` (wtdumprl) or `tec dump` (wtdumper) prints"
            raise SourceErrors([self._wrong(f"{shown(first.strip())} begins no event", hint)])
        parts, size, quote = [first], len(first), _quote_after(first, "")
        while quote or not _LAST.search(parts[-1]):
            line = next(self._lines, None)
            if line is None or size > TEXT_LIMIT:
                raise SourceErrors([self._wrong("no END ends this event", "is the dump whole?", start, first.rstrip())])
            parts.append(line)
            size += len(line)
            quote = _quote_after(line, quote)
        return self._event("".join(parts).strip(), start, None)

    def _event(self, text: str, line: int, time: int | None) -> Dumped:
        try:
            class_name, slots = parse_event(text)
        except EventSyntaxError as wrong:
            at = max(wrong.line, 1)
            source = text.split("\n")[at - 1].rstrip()[:1000]
            error = SourceError(
                wrong.reason, file=self._file, line=line + at - 1, column=max(wrong.column, 1), source_line=source
            )
            return Dumped(line, "rejected", "", {}, time, str(wrong), text, error)
        if class_name == "CHANGE" and {"event", "user"} <= slots.keys():
            return Dumped(line, "change", class_name, slots, time, text=text)
        seconds = slots.get("date_reception")
        if isinstance(seconds, str) and re.fullmatch(r"\d{1,10}", seconds, re.ASCII):
            time = int(seconds) * 1_000_000 if time is None else time
            slots = {name: value for name, value in slots.items() if name not in _SET_BY_SERVER}
        return Dumped(line, "event", class_name, slots, time, text=text)


def _quote_after(line: str, quote: str) -> str:
    """The quote that is open behind a line, where `quote` was open before it; a doubled one closes and opens."""
    for found in _QUOTE.findall(line):
        if not quote:
            quote = found
        elif found == quote:
            quote = ""
    return quote


def _is_disposition(text: str) -> bool:
    return text.startswith(("PROCESSED", "WAITING", "PROCESSING", "QUEUED", _FAILED, "ERROR:", "~"))


def _disposed(record: Dumped, text: str) -> Dumped:
    if text.startswith(_FAILED):
        reason = text.removeprefix(_FAILED).strip(" ~'") or record.reason or "no reason is known"
        return record._replace(kind="rejected", reason=reason, error=None)
    if text.startswith("ERROR:") and record.kind == "rejected" and record.error is None:
        return record._replace(reason=text.removeprefix("ERROR:").strip())
    return record


def _nothing(file: str) -> SourceError:
    hint = "a dump is what `tec log` (wtdumprl) or `tec dump` (wtdumper) prints"
    return SourceError("the dump has no record", file=file, line=1, column=1, hint=hint)


def _unreadable(path: Path, wrong: OSError) -> SourceErrors:
    return SourceErrors([SourceError(f"cannot be read: {wrong.strerror}", file=str(path), line=1, column=1)])
