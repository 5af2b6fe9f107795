"""All `.evtx` logs that LogSources names, read in turn."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, Final

from opentec.adapters.nt.decode import Decoder, decode
from opentec.adapters.nt.evtxlog import Batch, EvtxLog

LOGS: Final = 1000
SAVED: Final = 10_000
CHUNKS: Final = 2  # in one poll: about 250 records, in which the sender must wait


class EvtxReader:
    """Reads what is new in the logs that `sources` (paths with `*`, `?`, `[...]`) name, when polled."""

    def __init__(
        self, sources: Iterable[str], state: Any = None, *, catch_up: int = -1, decoder: Decoder = decode
    ) -> None:
        """`state` is what `to_data` gave. `catch_up` as in `EvtxLog.poll`, for the logs that are there at the first
        poll; one that appears later is read from its oldest record. Raises ValueError for a state that is none."""
        self.sources = list(sources)
        self.catch_up = catch_up
        self.behind = False  # whether the last poll left something to read or to look at again
        self.problems: dict[str, str] = {}  # path -> why it cannot be read, as of the last poll
        self.notes: list[str] = []  # what a person should be told since the last poll
        self._decoder = decoder
        self._logs: dict[str, EvtxLog] = {}
        self._early: set[str] | None = None  # logs to which catch_up applies
        self._turn = 0
        for log in saved_logs(state, decoder) if state is not None else ():
            self._logs[log.path] = log

    def to_data(self) -> dict[str, Any]:
        """The positions of all that was given out, as plain data."""
        return {"logs": [log.to_data() for log in self._logs.values() if log.generation][-SAVED:]}

    def poll(self, budget: int = CHUNKS) -> list[Batch]:
        """New records of about `budget` chunks; every log gets its turn."""
        self.behind, self.problems, self.notes = False, {}, []
        batches: list[Batch] = []
        paths = self._paths()
        if self._early is None:
            self._early = {path for path in paths if Path(path).exists()}
        for step in range(len(paths)):
            path = paths[(self._turn + step) % len(paths)]
            log = self._logs.get(path)
            if log is None:
                log = self._logs[path] = EvtxLog(path, self._decoder)
            if budget <= 0:
                self.behind = True
                self._turn += step
                break
            try:
                batch = log.poll(budget, self.notes.append, self.catch_up if path in self._early else -1)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.problems[path] = error.strerror or str(error)
                continue
            if log.is_empty:
                self._early.discard(path)  # whatever comes is next
            if batch.items:
                batches.append(batch)
                budget -= -(-len(batch.items) // 100)
            self.behind = self.behind or log.behind
        return batches

    def _paths(self) -> list[str]:
        found: dict[str, None] = {}
        for source in self.sources:
            names = sorted(glob.glob(source)) if glob.has_magic(source) else [source]  # noqa: PTH207
            found.update(dict.fromkeys(names))
        paths = list(found)
        if len(paths) > LOGS:
            self.problems[paths[LOGS]] = f"LogSources names more than {LOGS} logs; this one and the next are not read"
        return paths[:LOGS]


def is_evtx(source: str) -> bool:
    """Whether an entry of LogSources names event logs; all others name files of JSON lines."""
    return PurePath(source).suffix.casefold() == ".evtx"


def saved_logs(state: Any, decoder: Decoder = decode) -> list[EvtxLog]:
    """The positions in what `EvtxReader.to_data` gave. Raises ValueError for a state that is none."""
    logs = state.get("logs") if isinstance(state, dict) else None
    if not isinstance(logs, list):
        raise ValueError("the saved state holds no list of logs")
    return [EvtxLog.from_data(data, decoder) for data in logs]
