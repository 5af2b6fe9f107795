"""Test hooks: where tests kill or pause a process, and the safety rules that negative controls switch off.

Nothing here does anything unless TEC_TEST_HOOKS is set in the server's environment. It holds comma-separated words:

    kill:PLACE[:N]    SIGKILL oneself at the N-th time PLACE is reached
    pause:PLACE:FILE  at PLACE make FILE.reached and wait until FILE exists
    unsafe:RULE       switch RULE off (the names are the ones that `unsafe` is called with)
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_kills: dict[str, int] = {}
_pauses: dict[str, Path] = {}
_unsafe: set[str] = set()


def _load(text: str) -> None:
    for word in filter(None, text.split(",")):
        kind, _, rest = word.partition(":")
        place, _, argument = rest.partition(":")
        if kind == "kill":
            _kills[place] = int(argument or 1)
        elif kind == "pause":
            _pauses[place] = Path(argument)
        elif kind == "unsafe":
            _unsafe.add(place)
        else:
            raise ValueError(f"TEC_TEST_HOOKS: {word!r} is not kill:, pause: or unsafe:")


_load(os.environ.get("TEC_TEST_HOOKS", ""))
active = bool(_kills or _pauses or _unsafe)


def reach(place: str) -> None:
    """A named place between two steps that must hold through a kill -9."""
    if not active:
        return
    if place in _kills:
        _kills[place] -= 1
        if _kills[place] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    if place in _pauses:
        _pause(_pauses.pop(place))


def _pause(file: Path) -> None:
    try:
        file.with_name(file.name + ".reached").open("x").close()
    except FileExistsError:
        return  # another process, or this one's successor, paused here before
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.002)


def unsafe(rule: str) -> bool:
    """Is this safety rule switched off by a negative control?"""
    return rule in _unsafe
