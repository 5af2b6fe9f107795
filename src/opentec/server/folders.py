"""May this user run this instance, is all of it there, and is there room for its log? Looked at before a start."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from opentec.server.config import Config, RxSection
from opentec.server.errors import InstanceError, ServerError
from opentec.server.instance import Instance

_NOBODY: Final = 65534  # what the kernel shows for an owner that has no number here, and for root over NFS


def require_access(instance: Instance, config: Config, node: str, *, asked: bool) -> None:
    """Raises InstanceError where this user should not, or cannot, run this node on this directory.

    `asked`: a person or a unit starts it. A node that stands by again has run here: only what may vanish is looked at.
    """
    if asked:
        require_own(instance)
    instance.uuid()
    require_folders(instance)
    if asked:
        require_files(instance, config, node)


def require_own(instance: Instance) -> None:
    """Raises InstanceError where root would start what another user runs: files of root's would stop that user later.

    Whose it is says the file `instance`, which is written once.
    """
    try:
        found = (instance.directory / "instance").stat()
    except OSError:
        return  # what is wrong with it is told by whoever reads it
    if os.geteuid() != 0 or found.st_uid in (0, _NOBODY):
        return
    name = _name(found.st_uid)
    how = f"runuser -u {name} -- " if name else f"setpriv --reuid={found.st_uid} --regid={found.st_gid} --clear-groups "
    directory = shlex.quote(str(instance.directory))
    raise InstanceError(
        f"{instance.directory} belongs to user {name or found.st_uid}, and this is root, whose files that user could "
        f"not open later: start it as that user, for example `{how}tec start`, a container with its user set to "
        f"{found.st_uid}; or give it to root for good: chown -R root: {directory}"
    )


def require_folders(instance: Instance) -> None:
    """Raises InstanceError when a folder that every start needs is missing or cannot be written."""
    for folder in (instance.rx, instance.ha, instance.rule_bases):
        try:
            found = folder.stat()
        except FileNotFoundError as error:
            raise InstanceError(
                f"{folder} does not exist: restore it from a backup, or check that {instance.directory} is mounted"
            ) from error
        except OSError as error:
            raise InstanceError(f"{folder}: {error.strerror}; check its owner and the mount") from error
        if os.access(folder, os.W_OK | os.X_OK):
            continue
        if found.st_uid != os.geteuid():
            raise InstanceError(_give_back(instance, folder, found.st_uid))
        raise InstanceError(f"{folder} cannot be written by user {os.geteuid()}; check its owner and the mount")


def require_files(instance: Instance, config: Config, node: str) -> None:
    """Raises InstanceError for a file that this user cannot open because it is another's."""
    for path, mode in _files(instance, config, node):
        if os.access(path, mode):
            continue
        try:
            owner = path.stat().st_uid
        except OSError:
            continue  # it is gone: the node at work deletes what it no longer needs
        if owner != os.geteuid():
            raise InstanceError(_give_back(instance, path, owner))


def _files(instance: Instance, config: Config, node: str) -> Iterator[tuple[Path, int]]:
    """What a node opens, and how: what has a number at its end is never written again."""
    logs = instance.logs(node)
    if logs.exists():
        yield logs, os.W_OK | os.X_OK
    for folder in (instance.rx, instance.ha, logs):
        try:
            entries = sorted(entry for entry in folder.iterdir() if entry.is_file())  # not lost+found
        except OSError:
            continue
        for entry in entries:
            written = not entry.suffix[1:].isdecimal()
            yield entry, os.R_OK | (os.W_OK if written else 0)
    repository = config.repository_path(instance)
    for suffix in ("", "-wal", "-shm"):
        yield repository.with_name(repository.name + suffix), os.R_OK | os.W_OK


def _give_back(instance: Instance, path: Path, owner: int) -> str:
    me = _name(os.geteuid()) or str(os.geteuid())
    below = path.is_relative_to(instance.directory)
    command = f"chown {'-R ' if below else ''}{me}: {shlex.quote(str(instance.directory if below else path))}"
    return (
        f"{path} belongs to user {_name(owner) or owner}, and user {me} may not open it: most likely the server or a "
        f"command was run as that user; give it back, as root: {command}"
    )


def short_of_room(instance: Instance, config: Config) -> str:
    """What is to be warned of where the log's disk has less free than a node needs to take events; else "".

    Raises ServerError where the disk is too small ever to have that, OSError.
    """
    total, free = instance.log_store().disk()
    rx = config.rx
    reserve = int(total * rx.free_percent / 100)
    need = reserve + 2 * rx.segment_size  # the one that this start makes, and one that must stay free
    if total < need:
        raise ServerError(
            f"{instance.rx}: the disk has {mib(total)} in all and the log needs {mib(need)}: two segments "
            f"(rx.segment_size, {mib(rx.segment_size)}) and what stays free (rx.free_percent, {rx.free_percent:g} % = "
            f"{mib(reserve)}); take a larger disk, or set a smaller rx.segment_size in {instance.config_file}"
        )
    if free >= need:
        return ""
    return (
        f"{instance.rx}: {too_little(free, reserve, rx)}, and the segment that a start or a takeover makes takes "
        f"another {mib(rx.segment_size)}: with less no event is taken; make room"
    )


def too_little(free: int, reserve: int, rx: RxSection) -> str:
    """How many bytes are free, and how many must be for the log to go on."""
    return (
        f"the disk has {mib(free)} free and {mib(reserve + rx.segment_size)} are needed: rx.free_percent "
        f"({rx.free_percent:g} %, {mib(reserve)}) and one segment (rx.segment_size, {mib(rx.segment_size)})"
    )


def mib(size: int) -> str:
    """Bytes as a person reads them."""
    found = size / (1 << 20)
    return f"{found:.0f} MiB" if found >= 10 or found == int(found) else f"{found:.1f} MiB"


def _name(uid: int) -> str:
    """The login name, "" where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
