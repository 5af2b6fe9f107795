"""Reads the steps of a specification: when, what arrives, what is done to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opentec.events.errors import SourceErrors
from opentec.testing.document import Document, Mapping, Mark, Node, Scalar, Sequence
from opentec.testing.instants import LONGEST, parse_at, parse_length, show_length
from opentec.testing.spec_data import KINDS, Arrival, Change, Failover, Pattern, RawSlot, Step
from opentec.testing.spec_patterns import PatternReader

MAX_STEPS: Final = 1_000_000  # of one file, and events
_INPUT: Final = ("event", "events", "repeat", "every", "lines", "dump")
_SERVER: Final = ("restart", "failover", "reload")
STEP_KEYS: Final = ("at", *_INPUT, "change", *_SERVER, *KINDS)
OPERATOR: Final = "operator"  # who makes a change, when the test does not say


class StepReader:
    """Reads the steps of one file; paths are relative to its folder."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.patterns = PatternReader(document)
        self._folder = folder
        self._count = 0
        self._full = False

    def steps(self, items: list[Node], before: int) -> tuple[Step, ...]:
        """Steps that follow on something that ended at `before`, microseconds from the start of the test."""
        steps: list[Step] = []
        for item in items:
            if not self._room(1, item.mark):
                break
            step = self._step(item, before)
            if step is not None:
                before = step.end
                steps.append(step)
        return tuple(steps)

    def _room(self, more: int, mark: Mark) -> bool:
        self._count += more
        if self._count > MAX_STEPS and not self._full:
            self._full = True
            self.document.report(mark, f"a file has at most {MAX_STEPS} steps and events", "split it")
        return not self._full

    def _step(self, node: Node, before: int) -> Step | None:
        document = self.document
        found = document.mapping(node, "a step", STEP_KEYS, ("at",))
        if found is None:
            return None
        if set(found) == {"at"} and isinstance(node, Mapping) and len(node.pairs) == 1:
            document.report(node.mark, "the step does nothing", "add event:, expect: or expect_no:")
        scalar = document.scalar(found["at"][1], "'at'") if "at" in found else None
        at = self.patterns.timed(scalar, lambda text: parse_at(text, before))
        arrivals = self._arrivals(found)
        change = self._change(*found["change"]) if "change" in found else None
        named = [key for key in _SERVER if key in found]
        if len(named) > 1:
            document.report(found[named[1]][0], f"a step has one of {' and '.join(named)}", "make two steps of it")
        restart = self.patterns.flag(found, "restart")
        failover = self._failover(*found["failover"]) if "failover" in found else None
        reload: tuple[Path, Mark] | None = None
        if "reload" in found and (path := self._path("reload", found["reload"][1])) is not None:
            reload = path, found["reload"][1].mark
        expectations = self.patterns.expectations(found)
        if scalar is None or at is None:
            return None
        end = at + (arrivals[-1].after if arrivals else 0)
        if end > LONGEST:
            document.report(node.mark, "the step ends more than a hundred years from the start")
            return None
        return Step(
            node.mark,
            scalar.text,
            at,
            end,
            arrivals,
            change,
            restart,
            failover,
            reload,
            expectations,
        )

    # what arrives

    def _arrivals(self, found: dict[str, tuple[Mark, Node]]) -> tuple[Arrival, ...]:
        document = self.document
        named: list[str] = [key for key in ("event", "events", "lines", "dump") if key in found]
        if len(named) > 1:
            hint = "make two steps of it" if named != ["event", "events"] else "put all of them into events:"
            document.report(found[named[1]][0], f"a step has one of {' and '.join(named)}", hint)
            return ()
        repeat, every = self._repeated(found, named)
        if "dump" in found:
            return self._dump(found["dump"][1])
        patterns = self._events(found)
        if not self._room(len(patterns) * repeat, found[named[0]][0] if named else Mark(1, 1)):
            return ()
        return tuple(Arrival(number * every, pattern) for number in range(repeat) for pattern in patterns)

    def _repeated(self, found: dict[str, tuple[Mark, Node]], named: list[str]) -> tuple[int, int]:
        document = self.document
        for key in ("repeat", "every"):
            if key in found and (not named or named == ["dump"]):
                document.report(found[key][0], f"{key!r} is for events and lines", "say which: event: {class: ...}")
                return 1, 0
        if "every" in found and "repeat" not in found:
            document.report(found["every"][0], "'every' stands without 'repeat'", "add repeat: N")
        repeat: int | None = 1
        if "repeat" in found:
            repeat = self.patterns.timed(document.scalar(found["repeat"][1], "'repeat'"), _number)
            if "every" not in found:
                document.report(found["repeat"][0], "'repeat' stands without 'every'", "add every: 10s, or every: 0s")
        every: int | None = 0
        if "every" in found:
            every = self.patterns.timed(document.scalar(found["every"][1], "'every'"), parse_length)
        repeat, every = repeat or 1, every or 0
        if repeat * every > LONGEST:
            document.report(found["every"][0], f"{repeat} times {show_length(every)} is more than a hundred years")
            return 1, 0
        return repeat, every

    def _events(self, found: dict[str, tuple[Mark, Node]]) -> list[Pattern]:
        patterns: list[Pattern | None] = []
        if "event" in found:
            patterns.append(self.patterns.event(found["event"][1]))
        if "events" in found:
            mark, node = found["events"]
            items = self.document.sequence(node, "'events'")
            if items is not None and not items:
                self.document.report(mark, "'events' is an empty list", "name at least one event, or take it out")
            patterns += map(self.patterns.event, items or ())
        if "lines" in found:
            patterns += self._lines(*found["lines"])
        return [pattern for pattern in patterns if pattern is not None]

    def _lines(self, mark: Mark, node: Node) -> list[Pattern]:
        document = self.document
        found = document.mapping(node, "'lines'", ("format", "hostname", "log", "text", "file"), ("format",))
        if found is None or "format" not in found:
            return []
        if ("text" in found) == ("file" in found):
            document.report(mark, "'lines' has either text or file", "write text: | and the lines below it")
            return []
        format_file = self._file("format", found["format"][1])
        said: dict[str, str] = {}
        for key in ("hostname", "log"):
            scalar = document.scalar(found[key][1], f"{key!r}") if key in found else None
            if scalar is not None:
                said[key] = scalar.text
        lines: list[tuple[str | bytes, Mark]] = []
        try:
            if "text" in found:
                lines += self._text(found["text"][1])
            else:
                from opentec.testing.inputs import lines_of

                path = self._file("file", found["file"][1])
                if path is None:
                    return []
                lines += [(line, found["file"][1].mark) for line in lines_of(path)]
            if format_file is None:
                return []
            patterns = self._read_lines(format_file, lines, said, all_taken="text" in found)
            if not patterns and "file" in found:
                hint = "`tec adapter try` shows what becomes of each line"
                document.report(found["file"][1].mark, "no line of this log becomes an event", hint)
            return patterns
        except SourceErrors as wrong:
            document.errors += wrong.errors
            return []

    def _text(self, node: Node) -> list[tuple[str, Mark]]:
        if not (node.text if isinstance(node, Scalar) else node.items if isinstance(node, Sequence) else node):
            self.document.report(node.mark, "'text' has no lines", "write text: | and the lines below it")
        if isinstance(node, Scalar):
            # a block begins in the line behind its mark; each of its lines has its place there
            first = node.mark.line + 1 if "\n" in node.text else node.mark.line
            lines = node.text.split("\n")
            lines = lines[:-1] if lines[-1] == "" else lines
            return [(line, Mark(first + number, 1, node.mark.file)) for number, line in enumerate(lines)]
        items = [self.document.scalar(item, "a line") for item in self.document.sequence(node, "'text'") or ()]
        return [(item.text, item.mark) for item in items if item is not None]

    def _read_lines(
        self, path: Path, lines: list[tuple[str | bytes, Mark]], said: dict[str, str], *, all_taken: bool
    ) -> list[Pattern]:
        """The events of lines. A line that no format takes is passed over in a log, but in a test it is a mistake."""
        from opentec.testing.inputs import HOST, LineReader, formats_in

        reader = LineReader(formats_in(path), said.get("hostname", HOST), said.get("log", ""))
        patterns = []
        for found in reader.read(line for line, _ in lines):
            mark = lines[found.number - 1][1]
            if found.verdict == "unmatched" and all_taken:
                hint = f"no format of {path.name} takes it: {reader.why_unmatched(found.line)}"
                self.document.report(mark, f"the line {found.line[:80]!r} becomes no event", hint)
            elif found.verdict == "event":
                slots = {slot: RawSlot(value, mark) for slot, value in found.slots.items()}
                patterns.append(Pattern(found.class_name, mark, slots, mark))
        return patterns

    def _dump(self, node: Node) -> tuple[Arrival, ...]:
        from opentec.testing.inputs import read_dump

        document, path = self.document, self._file("dump", node)
        if path is None:
            return ()
        try:
            records = [record for record in read_dump(path) if record.kind == "event"]
        except SourceErrors as wrong:
            document.errors += wrong.errors
            return ()
        if not records:
            document.report(node.mark, "the dump has no event", "changes and what was rejected do not arrive")
        if not self._room(len(records), node.mark):
            return ()
        first = next((record.time for record in records if record.time is not None), 0)
        arrivals, before = [], 0
        for record in records:
            # a dump of a repository is ordered otherwise than by time where a clock was set back
            before = before if record.time is None else max(before, record.time - first)
            slots = {slot: RawSlot(value, node.mark) for slot, value in record.slots.items()}
            arrivals.append(Arrival(before, Pattern(record.class_name, node.mark, slots, node.mark)))
        return tuple(arrivals)

    # what is done to the server

    def _change(self, mark: Mark, node: Node) -> Change | None:
        document = self.document
        found = document.mapping(node, "a change", ("event", "set", "user", "refused"), ("event", "set"))
        if found is None or not {"event", "set"} <= found.keys():
            return None
        event = self.patterns.pattern(found["event"][1], "the event", exact=False)
        slots = self.patterns.slots(found["set"][1], "'set'")
        if not slots and isinstance(found["set"][1], Mapping):
            document.report(found["set"][0], "the change sets nothing", "write set: {status: ACK}")
        user = document.scalar(found["user"][1], "'user'") if "user" in found else None
        refused: str | None = None
        if "refused" in found:
            scalar = document.scalar(found["refused"][1], "'refused'")
            if scalar is not None and scalar.text.lower() != "false":
                refused = "" if scalar.text.lower() == "true" else scalar.text
        return None if event is None else Change(event, slots, user.text if user else OPERATOR, refused, mark)

    def _failover(self, mark: Mark, node: Node) -> Failover | None:
        if isinstance(node, Mapping):
            return Failover(self.patterns.slots(node, "'failover'"), mark)
        return Failover({}, mark) if self.patterns.only_true(node, "'failover'") else None

    def _path(self, key: str, node: Node) -> Path | None:
        scalar = self.document.scalar(node, f"{key!r}")
        if scalar is not None and (not scalar.text or "\0" in scalar.text):
            self.document.report(scalar.mark, f"{key!r} is empty", "name it relative to this file")
            return None
        return None if scalar is None else self._folder / scalar.text

    def _file(self, key: str, node: Node) -> Path | None:
        path = self._path(key, node)
        if path is not None and not path.is_file():
            self.document.report(node.mark, f"there is no file {path}", f"{key!r} is relative to this file")
            return None
        return path


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7 or not 1 <= int(text) <= MAX_STEPS:
        raise ValueError(f"{text!r} is not a number of times; write 1 to {MAX_STEPS}")
    return int(text)
