"""What systemd is told: ready, status, signs of life, stopping (sd_notify(3)). Nothing where NOTIFY_SOCKET is not set.

A sign of life is fed by progress: it is left out as long as something is wrong that a restart may mend. So a server
whose rule process hangs is started again even if its master cannot do that, and one whose repository is away goes on
taking events.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from opentec.server.progress import boot_us

_EVERY_US: Final = 1_000_000
_EXTEND_US: Final = 30_000_000  # how much longer a start that goes on may take
_LINE: Final = 500  # characters of STATUS


class Cause(Protocol):
    """One reason why the server is not healthy."""

    @property
    def text(self) -> str: ...

    @property
    def restart(self) -> bool:
        """May a restart help?"""


class Notifier:
    """Tells systemd how this process is. Every message is one datagram, and a lost one does no harm."""

    def __init__(self, address: str | None = None, clock: Callable[[], int] = boot_us) -> None:
        """`address`: a path, or an abstract name behind an @; None takes NOTIFY_SOCKET. `clock` counts microseconds."""
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._clock = clock
        self._next = 0
        self._ready = False
        self._stopping = False

    def send(self, *lines: str) -> bool:
        """Send assignments such as READY=1; False where nobody listens."""
        if not self._address:
            return False
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        data = "\n".join(lines).encode()
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.setblocking(False)  # systemd's queue is full: the next sign of life is soon enough
            out.sendto(data, name)
            return True
        return False

    def before(self, ready: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        """`ready`, with systemd told first."""

        def tell(word: dict[str, Any]) -> None:
            self.ready(word)
            ready(word)

        return tell

    def ready(self, word: dict[str, Any]) -> None:
        """The word that a start waits for: this node serves, stands by, or failed."""
        if word["state"] == "failed":
            self.send(_status(str(word["reason"])))
            return
        text = f"serves, epoch {word['epoch']}" if word["state"] == "up" else "stands by"
        self._ready = True
        self.send("READY=1", "WATCHDOG=1", _status(text))

    def stopping(self) -> None:
        """The end has begun; how long it may take is for TimeoutStopSec to say."""
        if self._stopping:
            return
        self._stopping = True
        self.send("STOPPING=1", _status("stops: events in the log are finished"))

    def look(self, state: Callable[[], str], causes: Callable[[], Iterable[Cause]]) -> None:
        """Once in a while, however often: at most once a second it says how things are.

        Until the first word a start that goes on gets more time: recovery may be long. A takeover is no start, and
        what it does is seen from its causes.
        """
        now = self._clock()
        if not self._address or now < self._next or self._stopping:
            return
        self._next = now + _EVERY_US
        found = list(causes())
        words = [_status("; ".join([state(), *(cause.text for cause in found)]))]
        if not any(cause.restart for cause in found):
            # a node that gave way and begins anew is watched already
            words += ["WATCHDOG=1"] if self._ready else ["WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={_EXTEND_US}"]
        self.send(*words)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:_LINE]
