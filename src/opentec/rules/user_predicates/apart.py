"""Reads the declarations of user predicates in a process of its own.

A rule base is checked by the process that becomes the master, which must be able to fork and to go on. So whatever a
predicates.py does when it is run (ends the process, never ends, starts threads), it does elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from opentec.rules.user_predicates.declaration import Installed
from opentec.rules.user_predicates.module import FILE, Fault, Report, read

TIME_LIMIT: Final = 20.0  # seconds for predicates.py to be run once


class _Question(msgspec.Struct):
    source: str
    installed: Sequence[Installed]


def read_apart(source: str, installed: Sequence[Installed], time_limit: float = TIME_LIMIT) -> Report:
    """What `module.read` reports, from another process, within `time_limit` seconds."""
    command = [sys.executable, "-P", "-m", "opentec.rules.user_predicates.apart"]
    question = msgspec.json.encode(_Question(source, installed))
    try:
        done = subprocess.run(command, input=question, capture_output=True, timeout=time_limit, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return _failed(f"{FILE} was stopped after {time_limit:g} s", "take what is slow out of its top level")
    except OSError as error:
        return _failed(f"{FILE} cannot be read: {sys.executable} does not start: {error.strerror}")
    try:
        return msgspec.json.decode(done.stdout, type=Report)
    except msgspec.MsgspecError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        return _failed(f"{FILE} ended the process that read it (status {done.returncode})", last)


def _failed(message: str, hint: str = "") -> Report:
    return Report(faults=(Fault("", 1, 1, message, hint),), complete=False)


def answer(question: bytes) -> bytes:
    """The report on what a question holds, both as JSON."""
    asked = msgspec.json.decode(question, type=_Question)
    return msgspec.json.encode(read(asked.source, asked.installed)[0])


def main() -> None:
    """Answer the question on the standard input; what user code prints goes to the standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "wb") as stream:
        stream.write(answer(sys.stdin.buffer.read()))
    sys.stderr.flush()
    os._exit(0)  # user code may have left something behind that would wait


if __name__ == "__main__":
    main()
