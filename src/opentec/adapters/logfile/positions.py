"""The file of saved positions: written whole, with a checksum, the one before it kept beside it."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = 0
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

    def save(self, data: Any) -> None:
        """Write, flush to disk and put in place. Raises OSError; the saves before are then untouched."""
        body = json.dumps(data, separators=(",", ":")).encode()
        text = f"{_HEAD} {VERSION} {zlib.crc32(body):08x} {len(body)}\n".encode() + body + b"\n"
        new = self.path.with_name(self.path.name + ".new")
        with new.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self.old)
        new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load(self) -> Loaded:
        """The last save that is whole.

        Older positions only mean that lines are sent again, which the server notices. Where no save is whole, the
        files are read from their beginning as new generations: perhaps twice, never not at all.
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
                return Loaded(_parse(text), 0, "; ".join(problems))
            except ValueError as error:
                problems.append(f"{path}: {error}")
                doubt = doubt or zlib.crc32(text) | 1
        if not problems:
            return Loaded(None)
        return Loaded(None, doubt, "; ".join(problems) + "; all files are read from their beginning as new ones")


def _parse(text: bytes) -> Any:
    head, newline, rest = text.partition(b"\n")
    words = head.decode("ascii", "replace").split(" ")
    if not newline or len(words) != 4 or words[0] != _HEAD:
        raise ValueError("this is not a file of saved positions")
    if words[1] != str(VERSION):
        raise ValueError(f"saved positions of version {words[1]} are not read, only {VERSION}")
    body = rest[:-1]
    if words[2:] != [f"{zlib.crc32(body):08x}", str(len(body))] or rest[-1:] != b"\n":
        raise ValueError("the saved positions are damaged (checksum)")
    return json.loads(body)
