"""The errors of lease and fencing, in one tree. Each says when it is raised."""

from __future__ import annotations


class HaError(Exception):
    """Base of everything that is wrong with the lease or with fencing."""


class LeaseDirectoryError(HaError):
    """The directory of the lease is missing, cannot be written, or its file system cannot do what a lease needs."""


class LeaseLost(HaError):
    """Another server holds a later epoch, or this one's file is gone. The caller must stop acting as the server."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch} is superseded: another server has taken over")
        self.epoch = epoch


class FenceFailed(HaError):
    """A stale server could not be ended from here: not permitted, or it does not die (stuck in the kernel)."""
