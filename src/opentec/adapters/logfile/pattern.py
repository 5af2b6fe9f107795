"""Format strings: what they match, as a regular expression, and the literals that a line must hold (tec.md 4.2).

`%s` is one word, `%s*` zero or more words, `%s+` one or more, `%[n]s` a word of at most n characters, `%t` a time,
`%n` the end of a line, `%%` a percent sign; a blank is any run of blanks. `%d`, a whole number of at most nine digits,
is our own. Our choices where the sources are silent:

* A string must match the line to its end: `%s*` stands for a rest that does not matter. At the beginning a string
  that begins with a specifier matches from the first character, one that begins with a literal anywhere. So text that
  a stranger brings into a line, a user's name for one, cannot easily pose as other parts of it.
* `%s*` and `%s+` run to the *first* place where the text behind them fits, up to and including the next literal, and
  stay there. The same holds for `%s` when another specifier follows in the same word. So no line, however built,
  makes matching explode.
* `a %s* b` matches `a b` too: no word at all, and one run of blanks.
* `%t` is a syslog time (`Mar  1 08:00:00`) or an ISO 8601 one (`2026-03-01T08:00:00.123+01:00`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

BLANK: Final = r"[ \t]++"
# behind %s* or %s+: only the first blank of a run counts, and a blank in front of an empty %s* serves on both sides
_BLANK_AFTER: Final = r"(?:(?<![ \t])[ \t]++|(?<=[ \t]))"
_WORD: Final = r"[^ \t\n]"
_TIME: Final = (
    r"(?:[A-Za-z]{3}[ \t]+\d{1,2}[ \t]+\d{1,2}:\d{2}:\d{2}"
    r"|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?)"
)
_NUMBER: Final = r"\d{1,9}"
END: Final = r"\Z"
_TOKEN: Final = re.compile(
    r"(?P<blank>[ \t]+)|%(?P<spec>\[\d{1,5}\]s|s[*+]?|d|t|n|%)|(?P<literal>[^% \t]+)|(?P<bad>%.?)"
)
_KEY: Final = re.compile(r"\w+")
SPECIFIER_LIMIT: Final = 90


class PatternError(ValueError):
    """A format string is wrong; `column` counts from 1 within it, `hint` says what to do."""

    def __init__(self, message: str, column: int, hint: str = "") -> None:
        super().__init__(message)
        self.column, self.hint = column, hint


class Token(NamedTuple):
    """One part of a format string; kind is blank, literal, newline, or a specifier: s, s*, s+, d, t."""

    kind: str
    text: str
    width: int = 0

    @property
    def is_specifier(self) -> bool:
        return self.kind in ("s", "s*", "s+", "d", "t")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled format string or REGEX line.

    `literals` are pieces of text of which every matching line holds each one; `keys` are whole words (`\\w+`) of
    which the same is true. `times` are the numbers of its `%t`, `groups` how many `$i` there are, `lines` how many
    lines it spans.
    """

    source: str
    regex: re.Pattern[str]
    anchored: bool
    groups: int
    lines: int
    times: tuple[int, ...] = ()
    literals: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def match(self, text: str) -> re.Match[str] | None:
        return self.regex.match(text) if self.anchored else self.regex.search(text)


def compile_string(source: str) -> Pattern:
    """Compile a format string; raises PatternError."""
    return pattern_of(tokenize(source), source)


def compile_regex(source: str) -> Pattern:
    """Compile the expression of a REGEX entry: it may match anywhere in the line; raises PatternError."""
    try:
        regex = re.compile(source, re.ASCII)
    except re.error as error:
        raise PatternError(f"the regular expression is wrong: {error.msg}", (error.pos or 0) + 1) from None
    return Pattern(source, regex, anchored=False, groups=regex.groups, lines=1)


