"""Processes that end with the one that started them, however that one ends.

Whoever is killed tells its workers nothing, and those of a pool work, or wait for work, for ever. So each of them holds
one end of a pipe whose other end is in the first process alone: where that closes, they end. The same on every system.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

ABANDONED: Final = 1  # exit status of a worker whose work nobody waits for


@contextmanager
def workers(jobs: int, begin: Callable[..., object], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` new Pythons (`spawn`, the only way that there is everywhere), each of which calls `begin` first.

    The end of the block waits for what they have begun; an exception does not, and ends them in the middle of it. Do
    not cancel single futures of the pool: where a worker is ended, concurrent.futures of Python 3.11 trips over them.
    """
    context = get_context("spawn")
    over, open_while_here = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, _begin, (over, begin, arguments))
    try:
        yield pool
    except BaseException:
        open_while_here.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        open_while_here.close()
        over.close()


def _begin(over: Connection, begin: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the one that reports decides
    threading.Thread(target=_end_with, args=(over,), name="end with the first", daemon=True).start()
    begin(*arguments)


def _end_with(over: Connection) -> None:
    with suppress(EOFError, OSError):
        over.recv_bytes()  # nothing is ever sent
    os._exit(ABANDONED)
