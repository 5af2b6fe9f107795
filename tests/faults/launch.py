"""`python -m tests.faults.launch DIRECTORY NODE`: start a node as `tec start` does, with pauses that wait to be armed.

A word `pause:PLACE:FILE` of TEC_TEST_HOOKS pauses at PLACE only once FILE.armed exists, so a test lets the server come
up and work before it stops it between two steps. Further places, for `pause` and `kill`: dispatch.before-claim. Further
rules, for `unsafe`: forget-SECTION, where SECTION is one of the rule state (`counter`, `global`, ...) or `timers`: what
a rule process that begins anew is not told.

TEC_TEST_ARM names a file; while it is there and holds `PLACE N ACTION`, the process that reaches PLACE for the N-th
time kills (ACTION kill) or stops (stop) itself there, once: it renames the file to FILE.done before.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opentec.rules.engine import Engine
from opentec.server import dispatch, hooks
from opentec.server.errors import ServerError
from opentec.server.instance import Instance
from opentec.server.start import start_daemon

_reach = hooks.reach
_open = dispatch.Dispatch._open
_prime = Engine.prime


_seen: dict[tuple[str, int], int] = {}


def _armed(file: Path, place: str) -> None:
    """Die or stop here, if this is the place and the time."""
    try:
        text, written = file.read_text(), file.stat().st_mtime_ns
    except FileNotFoundError:
        return
    wanted, number, action = text.split()
    if wanted != place:
        return
    _seen[text, written] = _seen.get((text, written), 0) + 1
    if _seen[text, written] < int(number):
        return
    try:
        file.rename(file.with_name(file.name + ".done"))
    except FileNotFoundError:
        return  # another process was faster
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


def reach(place: str) -> None:
    """As hooks.reach, but a pause that is not armed yet stays in wait."""
    if armed := os.environ.get("TEC_TEST_ARM"):
        _armed(Path(armed), place)
    if hooks.active and place in hooks._pauses:
        file = hooks._pauses[place]
        if not file.with_name(file.name + ".armed").exists():
            return
    _reach(place)


async def opening(self: dispatch.Dispatch) -> None:
    hooks.reach("dispatch.before-claim")
    await _open(self)


def priming(self: Engine, events: Iterable[Any], timers: Iterable[Any], state: Mapping[str, Any]) -> None:
    """As Engine.prime, without what is to be forgotten."""
    kept = {key: value for key, value in state.items() if not hooks.unsafe(f"forget-{key.partition(':')[0]}")}
    timers = [] if hooks.unsafe("forget-timers") else timers
    _prime(self, events, timers, kept)


def started(directory: str, node: str) -> int:
    """Start a node as `tec start --json` does, in this process as it is by now; gives the exit status."""
    try:
        word = start_daemon(Instance(Path(directory)), node, lambda text: print(text, file=sys.stderr))
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(word))
    return 0


def main(directory: str, node: str) -> int:
    hooks.reach = reach
    dispatch.Dispatch._open = opening  # type: ignore[method-assign]
    Engine.prime = priming  # type: ignore[method-assign]
    return started(directory, node)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
