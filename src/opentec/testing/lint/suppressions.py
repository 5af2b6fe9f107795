"""Suppressions: `% lint: ignore L201 why`, in class files `# lint: ignore L101 why`.

On a line of its own, one stands for the next line that is no comment; where a rule or clause begins there, for all of
it. Behind code it stands for its own line. One that suppresses nothing is reported, and so is one without a reason.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from opentec.rules.ast import RuleSet
from opentec.testing.lint.diagnostics import CHECKS, Diagnostic, found

# quoted texts are read over: a percent sign in one begins no comment
_TOKENS: Final = {
    ".rls": re.compile(
        r"'(?:[^'\\\n]|''|\\[^']|\\(?='))*+'|\"(?:[^\"\\\n]|\"\"|\\[\s\S])*+\"|/\*[\s\S]*?\*/|(%[^\n]*)"
    ),
    ".baroc": re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|(#[^\n]*)"),
}
_OF_FILES: Final = ("L104",)  # what is said of a file as a whole may be suppressed anywhere in it
_SUPPRESSION: Final = re.compile(r"[%#]+\s*lint:\s*ignore\b[:\s]*(.*)")
_CODES: Final = re.compile(r"((?:L\w+[,:;\s]*)*)(.*)")
_COMMENT_LINE: Final = re.compile(r"\s*(?:[%#].*)?")


class Suppression(msgspec.Struct):
    """One comment: its codes and the lines it stands for, both ends included."""

    file: str
    line: int
    column: int
    codes: tuple[str, ...]
    reason: str
    first: int
    last: int
    used: set[str] = set()  # of the codes, those that suppressed something


def read_suppressions(texts: Mapping[str, str], rule_sets: Iterable[RuleSet]) -> list[Suppression]:
    """Every suppression of these sources."""
    starts = {rule_set.file: _starts(rule_set) for rule_set in rule_sets}
    return [
        suppression
        for file, text in texts.items()
        for suppression in _in_file(file, text.replace("\r\n", "\n"), starts.get(file, ()))
    ]


def _starts(rule_set: RuleSet) -> list[int]:
    return sorted({item.place.line for item in (*rule_set.rules, *rule_set.clauses)})


def _in_file(file: str, text: str, starts: Sequence[int]) -> Iterator[Suppression]:
    pattern = _TOKENS.get(file[file.rfind(".") :])
    lines = text.split("\n")
    for token in pattern.finditer(text) if pattern is not None else ():
        said = _SUPPRESSION.match(token[1] or "")
        if said is None:
            continue
        codes = _CODES.match(said[1])
        assert codes is not None
        line = text.count("\n", 0, token.start()) + 1
        column = token.start() - text.rfind("\n", 0, token.start())
        first = last = line
        if not lines[line - 1][: column - 1].strip():
            while first < len(lines) and _COMMENT_LINE.fullmatch(lines[first - 1]):
                first += 1
            last = first
            if first in starts:
                behind = bisect_right(starts, first)
                last = starts[behind] - 1 if behind < len(starts) else len(lines)
        names = tuple(re.findall(r"L\w+", codes[1]))
        yield Suppression(file, line, column, names, codes[2].strip(), first, last)


def suppress(
    diagnostics: Iterable[Diagnostic], suppressions: Sequence[Suppression], ran: Collection[str]
) -> list[Diagnostic]:
    """What is left, with what is wrong about the suppressions. `ran` are the codes that were looked for."""
    left = []
    for diagnostic in diagnostics:
        taken = False
        for one in suppressions:
            if (
                one.file == diagnostic.file
                and (diagnostic.code in _OF_FILES or one.first <= diagnostic.line <= one.last)
                and diagnostic.code in one.codes
                and one.reason
            ):
                one.used.add(diagnostic.code)
                taken = True
        if not taken:
            left.append(diagnostic)
    for one in suppressions:
        left += _about(one, ran)
    return left


def _about(one: Suppression, ran: Collection[str]) -> Iterator[Diagnostic]:
    place = (one.file, one.line, one.column)
    form = "write lint: ignore CODE reason"
    if not one.codes:
        yield found("L002", place, "this suppression names no check", form)
    elif not one.reason:
        yield found("L002", place, "this suppression gives no reason", form)
    for code in one.codes if one.reason else ():
        if code not in CHECKS:
            yield found("L002", place, f"there is no check {code}", "docs/lint.md lists them")
        elif code in ran and code not in one.used:
            yield found("L001", place, f"this suppresses no {code}", "take it out")
