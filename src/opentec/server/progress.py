"""A page of memory that the five processes share: who last ran, and how far each stage is.

Made by the master before it forks. A word is eight aligned bytes, so no reader sees half of one. It has one writer at a
time: its process, or the master between the end of that and the start of the next.
"""

from __future__ import annotations

import mmap
from enum import IntEnum
from typing import Final

from opentec.ha.clock import boottime_us

CHILDREN: Final = ("reception", "rule", "dispatch", "task")


class Word(IntEnum):
    """The words of the page. Positions are log positions, times boot-time microseconds."""

    BEAT_RECEPTION = 0
    BEAT_RULE = 1
    BEAT_DISPATCH = 2
    BEAT_TASK = 3
    READY_RECEPTION = 4  # 1 = it does its work: port open, primed, repository claimed
    READY_RULE = 5
    READY_DISPATCH = 6
    READY_TASK = 7
    DURABLE = 8  # published: end of the log
    PROCESSED = 9  # the rule process went through up to here
    COMMITTED = 10  # the repository stands here
    ATTEMPT = 12  # position of the record in work, 0 = none
    CONNECTIONS = 13
    ACKED = 14  # events acknowledged
    REJECTED = 15
    RX_BYTES = 16  # size of the log's segments
    REPOSITORY_ERROR_SINCE = 17  # 0 = it answers
    RECOVERED = 18  # 1 = what the epoch before left behind is processed
    PAUSED = 19  # 1 = sockets are not read: the log's limit or the disk
    SINGLE = 21  # 1 = the rule process sends batches of one, to find a record that the database refuses
    OLDEST = 22  # position of the oldest segment that is kept
    PROGRAMS = 23  # programs and tasks of the outbox that wait or run
    FORWARDS = 24  # events of the outbox that wait for another server
    DUE = 20  # earliest timer, log time, 0 = none
    RULE_BASE = 25  # the first 12 hexadecimal digits of the rule base at work, as a number; 0 = none yet
    REPOSITORY_TROUBLE = 26  # why it does not answer, a member of Trouble
    FENCING = 27  # epoch whose holder keeps the database locked and cannot be ended from here; 0 = none
    TRANSACTION_SINCE = 28  # the oldest transaction under way has been since; 0 = none is
    SYNC_SINCE = 29  # records are being made durable since; 0 = none are
    SYNC_LAST = 30  # microseconds that this took last
    SLOW_SYNC = 31  # microseconds of the last one that was slow
    SLOW_SYNC_AT = 32  # and when it ended
    PROBE_SINCE = 33  # a disk is being tried out since; 0 = none is
    REPLAYED = 34  # records processed of what the epoch before left behind
    REPLAY_END = 36  # position where that ends
    REPLAY_BYTES = 37  # of records in it; 0 = nothing was left behind
    REPLAYED_BYTES = 38
    REPLAY_SINCE = 39
    REPLAY_ENDED = 40  # when the last of it was committed; 0 = not yet


class Trouble(IntEnum):
    """Why the repository does not answer (Word.REPOSITORY_TROUBLE)."""

    AWAY = 0  # disk full, read-only, I/O error, gone
    LOCKED = 1  # another process holds its write lock
    NO_COMMAND = 2  # so does a server on another host, and no fencing command is configured
    ASKED = 3  # the fencing command was asked and has not ended
    FAILED = 4  # it failed and is asked again
    FENCED = 5  # it succeeded, and the lock is still held


class Progress:
    """The shared page; `page[Word.X]` reads, `page[Word.X] = n` writes."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)  # anonymous and shared over fork
        self._words = memoryview(self._map).cast("q")

    def __getitem__(self, word: int) -> int:
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self._words[word] = value

    def beat(self, child: int) -> None:
        """Child number `child` (place in CHILDREN) is alive now."""
        self._words[Word.BEAT_RECEPTION + child] = boot_us()

    def ready(self, child: int, value: bool = True) -> None:
        self._words[Word.READY_RECEPTION + child] = int(value)


boot_us = boottime_us
