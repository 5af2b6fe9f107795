"""Map files: which class a Windows event becomes, and where the slots of the class come from.

    CLASS NT_Logon_Failure
    SELECT Log=Security;EventId=4625
    WHEN $LogonType = 3,10
    MAP user = $TargetUserName
    MAP msg = $Event.Message | "logon of $TargetUserName from ${IpAddress} failed"
    END

Blocks are tried in the order of the file and the first one that selects the event decides; `CLASS *DISCARD*` throws it
away. docs/adapters-nt.md describes every part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opentec.adapters.nt.record import NtRecord
from opentec.adapters.nt.selection import Selection, SelectionError, parse_selection
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest, shown

DISCARD: Final = "*DISCARD*"
OTHER: Final = "NT_Event"  # an event that no block selects
SIZE_LIMIT: Final = 1 << 20

_FIELDS: Final[dict[str, Callable[[NtRecord], str]]] = {
    "Message": lambda record: record.message,
    "Text": lambda record: record.text,
    "Log": lambda record: record.log,
    "Source": lambda record: record.source,
    "EventId": lambda record: str(record.event_id),
    "EventType": lambda record: record.event_type,
    "Severity": lambda record: record.severity,
    "Category": lambda record: record.category,
    "Sid": lambda record: record.sid,
    "Computer": lambda record: record.computer,
    "Date": lambda record: record.date,
    "RecordId": lambda record: record.record_id,
}
_KEYWORDS: Final = ("CLASS", "SELECT", "WHEN", "MAP", "END")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEYWORD: Final = re.compile(r"\s*(\S+)\s*", re.ASCII)
_MAP: Final = re.compile(r"(\w+)\s*=\s*", re.ASCII)
_REFERENCE: Final = re.compile(r"\$(?:\{([^{}]*)\}|(Event\.\w+|\w+))", re.ASCII)
_VALUE: Final = re.compile(
    r"""(?:(\$(?:\{[^{}]*\}|Event\.\w+|\w+))|"([^"]*(?:""[^"]*)*)"|'([^']*(?:''[^']*)*)'|([\w.:*/+-]+))\s*(?:\||\Z)\s*""",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Value:
    """One alternative: constant texts and references in turn. It gives nothing when a reference has no value."""

    texts: tuple[str, ...]  # one more than references
    references: tuple[str, ...] = ()

    def of(self, record: NtRecord) -> str:
        parts = [self.texts[0]]
        for reference, text in zip(self.references, self.texts[1:], strict=True):
            value = _look_up(reference, record)
            if value in ("", "-"):  # Windows writes `-` for nothing
                return ""
            parts += (value, text)
        return "".join(parts)


@dataclass(slots=True)
class Block:
    """One CLASS of a map file."""

    class_name: str
    place: str
    selections: list[Selection] = field(default_factory=list)
    conditions: list[tuple[list[Value], frozenset[str]]] = field(default_factory=list)
    maps: dict[str, list[Value]] = field(default_factory=dict)

    def takes(self, record: NtRecord) -> bool:
        """Whether a SELECT of the block fits the event, and every WHEN."""
        return any(each.matches(record) for each in self.selections) and all(
            _first(values, record).casefold() in words for values, words in self.conditions
        )

    def slots_of(self, record: NtRecord) -> dict[str, str]:
        """The slots of the class that have a value."""
        slots = {}
        for slot, values in self.maps.items():
            text = _first(values, record)
            if text:
                slots[slot] = text
        return slots


def _first(values: list[Value], record: NtRecord) -> str:
    return next(filter(None, (value.of(record) for value in values)), "")


class Mapping:
    """The blocks of a map file, by event id for speed."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = list(blocks)
        self._known: dict[int, list[Block]] = {}

    def find(self, record: NtRecord) -> Block | None:
        """The first block that selects the event."""
        candidates = self._known.get(record.event_id)
        if candidates is None:
            # at most one entry for each of the 65,536 ids
            candidates = self._known[record.event_id] = [
                block
                for block in self.blocks
                if any(not each.ids or any(a <= record.event_id <= b for a, b in each.ids) for each in block.selections)
            ]
        return next((block for block in candidates if block.takes(record)), None)


def _look_up(reference: str, record: NtRecord) -> str:
    if reference.startswith("Event."):
        return _FIELDS[reference[6:]](record)
    if reference.isdigit():
        index = int(reference) - 1
        return record.values[index] if 0 <= index < len(record.values) else ""
    return record.data.get(reference, "")


def read_mapping(path: Path) -> Mapping:
    """Read and check a map file. Raises SourceErrors with all that is wrong, OSError when it cannot be read."""
    data = path.read_bytes()
    if len(data) > SIZE_LIMIT:
        raise SourceErrors(
            [SourceError(f"the file has more than {SIZE_LIMIT} bytes", file=str(path), line=1, column=1)]
        )
    return parse_mapping(data.decode("utf-8", "replace"), str(path))


def parse_mapping(text: str, file: str) -> Mapping:
    """As `read_mapping`, from the text of the file `file`."""
    reader = _Reader(file)
    for number, line in enumerate(text.split("\n"), 1):
        reader.line(number, line.rstrip())
    reader.end()
    if reader.errors:
        raise SourceErrors(reader.errors)
    return Mapping(reader.blocks)


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[SourceError] = []
        self.blocks: list[Block] = []
        self.block: Block | None = None
        self.at = (0, "")

    def _fail(self, column: int, message: str, hint: str = "") -> None:
        number, line = self.at
        self.errors.append(
            SourceError(message, file=self.file, line=number, column=column, source_line=line, hint=hint)
        )

    def line(self, number: int, line: str) -> None:
        self.at = (number, line)
        head = _KEYWORD.match(line)
        if head is None or head[1].startswith(("#", "//")):
            return
        keyword, rest, column = head[1], line[head.end() :], head.end() + 1
        if keyword == "CLASS":
            self._class(rest, column)
        elif keyword not in _KEYWORDS[1:]:
            near = nearest(keyword, _KEYWORDS)
            hint = f"did you mean {near}?" if near else "lines begin with CLASS, SELECT, WHEN, MAP or END"
            self._fail(head.start(1) + 1, f"{shown(keyword)} is not known", hint)
        elif self.block is None:
            self._fail(head.start(1) + 1, f"{keyword} outside of a block", "a block begins with CLASS NAME")
        elif keyword == "SELECT":
            self._select(self.block, rest, column)
        elif keyword == "WHEN":
            self._when(self.block, rest, column)
        elif keyword == "MAP":
            self._map(self.block, rest, column)
        else:
            self._close(self.block)

    def end(self) -> None:
        if self.block is not None:
            self._fail(1, f"the block of {self.block.class_name} ({self.block.place}) has no END")

    def _class(self, name: str, column: int) -> None:
        if self.block is not None:
            self._fail(1, f"the block of {self.block.class_name} ({self.block.place}) has no END", "write END before")
        if name != DISCARD and not _NAME.fullmatch(name):
            self._fail(column, f"{shown(name)} is not the name of a class", f"or {DISCARD}, to throw events away")
        self.block = Block(name, f"{self.file}:{self.at[0]}")

    def _select(self, block: Block, text: str, column: int) -> None:
        try:
            block.selections.append(parse_selection(text))
        except SelectionError as error:
            block.selections.append(Selection())
            self._fail(column, str(error), error.hint)

    def _map(self, block: Block, text: str, column: int) -> None:
        head = _MAP.match(text)
        if head is None or not _NAME.fullmatch(head[1]):
            self._fail(column, f"{shown(text)} is not slot = value")
            return
        if block.class_name == DISCARD:
            self._fail(column, f"{DISCARD} has no slots")
            return
        if head[1] in block.maps:
            self._fail(column, f"slot {head[1]!r} is mapped twice", "alternatives are separated by '|'")
        block.maps[head[1]] = self._values(text, head.end(), column, f"slot {head[1]!r}")

    def _when(self, block: Block, text: str, column: int) -> None:
        left, equals, right = text.rpartition("=")
        words = frozenset(word.strip().casefold() for word in right.split(","))
        if not equals or "" in words:
            self._fail(column, f"{shown(text)} is no condition", "such as WHEN $param2 = running,paused")
            return
        block.conditions.append((self._values(left.rstrip(), 0, column, "the condition"), words))

    def _values(self, text: str, at: int, column: int, what: str) -> list[Value]:
        """The alternatives from `at` on; `column` is that of the text's beginning."""
        values: list[Value] = []
        while at < len(text):
            found = _VALUE.match(text, at)
            if found is None:
                self._fail(column + at, f"{shown(text[at:])} is no value", 'write $name, ${a name}, "text" or a word')
                return values
            reference, double, single, word = found.groups()
            template = reference or (double.replace('""', '"') if double is not None else None)
            if single is not None:
                values.append(Value((single.replace("''", "'"),)))
            elif template is None:
                values.append(Value((word,)))
            else:
                values.append(self._template(template, column + at))
            at = found.end()
        if not values or text.endswith("|"):
            self._fail(column + len(text), f"{what} has no value here")
        return values

    def _template(self, text: str, column: int) -> Value:
        texts, references, at = [], [], 0
        for found in _REFERENCE.finditer(text):
            name = (found[1] if found[1] is not None else found[2]).strip()
            texts.append(text[at : found.start()])
            references.append(name)
            at = found.end()
            known = tuple(_FIELDS)
            if name.startswith("Event.") and name[6:] not in known:
                near = nearest(name[6:], known)
                hint = f"did you mean $Event.{near}?" if near else f"there are {', '.join(known)}"
                self._fail(column, f"$Event has no field {name[6:]!r}", hint)
            elif not name:
                self._fail(column, "${} names nothing")
        return Value((*texts, text[at:]), tuple(references))

    def _close(self, block: Block) -> None:
        if not block.selections:
            self._fail(1, f"the block of {block.class_name} has no SELECT", "it would take every event")
        self.blocks.append(block)
        self.block = None
