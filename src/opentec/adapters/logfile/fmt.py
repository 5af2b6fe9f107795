"""Format files: how lines become events (tec.md 4.2).

    // comment
    FORMAT class [FOLLOWS parent[,parent]]
    format string
    slot value
    -name value
    END

A value is `$i`, a constant (in double quotes when it has blanks), `PRINTF("..%s..", a, b)`, DEFAULT, LABEL (the host
that the configuration names) or FILENAME (the file's path). `-name` is a temporary for PRINTF. `REGEX class` in place
of FORMAT takes a regular expression instead of a format string. FOLLOWS inherits the mapping lines, not the string;
what PRINTF prints is looked up after all inheriting is done. `FORMAT *DISCARD*` throws the line away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from opentec.adapters.conf import AdapterConf
from opentec.adapters.logfile.pattern import Pattern, PatternError, compile_regex, compile_string
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest, shown

FORMATS: Final = "tecad_logfile.fmt"  # beside the configuration
DISCARD: Final = "*DISCARD*"
SOURCE: Final = "LOGFILE"
FILE_LIMIT: Final = 8 << 20  # bytes of a format file
NESTING_LIMIT: Final = 16  # of PRINTF

_HEADER: Final = re.compile(r"(FORMAT|REGEX)\s+(\S+)(?:\s+FOLLOWS\s+(\S.*?))?\s*", re.ASCII)
_MAPPING: Final = re.compile(r"(-?[A-Za-z_]\w*)\s+(\S.*?)\s*", re.ASCII)
_PRINTF: Final = re.compile(r'PRINTF\s*\(\s*"((?:[^"\\]|\\.)*)"\s*((?:,\s*[^,()"]+?\s*|,\s*"(?:[^"\\]|\\.)*"\s*)*)\)')
_ARGUMENT: Final = re.compile(r',\s*("(?:[^"\\]|\\.)*"|[^,()"]+?)\s*(?=,|$)')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CLASS: Final = re.compile(r"[A-Za-z]\w*", re.ASCII)


class Special(NamedTuple):
    """A value that the adapter supplies: LABEL, ADAPTER (its host), FILENAME or LINE (the whole line)."""

    name: str


class Printf(NamedTuple):
    """A PRINTF before it is bound: literal texts around the arguments."""

    texts: tuple[str, ...]
    arguments: tuple[str, ...]


Piece = str | int | Special  # constant, number of a specifier, or what the adapter supplies
Value = str | int | Special | Printf


class Mapping(NamedTuple):
    """One mapping line with its place."""

    value: Value | None  # None = DEFAULT
    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """What the adapter supplies to events of one file."""

    label: str
    adapter_host: str
    filename: str


@dataclass(frozen=True, slots=True)
class Format:
    """One entry of a format file, ready to match. `slots_of` gives its event's slots, all as text."""

    class_name: str
    file: str
    line: int
    pattern: Pattern
    slots: tuple[tuple[str, tuple[Piece, ...]], ...]

    @property
    def discards(self) -> bool:
        return self.class_name == DISCARD

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def slots_of(self, match: re.Match[str], line: str, context: Context) -> dict[str, str]:
        """The slots of the event; a part of a REGEX that took no part in the match is empty."""
        parts = match.groups("")
        result = {}
        for slot, pieces in self.slots:
            if len(pieces) == 1:
                piece = pieces[0]
                result[slot] = piece if type(piece) is str else _piece(piece, parts, line, context)
            else:
                result[slot] = "".join([_piece(piece, parts, line, context) for piece in pieces])
        return result


def _piece(piece: Piece, parts: tuple[str, ...], line: str, context: Context) -> str:
    if isinstance(piece, str):
        return piece
    if isinstance(piece, int):
        return parts[piece - 1]
    if piece is LINE:
        return line
    if piece is FILENAME:
        return context.filename
    return context.label if piece is LABEL else context.adapter_host


LABEL: Final = Special("LABEL")
ADAPTER: Final = Special("ADAPTER")
FILENAME: Final = Special("FILENAME")
LINE: Final = Special("LINE")


def formats_of(conf: AdapterConf) -> Path:
    """The format file of a configuration: FormatFile, else the one beside it."""
    return conf.format_file or Path(conf.file).with_name(FORMATS)


def read_formats(path: Path) -> list[Format]:
    """Read a format file, in file order. Raises SourceErrors with everything that is wrong, OSError."""
    data = path.read_bytes()
    if len(data) > FILE_LIMIT:
        error = SourceError(f"the file has more than {FILE_LIMIT} bytes", file=str(path), line=1, column=1)
        raise SourceErrors([error])
    return parse_formats(data.decode("utf-8", "replace"), str(path))


def parse_formats(text: str, file: str) -> list[Format]:
    """As `read_formats`, from the text of `file`."""
    return _Reader(text, file).read()


