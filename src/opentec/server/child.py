"""What every process below the master does first, and how it ends.

A child's first acts (spine: processes): close everything it inherited, so that the lease's lock and the sockets belong
to the master alone; die with the master; take its name; make its own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from opentec.server import hooks
from opentec.server.config import Config
from opentec.server.instance import Instance
from opentec.server.progress import CHILDREN, Progress, Word

if TYPE_CHECKING:
    from opentec.log.store import LogStore
    from opentec.server.activation import Chosen

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG: Final = 1

# what a process has under way ends with it
_UNDER_WAY: Final = {
    "reception": (Word.SYNC_SINCE, Word.PROBE_SINCE, Word.PAUSED, Word.CONNECTIONS),
    "rule": (Word.PROCESSED,),
    "dispatch": (Word.TRANSACTION_SINCE, Word.FENCING, Word.REPOSITORY_TROUBLE),
}

# exit statuses that tell the master what to do
EXIT_FAILED: Final = 1  # start it again
EXIT_SUPERSEDED: Final = 3  # another node has the lease: the whole server gives way
EXIT_DEMOTE: Final = 5  # this node cannot write: give the lease to the standby
EXIT_FATAL: Final = 6  # starting again cannot help; the reason is in the file `fatal`


@dataclass
class Context:
    """Everything a child knows from its master; made before the fork."""

    instance: Instance
    config: Config
    node: str
    epoch: int
    progress: Progress
    rule_base: Any  # opentec.rules.rulebase.RuleBase
    takeover: dict[str, Any] = field(default_factory=dict)  # what the notice says
    notices: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # posted after the start notice
    selector: str = "indexed"  # or "durable-rules", whose self-test has passed then
    skip_to_log: bool = False  # a gap between repository and log was accepted: go on at the log's beginning
    activates: bool = True  # this start chose `rule_base`; False: the log's last one rules
    chosen: Chosen | None = None  # what it looked at for that, to be settled when the log has the outcome

    @property
    def runtime(self) -> Path:
        return self.instance.runtime(self.node)

    @cached_property
    def log(self) -> LogStore:
        """The reception log."""
        return self.instance.log_store()

    def superseded(self) -> bool:
        from opentec.ha.epochs import superseded

        return superseded(self.instance.ha, self.epoch)


class Fatal(Exception):
    """The server cannot run as things are; the text says why and what to do."""


class Restart(Exception):
    """This process ends so that its successor begins afresh; the text says why."""


class Demote(Exception):
    """This node must give way to the standby; the text says why."""


def prctl_die_with_parent() -> None:
    """SIGKILL for this process when its parent's thread ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def become(name: str, master: int) -> None:
    """First acts of a child; ends the process when the master is already gone."""
    prctl_die_with_parent()
    if os.getppid() != master:
        os._exit(EXIT_FAILED)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the master's affair
    from opentec.server.logs import close_logs

    close_logs()
    os.closerange(3, 4096)
    import setproctitle

    setproctitle.setproctitle(name)


def run_child(name: str, context: Context, main: Callable[[Context], Awaitable[None]], master: int) -> NoReturn:
    """Turn the forked copy of the master into `tec_<name>` and never return."""
    status = EXIT_FAILED
    try:
        become(f"tec_{name} -d {context.instance.directory} --node {context.node}", master)
        gc.disable()
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 20, 20)
        _log_to_file(context, name)
        asyncio.events._set_running_loop(None)
        status = asyncio.run(_guarded(name, context, main))
    except BaseException:
        logging.getLogger(name).exception("unexpected error")
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
        os._exit(status)


async def _guarded(name: str, context: Context, main: Callable[[Context], Awaitable[None]]) -> int:
    from opentec.log.errors import LogError
    from opentec.rim.errors import Superseded
    from opentec.server.intake import EpochSuperseded

    log = logging.getLogger(name)
    beat = asyncio.ensure_future(_beat(context, CHILDREN.index(name)))
    work = asyncio.ensure_future(main(context))
    try:
        done, _ = await asyncio.wait({beat, work}, return_when=asyncio.FIRST_COMPLETED)
        # a dead task inside a process ends the process; a newer epoch explains whatever else went wrong
        for failure in [task.exception() for task in (beat, work) if task in done]:
            if failure is not None:
                raise failure
        log.error("ended without a reason")
        return EXIT_FAILED
    except (Superseded, EpochSuperseded) as error:
        log.error("%s", error)
        return EXIT_SUPERSEDED
    except Restart as error:
        log.warning("starting again: %s", error)
        return EXIT_FAILED
    except Demote as error:
        return _last_words(name, context, f"giving way: {error}", EXIT_DEMOTE)
    except (Fatal, LogError) as error:
        return _last_words(name, context, str(error), EXIT_FATAL)
    except Exception:
        log.exception("unexpected error")
        return EXIT_FAILED


def _last_words(name: str, context: Context, reason: str, status: int) -> int:
    """Leave the reason where the master reads it; what a superseded server stumbles over is its successor's work."""
    logging.getLogger(name).error("%s", reason)
    if not hooks.unsafe("no-self-exit") and context.superseded():
        return EXIT_SUPERSEDED
    with contextlib.suppress(OSError):  # the exit status says it too
        (context.runtime / "fatal").write_text(f"tec_{name}: {reason}\n")
    return status


async def _beat(context: Context, child: int) -> None:
    """Show a sign of life and look for a newer epoch, every half second at least (spine: lease)."""
    while True:
        context.progress.beat(child)
        if not hooks.unsafe("no-self-exit") and context.superseded():
            from opentec.rim.errors import Superseded

            raise Superseded(context.epoch, context.epoch + 1)
        await asyncio.sleep(0.25)


def _log_to_file(context: Context, name: str) -> None:
    from opentec.server.logs import log_to_file

    log_to_file(context.instance.logs(context.node) / f"tec_{name}.log")


def reset_words(progress: Progress, child: int) -> None:
    """The master, before a child is started: it is not ready and has shown no sign of life yet."""
    progress.ready(child, False)
    progress.beat(child)
    for word in _UNDER_WAY.get(CHILDREN[child], ()):
        progress[word] = 0
