"""The file of saved positions: written whole, with a checksum, the one before it kept beside it."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentec.eif.errors import BufferUnusable

VERSION: Final = 1
SIZE_LIMIT: Final = 64 << 20
_HEAD: Final = "opentec-positions"


class Loaded(NamedTuple):
    """`data` is None when there is nothing to go on from; `doubt` is not 0 when positions were lost to damage, and
    then names new generations; `problem` is a sentence for a person, or ""."""

    data: Any
    doubt: int = 0
    problem: str = ""


class PositionFile:
    """Saves plain data under a path; `.old` beside it is the save before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.old = path.with_name(path.name + ".old")
        self._is_whole = True  # what lies at `path`

    def save(self, data: Any) -> None:
        """Write, flush to disk and put in place. Raises OSError; the saves before are then untouched."""
        body = json.dumps(data, separators=(",", ":")).encode()
        text = f"{_HEAD} {VERSION} {_check(body, VERSION)} {len(body)}\n".encode() + body + b"\n"
        new = self.path.with_name(self.path.name + ".new")
        with new.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self._is_whole and self.path.exists():
            self.path.replace(self.old)
        new.replace(self.path)
        self._is_whole = True
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load(self, check: Callable[[Any], object]) -> Loaded:
        """The last save that is whole; `check` raises ValueError for content that is not complete.

        Older positions only mean that lines are sent again, which the server notices. Where no save is whole, the
        files are read from their beginning as new generations: perhaps twice, never not at all. Raises OSError when a
        save cannot be read, BufferUnusable when it is of another version.
        """
        problems: list[str] = []
        doubt = 0
        for path in (self.path, self.old):
            try:
                with path.open("rb") as file:
                    text = file.read(SIZE_LIMIT + 1)
            except FileNotFoundError:
                continue
            except OSError as error:
                # not damage: another try may read it, so nothing may be decided on its absence
                raise OSError(error.errno, f"{path}: the saved positions cannot be read: {error.strerror}") from error
            try:
                data = _parse(text, path)
                check(data)
                return Loaded(data, 0, "; ".join(problems))
            except ValueError as error:
                self._is_whole = self._is_whole and path != self.path
                problems.append(f"{path}: {error}")
                doubt = doubt or zlib.crc32(text) | 1
        if not problems:
            return Loaded(None)
        return Loaded(None, doubt, "; ".join(problems) + "; all files are read from their beginning as new ones")


def _check(body: bytes, version: int) -> str:
    # the checksum covers the version too: a damaged digit must not pass for another version
    return f"{zlib.crc32(body, version):08x}"


def _parse(text: bytes, path: Path) -> Any:
    head, newline, rest = text.partition(b"\n")
    words = head.decode("ascii", "replace").split(" ")
    if not newline or len(words) != 4 or words[0] != _HEAD or not re.fullmatch(r"\d{1,6}", words[1], re.ASCII):
        raise ValueError("this is not a file of saved positions")
    body, version = rest[:-1], int(words[1])
    if words[2:] != [_check(body, version), str(len(body))] or rest[-1:] != b"\n":
        raise ValueError("the saved positions are damaged (checksum)")
    if version != VERSION:
        raise BufferUnusable(
            f"{path}: saved positions of version {version}, this program reads version {VERSION}: go on with the "
            "release that wrote them, or move the file away to read all files as if for the first time",
            path,
        )
    return json.loads(body)
