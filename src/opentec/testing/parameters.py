"""Parameters: one test for each row of values, which stand for `${name}` in its texts (docs/testing-rules.md).

parameters:
  - {class: Kernel_Panic, severity: FATAL}
  - {class: NT_Disk_Full, severity: CRITICAL}
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from typing import Final

import msgspec

from opentec.events.names import nearest, shown
from opentec.testing.document import MAX_FILE, Document, Mapping, Mark, Node, Scalar, Sequence

MAX_ROWS: Final = 10_000  # of one test
MAX_SHOWN: Final = 100  # parts of a value in the name of a test
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_USE: Final = re.compile(r"\$\$\{|\$\{([^${}]*)\}")  # `$${` is `${` as text


class Row(msgspec.Struct, frozen=True):
    """The values of one test, by the names of the parameters."""

    values: dict[str, tuple[Mark, Node]]
    mark: Mark

    @property
    def name(self) -> str:
        """What tells this test from its neighbours, where their name does not."""
        return ", ".join(_shown(value, [MAX_SHOWN]) for _, value in self.values.values())


def _shown(node: Node, left: list[int]) -> str:
    """A value in a name; `left` says how many parts of it may still be shown: aliases make many of few."""
    left[0] -= 1
    if left[0] < 0:
        return "..."
    if isinstance(node, Scalar):
        return node.text
    items = node.items if isinstance(node, Sequence) else [part for pair in node.pairs for part in pair]
    return f"[{', '.join(_shown(item, left) for item in items[: left[0] + 1])}]"


def read_rows(document: Document, node: Node) -> list[Row] | None:
    """The rows of `parameters`; None (reported) when something is wrong with them."""
    items = document.sequence(node, "'parameters'")
    before = len(document.errors)
    if items is None:
        return None
    if not items:
        document.report(node.mark, "'parameters' has no rows", "write one mapping of values for each test")
    if len(items) > MAX_ROWS:
        document.report(node.mark, f"'parameters' has {len(items)} rows, {MAX_ROWS} at most", "split the test")
        return None
    rows: list[Row] = []
    for item in items:
        found = document.mapping(item, "a row of parameters", None)
        if found is None:
            continue
        for name, (mark, _) in found.items():
            if not _NAME.fullmatch(name):
                document.report(mark, f"{shown(name)} is no name of a parameter", "use letters, digits and _")
        row = Row(found, item.mark)
        if rows:
            _same_names(document, rows[0], row)
        elif not found:
            document.report(item.mark, "a row of parameters has no values", "write {name: value}")
        rows.append(row)
    return rows if len(document.errors) == before else None


def _same_names(document: Document, first: Row, row: Row) -> None:
    for name in first.values.keys() - row.values.keys():
        document.report(row.mark, f"this row has no {shown(name)}", f"the first row, in line {first.mark.line}, has it")
    for name in row.values.keys() - first.values.keys():
        mark = row.values[name][0]
        document.report(mark, f"the first row has no parameter {shown(name)}", "all rows name the same ones")


class Filler:
    """Fills in the rows of one test, and knows what was used of them."""

    def __init__(self, document: Document, rows: list[Row]) -> None:
        self._document = document
        self._first = rows[0].values
        self._used: set[str] = set()

    def fill(self, node: Node, values: AnyMapping[str, tuple[Mark, Node]]) -> Node:
        """The same tree with the values of a row in it. A text that is nothing but `${name}` may become a list."""
        return self._fill(node, values, {})

    def _fill(self, node: Node, values: AnyMapping[str, tuple[Mark, Node]], done: dict[int, Node]) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, values) if "${" in node.text else node
        filled = done.get(id(node))
        if filled is None:  # aliases make a tree large, of few nodes
            if isinstance(node, Sequence):
                filled = Sequence([self._fill(item, values, done) for item in node.items], node.mark)
            else:
                pairs = [(self._fill(key, values, done), self._fill(value, values, done)) for key, value in node.pairs]
                filled = Mapping(pairs, node.mark)
            done[id(node)] = filled
        return filled

    def _scalar(self, node: Scalar, values: AnyMapping[str, tuple[Mark, Node]]) -> Node:
        whole = _USE.fullmatch(node.text)
        if whole is not None and whole[1] in values:
            self._used.add(whole[1])
            return values[whole[1]][1]._replace(mark=node.mark)

        size = 0

        def text(use: re.Match[str]) -> str:
            nonlocal size
            name = use[1]
            if name is None:
                return "${"
            found = values.get(name)
            if found is None:
                near = nearest(name, self._first)
                hint = f"did you mean {near!r}?" if near else f"there is {', '.join(self._first)}; $${{ is ${{ as text"
                self._document.report(node.mark, f"there is no parameter {shown(name)}", hint)
                return ""
            self._used.add(name)
            if not isinstance(found[1], Scalar):
                message = f"parameter {shown(name)} is no text, and stands within one"
                self._document.report(node.mark, message, f"write ${{{name}}} and nothing else")
                return ""
            size += len(found[1].text)
            if size > MAX_FILE:
                self._document.report(node.mark, f"parameters make a text of more than {MAX_FILE} characters")
                return ""
            return found[1].text

        return Scalar(_USE.sub(text, node.text), node.mark)

    def finish(self) -> None:
        """Report the parameters that no text names."""
        for name, (mark, _) in self._first.items():
            if name not in self._used:
                hint = f"write ${{{name}}} where it belongs, or take it out"
                self._document.report(mark, f"nothing in the test names the parameter {shown(name)}", hint)
