"""Tailing many files by polling: wildcards, rotation, truncation, positions that survive (spine: tailed files).

A rotated file is read to its end through the descriptor that was open before it was renamed or deleted. The reader
has no clock: it works when it is polled.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple

from opentec.adapters.logfile.generation import Line, LogFile
from opentec.adapters.logfile.rotation import SETTLED, Lost, TailedLog
from opentec.adapters.logfile.siblings import base_of, is_packed

LOGS: Final = 1000  # files that are tailed
SAVED: Final = 10_000  # positions that are kept


class Chunk(NamedTuple):
    """Lines of one generation, in order, each with its end offset. `start` is where the first one begins, `before`
    the lines in front of it where the reader has not given them out itself."""

    path: str
    generation: str
    start: int
    lines: list[Line]
    before: list[bytes]


class Tailer:
    """Reads what is appended to the files that `sources` (paths with `*`, `?`, `[...]`) name, when polled."""

    def __init__(
        self,
        sources: Iterable[str],
        state: Any = None,
        *,
        read_existing: bool = True,
        line_limit: int = 4096,
        context: int = 0,
        doubt: int = 0,
        on_lost: Callable[[Lost], None] | None = None,
    ) -> None:
        """`state` is what `to_data` gave; `doubt`, when not 0, begins the ordinals of new generations, because the
        positions of those before were lost. A file without a position is read from its beginning, or from its end
        when `read_existing` is False; a file that appears later always from its beginning. `context` lines in front
        of a restored position come with the first chunk. Raises ValueError for a state that is none."""
        self.sources = list(sources)
        self.read_existing = read_existing
        self.line_limit = line_limit
        self.context = context
        self.problems: dict[str, str] = {}  # path -> why it cannot be read, as of the last poll
        self.behind = False  # whether the last poll left something unread
        self.lost_lines = 0
        self.lost_bytes = 0
        self._doubt = doubt
        self._on_lost = on_lost
        self._logs: dict[str, TailedLog] = {}
        self._parked: list[LogFile] = []  # positions of logs that the configuration does not name any more
        self._turn = 0
        self._first_poll = True
        for file in saved_files(state) if state is not None else ():
            if any(PurePath(file.path).match(source) for source in self.sources):
                self._log(file.path).files.append(file)
            else:
                self._parked.append(file)

    def to_data(self) -> dict[str, Any]:
        """The positions of all that was given out, as plain data."""
        files = [*self._parked, *(file for log in self._logs.values() for file in log.files)]
        return {"files": [file.to_data() for file in files[-SAVED:]]}

    def close(self) -> None:
        for log in self._logs.values():
            log.close()

    def poll(self, max_bytes: int = 1 << 20) -> list[Chunk]:
        """New lines, about `max_bytes` of them; every file gets its turn. With 0 nothing is read, but rotations are
        noticed and the files held, so that nothing is lost while the taker of the lines cannot take more."""
        self._discover()
        self.behind = False
        chunks: list[Chunk] = []
        logs = list(self._logs.values())
        budget = max_bytes
        for step in range(len(logs)):
            if budget <= 0:
                self.behind = True
                self._turn += step
                break
            budget -= self._read(logs[(self._turn + step) % len(logs)], chunks)
        for log in logs:
            log.retire()
            if log.path not in self._present and log.finish():
                self._parked += log.files
                del self._logs[log.path]
        return chunks

    # finding files

    def _log(self, path: str) -> TailedLog:
        log = self._logs.get(path)
        if log is None:
            log = self._logs[path] = TailedLog(path, self._is_tailed, self._lost, self._doubt)
            log.files = [file for file in self._parked if file.path == path]
            self._parked = [file for file in self._parked if file.path != path]
        return log

    def _lost(self, lost: Lost) -> None:
        self.lost_lines += lost.lines or 0
        self.lost_bytes += lost.bytes
        if self._on_lost is not None:
            self._on_lost(lost)

    def _is_tailed(self, info: os.stat_result) -> bool:
        opened = (info.st_dev, info.st_ino)
        return any(file.is_open and file.opened == opened for log in self._logs.values() for file in log.files)

    def _discover(self) -> None:
        problems: dict[str, str] = {}
        self._present: set[str] = set()
        paths = self._paths(problems)
        if self._first_poll:
            # first those with a position: one that is not there just now may have a rotated file with lines to read,
            # and that file may by its new name pass for a log of its own
            paths = [*self._logs, *(path for path in paths if path not in self._logs)]
        for path in paths:
            try:
                self._look(path)
            except OSError as error:
                problems[path] = error.strerror or str(error)
        self.problems = problems
        self._first_poll = False

    def _look(self, path: str) -> None:
        """Compare what lies at a path with what is open. Raises OSError."""
        try:
            info = Path(path).stat()
        except FileNotFoundError:
            if self._first_poll and path in self._logs:
                self._logs[path].resume()
            return
        self._present.add(path)
        if path not in self._logs and self._is_tailed(info):
            return
        log = self._log(path)
        current = log.current
        if current is None:
            log.begin(has_history=self._first_poll, at_end=self._first_poll and not self.read_existing)
        elif not current.is_open:
            log.resume()
        elif (info.st_dev, info.st_ino) != current.opened:
            log.rotate()

    def _paths(self, problems: dict[str, str]) -> list[str]:
        found: dict[str, None] = {}
        for source in self.sources:
            if glob.has_magic(source):
                names = glob.glob(source)  # noqa: PTH207  # Path.glob takes no absolute patterns
                found.update(dict.fromkeys(name for name in sorted(names) if not is_packed(name)))
            else:
                found[source] = None
        paths = []
        for path in found:
            base = base_of(path)
            # a rotated file is read as part of its log, not as a log of its own
            if base is None or path in self._logs or (base not in found and base not in self._logs):
                paths.append(path)
        if len(paths) > LOGS:
            problems[paths[LOGS]] = f"LogSources names more than {LOGS} files; this one and those after it are not read"
        return paths[:LOGS]

    # reading

    def _read(self, log: TailedLog, chunks: list[Chunk]) -> int:
        """Read one portion of a log, older generations first. Gives the bytes that were read, 1 for any progress."""
        if log.current is not None and log.current.is_open:
            log.look_beside()
        for file in list(log.files):
            if not file.is_open:
                continue
            start = file.offset
            before = file.context(self.context) if file.restored else []
            result = file.read(self.line_limit)
            if result is None:
                log.truncate(file)
                self.behind = True
                return 1
            lines, at_end = result
            is_last = file is log.files[-1]
            if not lines and at_end and not is_last and file.idle >= SETTLED and file.unread:
                lines = file.rest(self.line_limit)
            if lines:
                log.name(file)
                chunks.append(Chunk(log.path, file.generation, start, lines, before))
                file.restored = False
            if not at_end or (lines and not is_last):
                self.behind = True
            if lines or not at_end:
                return max(1, file.offset - start)
        return 0


def saved_files(state: Any) -> list[LogFile]:
    """The positions in what `Tailer.to_data` gave. Raises ValueError for a state that is none."""
    files = state.get("files") if isinstance(state, dict) else None
    if not isinstance(files, list):
        raise ValueError("the saved state holds no list of files")
    return [LogFile.from_data(data) for data in files]
