"""One generation of a tailed file: its identity, and reading lines from it (spine: tailed files).

A generation is named by inode, the hash of the first complete line, and an ordinal that its reader raises when the
same inode begins anew with the same first line. A reader that did not start at the beginning says so in the name:
its ranges must not be taken for those of a reader that did (docs/protocol.md: from the same start).
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import Any, Final

FIRST_LIMIT: Final = 65_536  # bytes of a first line that count for its hash
CHECK_BYTES: Final = 64  # in front of the position: they tell a file that was rewritten from one that grew
READ_BYTES: Final = 262_144  # of one file in one poll
HEAD_BYTES: Final = 256
COUNT_LIMIT: Final = 1 << 30  # bytes that are searched for lost lines
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

Line = tuple[bytes, int]


class NotALog(OSError):
    """A log source is no regular file."""


@dataclass(slots=True, eq=False)
class LogFile:
    """One generation. `path` is the name of the log, not where a rotated file lies now; offsets are bytes."""

    path: str
    inode: int
    fd: int = -1
    opened: tuple[int, int] = (0, 0)  # device and inode of what is open: a copy's where a copy continues the log
    first: str = ""  # hash of the first complete line, "" as long as there is none
    ordinal: int = 0
    start: int = 0
    offset: int = 0
    check: bytes = b""
    size: int = 0  # largest seen
    mtime: int = 0  # nanoseconds, when last read
    done: bool = False  # it was deleted and read: whatever lies at its path later is another one
    restored: bool = False  # opened in the middle by saved positions: what stands in front was not seen
    idle: int = 0  # polls without growth
    _head: bytes = field(default=b"", repr=False)
    _scan: int = field(default=0, repr=False)  # how far an over-long line was searched for its end
    _seen: tuple[int, int] = field(default=(-1, -1), repr=False)  # size and mtime when last read to the end

    @property
    def generation(self) -> str:
        name = f"{self.inode}-{self.first}-{self.ordinal}"
        return f"{name}@{self.start}" if self.start else name

    def attach(self, fd: int, info: os.stat_result) -> None:
        self.fd, self.opened = fd, (info.st_dev, info.st_ino)

    @property
    def is_open(self) -> bool:
        return self.fd >= 0

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    @property
    def unread(self) -> int:
        """Bytes behind the position, by the open file or, if it is closed, by what was last seen."""
        return max(0, (self.stat().st_size if self.is_open else self.size) - self.offset)

    @property
    def is_deleted(self) -> bool:
        return self.is_open and self.stat().st_nlink == 0

    def identify(self) -> bool:
        """Take the hash of the first line; False as long as there is no complete one."""
        if not self.first:
            self._head, self.first = _first_line(self.fd)
        return bool(self.first)

    def is_genuine(self) -> bool:
        """Whether the open file still is what was read so far: not truncated, not written anew."""
        size = self.stat().st_size
        if size < max(self.offset, self._scan):
            return False
        if not self.first:
            return True
        if not self._head:
            head, first = _first_line(self.fd)
            if first != self.first:
                return False
            self._head = head
        head_same = os.pread(self.fd, len(self._head), 0) == self._head
        return head_same and self._tail(self.offset) == self.check

    def continues_in(self, fd: int) -> bool:
        """Whether another open file holds, up to the position, what this generation held: itself renamed or a copy."""
        if not self.first or not self.offset or os.fstat(fd).st_size < self.offset:
            return False
        at = self.offset - len(self.check)
        return _first_line(fd)[1] == self.first and os.pread(fd, len(self.check), at) == self.check

    def begin_at_end(self) -> None:
        """Skip the complete lines that are there."""
        size = self.stat().st_size
        back = min(size, FIRST_LIMIT)
        newline = os.pread(self.fd, back, size - back).rfind(b"\n")
        if newline >= 0:
            self.start = size - back + newline + 1
        else:
            self.start = size if size > FIRST_LIMIT else 0  # a short first line that is not complete yet is read
        self.offset = self.start
        self.check = self._tail(self.offset)

    def read(self, line_limit: int) -> tuple[list[Line], bool] | None:
        """Complete lines behind the position, without their newline, each with its end offset; and whether the end
        of the file was reached. None when the file turned out to be truncated or written anew.

        A line of more than READ_BYTES gives its first `line_limit` bytes; its length follows from the offsets.
        """
        before = self.stat()
        if (before.st_size, before.st_mtime_ns) == self._seen:
            self.idle += 1
            return [], True
        at = max(self.offset, self._scan)
        data = os.pread(self.fd, READ_BYTES, at)
        if not self.is_genuine():
            return None
        self.size, self.mtime = max(before.st_size, at + len(data)), before.st_mtime_ns
        at_end = at + len(data) >= before.st_size
        lines = self._lines(data, at, line_limit)
        if at_end:
            self._seen = (before.st_size, before.st_mtime_ns)
            self.idle = 0
        return lines, at_end

    def _lines(self, data: bytes, at: int, line_limit: int) -> list[Line]:
        last = data.rfind(b"\n")
        if last < 0:
            if at + len(data) - self.offset >= READ_BYTES:
                self._scan = at + len(data)
            return []
        parts = data[:last].split(b"\n")
        lines: list[Line] = []
        if self._scan:
            at += len(parts[0]) + 1
            lines.append((os.pread(self.fd, line_limit, self.offset), at))
            del parts[0]
            self._scan = 0
            self.check = b""
        for part in parts:
            at += len(part) + 1
            lines.append((part, at))
        self.offset = at
        # taken from what was read: the file itself may have been truncated by now
        self.check = (self.check + data[: last + 1])[-CHECK_BYTES:]
        if len(self.check) < min(at, CHECK_BYTES):
            self.check = self._tail(at)
        return lines

    def rest(self, line_limit: int) -> list[Line]:
        """The last line of a file that gets no more, though no newline ends it."""
        size = self.stat().st_size
        data = os.pread(self.fd, min(line_limit, size - self.offset), self.offset)
        if not data or b"\n" in data or not self.is_genuine():
            return []
        if not self.first:
            self._head = data[:HEAD_BYTES]
            self.first = _digest(data)
        self.offset, self._scan = size, 0
        self.check = self._tail(size)
        return [(data, size)]

    def context(self, count: int) -> list[bytes]:
        """Up to `count` complete lines in front of the position, oldest first."""
        back = min(self.offset - self.start, FIRST_LIMIT)
        if not count or not back:
            return []
        parts = os.pread(self.fd, back, self.offset - back).split(b"\n")
        complete = parts[:-1] if back == self.offset - self.start else parts[1:-1]
        return complete[-count:]

    def count_unread_lines(self) -> int:
        """Lines behind the position, a last one without newline included."""
        at, count, last = self.offset, 0, b"\n"
        while at - self.offset < COUNT_LIMIT and (data := os.pread(self.fd, READ_BYTES, at)):
            count += data.count(b"\n")
            at += len(data)
            last = data[-1:]
        return count + (last != b"\n")

    def _tail(self, offset: int) -> bytes:
        back = min(offset, CHECK_BYTES)
        return os.pread(self.fd, back, offset - back)

    def to_data(self) -> dict[str, Any]:
        """What must survive, as plain data."""
        return {
            "path": self.path,
            "inode": self.inode,
            "first": self.first,
            "ordinal": self.ordinal,
            "start": self.start,
            "offset": self.offset,
            "check": self.check.hex(),
            "size": self.size,
            "mtime": self.mtime,
            "done": self.done,
        }

    @classmethod
    def from_data(cls, data: Any) -> LogFile:
        """Raises ValueError when `data` is not what `to_data` gives."""
        try:
            numbers = {name: data[name] for name in ("inode", "ordinal", "start", "offset", "size", "mtime")}
            texts = {name: data[name] for name in ("path", "first")}
            check = bytes.fromhex(data["check"])
            done = bool(data["done"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"a saved position is not complete: {error!r}") from None
        if not all(type(number) is int and number >= 0 for number in numbers.values()) or not all(
            type(text) is str for text in texts.values()
        ):
            raise ValueError("a saved position has a value of the wrong type")
        if len(check) != min(numbers["offset"], CHECK_BYTES):
            raise ValueError("a saved position does not fit its check bytes")
        return cls(**texts, **numbers, check=check, done=done, restored=True)


def open_log(path: str) -> tuple[int, os.stat_result]:
    """Open a log for reading; raises OSError, NotALog for what is no regular file."""
    fd = os.open(path, _OPEN_FLAGS)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise NotALog("it is not a regular file")
    return fd, info


def _first_line(fd: int) -> tuple[bytes, str]:
    data = os.pread(fd, FIRST_LIMIT, 0)
    newline = data.find(b"\n")
    if newline < 0 and len(data) < FIRST_LIMIT:
        return b"", ""
    line = data[: newline + 1] if newline >= 0 else data
    return line[:HEAD_BYTES], _digest(line)


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line.rstrip(b"\r\n"), digest_size=8).hexdigest()