def tokenize(source: str) -> list[Token]:
    """Split a format string; raises PatternError."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(source):
        kind, text, column = match.lastgroup, match[0], match.start() + 1
        if kind == "bad":
            hint = "the specifiers are %s %s* %s+ %[n]s %d %t %n; write %% for a percent sign"
            raise PatternError(f"{text!r} is not a specifier", column, hint)
        if kind == "blank":
            tokens.append(Token("blank", text))
        elif kind == "literal" or text == "%%":
            text = "%" if text == "%%" else text
            if tokens and tokens[-1].kind == "literal":
                tokens[-1] = Token("literal", tokens[-1].text + text)
            else:
                tokens.append(Token("literal", text))
        elif text == "%n":
            tokens.append(Token("newline", text))
        elif text.startswith("%["):
            width = int(text[2:-2])
            if not width:
                raise PatternError("a word of at most 0 characters matches nothing", column)
            tokens.append(Token("s", text, width))
        else:
            tokens.append(Token(text[1:], text))
    if not tokens:
        raise PatternError("the format string is empty", 1)
    if sum(token.is_specifier for token in tokens) > SPECIFIER_LIMIT:
        raise PatternError(f"more than {SPECIFIER_LIMIT} specifiers", 1)
    return tokens


def pattern_of(tokens: list[Token], source: str, end: str = END) -> Pattern:
    """The pattern of a token list; `end` is what must follow, by default the end of the text."""
    specifiers = [token for token in tokens if token.is_specifier]
    return Pattern(
        source=source,
        regex=re.compile("".join(_regex(tokens, at, end) for at in range(len(tokens))) + end, re.ASCII),
        anchored=tokens[0].is_specifier,
        groups=len(specifiers),
        lines=1 + sum(token.kind == "newline" for token in tokens),
        times=tuple(number for number, token in enumerate(specifiers, 1) if token.kind == "t"),
        literals=tuple(token.text for token in tokens if token.kind == "literal"),
        keys=tuple(_keys(tokens)),
    )


def _regex(tokens: list[Token], at: int, end: str) -> str:
    token = tokens[at]
    if not token.is_specifier:
        return _plain(tokens, at)
    if token.kind in ("s*", "s+"):
        first = _WORD if token.kind == "s+" else ""
        return f"({first}.*)" if at == len(tokens) - 1 else f"(?>({first}.*?)(?={_next(tokens, at, end)}))"
    if token.kind == "s" and _specifier_follows_in_word(tokens, at):
        return f"(?>({_one(token)}?)(?={_next(tokens, at, end)}))"
    return f"({_one(token)})"


def _one(token: Token) -> str:
    """What a specifier of one word, number or time matches."""
    if token.kind == "s":
        return _WORD + (f"{{1,{token.width}}}" if token.width else "+")
    return _TIME if token.kind == "t" else _NUMBER


def _plain(tokens: list[Token], at: int) -> str:
    token = tokens[at]
    if token.kind == "blank":
        return _BLANK_AFTER if at > 0 and tokens[at - 1].kind in ("s*", "s+") else BLANK
    return r"[ \t]*+\n" if token.kind == "newline" else re.escape(token.text)


def _next(tokens: list[Token], at: int, end: str) -> str:
    """What must stand right behind the specifier at `at`: all up to and including the next literal."""
    parts: list[str] = []
    has_literal = False
    for place in range(at + 1, len(tokens)):
        token = tokens[place]
        if token.kind in ("s*", "s+") or (token.is_specifier and has_literal):
            return "".join(parts)
        parts.append(_one(token) if token.is_specifier else _plain(tokens, place))
        has_literal = has_literal or token.kind in ("literal", "newline")
    return "".join(parts) + end


def _specifier_follows_in_word(tokens: list[Token], at: int) -> bool:
    """Whether literals alone stand between the specifier at `at` and another one of the same word."""
    for place in range(at + 1, len(tokens)):
        if tokens[place].kind != "literal":
            return tokens[place].is_specifier and place > at + 1
    return False


def _keys(tokens: list[Token]) -> list[str]:
    """Whole words that a matching line must hold: those with a known neighbour on both sides."""
    keys = []
    for at, token in enumerate(tokens):
        if token.kind != "literal":
            continue
        closed_left = at > 0 and tokens[at - 1].kind in ("blank", "newline")
        closed_right = at + 1 == len(tokens) or tokens[at + 1].kind in ("blank", "newline")
        for word in _KEY.finditer(token.text):
            if (word.start() > 0 or closed_left) and (word.end() < len(token.text) or closed_right):
                keys.append(word[0])
    return keys
