"""One tailed log and its generations through rotation, truncation and restarts (spine: tailed files).

What happened between two polls, or while no reader ran, is found by looking beside the log: the same inode under
another name, a copy that continues what was read, and rotated files that are newer than that and were never seen.
Where that leaves a doubt, lines are read as a new generation: perhaps twice, never not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from opentec.adapters.logfile.generation import LogFile, open_log
from opentec.adapters.logfile.siblings import base_of, is_packed, siblings

KEPT: Final = 4  # finished generations of a log that are remembered; as many as the server keeps (spine)
HELD_DELETED: Final = 8  # deleted files of one log that are kept open unread, and with them their disk space
HELD_FILES: Final = 64  # rotated files of one log that are kept open unread
COMPARED_BYTES: Final = 4096  # at the end of a copy
SETTLED: Final = 60  # polls without growth after which a rotated file is taken to be finished


class Lost(NamedTuple):
    """Lines of a log that are gone unread; `lines` is None where they cannot be counted, `bytes` are those known."""

    path: str
    lines: int | None
    bytes: int
    reason: str
    overflow: bool = False  # the taker of the lines was full meanwhile


class TailedLog:
    """The generations of one log, oldest first; the last one is what lies, or last lay, at its path."""

    def __init__(
        self, path: str, is_tailed: Callable[[os.stat_result], bool], on_lost: Callable[[Lost], None], doubt: int
    ) -> None:
        self.path = path
        self.files: list[LogFile] = []
        self._is_tailed = is_tailed
        self._on_lost = on_lost
        self._doubt = doubt
        self._folder_written = -1

    @property
    def current(self) -> LogFile | None:
        return self.files[-1] if self.files else None

    def open(self, where: str) -> LogFile:
        """A generation, still without a name, of the file at `where`; raises OSError."""
        fd, info = open_log(where)
        file = LogFile(self.path, info.st_ino, mtime=info.st_mtime_ns)
        file.attach(fd, info)
        return file

    def begin(self, has_history: bool, at_end: bool) -> None:
        """Open the log without a saved position. With `has_history` the rotated files that lie beside it are taken
        as read; what is appended to them is not. Raises OSError."""
        file = self.open(self.path)
        if has_history:
            for _, name in self._newer_siblings(file.mtime, file):
                self._take_as_read(name)
        if at_end:
            file.begin_at_end()
            self.name(file)
        self.files.append(file)

    def _take_as_read(self, name: str) -> None:
        try:
            old = self.open(name)
        except OSError:
            return
        old.begin_at_end()
        self.name(old)
        old.close()
        if old.first:
            self.files.append(old)

    def name(self, file: LogFile) -> None:
        """Give a generation its identity once its first line is there: never one that was used before."""
        if file.first or not file.identify():
            return
        used = [
            other.ordinal
            for other in self.files
            if other is not file and (other.inode, other.first) == (file.inode, file.first)
        ]
        file.ordinal = max(used) + 1 if used else self._doubt

    def resume(self) -> None:
        """Go on from saved positions. Raises OSError when the log exists and cannot be opened."""
        try:
            current: LogFile | None = self.open(self.path)
        except FileNotFoundError:
            current = None
        last = self.files[-1]
        for file in self.files[:-1]:
            if not file.is_open and not file.done and not self._find(file) and file.size > file.offset:
                self._lose(file, None, "the rotated file is gone")
        if last.done:
            self.files += self._unseen(last.mtime, current)
            self.files += [current] if current is not None else []
            return
        if current is not None and current.inode == last.inode:
            last.fd, last.opened = current.fd, current.opened
            if last.is_genuine():
                return
            last.fd = -1
            # what was written in front of the cut is not known: compressed copies are not read
            self._begin_again(last, current, "the file was truncated while the adapter did not run", in_doubt=True)
        elif self._find(last) or current is not None:
            if not last.is_open:
                if last.offset:
                    self._lose(last, None, "the file was rotated away while the adapter did not run")
                else:
                    self.files.remove(last)
            self.files += self._unseen(last.mtime, current)
            if current is not None:
                self.files.append(current)

    def rotate(self) -> None:
        """Another file lies at the path: the one before stays open until it is read. Raises OSError."""
        current = self.open(self.path)
        if self._is_tailed(os.fstat(current.fd)):
            current.close()
            return
        before = self.files[-1]
        if not before.is_genuine():
            self.truncate(before)
        self.files += self._unseen(before.mtime, current)
        self.files.append(current)

    def truncate(self, file: LogFile) -> None:
        """The open file was cut or written anew in place: begin it again, and finish the old content in a copy."""
        fd, info = file.fd, file.stat()
        file.fd = -1
        again = LogFile(self.path, file.inode, mtime=info.st_mtime_ns)
        again.attach(fd, info)
        self._begin_again(file, again, "the file was truncated before it was read to its end")

    def _begin_again(self, file: LogFile, again: LogFile, reason: str, in_doubt: bool = False) -> None:
        """Put `again`, the file as it is now, behind `file`, what was read of it, and all that came in between.

        Where no copy is there, lines that were seen unread are lost; with `in_doubt` others may be, too.
        """
        file.opened = (0, 0)
        if file.offset and not self._find(file) and (in_doubt or file.size > file.offset):
            self._lose(file, None, f"{reason}, and no copy of it is there")
        place = self.files.index(file)
        before = [file] if file.offset else []
        self.files[place : place + 1] = [*before, *self._unseen(file.mtime, again), again]

    def _find(self, file: LogFile) -> bool:
        """Open the file beside the log that holds what `file` held: renamed, or a copy."""
        copies = []
        for path, info in siblings(self.path):
            if info.st_ino == file.inode:
                if self._adopt(file, path):
                    return True
            elif info.st_size >= file.offset and base_of(str(path)) == self.path and not is_packed(str(path)):
                copies.append((info.st_mtime_ns, path))
        # the first one written since the file was read last; else the newest
        copies.sort(key=lambda copy: (copy[0] < file.mtime, copy[0] if copy[0] >= file.mtime else -copy[0]))
        return any(self._adopt(file, path) for _, path in copies)

    def _adopt(self, file: LogFile, path: Path) -> bool:
        try:
            fd, info = open_log(str(path))
        except OSError:
            return False
        # of a file that nothing was read of, the inode and a name of this log must do
        unread = not file.offset and info.st_ino == file.inode and base_of(str(path)) == self.path
        if not (unread or file.continues_in(fd)) or self._is_tailed(info):
            os.close(fd)
            return False
        file.attach(fd, info)
        return True

    def look_beside(self) -> None:
        """Notice that the log was copied away and begun again though what lies at its path looks as if it had only
        grown: it was empty when last seen, or begins with the same lines each time. Costs a stat of the folder."""
        file = self.files[-1]
        written = Path(self.path).parent.stat().st_mtime_ns
        if written == self._folder_written:
            return
        newer = self._newer_siblings(file.mtime, file)
        if not newer:
            self._folder_written = written
        elif not file.first:
            self.files[-1:] = [*self._unseen(file.mtime, file), file]
        elif any(self._was_copied_to(file, name) for _, name in newer):
            self.truncate(file)

    def _was_copied_to(self, file: LogFile, name: str) -> bool:
        """Whether `name` holds more of the content that was read than the open file still does."""
        try:
            fd, info = open_log(name)
        except OSError:
            return False
        try:
            back = min(info.st_size, COMPARED_BYTES)
            tail = os.pread(fd, back, info.st_size - back)
            return file.continues_in(fd) and os.pread(file.fd, back, info.st_size - back) != tail
        finally:
            os.close(fd)

    def _newer_siblings(self, newer_than: int, current: LogFile | None) -> list[tuple[int, str]]:
        """Rotated files of this log by their names, written at or after a time and not open, oldest first."""
        found = []
        for path, info in siblings(self.path):
            name = str(path)
            is_current = current is not None and (info.st_dev, info.st_ino) == current.opened
            is_open = is_current or self._is_tailed(info)
            if info.st_mtime_ns >= newer_than and not is_open and base_of(name) == self.path and not is_packed(name):
                found.append((info.st_mtime_ns, name))
        return sorted(found)

    def _unseen(self, newer_than: int, current: LogFile | None) -> list[LogFile]:
        """Open the rotated files that were written since the log was last looked at and were never read."""
        unseen = []
        for _, name in self._newer_siblings(newer_than, current):
            try:
                file = self.open(name)
            except FileNotFoundError:
                continue
            known = [old for old in self.files if old.continues_in(file.fd)]
            if not known or any(old.is_open and self._was_copied_to(old, name) for old in known):
                unseen.append(file)
            elif not known[0].is_open and file.unread > known[0].offset:
                known[0].fd, known[0].opened = file.fd, file.opened
            else:
                file.close()
        return unseen

    def retire(self) -> None:
        """Finish rotated files: give up those beyond the limits, close those that get no more."""
        older = [file for file in self.files[:-1] if file.is_open]
        if older:
            deleted = [file for file in older if file.unread and file.is_deleted]
            unread = [file for file in older if file.unread]
            for file in {*deleted[: max(0, len(deleted) - HELD_DELETED)], *unread[: max(0, len(unread) - HELD_FILES)]}:
                reason = "too many files were rotated away while the adapter could not send"
                self._lose(file, file.count_unread_lines(), reason, overflow=True)
                file.close()
        current = self.files[-1] if self.files else None
        goes_on_elsewhere = current is not None and (not current.is_open or current.size > 0)
        for file in older:
            settled = file.is_open and not file.unread and file.idle >= SETTLED and goes_on_elsewhere
            if settled and (len(older) > KEPT or file.is_deleted):
                file.close()
        closed = [file for file in self.files[:-1] if not file.is_open]
        for file in closed[: max(0, len(closed) - KEPT)]:
            self.files.remove(file)

    def finish(self) -> bool:
        """Close the log if it is gone from the disk and read; True when it is closed so."""
        if any(file.is_open and (file.unread or file.idle < SETTLED or not file.is_deleted) for file in self.files):
            return False
        for file in self.files:
            file.done = file.done or file.is_open
            file.close()
        return bool(self.files)

    def _lose(self, file: LogFile, lines: int | None, reason: str, overflow: bool = False) -> None:
        self._on_lost(Lost(self.path, lines, file.unread, reason, overflow))
        file.size = file.offset  # reported once

    def close(self) -> None:
        for file in self.files:
            file.close()
