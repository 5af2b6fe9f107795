"""The logfile adapter as a program (`tecad_logfile`): its files, and the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from opentec.adapters.conf import AdapterConf, read_conf
from opentec.adapters.daemon import Outcome, Report, serve, stamped
from opentec.adapters.logfile.adapter import Counters, LogfileAdapter
from opentec.adapters.logfile.fmt import Format, formats_of, read_formats
from opentec.adapters.logfile.positions import PositionFile
from opentec.eif.buffer import DiskBuffer

POSITIONS: Final = "positions"  # in BufEvtPath


def load(conf_path: Path, node: str = "") -> tuple[AdapterConf, list[Format]]:
    """Configuration and formats. Raises SourceErrors with all that is wrong in the first of the two files that is
    not right, OSError when one cannot be read."""
    conf = read_conf(conf_path, node=node, required=("ServerLocation", "NodeName", "BufEvtPath", "LogSources"))
    return conf, read_formats(formats_of(conf))


async def run(
    conf_path: Path,
    *,
    once: bool = False,
    stop: asyncio.Event | None = None,
    node: str = "",
    adopt: bool = False,
    wait: float | None = None,
    report: Report = lambda _text: None,
) -> Outcome[Counters]:
    """Tail and send until `stop` is set, or with `once` until the ends of the files are reached and all is
    acknowledged, or the servers were waited for `wait` seconds (`opentec.adapters.daemon.serve`).

    `node` overrides NodeName; `adopt` says that the buffer has moved here on purpose (a shared disk). `report` gets
    sentences for a person. Raises SourceErrors and OSError for the configuration, BufferFault for the buffer.
    """
    conf, formats = load(conf_path, node)
    report = stamped(report, conf, "tecad_logfile")

    def make(buffer: DiskBuffer) -> LogfileAdapter:
        positions = PositionFile(conf.buffer_path / POSITIONS) if conf.buffer_path is not None else None
        return LogfileAdapter(conf, formats, buffer, positions, report=report)

    return await serve(
        conf,
        "tecad_logfile",
        make,
        once=once,
        stop=stop,
        adopt=adopt,
        wait=wait,
        report=report,
        advice="`tec adapter try` shows which format made it",
    )
