"""`python -m tests.faults.launch DIRECTORY NODE`: start a node as `tec start` does, with pauses that wait to be armed.

A word `pause:PLACE:FILE` of TEC_TEST_HOOKS pauses at PLACE only once FILE.armed exists, so a test lets the server come
up and work before it stops it between two steps. Further places, for `pause` and `kill`: dispatch.before-claim.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from opentec.server import dispatch, hooks
from opentec.server.errors import ServerError
from opentec.server.instance import Instance
from opentec.server.start import start_daemon

_reach = hooks.reach
_open = dispatch.Dispatch._open


def reach(place: str) -> None:
    """As hooks.reach, but a pause that is not armed yet stays in wait."""
    if hooks.active and place in hooks._pauses:
        file = hooks._pauses[place]
        if not file.with_name(file.name + ".armed").exists():
            return
    _reach(place)


async def opening(self: dispatch.Dispatch) -> None:
    hooks.reach("dispatch.before-claim")
    await _open(self)


def main(directory: str, node: str) -> int:
    hooks.reach = reach
    dispatch.Dispatch._open = opening  # type: ignore[method-assign]
    try:
        word = start_daemon(Instance(Path(directory)), node, lambda text: print(text, file=sys.stderr))
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(word))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
