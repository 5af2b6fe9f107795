"""What the checks of a rule base share: where errors go, and small questions about terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opentec.events.errors import SourceError
from opentec.rules.ast import Atom, Compound, EventArgument, EventFilter, ListTerm, Number, Place, Term, Text, Var


class Report:
    """Collects errors; `texts` are the sources by file name, to show the offending lines."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.errors: list[SourceError] = []
        self._seen: set[tuple[Place, str]] = set()
        self._lines = {file: text.replace("\r\n", "\n").split("\n") for file, text in (texts or {}).items()}

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Report once: a rule that stands for two in the engine is wrong in both."""
        if (place, message) in self._seen:
            return
        self._seen.add((place, message))
        lines = self._lines.get(place.file, [])
        source = lines[place.line - 1] if place.line <= len(lines) else ""
        self.errors.append(
            SourceError(message, file=place.file, line=place.line, column=place.column, source_line=source, hint=hint)
        )


def conjuncts(term: Term) -> Iterator[Term]:
    """The goals of `a, b, c` in order; a single goal is itself."""
    while isinstance(term, Compound) and term.name == "," and len(term.args) == 2:
        yield from conjuncts(term.args[0])
        term = term.args[1]
    yield term


def asserted_clause(term: Compound) -> tuple[Atom | Compound, Term | None] | None:
    """Head and body of what a goal `assert(fact)` or `assert((head :- body))` asserts, as far as it is written out."""
    if term.name not in ("assert", "asserta", "assertz") or len(term.args) != 1:
        return None
    head, body = term.args[0], None
    if isinstance(head, Compound) and head.name == ":-" and len(head.args) == 2:
        head, body = head.args
    return (head, body) if isinstance(head, (Atom, Compound)) else None


def variables(term: Term) -> Iterator[Var]:
    """Every named variable of a term, in the order of the text, those of its event filters too."""
    if isinstance(term, Var):
        if term.name != "_":
            yield term
    elif isinstance(term, Compound):
        for argument in term.args:
            yield from variables(argument)
    elif isinstance(term, ListTerm):
        for item in term.items:
            yield from variables(item)
        if term.tail is not None:
            yield from variables(term.tail)
    elif isinstance(term, EventArgument):
        yield from filter_variables(term.filter)


def filter_variables(event: EventFilter) -> Iterator[Var]:
    yield event.variable
    if event.class_variable is not None:
        yield event.class_variable
    for condition in event.conditions:
        if condition.variable is not None:
            yield condition.variable
        for test in condition.tests:
            yield from variables(test.operand)


def shown_term(term: Term) -> str:
    """A constant as it would be written, for messages."""
    if isinstance(term, Atom):
        return repr(term.value)
    if isinstance(term, Text):
        return f'"{term.value}"'
    if isinstance(term, Number):
        return str(term.value)
    return "a list" if isinstance(term, ListTerm) else "this"
