"""The file of lines that no format matches (UnmatchLog, tec.md 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

SIZE_LIMIT: Final = 64 << 20  # bytes; then the file becomes `.1`, and the `.1` before it goes


class UnmatchLog:
    """Appends lines. A disk that refuses is told once and then left alone: it must not stop the events."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._path = path
        self._report = report
        self._file: TextIO | None = None
        self._failed = False

    def write(self, line: str) -> None:
        if self._failed:
            return
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8", errors="backslashreplace")
            self._file.write(line + "\n")
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        if self._file is None:
            return
        try:
            self._file.flush()
            if self._file.tell() >= SIZE_LIMIT:
                self.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._report(f"UnmatchLog {self._path} cannot be written: {error.strerror}; unmatched lines are only counted")
        self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._report(f"UnmatchLog {self._path} is not complete: {error.strerror}")
