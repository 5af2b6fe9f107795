"""The errors of the reception log. Each says when it is raised."""

from __future__ import annotations


class LogError(Exception):
    """Base of everything that is wrong with the reception log."""


class LogVersionError(LogError):
    """A segment was written by another format version than this program reads."""


class LogMismatch(LogError):
    """A segment belongs to another instance, or the log and the repository do not fit together."""


class LogWriteFailed(LogError):
    """Appending or making durable failed; nothing of the batch may be acknowledged, and it is not tried again."""


class LogFull(LogError):
    """A new segment could not be made because the disk or the log's own limit is full."""
