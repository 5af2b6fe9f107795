"""The words of a rule file, and a cursor over them that makes the errors."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from opentec.events.errors import SourceError
from opentec.events.names import nearest
from opentec.rules.ast import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lark import Lark

RULE_KINDS: Final = ("rule", "timer_rule", "change_rule", "simple_rule", "correlation_rule")
MAX_SOURCE: Final = 8 * 1024 * 1024  # characters of one file
MAX_DEPTH: Final = 300  # of a term; recursion here, in msgpack and in the compiler stays below Python's limit

_ESCAPES: Final = {"n": "\n", "t": "\t", "\n": ""}
_IN_QUOTES: Final = re.compile(r"''|\\([nt\\\"\n])?")
_IN_DOUBLE_QUOTES: Final = re.compile(r"\"\"|\\([nt\\\"\n])?")
_OPERATOR_HINTS: Final = {
    "<=": "less or equal is written =<",
    "=>": "greater or equal is written >=; if-then is ->",
    "!=": r"not equal is written \== (or \= for 'does not unify')",
    "<>": r"not equal is written \== (or =\= for numbers)",
    "&&": "'and' is a comma",
    "||": "'or' is a semicolon",
}


class Token(NamedTuple):
    kind: str  # a terminal of grammar.lark, or "EOF"
    text: str  # as written, quotes included: so no quoted text equals a symbol or a keyword
    line: int
    column: int


@cache
def _lexer() -> Lark:
    # imported here: a compiled rule base is loaded without lark
    from lark import Lark

    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser=None, lexer="basic")


def tokenize(text: str) -> list[Token]:
    """Split a rule file into words, the last of which is EOF. Never fails: wrong words have a BAD_ kind."""
    tokens = [Token(t.type, str(t), t.line or 1, t.column or 1) for t in _lexer().lex(text)]
    last = text.rstrip()
    tokens.append(Token("EOF", "", last.count("\n") + 1, len(last) - last.rfind("\n")))
    return tokens


def unquote(text: str) -> str:
    """The value of '...' or "..." as written: doubled quotes, \\n, \\t, \\\\ and continuations resolved."""
    body = text[1:-1]
    if "\\" not in body and text[0] not in body:
        return body
    pattern = _IN_QUOTES if text[0] == "'" else _IN_DOUBLE_QUOTES
    return pattern.sub(lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else m[0][0], body)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the nearest known name, or "" when none is near."""
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else ""


class Cursor:
    """Walks over the words of one file. What it raises is always a SourceError with the place."""

    def __init__(self, text: str, file: str) -> None:
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self.file = file
        self.lines = text.split("\n")
        self.tokens: list[Token] = []
        self.index = 0
        if len(text) > MAX_SOURCE:
            raise SourceError(
                f"the file has more than {MAX_SOURCE} characters",
                file=file,
                line=1,
                column=1,
                hint="split the rule set",
            )
        self.tokens = tokenize(text)

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def ahead(self, count: int = 1) -> Token:
        return self.tokens[min(self.index + count, len(self.tokens) - 1)]

    def place(self) -> Place:
        token = self.tokens[self.index]
        return Place(self.file, token.line, token.column)

    def take(self) -> Token:
        token = self.tokens[self.index]
        if token.kind != "EOF":
            self.index += 1
        return token

    def accept(self, text: str) -> bool:
        if self.tokens[self.index].text == text:
            self.index += 1
            return True
        return False

    def expect(self, text: str, where: str) -> None:
        """Take this word, or raise; `where` completes "expected ')' ...": "after the actions of rule 'x'"."""
        if not self.accept(text):
            raise self.unexpected(f"{text!r} {where}")

    def name(self, what: str) -> str:
        """Take a name or a text, bare or quoted, and give its value; `what` says in an error what it is."""
        kind, text = self.token.kind, self.token.text
        if kind not in ("WORD", "QUOTED", "TEXT"):
            raise self.unexpected(what)
        self.take()
        return text if kind == "WORD" else unquote(text)

    def at_rule(self, index: int | None = None) -> bool:
        """Whether a new rule begins here: `rule :` as the first words of a line or after a full stop."""
        i = self.index if index is None else index
        token = self.tokens[i]
        if token.text not in RULE_KINDS or self.tokens[i + 1].text != ":":
            return False
        return i == 0 or self.tokens[i - 1].text == "." or self.tokens[i - 1].line < token.line

    def next_item(self, start: int) -> None:
        """Go to the first rule or clause that begins behind word number `start` and not before the last error.

        A clause is only told by its place: first in its line, not indented more than what begins at `start`, behind a
        full stop.
        """
        last, indent = len(self.tokens) - 1, self.tokens[start].column
        i = min(max(start + 1, self.index), last)
        while i < last and not self.at_rule(i):
            before, token = self.tokens[i - 1], self.tokens[i]
            if before.text == "." and before.line < token.line and token.column <= indent:
                break
            i += 1
        self.index = i

    def error(self, message: str, place: Place | None = None, hint: str = "") -> SourceError:
        _, line, column = place or self.place()
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        return SourceError(message, file=self.file, line=line, column=column, source_line=source, hint=hint)

    def unexpected(self, wanted: str, hint: str = "") -> SourceError:
        """The error for the current word where something else is wanted; a BAD_ word is explained instead."""
        kind, text = self.token.kind, self.token.text
        match kind:
            case "BAD_QUOTED" | "BAD_TEXT":
                quote = text[0]
                return self.error(
                    f"this {quote} is not closed on its line",
                    hint=f"close it, write {quote * 2} for a quote inside, or end the line with a backslash to go on",
                )
            case "BAD_COMMENT":
                return self.error("this comment is never closed", hint="close it with */")
            case "BAD_OPERATOR":
                return self.error(f"{text!r} is not an operator", hint=_OPERATOR_HINTS[text])
            case "BAD_CHARACTER":
                return self.error(f"the character {text!r} means nothing here", hint="quote names that hold it")
            case "EOF":
                return self.error(f"expected {wanted}, but the file ends", hint=hint)
        found = "the next rule" if self.at_rule() else text if kind in ("QUOTED", "TEXT") else repr(text)
        return self.error(f"expected {wanted}, found {found if len(found) < 60 else found[:56] + '...'}", hint=hint)
