"""The BAROC language: text of a class file to declarations with their places (tec.md 2.2, tec-2.md 2.2).

What the declarations mean together, parents and types and defaults, is the matter of `opentec.events.loader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from lark import Lark, Token, Tree, UnexpectedToken

from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest, shown
from opentec.events.slots import BASIC_TYPES
from opentec.events.text import unquote

_STARTS: Final = {"ENUMERATION": "enumeration", "TEC_CLASS": "tec_class"}
_ENDS: Final = ("SEMICOLON", "RBRACE", "END")
_WORDS: Final = ("ENUMERATION", "TEC_CLASS", "ISA", "DEFINES", "LIST_OF", "END")
_OPEN: Final = ("the quote is not closed in this line", "a text ends with the quote it began with")
_SIGNS: Final = {
    "COLON": "':'",
    "SEMICOLON": "';'",
    "COMMA": "','",
    "EQUAL": "'='",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LSQB": "'['",
    "RSQB": "']'",
    "NAME": "a name",
    "NUMBER": "a number",
    "TEXT": "a quoted text",
    "$END": "the next declaration",
}


class Word(NamedTuple):
    """A name, number or text of the source with its place; `quoted` tells a text from a name."""

    text: str
    line: int
    column: int
    quoted: bool = False


class Facet(NamedTuple):
    """`name = value`; the value of a list default is a list of words."""

    name: Word
    value: Word | list[Word]


class SlotDeclaration(NamedTuple):
    """One entry of DEFINES; `type` is None where an inherited slot is restated with facets only."""

    name: Word
    type: Word | None
    is_list: bool
    facets: list[Facet]


class EnumerationDeclaration(NamedTuple):
    source: Source
    name: Word
    members: list[tuple[Word, Word]]  # number, name


class ClassDeclaration(NamedTuple):
    source: Source
    name: Word
    parent: Word | None
    slots: list[SlotDeclaration]


Declaration = EnumerationDeclaration | ClassDeclaration


class Source:
    """One BAROC file, to point into."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._lines = text.split("\n")

    def error(self, message: str, line: int, column: int, hint: str = "") -> SourceError:
        text = self._lines[line - 1].rstrip("\r") if 0 < line <= len(self._lines) else ""
        # a tab would move the caret away from the place
        shown_line = text.replace("\t", " ")
        return SourceError(message, file=self.file, line=line, column=column, source_line=shown_line, hint=hint)

    def at(self, word: Word, message: str, hint: str = "") -> SourceError:
        return self.error(message, word.line, word.column, hint)


class Parsed(NamedTuple):
    """What a file says, as far as it can be read, and every syntax error.

    `broken` are the names whose declaration has a syntax error: nobody should complain that they are missing.
    """

    declarations: list[Declaration]
    errors: list[SourceError]
    broken: set[str]


def parse_baroc(text: str, file: str) -> list[Declaration]:
    """The declarations of a BAROC text in order; raises SourceErrors with every syntax error of the file."""
    parsed = parse_all(text, file)
    if parsed.errors:
        raise SourceErrors(parsed.errors)
    return parsed.declarations


def parse_all(text: str, file: str) -> Parsed:
    """Like `parse_baroc`, but gives what could be read together with the errors. Raises nothing."""
    source = Source(text, file)
    result = Parsed([], [], set())
    for chunk in _chunks(text):
        start = _STARTS.get(chunk[0].type)
        if start is None:
            result.errors.append(_stray(source, chunk[0]))
            continue
        tree = _tree(source, start, chunk, result)
        if tree is not None:
            result.declarations.append(_declaration(source, tree))
    return result


@cache
def _lark() -> Lark:
    return Lark.open(
        "baroc.lark",
        rel_to=__file__,
        parser="lalr",
        lexer="basic",
        start=["enumeration", "tec_class", "unreadable"],
        maybe_placeholders=False,
    )


def _chunks(text: str) -> Iterator[list[Token]]:
    chunk: list[Token] = []
    for token in _lark().lex(text):
        if token.type in _STARTS and chunk:
            yield chunk
            chunk = []
        chunk.append(token)
    if chunk:
        yield chunk


