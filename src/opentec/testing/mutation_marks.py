"""Marks in rule files: a mutant that no test can notice is named there, with the reason.

    % mutation: equivalent OPERATOR [at TEXT]: reason

on the line of what is changed, or on a line of its own above it. TEXT is the piece that is changed, or how it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from opentec.events.errors import SourceError
from opentec.events.names import nearest
from opentec.testing.mutation_operators import OPERATORS, Mutant

_MARK: Final = re.compile(r"%\s*mutation:(.*)")
_SAYS: Final = re.compile(r"\s*equivalent\s+([\w-]+)(?:\s+at\s+(.+?))?\s*:\s+(\S.*)")
_HINT: Final = "write: % mutation: equivalent OPERATOR at TEXT: why no test can tell"


class Mark(msgspec.Struct, frozen=True):
    """One mark. `line` is that of the mark, `about` that of the rule's text."""

    file: str
    line: int
    column: int
    about: int
    operator: str
    text: str  # "" for every mutant of the operator in that line
    reason: str

    def means(self, mutant: Mutant) -> bool:
        """Whether this is the mutant that is marked."""
        if (mutant.operator, mutant.place.line) != (self.operator, self.about):
            return False
        rest = mutant.node.removeprefix(self.text)
        whole = not (rest[:1].isalnum() and self.text[-1:].isalnum())
        return not self.text or (mutant.node.startswith(self.text) and whole)

    def error(self, message: str, hint: str = "") -> SourceError:
        """An error with the place of this mark."""
        return SourceError(message, file=self.file, line=self.line, column=self.column, hint=hint)


def read_marks(text: str, file: str) -> tuple[list[Mark], list[SourceError]]:
    """The marks in the text of a rule file, and those that cannot be understood."""
    marks: list[Mark] = []
    errors: list[SourceError] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        found = _MARK.search(line)
        if found is None:
            continue
        column = found.start() + 1
        says = _SAYS.fullmatch(found[1])
        if says is None:
            errors.append(SourceError("this mark is not complete", file=file, line=number, column=column, hint=_HINT))
        elif says[1] not in OPERATORS:
            near = nearest(says[1], OPERATORS)
            hint = f"did you mean {near!r}?" if near else f"operators are {', '.join(OPERATORS)}"
            errors.append(
                SourceError(f"there is no operator {says[1]!r}", file=file, line=number, column=column, hint=hint)
            )
        else:
            about = number if line[: found.start()].strip() else _next(lines, number)
            marks.append(Mark(file, number, column, about, says[1], says[2] or "", says[3].strip()))
    return marks, errors


def _next(lines: list[str], number: int) -> int:
    """The line behind this one that is no comment, counted from 1."""
    for index in range(number, len(lines)):
        if lines[index].strip() and not lines[index].lstrip().startswith("%"):
            return index + 1
    return 0


def stale(marks: Iterable[Mark], found: Iterable[Mutant]) -> Iterator[SourceError]:
    """The marks that name none of these mutants."""
    found = list(found)
    for mark in marks:
        if not any(mark.means(mutant) for mutant in found):
            there = sorted({mutant.operator for mutant in found if mutant.place.line == mark.about})
            hint = f"line {mark.about} has mutants of {', '.join(there)}" if there else "take the mark out"
            if mark.operator in there:
                nodes = [
                    mutant.node
                    for mutant in found
                    if (mutant.operator, mutant.place.line) == (mark.operator, mark.about)
                ]
                hint = f"what it changes in line {mark.about}: {'; '.join(nodes)}"
            yield mark.error(f"there is no mutant {mark.operator} of {mark.text or 'this line'!r}", hint)
