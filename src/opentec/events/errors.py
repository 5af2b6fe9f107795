"""The errors of events and classes, in one tree. Each says when it is raised."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = 200  # characters of a source line


class EventError(Exception):
    """Base of everything that is wrong with an event or a class definition."""


class EventSyntaxError(EventError):
    """The text of an event is not `CLASS;slot=value;...;END` (tec.md 1.1).

    `line` and `column` count from 1 and say where; `reason` says what was expected there. Both are 0 where the
    text has no place to point at.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        place = f"line {line}, column {column}: " if line > 1 else f"column {column}: " if column else ""
        super().__init__(place + reason)
        self.reason, self.line, self.column = reason, line, column


class EventRejected(EventError):
    """An event is well formed but its class, a slot or a value is not what the classes say.

    `reason` is one sentence for a person; `suggestion` is the nearest right name, or "".
    """

    def __init__(self, reason: str, suggestion: str = "") -> None:
        super().__init__(f"{reason}; did you mean {suggestion!r}?" if suggestion else reason)
        self.reason = reason
        self.suggestion = suggestion


class SourceError(EventError):
    """One error in a source file (BAROC or .rls), with its place.

    `line` and `column` count from 1; `source_line` is the offending line without its newline.
    `str(error)` is `file:line:column: message`, the offending line, a caret, and the hint when there is one.
    """

    def __init__(
        self, message: str, *, file: str, line: int, column: int, source_line: str = "", hint: str = ""
    ) -> None:
        self.message, self.file, self.line, self.column = message, file, line, column
        self.source_line, self.hint = source_line, hint
        text = f"{file}:{line}:{column}: {message}"
        if hint:
            text += f"; {hint}"
        if source_line:
            # a very long line is cut to what is around the column; a tab would move the caret
            start = 0 if len(source_line) <= _SHOWN else max(column - _SHOWN // 2, 0)
            shown = source_line[start : start + _SHOWN].replace("\t", " ")
            text += f"\n    {shown}\n    {' ' * (column - 1 - start)}^"
        super().__init__(text)


class SourceErrors(EventError):
    """Every error found in one run over the sources; `errors` is never empty."""

    def __init__(self, errors: list[SourceError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))
