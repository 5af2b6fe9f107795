"""The errors of the repository, in one tree. Each says when it is raised."""

from __future__ import annotations

from opentec.events.records import name_of


class RepositoryError(Exception):
    """Base of everything that is wrong with a repository."""


class RepositoryMissing(RepositoryError):
    """There is no repository where one was to be opened."""


class RepositoryExists(RepositoryError):
    """A repository was to be created where a file already is."""


class NotARepository(RepositoryError):
    """The file is no database, or a database that belongs to something else."""


class RepositoryDamaged(RepositoryError):
    """The database says that its own content is malformed."""


class WrongInstance(RepositoryError):
    """The repository belongs to another instance directory or to another server."""


class SchemaVersionError(RepositoryError):
    """The repository was written by a version whose schema this one does not read."""


class NetworkFileSystem(RepositoryError):
    """The repository lies on a network file system, where SQLite's locks do not protect it."""


class RepositoryUnavailable(RepositoryError):
    """Nothing was written and the same call may succeed later: disk full, read-only, I/O error."""


class RepositoryLocked(RepositoryUnavailable):
    """Another process holds the write lock longer than the busy timeout: a stale writer, most likely."""


class Superseded(RepositoryError):
    """The caller's epoch is not the one stored: another server took over. Nothing was written; the caller must end."""

    def __init__(self, epoch: int, stored: int) -> None:
        super().__init__(f"epoch {epoch} is superseded: the repository belongs to epoch {stored}")
        self.epoch, self.stored = epoch, stored


class PositionMismatch(RepositoryError):
    """A batch does not begin where the repository stands. Nothing was written; the rule process must prime again."""

    def __init__(self, before: int, stored: int) -> None:
        super().__init__(
            f"the batch begins at {name_of(before)}, the repository stands at {name_of(stored)}; "
            "prime from the repository and process from there"
        )
        self.before, self.stored = before, stored


class RepositoryRefused(RepositoryError):
    """The database refuses the content of one row of a batch (a value it cannot hold, a key that is taken).

    Nothing was written. `part` and `index` say which list of the batch and which row of it; `position` is the log
    position that made the row, or None where the row does not say (updates, timers, state): then the caller finds
    the record by committing its records one at a time.
    """

    def __init__(self, part: str, index: int | None, position: int | None, reason: str) -> None:
        where = f"{part}[{index}]" if index is not None else part
        at = f" of the record at {name_of(position)}" if position is not None else ""
        super().__init__(f"the repository refuses {where}{at}: {reason}")
        self.part, self.index, self.position, self.reason = part, index, position, reason
