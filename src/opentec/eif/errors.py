"""The errors of the wire and of the disk buffer. Each says when it is raised."""

from __future__ import annotations

from pathlib import Path


class EifError(Exception):
    """Base of everything that goes wrong between a sender and a server."""


class FrameError(EifError):
    """The bytes of a connection are not frames, or a frame is longer than the limit: the connection must be closed."""


class ProtocolError(EifError):
    """A frame is whole, but what it says is not allowed here: a malformed control frame, another protocol version."""


class BufferFault(EifError):
    """Base of the disk buffer's errors; `path` is the directory or file that is concerned."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class BufferLocked(BufferFault):
    """Another process has the buffer open."""


class BufferFull(BufferFault):
    """The disk, a quota or BufEvtMaxSize leaves no room. What was buffered before is intact; the event is not in it."""


class BufferUnusable(BufferFault):
    """The buffer cannot be opened: no permission, not a directory, or another format version."""
