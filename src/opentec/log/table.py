"""What the server remembers of its senders and of tailed files (docs/protocol.md)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from opentec.log.codec import FLAG_ONCE, SegmentHeader

DAY: Final = 86_400_000_000
HOUR: Final = 3_600_000_000
LONG_HORIZON: Final = 90 * DAY
ONCE_HORIZON: Final = HOUR
FILE_HORIZON: Final = 30 * DAY
GENERATIONS_PER_PATH: Final = 4
MAX_ENTRIES: Final = 200_000


def _id(*parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def generation_id(scope: str, path: str, generation: str) -> int:
    """The 64-bit name of one generation of a tailed file."""
    return _id(scope, path, generation)


def path_id(scope: str, path: str) -> int:
    """The 64-bit name of a tailed path, whatever file it holds."""
    return _id(scope, path)


class SenderTable:
    """Last sequence by sender and covered offset by file generation; times are log time, microseconds."""

    def __init__(self) -> None:
        self.senders: dict[bytes, tuple[int, int, int]] = {}
        self.files: dict[int, tuple[int, int, int]] = {}

    @classmethod
    def from_header(cls, header: SegmentHeader) -> SenderTable:
        table = cls()
        table.senders = dict(header.senders)
        table.files = dict(header.files)
        return table

    def saw(self, sender: bytes, sequence: int, time: int, flags: int) -> None:
        self.senders[sender] = (sequence, time, flags & FLAG_ONCE)

    def saw_file(self, generation: int, path: int, end_offset: int, time: int) -> None:
        known = self.files.get(generation)
        if known is None or end_offset > known[0]:
            self.files[generation] = (end_offset, path, time)
        else:
            self.files[generation] = (known[0], path, time)

    def covered(self, generation: int) -> int:
        """Bytes of this generation that are recorded; 0 when it is not known."""
        known = self.files.get(generation)
        return known[0] if known else 0

    def last(self, sender: bytes) -> int | None:
        """The last recorded sequence of a sender, None when it is not remembered."""
        known = self.senders.get(sender)
        return known[0] if known else None

    def prune(self, now: int) -> None:
        """Forget what is beyond the horizons, and the oldest beyond the limits, one-shot senders first."""
        self.senders = {
            sender: entry
            for sender, entry in self.senders.items()
            if now - entry[1] <= (ONCE_HORIZON if entry[2] else LONG_HORIZON)
        }
        newest: dict[int, int] = {}
        kept: dict[int, tuple[int, int, int]] = {}
        for generation, entry in sorted(self.files.items(), key=lambda item: -item[1][2]):
            seen = newest[entry[1]] = newest.get(entry[1], 0) + 1
            if seen <= GENERATIONS_PER_PATH and now - entry[2] <= FILE_HORIZON:
                kept[generation] = entry
        self.files = kept
        self._cut(len(self.senders) + len(self.files) - MAX_ENTRIES)

    def _cut(self, excess: int) -> None:
        """Forget so many entries: one-shot senders first, then the oldest of the others, senders and files alike."""
        if excess <= 0:
            return
        entries: list[tuple[bool, int, dict[Any, Any], bytes | int]] = [
            *((not once, time, self.senders, sender) for sender, (_, time, once) in self.senders.items()),
            *((True, time, self.files, generation) for generation, (_, _, time) in self.files.items()),
        ]
        entries.sort(key=lambda entry: entry[:2])
        for _, _, table, key in entries[:excess]:
            del table[key]