def _tree(source: Source, start: str, chunk: list[Token], result: Parsed) -> Tree[Token] | None:
    """The tree of one declaration; a slot with an error is reported and left out, so that the rest is read too."""
    while True:
        parser = _lark().parse_interactive(start=start)
        at = 0
        try:
            for at, token in enumerate(chunk):  # noqa: B007  # where it stopped is needed below
                parser.feed_token(token)
            at = len(chunk)
            tree: Tree[Token] = parser.feed_token(Token.new_borrow_pos("$END", "", chunk[-1]))
            return tree
        except UnexpectedToken as wrong:
            accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
            if at > 0 and chunk[at - 1] in BASIC_TYPES:
                accepted -= {"EQUAL"}  # what precedes is a type, whatever the grammar could make of it
            complete = 0 < at < len(chunk) and "$END" in accepted and chunk[at - 1].type in _ENDS
            explained = _stray(source, chunk[at]) if complete else _explain(source, chunk, wrong.token, accepted)
            result.errors.append(explained)
        if complete:
            chunk = chunk[:at]
            continue
        slot = _slot_around(chunk, at)
        lost = chunk[slot] if slot else chunk[1:3]
        result.broken.update(str(token) for token in lost if token.type == "NAME")
        if slot is None:
            return None
        chunk = chunk[: slot.start] + chunk[slot.stop :]


def _slot_around(chunk: list[Token], at: int) -> slice | None:
    """The tokens of the slot of DEFINES that holds `at`, up to its `;`."""
    first = at
    while first > 0 and chunk[first - 1].type not in ("SEMICOLON", "LBRACE"):
        first -= 1
    last = at
    while last < len(chunk) and chunk[last].type not in ("SEMICOLON", "RBRACE", "LBRACE"):
        last += 1
    inside = any(token.type == "LBRACE" for token in chunk[:first])
    closed = any(token.type == "RBRACE" for token in chunk[:at])
    if not inside or closed or last >= len(chunk) or chunk[last].type == "LBRACE":
        return None
    end = last + 1 if chunk[last].type == "SEMICOLON" else last
    return slice(first, end) if end > first else None


def _stray(source: Source, token: Token) -> SourceError:
    if token.type == "OPEN_TEXT":
        return _error(source, token, *_OPEN)
    near = nearest(str(token), _WORDS)
    hint = f"did you mean {near}?" if near else "a comment begins with #" if str(token) in ("%", "/") else ""
    return _error(source, token, f"expected ENUMERATION or TEC_CLASS, found {shown(str(token))}", hint)


def _error(source: Source, token: Token, message: str, hint: str = "") -> SourceError:
    return source.error(message, token.line or 1, token.column or 1, hint)


def _explain(source: Source, chunk: list[Token], token: Token, accepted: set[str]) -> SourceError:
    expected = " or ".join(sorted(_SIGNS.get(name, name) for name in accepted))
    if token.type == "$END":
        last = chunk[-1]
        what = f"the declaration that begins in line {chunk[0].line} is not complete: expected {expected}"
        return source.error(what, last.end_line or 1, last.end_column or 1)
    if token.type == "OPEN_TEXT":
        return _error(source, token, *_OPEN)
    hint = ""
    if token.type == "OTHER":
        hint = f"write a value that holds {token.value} in quotes"
    elif token.type == "NAME" and (near := nearest(str(token), _WORDS)) in accepted and near != str(token):
        hint = f"did you mean {near}?"
    return _error(source, token, f"expected {expected}, found {shown(str(token))}", hint)


def _declaration(source: Source, tree: Tree[Token]) -> Declaration:
    tokens = [child for child in tree.children if isinstance(child, Token) and child.type == "NAME"]
    trees = {str(child.data): child for child in tree.children if isinstance(child, Tree)}
    name = _word(tokens[0])
    if tree.data == "enumeration":
        members = [
            (_word(member.children[0]), _word(member.children[1]))
            for member in tree.children
            if isinstance(member, Tree)
        ]
        return EnumerationDeclaration(source, name, members)
    parent = _word(trees["parent"].children[0]) if "parent" in trees else None
    slots = [_slot(slot) for slot in trees["defines"].children] if "defines" in trees else []
    return ClassDeclaration(source, name, parent, slots)


def _slot(tree: Any) -> SlotDeclaration:
    name, *parts = tree.children
    type_: Word | None = None
    is_list = False
    facets: list[Facet] = []
    for part in parts:
        if part.data == "type":
            # a second type, or one after a facet, is kept as a facet of its own name: the loader refuses it
            word = _word(part.children[-1])
            if type_ is None and not facets:
                type_, is_list = word, len(part.children) == 2
            else:
                facets.append(Facet(word, word))
        else:
            facet, value = part.children
            facets.append(Facet(_word(facet), _value(value.children[0])))
    return SlotDeclaration(_word(name), type_, is_list, facets)


def _value(child: Any) -> Word | list[Word]:
    if isinstance(child, Token):
        return _word(child)
    return [_word(item) for item in child.children]


def _word(token: Any) -> Word:
    text = str(token)
    if token.type == "TEXT":
        return Word(unquote(text), token.line, token.column, True)
    if token.type == "NUMBER" and "x" in text.lower():
        text = str(int(text, 16))
    return Word(text, token.line, token.column)
