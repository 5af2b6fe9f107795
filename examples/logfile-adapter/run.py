"""A log of 30 lines goes through the logfile adapter into a server, and the sums are checked.

Everything happens in a temporary folder, on a free port of 127.0.0.1, and is gone afterwards.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from opentec.shipped import shipped

HERE = Path(__file__).parent
PATIENCE = 30.0  # seconds that the rules may take on a busy machine


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="logfile-adapter.") as name:
        folder = Path(name)
        conf = prepare(folder, port := free_port())
        tec("init", str(folder / "tec"), "--port", str(port))
        tec("start", "-d", str(folder / "tec"))
        try:
            said = json.loads(tec("adapter", "logfile", "-c", str(conf), "--once", "--wait", "30", "--json"))
            records = recorded(folder / "tec")
            print(tec("list", "-d", str(folder / "tec")), end="")
        finally:
            tec("stop", "-d", str(folder / "tec"))
    return report(said, Counter(record["disposition"] for record in records))


def prepare(folder: Path, port: int) -> Path:
    """The example's log and configuration in a folder of their own, with the port of this run."""
    shutil.copy(HERE / "shop.log", folder)
    text = (HERE / "tecad_logfile.conf").read_text()
    text = re.sub(r"(?m)^ServerPort=.*$", f"ServerPort={port}", text)
    text = re.sub(r"(?m)^FormatFile=.*$", f"FormatFile={shipped('adapters', 'logfile', 'tecad_logfile.fmt')}", text)
    conf = folder / "tecad_logfile.conf"
    conf.write_text(text)
    return conf


def recorded(directory: Path) -> list[dict[str, Any]]:
    """The adapter's events in the reception log, once the rules are done with all of them."""
    end = time.monotonic() + PATIENCE
    while True:
        lines = tec("log", "-d", str(directory), "--json").splitlines()
        records = [record for record in map(json.loads, lines) if record.get("adapter_host") == "shop1"]
        if all(record["disposition"] != "WAITING" for record in records) or time.monotonic() > end:
            return records
        time.sleep(0.1)


def report(said: dict[str, int], became: Counter[str]) -> int:
    print()
    print(f"{said['lines']:4} lines read: {said['events']} events, {said['unmatched']} that no format matches")
    print(f"{became['STORED']:4} events stored")
    print(f"{became['DROPPED']:4} dropped by rules: repetitions that were counted, recoveries that closed a problem")
    print(f"{became['REJECTED']:4} rejected, {said['unconfirmed']} not acknowledged")
    adds_up = (
        said["lines"] == said["events"] + said["unmatched"]
        and said["events"] == became["STORED"] + became["DROPPED"]
        and not said["unconfirmed"]
    )
    print("the sums balance" if adds_up else "the sums do not balance")
    return 0 if adds_up else 1


def tec(*arguments: str) -> str:
    """What a `tec` command prints; ends the program with its message when it fails."""
    command = [sys.executable, "-m", "opentec.commands.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    if done.returncode:
        raise SystemExit(f"tec {' '.join(arguments)} failed with exit status {done.returncode}:\n{done.stderr}")
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
