"""What an operator asked of the logical server, as files beside the epochs: stopped.N, clean.N, switch.N.

And of a node that gave its epoch up by itself: gaveway.N, why; left.N, which of its processes wait for a disk still.

A mark belongs to its epoch: the next one begins without any. An operator's are durable when the functions return.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentec.ha import epochs, process
from opentec.ha.errors import LeaseDirectoryError

_NODE_LIMIT: Final = 1024
_REASON_LIMIT: Final = 1024


def mark_stopped(directory: Path, epoch: int) -> None:
    """The logical server is stopped: no node takes over from `epoch` until the mark is cleared."""
    _write(directory, f"stopped.{epoch}", "")


def stopped(directory: Path) -> bool:
    """Is the logical server stopped, that is: does the newest epoch carry the mark?"""
    found = epochs.numbers(directory)
    return bool(found) and (directory / f"stopped.{found[-1]}").exists()


def clear_stopped(directory: Path) -> bool:
    """Let the nodes start again; True when there was a mark. That the epoch ended cleanly stays known."""
    found = epochs.numbers(directory)
    if not found:
        return False
    try:
        (directory / f"stopped.{found[-1]}").rename(directory / f"clean.{found[-1]}")
    except FileNotFoundError:
        return False
    _sync(directory)
    return True


def ended_cleanly(directory: Path, epoch: int) -> bool:
    """Was `epoch` stopped on purpose? Then its successor starts; otherwise it fails over."""
    return any((directory / f"{kind}.{epoch}").exists() for kind in ("stopped", "clean"))


def request_switch(directory: Path, epoch: int, to_node: str = "") -> None:
    """Ask the holder of `epoch` to hand over, to `to_node` or to whichever other node is ready."""
    _write(directory, f"switch.{epoch}", to_node)


def switch_requested(directory: Path, epoch: int) -> str | None:
    """The node that the holder of `epoch` shall hand over to, "" for any other, None when nobody asked."""
    try:
        with (directory / f"switch.{epoch}").open("rb") as file:
            return file.read(_NODE_LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return None


def clear_switch(directory: Path, epoch: int) -> None:
    """Withdraw a request to switch."""
    with suppress(FileNotFoundError):
        (directory / f"switch.{epoch}").unlink()
        _sync(directory)


def mark_gave_way(directory: Path, epoch: int, reason: str) -> None:
    """Leave word of why the holder of `epoch` gives way. Not made durable, and nothing is raised: it is the disk that
    fails, most likely, and nothing but the reason is lost with it.
    """
    with suppress(OSError):
        (directory / f"gaveway.{epoch}").write_text(reason[:_REASON_LIMIT])


def gave_way(directory: Path, epoch: int) -> str:
    """Why the holder of `epoch` gave way by itself, "" when it did not."""
    try:
        with (directory / f"gaveway.{epoch}").open("rb") as file:
            return file.read(_REASON_LIMIT).decode(errors="replace")
    except OSError:
        return ""


def mark_left(directory: Path, epoch: int, node: str, pids: Iterable[int]) -> None:
    """Leave word of the processes of `epoch` that SIGKILL did not end yet: they may keep the database locked.

    As little durable as why the node gave way.
    """
    known = {"node": node, "boot_id": process.boot_id(), "left": [[pid, process.start_time(pid)] for pid in pids]}
    with suppress(OSError):
        draft = directory / f".left.{epoch}.{os.getpid()}"
        draft.write_text(json.dumps(known))
        draft.rename(directory / f"left.{epoch}")  # whole, or another node's `forget_left` takes it for a broken one


def left(directory: Path, epoch: int) -> bool:
    """Did the holder of `epoch` give way while processes of it waited for a disk, and has not seen them end since?"""
    return (directory / f"left.{epoch}").exists()


def forget_left(directory: Path, node: str) -> None:
    """Take word of processes of this `node` back that have ended, with this boot or before it. Raises OSError."""
    for path in directory.glob("left.*"):
        try:
            known = json.loads(path.read_bytes())
            if known["node"] != node:
                continue
            here = known["boot_id"] == process.boot_id()
            if here and any(start and process.start_time(pid) == start for pid, start in known["left"]):
                continue
        except (ValueError, KeyError, TypeError):
            pass  # half written: nobody can tell any more what was left
        path.unlink(missing_ok=True)


def _write(directory: Path, name: str, text: str) -> None:
    draft = directory / f".{name}.{os.getpid()}"
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(directory / name)
        _sync(directory)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise LeaseDirectoryError(
            f"{directory / name}: {error.strerror}; check the instance directory's mount, owner and free space"
        ) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
