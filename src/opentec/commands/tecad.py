"""`tecad_logfile`, `tecad_nt`: run an adapter, in the foreground, once, or in the background."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Failure, Json, Status, say, say_json, warn

_SETTLED: Final = 1.0  # seconds after which a background adapter that has not ended counts as running

Conf = Annotated[Path, typer.Option("-c", "--conf", metavar="CONF", help="The adapter's configuration file; required.")]
Once = Annotated[
    bool, typer.Option("--once", help="Read to the ends of the files, wait for the acknowledgements, and end.")
]
Foreground = Annotated[
    bool, typer.Option("--foreground", help="Stay in the foreground, for service units and containers.")
]
NodeName = Annotated[
    str, typer.Option("--node", metavar="NAME", help="Name of this machine.  [default: NodeName of the file]")
]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="The buffer was moved here on purpose, as on a disk that nodes share.")
]
Wait = Annotated[
    float | None,
    typer.Option(
        "--wait", metavar="SECONDS", help="With --once: wait for the servers so long at most.  [default: without end]"
    ),
]


def tecad_logfile(
    conf: Conf,
    once: Once = False,
    foreground: Foreground = False,
    node: NodeName = "",
    adopt: Adopt = False,
    wait: Wait = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the logfile adapter.

    It tails the files of LogSources and sends events to the servers. With --once exit status 4 says that not
    everything was read and acknowledged.
    """
    _adapter("opentec.adapters.logfile.main", "tecad_logfile", conf, once, foreground, node, adopt, wait, json)


def tecad_nt(
    conf: Conf,
    once: Once = False,
    foreground: Foreground = False,
    node: NodeName = "",
    adopt: Adopt = False,
    wait: Wait = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the Windows event log adapter.

    It reads .evtx files and forwarded events as JSON lines, and sends events to the servers. With --once exit status 4
    says that not everything was read and acknowledged.
    """
    _adapter("opentec.adapters.nt.main", "tecad_nt", conf, once, foreground, node, adopt, wait, json)


def _adapter(
    module: str,
    name: str,
    conf: Path,
    once: bool,
    foreground: bool,
    node: str,
    adopt: bool,
    wait: float | None,
    json: bool,
) -> None:
    try:
        adapter = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise Failure(f"{name} is not part of this version of opentec") from None
    conf = conf.absolute()
    settings = _check(adapter, conf, node)
    if not once and not foreground:
        log = settings.buffer_path / f"{name}.log" if settings.buffer_path is not None else Path(os.devnull)
        _go_to_background(log, name, json)
    import setproctitle

    if not once:
        setproctitle.setproctitle(f"{name} -c {conf}")
    outcome = asyncio.run(_run(adapter, conf, once=once, node=node, adopt=adopt, wait=wait, report=warn))
    report = {**outcome.counters.to_data(), "rejected": outcome.rejected, "unconfirmed": outcome.unconfirmed}
    if json:
        say_json(report)
    else:
        say(", ".join(f"{number} {what.replace('_', ' ')}" for what, number in report.items()))
    raise typer.Exit(Status.NO_SERVER if once and (outcome.unconfirmed or outcome.unread) else Status.OK)


def _check(adapter: Any, conf: Path, node: str) -> Any:
    """The configuration; raises Failure with everything that is wrong with it."""
    from opentec.events.errors import SourceErrors

    try:
        return adapter.load(conf, node)[0]
    except SourceErrors as error:
        raise Failure(str(error), Status.USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename or conf}: {error.strerror}", Status.USAGE) from error


async def _run(adapter: Any, conf: Path, **settings: Any) -> Any:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await adapter.run(conf, stop=stop, **settings)


def _go_to_background(log: Path, name: str, json: bool) -> None:
    """Go on as a daemon whose messages go to `log`; the process that was called ends when that one has settled."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    read_end, write_end = os.pipe()
    size = log.stat().st_size if log.is_file() else 0
    pid = os.fork()
    if pid:
        os.close(write_end)
        os.waitpid(pid, 0)
        _leave(read_end, log, size, name, json)
    os.close(read_end)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(write_end, b"%d\n" % os.getpid())
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    # the end of the pipe is closed with the process: who waits there learns of an early end


def _leave(read_end: int, log: Path, size: int, name: str, json: bool) -> None:
    """End the process that was called: with the daemon's pid, or with what it said when it ended at once.

    `size`: bytes that `log` had before.
    """
    heard, end = b"", time.monotonic() + _SETTLED
    while True:
        ready, _, _ = select.select([read_end], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            break
        part = os.read(read_end, 100)
        if not part:
            said = log.read_bytes()[size:].decode("utf-8", "replace").strip() if log.is_file() else ""
            warn(f"{name} ended at once: {said or 'for no known reason; --foreground shows more'}")
            sys.exit(Status.FAILED)
        heard += part
    daemon = int(heard)
    if json:
        say_json({"pid": daemon, "log": str(log)})
    else:
        say(f"{name} runs in the background, pid {daemon}; its messages are in {log}")
    sys.exit(Status.OK)