class _Reader:
    """One reading of one file; `errors` collects all that is wrong."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = [line.rstrip() for line in text.split("\n")]
        self.at = 0  # index of the line to be read
        self.errors: list[SourceError] = []
        self.formats: list[Format] = []
        self.mappings: dict[str, dict[str, Mapping]] = {}  # by class: those of its last entry so far

    def read(self) -> list[Format]:
        while self.at < len(self.lines):
            line = self.lines[self.at].strip()
            if not line or line.startswith("//"):
                self.at += 1
            else:
                self._entry()
        if not self.errors and not self.formats:
            self._fail(1, 1, "the file defines no format", "a format begins with FORMAT class")
        if self.errors:
            raise SourceErrors(sorted(self.errors, key=lambda error: (error.line, error.column)))
        return self.formats

    def _fail(self, line: int, column: int, message: str, hint: str = "") -> None:
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        self.errors.append(
            SourceError(message, file=self.file, line=line, column=column, source_line=source, hint=hint)
        )

    def _entry(self) -> None:
        number = self.at + 1
        line = self.lines[self.at]
        header = _HEADER.fullmatch(line.strip())
        self.at += 1
        if header is None:
            word = line.split()[0]
            hint = "the form is FORMAT class [FOLLOWS parent[,parent]]"
            self._fail(number, line.index(word) + 1, f"expected FORMAT or REGEX, found {shown(word)}", hint)
            self._skip()
            return
        kind, class_name, parents = header.groups()
        mappings = self._inherited(number, class_name, parents)
        if class_name != DISCARD and not _CLASS.fullmatch(class_name):
            self._fail(number, line.index(class_name) + 1, f"{shown(class_name)} is not a class name")
        pattern = self._pattern(kind)
        while self.at < len(self.lines) and self.lines[self.at].strip() != "END":
            if _HEADER.fullmatch(self.lines[self.at].strip()):
                break
            self._mapping(class_name, mappings)
            self.at += 1
        if self.at == len(self.lines) or self.lines[self.at].strip() != "END":
            hint = "write END in a line of its own before the next FORMAT"
            self._fail(number, 1, f"the format of {class_name} has no END", hint)
        else:
            self.at += 1
        if class_name != DISCARD:
            self.mappings[class_name] = mappings
        if pattern is not None:
            slots = self._bind(number, mappings, pattern)
            self.formats.append(Format(class_name, self.file, number, pattern, slots))

    def _skip(self) -> None:
        while self.at < len(self.lines) and not _HEADER.fullmatch(self.lines[self.at].strip()):
            self.at += 1

    def _inherited(self, number: int, class_name: str, parents: str | None) -> dict[str, Mapping]:
        merged: dict[str, Mapping] = {}
        for name in (parents or "").split(",") if parents else ():
            parent = name.strip()
            if parent in self.mappings:
                merged.update(self.mappings[parent])
                continue
            line = self.lines[number - 1]
            near = nearest(parent, tuple(self.mappings))
            hint = f"did you mean {near!r}?" if near else "a format follows one that stands before it"
            self._fail(
                number, max(line.find(parent, line.find("FOLLOWS")), 0) + 1, f"no format {parent!r} so far", hint
            )
        if parents and class_name == DISCARD:
            self._fail(number, self.lines[number - 1].index("FOLLOWS") + 1, f"{DISCARD} has no slots to inherit")
            return {}
        return merged

    def _pattern(self, kind: str) -> Pattern | None:
        number = self.at + 1
        text = self.lines[self.at].strip() if self.at < len(self.lines) else ""
        if not text or text == "END":
            self._fail(min(number, len(self.lines)), 1, f"the {kind} has no format string")
            return None
        self.at += 1
        try:
            return compile_string(text) if kind == "FORMAT" else compile_regex(text)
        except PatternError as error:
            self._fail(number, self.lines[number - 1].index(text) + error.column, str(error), error.hint)
            return None

    def _mapping(self, class_name: str, mappings: dict[str, Mapping]) -> None:
        number, line = self.at + 1, self.lines[self.at]
        stripped = line.strip()
        if not stripped or stripped.startswith("//"):
            return
        indent = line.index(stripped)
        if class_name == DISCARD:
            self._fail(number, indent + 1, f"{DISCARD} takes no mapping lines", "write END here")
            return
        match = _MAPPING.fullmatch(stripped)
        if match is None:
            self._fail(number, indent + 1, f"{shown(stripped)} is not `slot value`", "a format ends with END")
            return
        name, text = match.groups()
        column = indent + match.start(2) + 1
        mappings[name] = Mapping(self._value(text, number, column), number, column, line)

    def _value(self, text: str, number: int, column: int) -> Value | None:
        special = {"LABEL": LABEL, "FILENAME": FILENAME}.get(text)
        if special is not None:
            return special
        if text == "DEFAULT":
            return None
        if re.fullmatch(r"\$\d{1,4}", text, re.ASCII):
            return int(text[1:])
        if text.startswith("$"):
            self._fail(number, column, f"{shown(text)} is not $ and the number of a specifier")
        elif text.startswith("PRINTF"):
            return self._printf(text, number, column)
        elif quoted := _QUOTED.fullmatch(text):
            return _unquote(quoted[1])
        elif text.startswith('"'):
            self._fail(number, column, "the constant has no closing quote")
        elif len(text.split()) > 1:
            self._fail(number, column, "a constant of several words needs quotes", f'write "{text}"')
        return text

    def _printf(self, text: str, number: int, column: int) -> Value:
        match = _PRINTF.fullmatch(text)
        if match is None:
            self._fail(number, column, "this PRINTF cannot be read", 'the form is PRINTF("..%s..", a, b)')
            return text
        pieces = [""]
        for part in re.findall(r"%.?|[^%]+", _unquote(match[1])):
            if part == "%s":
                pieces.append("")
            elif part[0] == "%" and part != "%%":
                self._fail(number, column, f"PRINTF knows %s only, not {part!r}", "write %% for a percent sign")
            else:
                pieces[-1] += "%" if part == "%%" else part
        arguments = tuple(argument.strip() for argument in _ARGUMENT.findall(match[2]))
        if len(pieces) - 1 != len(arguments):
            self._fail(number, column, f"PRINTF has {len(pieces) - 1} times %s and {len(arguments)} arguments")
        return Printf(tuple(pieces), arguments)

    def _bind(
        self, number: int, mappings: dict[str, Mapping], pattern: Pattern
    ) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
        bound = []
        for name in mappings:
            pieces = self._pieces(name, mappings, pattern, number, ())
            if not name.startswith("-") and pieces is not None:
                bound.append((name, _joined(pieces)))
        return tuple(bound)

    def _pieces(
        self, name: str, mappings: dict[str, Mapping], pattern: Pattern, number: int, within: tuple[str, ...]
    ) -> list[Piece] | None:
        """The parts of a slot's value; None when the slot is not to be sent (DEFAULT of the class)."""
        mapping = mappings[name]
        value = mapping.value if mapping.value is not None else _default(name, pattern)
        if value is None:
            return None
        if isinstance(value, int):
            if not 1 <= value <= pattern.groups:
                where = f" (line {mapping.line})" if mapping.line < number else ""
                hint = f"{pattern.source!r} has {pattern.groups} specifiers"
                line, column = (number, 1) if mapping.line < number else (mapping.line, mapping.column)
                self._fail(line, column, f"{name}{where} takes ${value}, which does not exist", hint)
                return [""]
            return [value]
        if not isinstance(value, Printf):
            return [value]
        if len(within) >= NESTING_LIMIT or name in within:
            self._fail(mapping.line, mapping.column, f"the PRINTF of {name} contains itself")
            return [""]
        pieces: list[Piece] = [value.texts[0]]
        for text, argument in zip(value.texts[1:], value.arguments, strict=False):
            pieces += self._argument(argument, mappings, pattern, number, (*within, name), mapping)
            pieces.append(text)
        return pieces

    def _argument(
        self,
        argument: str,
        mappings: dict[str, Mapping],
        pattern: Pattern,
        number: int,
        within: tuple[str, ...],
        mapping: Mapping,
    ) -> list[Piece]:
        if quoted := _QUOTED.fullmatch(argument):
            return [_unquote(quoted[1])]
        if re.fullmatch(r"\$\d{1,4}", argument, re.ASCII) and 1 <= int(argument[1:]) <= pattern.groups:
            return [int(argument[1:])]
        bare = argument.removeprefix("-")
        for name in (bare, f"-{bare}"):
            if name in mappings and (name not in within or f"-{bare}" not in mappings):
                return self._pieces(name, mappings, pattern, number, within) or [""]
        near = nearest(bare, tuple(name.removeprefix("-") for name in mappings))
        hint = f"did you mean {near!r}?" if near else "map it in a line of its own, or write it in quotes"
        self._fail(mapping.line, mapping.column, f"PRINTF prints {argument!r}, which is not mapped", hint)
        return [""]


def _default(name: str, pattern: Pattern) -> Value | None:
    """What DEFAULT gives: what the adapter knows itself; every other slot is left to its class."""
    if name == "date":
        return pattern.times[0] if pattern.times else None
    known: dict[str, Value] = {
        "hostname": LABEL,
        "origin": ADAPTER,
        "adapter_host": ADAPTER,
        "source": SOURCE,
        "msg": LINE,
    }
    return known.get(name)


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return tuple(joined) or ("",)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
