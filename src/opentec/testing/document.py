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
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(NamedTuple):
    """A place in a document; both count from 1."""

    line: int
    column: int


class Scalar(NamedTuple):
    text: str
    mark: Mark


class Document:
    """One YAML file. Its readers report what is wrong in `errors` and give None, so that all errors come in one run."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.errors: list[SourceError] = []
        self._lines = text.replace("\r\n", "\n").split("\n")
        self.root: yaml.Node | None = None
        try:
            self.root = _compose(text)
        except yaml.MarkedYAMLError as wrong:
            at = wrong.problem_mark or wrong.context_mark
            mark = Mark(at.line + 1, at.column + 1) if at is not None else Mark(1, 1)
            said = ", ".join(part for part in (wrong.context, wrong.problem) if part)
            self.report(mark, f"this is not YAML: {said}", "quote values that hold ': ' or begin with a sign")
        except yaml.YAMLError as wrong:
            self.report(Mark(1, 1), f"this is not YAML: {' '.join(str(wrong).split())}")

    def report(self, mark: Mark, message: str, hint: str = "") -> None:
        line = self._lines[mark.line - 1] if mark.line <= len(self._lines) else ""
        self.errors.append(
            SourceError(message, file=self.file, line=mark.line, column=mark.column, source_line=line, hint=hint)
        )

    def mapping(
        self, node: yaml.Node | None, what: str, known: Collection[str] | None, required: Collection[str] = ()
    ) -> dict[str, tuple[Mark, yaml.Node]] | None:
        """The keys of a mapping with their places and values; None (reported) when it is none.

        `known` None lets every key pass.
        """
        if not isinstance(node, yaml.MappingNode):
            self.report(mark_of(node), f"{what} must be a mapping, found {kind_of(node)}", "write key: value")
            return None
        found: dict[str, tuple[Mark, yaml.Node]] = {}
        for key, value in node.value:
            mark = mark_of(key)
            if not isinstance(key, yaml.ScalarNode):
                self.report(mark, f"a key of {what} must be a word, found {kind_of(key)}")
            elif known is not None and key.value not in known:
                near = nearest(key.value, known)
                hint = f"did you mean {near!r}?" if near else f"{what} has {', '.join(known)}"
                self.report(mark, f"{what} has no key {shown(key.value)}", hint)
            elif key.value in found:
                self.report(mark, f"{what} has the key {shown(key.value)} twice", "keep one")
            else:
                found[key.value] = mark, value
        for key in required:
            if key not in found and not any(_is(entry, key) for entry, _ in node.value):
                self.report(mark_of(node), f"{what} has no {key!r}", f"add {key}: ...")
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node] | None:
        """The items of a list; None (reported) when it is none."""
        if not isinstance(node, yaml.SequenceNode):
            self.report(mark_of(node), f"{what} must be a list, found {kind_of(node)}", "write '- ' before each item")
            return None
        return list(node.value)

    def scalar(self, node: yaml.Node, what: str) -> Scalar | None:
        """One value as the text that was written; None (reported) when it is a list or a mapping."""
        if not isinstance(node, yaml.ScalarNode):
            hint = "quote a text with a colon in it: 'C:'" if isinstance(node, yaml.MappingNode) else ""
            self.report(mark_of(node), f"{what} must be one value, found {kind_of(node)}", hint)
            return None
        return Scalar(node.value, mark_of(node))


def _compose(text: str) -> yaml.Node | None:
    """The tree of the one document in a text, None where it is empty. Raises yaml.YAMLError.

    yaml.compose does the same by recursion in C, and dies of text that is nested deeply.
    """
    root: yaml.Node | None = None
    open_nodes: list[tuple[yaml.Node, str | None, list[yaml.Node]]] = []
    anchors: dict[str, yaml.Node] = {}
    for event in yaml.parse(text, Loader=_LOADER):
        node: yaml.Node | None = None
        anchor: str | None = None
        match event:
            case yaml.DocumentStartEvent() if root is not None:
                raise _wrong(event, "a second document begins here")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if len(open_nodes) == MAX_DEPTH:
                    raise _wrong(event, "lists and mappings are nested too deeply")
                kind = yaml.MappingNode if isinstance(event, yaml.MappingStartEvent) else yaml.SequenceNode
                open_nodes.append((kind("", [], event.start_mark), event.anchor, []))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                node, anchor, items = open_nodes.pop()
                pairs = zip(items[::2], items[1::2], strict=True)
                node.value = list(pairs) if isinstance(node, yaml.MappingNode) else items
            case yaml.ScalarEvent():
                node, anchor = yaml.ScalarNode("", event.value, event.start_mark), event.anchor
            case yaml.AliasEvent():
                # known from its end on: what refers to a part of itself has no end
                node = anchors.get(event.anchor)
                if node is None:
                    raise _wrong(event, f"nothing is named &{event.anchor} above")
        if node is None:
            continue
        if anchor:
            anchors[anchor] = node
        if open_nodes:
            open_nodes[-1][2].append(node)
        else:
            root = node
    return root


def _wrong(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _is(node: yaml.Node, text: str) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.value == text)


def mark_of(node: yaml.Node | None) -> Mark:
    return Mark(1, 1) if node is None else Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def kind_of(node: yaml.Node | None) -> str:
    match node:
        case None:
            return "nothing"
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case yaml.ScalarNode(value=""):
            return "nothing"
    return shown(node.value)


def read_document(path: Path, file: str) -> Document:
    """Read a file; what is wrong with it is in the document's `errors`. Raises OSError."""
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        document = Document(file, "")
        document.report(Mark(1, 1), f"the file is larger than {MAX_FILE} bytes", "split it")
        return document
    try:
        return Document(file, data.decode("utf-8-sig"))
    except UnicodeDecodeError as wrong:
        document = Document(file, "")
        line = data.count(b"\n", 0, wrong.start) + 1
        document.report(Mark(line, 1), f"the byte 0x{data[wrong.start]:02x} is not UTF-8", "save the file as UTF-8")
        return document
