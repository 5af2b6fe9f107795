"""Who the buffer's sender is, what was acknowledged, and the lock: the small files beside the segments.

`identity` holds the same line twice, each with its checksum, and is only ever replaced as a whole. `ack` has two slots
of 32 bytes that are written in turn, so that one of them is always whole. `lock` is held by the process that uses
the buffer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from opentec.eif.errors import BufferLocked, BufferUnusable
from opentec.eif.segment import FORMAT_VERSION

_SLOT: Final = struct.Struct("<4sIQQI")  # mark, format version, turn, number, zero
_CRC: Final = struct.Struct("<I")
_SLOT_SIZE: Final = _SLOT.size + _CRC.size
_MARK: Final = b"TBAK"
_MACHINE_ID: Final = Path("/etc/machine-id")


class Identity(msgspec.Struct, frozen=True):
    """The sender (UUID, hex), the machine that gave it out, and the record number that its sequences count from."""

    version: int
    sender: str
    machine: str
    base: int


def machine_identity() -> str:
    """A hash of this machine's id, "" where it has none; the id itself should not be shown (machine-id(5))."""
    try:
        text = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(b"opentec buffer " + text.encode()).hexdigest()[:32] if text else ""


def read_identity(path: Path) -> tuple[Identity | None, bool]:
    """The identity, None if there is none or no copy of it is whole; and whether all that is there is whole.

    Raises BufferUnusable for another format version.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None, True
    found: list[Identity] = []
    half = len(raw) // 2
    for line in (raw[:half], raw[half:]):
        body = line[9:-1]
        if line[:8] == b"%08x" % crc32(body):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                found.append(msgspec.json.decode(body, type=Identity))
    if not found:
        return None, False
    if found[0].version != FORMAT_VERSION:
        raise BufferUnusable(version_message(path, found[0].version), path)
    return found[0], raw == _lines(found[0])


def write_identity(path: Path, identity: Identity) -> None:
    """Replace the file, durably."""
    write_durably(path, _lines(identity))


def _lines(identity: Identity) -> bytes:
    body = msgspec.json.encode(identity)
    return b"%08x %s\n" % (crc32(body), body) * 2


def version_message(path: Path, version: int) -> str:
    return (
        f"{path} is of format version {version}, this program reads version {FORMAT_VERSION}: "
        "empty the buffer with the release that wrote it, or choose another BufEvtPath"
    )


def write_durably(path: Path, data: bytes) -> None:
    """Make or replace a file so that after a crash it is there as a whole or as it was."""
    temporary = path.with_name(path.name + ".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class AckFile:
    """The highest record number that was acknowledged. Written at each acknowledgement, made durable by `sync`."""

    def __init__(self, path: Path) -> None:
        self.damaged = False  # a slot is not whole: the other one may be one acknowledgement behind
        self.found = False  # a whole slot was there
        self.number = 0
        self._turn = 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        raw = os.pread(self._handle, 2 * _SLOT_SIZE + 1, 0)
        self.damaged = len(raw) > 2 * _SLOT_SIZE
        for at in (0, _SLOT_SIZE):
            slot = raw[at : at + _SLOT_SIZE]
            if not slot:
                continue
            body = slot[: _SLOT.size]
            if slot[_SLOT.size :] != _CRC.pack(crc32(body)) or not body.startswith(_MARK):
                self.damaged = True
                continue
            _, version, turn, number, _ = _SLOT.unpack(body)
            if version != FORMAT_VERSION:
                os.close(self._handle)
                raise BufferUnusable(version_message(path, version), path)
            self.found = True
            if turn > self._turn:
                self._turn, self.number = turn, number

    def write(self, number: int) -> None:
        """Note an acknowledgement; a crash of this process keeps it, a power loss may not before `sync`."""
        self._turn += 1
        body = _SLOT.pack(_MARK, FORMAT_VERSION, self._turn, number, 0)
        os.pwrite(self._handle, body + _CRC.pack(crc32(body)), self._turn % 2 * _SLOT_SIZE)
        self.number = number  # not before: what stands here is in the file

    def repair(self) -> None:
        """Write both slots anew."""
        os.ftruncate(self._handle, 0)
        self.write(self.number)
        self.write(self.number)
        self.sync()

    def sync(self) -> None:
        os.fdatasync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def lock_directory(path: Path) -> int:
    """Make `path` if need be and lock it; gives the descriptor that holds the lock.

    Raises BufferLocked when another process has it, BufferUnusable when it cannot be used.
    """
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            with contextlib.suppress(OSError):  # a parent that may be entered, but not read
                sync_directory(path.parent)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise BufferUnusable(f"{path} is not a directory: BufEvtPath must name one", path) from error
    except NotADirectoryError as error:
        raise BufferUnusable(f"{path} cannot be made: a part of it is not a directory", path) from error
    except PermissionError as error:
        raise BufferUnusable(
            f"no permission to use the buffer {path} as {_who()}: change its owner, or choose another BufEvtPath", path
        ) from error
    except OSError as error:
        raise BufferUnusable(f"the buffer {path} cannot be opened: {error.strerror}", path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise BufferLocked(
            f"the buffer {path} is in use by process {holder}: each adapter needs a BufEvtPath of its own", path
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def _who() -> str:
    return f"user {os.geteuid()}"
