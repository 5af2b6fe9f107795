"""What lint says, as data: the checks with their stable codes, and one diagnostic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from opentec.events.names import nearest

Severity = Literal["error", "warning", "info"]
BROKEN: Final = "L000"  # an error of the loader: the rule base does not compile


class Check(NamedTuple):
    """One check. `code` never changes its meaning; a check that is given up leaves its code behind."""

    code: str
    severity: Severity
    title: str


CHECKS: Final = {
    check.code: check
    for check in (
        Check("L001", "warning", "a suppression that suppresses nothing"),
        Check("L002", "warning", "a suppression without a code or a reason"),
        Check("L101", "info", "a class that nothing uses"),
        Check("L102", "warning", "a variable that stands only once"),
        Check("L103", "info", "an enumeration that no slot has"),
        Check("L104", "info", "a rule file that is not active"),
        Check("L201", "warning", "overlapping rules with effects that conflict"),
        Check("L202", "warning", "a rule that is never reached"),
        Check("L203", "warning", "the same rule twice"),
        Check("L301", "warning", "a window that the event cache cannot hold"),
        Check("L401", "warning", "a problem without a recovery"),
        Check("L501", "warning", "a rule that no test fires"),
        Check("L502", "info", "a rule without a description"),
        Check("L601", "warning", "a timer that no timer rule takes"),
        Check("L602", "warning", "a timer rule whose timer nobody sets"),
        Check("L603", "warning", "a timer is cancelled that nobody sets"),
        Check("L701", "warning", "a fact that is asserted and never read"),
        Check("L702", "warning", "a predicate of one's own that is never called"),
        Check("L703", "warning", "a value that is set and never read"),
        Check("L704", "warning", "a value that is read and never set"),
        Check("L801", "warning", "a task that is not in the task library"),
    )
}


class Diagnostic(msgspec.Struct, frozen=True, order=True):
    """One finding. Lines and columns count from 1; `end_column` is the one behind the word."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    end_column: int = 0
    severity: Severity = "warning"

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.severity} {self.code}: {self.message}"
        return f"{text}; {self.hint}" if self.hint else text

    def as_data(self) -> dict[str, Any]:
        """The JSON object of docs/lint.md."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "endColumn": self.end_column,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


def found(code: str, place: tuple[str, int, int], message: str, hint: str = "") -> Diagnostic:
    """A diagnostic of a check at a place (file, line, column)."""
    return Diagnostic(*place, code, message, hint, place[2] + 1, CHECKS[code].severity)


def choose(words: Iterable[str]) -> frozenset[str]:
    """The codes that begin with one of these words: L201, L2, L. Raises ValueError for a word that names none."""
    chosen: set[str] = set()
    for word in words:
        codes = {code for code in CHECKS if code.startswith(word.upper())}
        if not codes or not word:
            near = nearest(word.upper(), CHECKS)
            hint = f"did you mean {near}?" if near else "docs/lint.md lists them; L2 is every check of that group"
            raise ValueError(f"there is no check {word!r}; {hint}")
        chosen |= codes
    return frozenset(chosen)
