"""YAML with places: every value of a document knows its line, and every error says it.

Scalars stay the text that was written, so `no`, `010` and `1:30` mean what they say; the classes of the rule base
give them their types.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from opentec.events.errors import SourceError
from opentec.events.names import nearest, shown

MAX_FILE: Final = 8 * 1024 * 1024  # bytes of one document
MAX_DEPTH: Final = 32  # lists and mappings within one another
MAX_SAID: Final = 2 * MAX_FILE  # characters and values that aliases, parameters and a setup make of a document
_LIMITS: Final = (
    "lists and mappings are nested too deeply",
    f"aliases make more than {MAX_SAID} characters of this file",
)
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(NamedTuple):
    """A place in a document; both count from 1. `file` is that of an included document, "" in the document itself."""

    line: int
    column: int
    file: str = ""


class Scalar(NamedTuple):
    text: str
    mark: Mark


class Sequence(NamedTuple):
    items: list[Node]
    mark: Mark


class Mapping(NamedTuple):
    pairs: list[tuple[Node, Node]]
    mark: Mark


Node = Scalar | Sequence | Mapping


class Document:
    """One YAML file. Its readers report what is wrong in `errors` and give None, so that all errors come in one run."""

    def __init__(self, file: str, text: str, source: str | None = None) -> None:
        """`source` is what errors quote, line by line, where the YAML was made of another text."""
        self.file = file
        self.errors: list[SourceError] = []
        self._reported: set[tuple[Mark, str]] = set()
        self._said = 0
        self._lines: dict[str, list[str]] = {}
        self.root = self._read(text, "", source)

    def include(self, file: str, text: str) -> Node | None:
        """The content of another file; its marks name it, and what is wrong in it is reported here."""
        return self._read(text, file)

    def _read(self, text: str, file: str, source: str | None = None) -> Node | None:
        self._lines[file] = (text if source is None else source).replace("\r\n", "\n").split("\n")
        try:
            return _compose(text, file)
        except yaml.MarkedYAMLError as wrong:
            at = wrong.problem_mark or wrong.context_mark
            mark = Mark(at.line + 1, at.column + 1, file) if at is not None else Mark(1, 1, file)
            said = ", ".join(part for part in (wrong.context, wrong.problem) if part)
            self.report(mark, f"this is not YAML: {said}", self._yaml_hint(mark, wrong.problem or ""))
        except yaml.YAMLError as wrong:
            self.report(Mark(1, 1, file), f"this is not YAML: {' '.join(str(wrong).split())}")
        return None

    def _yaml_hint(self, mark: Mark, problem: str) -> str:
        lines = self._lines[mark.file]
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        if problem in _LIMITS:
            return "split it"
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return "indent with spaces, a tab is none"
        if problem.startswith("did not find expected"):
            return "look at the indentation and the brackets of this line and of those above"
        return "quote values that hold ': ' or begin with a sign"

    def grow(self, more: int) -> bool:
        """Count what is made of the document beside what stands in it; False (reported) beyond MAX_SAID."""
        before, self._said = self._said, self._said + more
        if before <= MAX_SAID < self._said:
            message = f"setup and parameters make more than {MAX_SAID} characters of this file"
            self.report(Mark(1, 1), message, "split it")
        return self._said <= MAX_SAID

    def report(self, mark: Mark, message: str, hint: str = "") -> None:
        """Keep an error, once: a test with parameters is read for each of its rows."""
        if (mark, message) in self._reported:
            return
        self._reported.add((mark, message))
        lines = self._lines[mark.file]
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        file = mark.file or self.file
        self.errors.append(
            SourceError(message, file=file, line=mark.line, column=mark.column, source_line=line, hint=hint)
        )

    def mapping(
        self, node: Node | None, what: str, known: Collection[str] | None, required: Collection[str] = ()
    ) -> dict[str, tuple[Mark, Node]] | None:
        """The keys of a mapping with their places and values; None (reported) when it is none.

        `known` None lets every key pass.
        """
        if not isinstance(node, Mapping):
            self.report(mark_of(node), f"{what} must be a mapping, found {kind_of(node)}", "write key: value")
            return None
        found: dict[str, tuple[Mark, Node]] = {}
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                self.report(key.mark, f"a key of {what} must be a word, found {kind_of(key)}")
            elif known is not None and key.text not in known:
                near = nearest(key.text, known)
                hint = f"did you mean {near!r}?" if near else f"{what} has {', '.join(known)}"
                self.report(key.mark, f"{what} has no key {shown(key.text)}", hint)
            elif key.text in found:
                self.report(key.mark, f"{what} has the key {shown(key.text)} twice", "keep one")
            else:
                found[key.text] = key.mark, value
        for key_name in required:
            if key_name not in found:
                self.report(node.mark, f"{what} has no {key_name!r}", f"add {key_name}: ...")
        return found

    def sequence(self, node: Node, what: str) -> list[Node] | None:
        """The items of a list; None (reported) when it is none."""
        if not isinstance(node, Sequence):
            self.report(node.mark, f"{what} must be a list, found {kind_of(node)}", "write '- ' before each item")
            return None
        return node.items

    def scalar(self, node: Node, what: str) -> Scalar | None:
        """One value as the text that was written; None (reported) when it is a list or a mapping."""
        if not isinstance(node, Scalar):
            hint = "quote a text with a colon in it: 'C:'" if isinstance(node, Mapping) else ""
            self.report(node.mark, f"{what} must be one value, found {kind_of(node)}", hint)
            return None
        return node


def _compose(text: str, file: str) -> Node | None:
    """The tree of the one document in a text, None where it is empty. Raises yaml.YAMLError.

    yaml.compose does the same by recursion in C, and dies of text that is nested deeply.
    """
    root: Node | None = None
    parents: list[tuple[Any, list[Node]]] = []  # events that opened a list or mapping, and what is in it so far
    anchors: dict[str, tuple[Node, int]] = {}  # what they name, with its weight
    aliased = 0
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        kind = type(event)
        node: Node
        if kind is yaml.ScalarEvent:
            node = Scalar(event.value, _mark(event, file))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if len(parents) == MAX_DEPTH:
                raise _wrong(event, _LIMITS[0])
            parents.append((event, []))
            continue
        elif kind is yaml.MappingEndEvent:
            event, items = parents.pop()
            node = Mapping(list(zip(items[::2], items[1::2], strict=True)), _mark(event, file))
        elif kind is yaml.SequenceEndEvent:
            event, items = parents.pop()
            node = Sequence(items, _mark(event, file))
        elif kind is yaml.AliasEvent:
            # known from its end on: what refers to a part of itself has no end
            found = anchors.get(str(event.anchor))
            if found is None:
                raise _wrong(event, f"nothing is named &{event.anchor} above")
            aliased += found[1]
            if aliased > MAX_SAID:
                raise _wrong(event, _LIMITS[1])
            parents[-1][1].append(found[0])  # one cannot be the root: nothing stands above it
            continue
        elif kind is yaml.DocumentStartEvent and root is not None:
            raise _wrong(event, "a second document begins here")
        else:
            continue
        if event.anchor:
            anchors[event.anchor] = node, weight(node)
        if parents:
            parents[-1][1].append(node)
        else:
            root = node
    return root


def weight(node: Node) -> int:
    """How many characters and values there are in a tree, what aliases name counted each time."""
    return _weight(node, {})


def _weight(node: Node, known: dict[int, int]) -> int:
    if isinstance(node, Scalar):
        return 1 + len(node.text)
    found = known.get(id(node))
    if found is None:
        items = node.items if isinstance(node, Sequence) else [part for pair in node.pairs for part in pair]
        found = known[id(node)] = 1 + sum(_weight(item, known) for item in items)
    return found


def _mark(event: Any, file: str) -> Mark:
    mark = event.start_mark
    return Mark(mark.line + 1, mark.column + 1, file)


def _wrong(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def mark_of(node: Node | None) -> Mark:
    return Mark(1, 1) if node is None else node.mark


def kind_of(node: Node | None) -> str:
    match node:
        case Scalar(text) if text:
            return shown(text)
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
    return "nothing"


def read_document(path: Path, file: str) -> Document:
    """Read a file; what is wrong with it is in the document's `errors`. Raises OSError."""
    text, wrong = read_text(path)
    document = Document(file, text)
    if wrong is not None:
        document.report(*wrong)
    return document


def read_text(path: Path) -> tuple[str, tuple[Mark, str, str] | None]:
    """The text of a file, or "" and what `Document.report` takes: why it is none. Raises OSError."""
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        return "", (Mark(1, 1), f"the file is larger than {MAX_FILE} bytes", "split it")
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        problem = f"the byte 0x{data[wrong.start]:02x} is not UTF-8"
        return "", (Mark(line, 1), problem, "save the file as UTF-8")
