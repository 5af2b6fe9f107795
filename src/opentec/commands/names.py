"""TEC's names for the commands: one table, and a console script for each of its entries.

The redbook's spellings stand beside those of TEC's manuals.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NoReturn

from opentec.commands.cli import run
from opentec.commands.main import load

# TEC's name -> command of `tec`
TEC_NAMES: Final = {
    "postemsg": "post",
    "tecad_logfile": "adapter logfile",
    "tecad_nt": "adapter nt",
    "wpostemsg": "post",
    "wpostmsg": "post",
    "wstartesvr": "start",
    "wstartesrv": "start",
    "wstopesvr": "stop",
    "wstopesrv": "stop",
    "wstatesvr": "status",
    "wstatesrv": "status",
    "wtdumper": "dump",
    "wtdumprl": "log",
}


def _as(name: str) -> NoReturn:
    run(load(TEC_NAMES[name]), name)


postemsg = partial(_as, "postemsg")
tecad_logfile = partial(_as, "tecad_logfile")
tecad_nt = partial(_as, "tecad_nt")
wpostemsg = partial(_as, "wpostemsg")
wpostmsg = partial(_as, "wpostmsg")
wstartesvr = partial(_as, "wstartesvr")
wstartesrv = partial(_as, "wstartesrv")
wstopesvr = partial(_as, "wstopesvr")
wstopesrv = partial(_as, "wstopesrv")
wstatesvr = partial(_as, "wstatesvr")
wstatesrv = partial(_as, "wstatesrv")
wtdumper = partial(_as, "wtdumper")
wtdumprl = partial(_as, "wtdumprl")


def wrb() -> NoReturn:
    from opentec.commands.wrb import main

    main()
