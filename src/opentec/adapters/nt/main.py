"""The NT adapter as a program (`tecad_nt`): its files, and the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from opentec.adapters.conf import AdapterConf
from opentec.adapters.daemon import Outcome, Report, serve, stamped
from opentec.adapters.logfile.positions import PositionFile
from opentec.adapters.nt.adapter import Counters, NtAdapter
from opentec.adapters.nt.conf import NtConf, read_nt_conf
from opentec.adapters.nt.decode import INSTALL, is_installed
from opentec.adapters.nt.mapping import Mapping, read_mapping
from opentec.eif.buffer import DiskBuffer
from opentec.events.errors import SourceError, SourceErrors
from opentec.shipped import shipped

POSITIONS: Final = "positions.nt"  # in BufEvtPath
MAP_FILE: Final = "tecad_nt.map"  # beside the configuration, else the shipped one


def load(conf_path: Path, node: str = "") -> tuple[AdapterConf, NtConf, Mapping]:
    """Configuration and map. Raises SourceErrors with all that is wrong in the first of the two files that is not
    right, or when a `.evtx` log is to be read and the library for that is not there; OSError when a file cannot be
    read."""
    conf = read_nt_conf(conf_path, node=node)
    if conf.evtx_sources and not is_installed():
        message = f"LogSources names {Path(conf.evtx_sources[0]).name}, and the library that reads .evtx is missing"
        raise SourceErrors([SourceError(message, file=str(conf_path), line=1, column=1, hint=INSTALL)])
    beside = conf_path.with_name(MAP_FILE)
    path = conf.map_file or (beside if beside.exists() else shipped("adapters", "nt", MAP_FILE))
    return conf.common, conf, read_mapping(path)


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
    """Read and send until `stop` is set, or with `once` until the ends of the logs are reached and all is
    acknowledged, or the servers were waited for `wait` seconds (`opentec.adapters.daemon.serve`).

    `node` overrides NodeName; `adopt` says that the buffer has moved here on purpose (a shared disk). `report` gets
    sentences for a person. Raises SourceErrors and OSError for the configuration, BufferFault for the buffer.
    """
    common, conf, mapping = load(conf_path, node)
    report = stamped(report, common, "tecad_nt")

    def make(buffer: DiskBuffer) -> NtAdapter:
        positions = PositionFile(common.buffer_path / POSITIONS) if common.buffer_path is not None else None
        return NtAdapter(conf, mapping, buffer, positions, report=report)

    return await serve(
        common,
        "tecad_nt",
        make,
        once=once,
        stop=stop,
        adopt=adopt,
        wait=wait,
        report=report,
        advice="is the class in the server's rule base, and MapFile right?",
    )
