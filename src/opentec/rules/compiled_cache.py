"""Compiled rule bases, kept as data under the content hash of their sources: what was checked once is not parsed again.

A cache is a help and never a duty. What is missing, damaged, of other code or open to others is compiled again; what
cannot be written is not kept; errors are found anew each time. The sources are read in any case, and Python code of a
rule base comes from them, never from the cache.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from opentec import __version__
from opentec.rules.rulebase import FORMAT, RuleBase, RuleBaseError, load_rule_base
from opentec.rules.rulebase_sources import PREDICATES, Sources, read_sources

VARIABLE: Final = "OPENTEC_CACHE"  # a folder; set and empty: nothing is cached
FOLDER: Final = "rulebases"
SUFFIX: Final = ".rulebase"
MAX_ENTRIES: Final = 64
MAX_ENTRY: Final = 64 * 1024 * 1024  # bytes of one compiled rule base
MAX_TOTAL: Final = 256 * 1024 * 1024

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_CODE: Final = ("rules", "events")  # packages whose code decides what is compiled, and what is refused


# on Windows only O_BINARY, against changed line ends: a profile has no links of others and no pipes in it
_FLAGS: Final[int] = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def cache_folder(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform, home: Path | None = None
) -> Path | None:
    """`$OPENTEC_CACHE`, else the folder for caches of this platform; None where nothing shall or can be kept."""
    if VARIABLE in environment:
        named = environment[VARIABLE]
        return Path(named).absolute() if named else None
    if platform == "win32":
        local = environment.get("LOCALAPPDATA", "")
        return Path(local) / "opentec" / "Cache" if local else None
    if home is None:
        try:
            home = Path.home()
        except RuntimeError:  # neither HOME nor an entry in the password file
            return None
    if platform == "darwin":
        return home / "Library" / "Caches" / "opentec"
    named = environment.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else home / ".cache") / "opentec"


def load_cached(folder: Path, cache: Path | None) -> RuleBase:
    """The checked rule base of a folder, from `cache` when it is there. Raises as `load_rule_base` does."""
    if cache is None:
        return load_rule_base(folder)
    sources = read_sources(folder)
    # what an installed package declares may change without its version, where it is installed in place
    if sources.errors or sources.installed:
        return load_rule_base(folder)
    entry = cache / FOLDER / f"{key_of(sources)}{SUFFIX}"
    base = _read(entry, sources)
    if base is None:
        base = load_rule_base(folder)
        # else the folder was changed meanwhile
        if base.content_hash == sources.content_hash:
            _write(entry, base.encode())
        return base
    return msgspec.structs.replace(base, name=folder.resolve().name)


def key_of(sources: Sources) -> str:
    """What the compiled form depends on, as 64 hexadecimal digits: the sources, and the code that checks them."""
    digest = hashlib.sha256(f"{FORMAT} {__version__} {sources.content_hash}\n".encode())
    # in a checkout the code changes and the version does not
    for name, size, time in sorted(_code()):
        digest.update(f"{name} {size} {time}\n".encode())
    return digest.hexdigest()


def _code() -> Iterator[tuple[str, int, int]]:
    package = Path(__file__).parent.parent
    for part in _CODE:
        yield from _files(os.fspath(package / part), part)


def _files(folder: str, name: str) -> Iterator[tuple[str, int, int]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".py", ".lark")):
                found = entry.stat()
                yield f"{name}/{entry.name}", found.st_size, found.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _files(entry.path, f"{name}/{entry.name}")


def _read(entry: Path, sources: Sources) -> RuleBase | None:
    try:
        base = RuleBase.decode(read_private(entry, MAX_ENTRY + 1))
    except (OSError, RuleBaseError):
        return None
    code = sources.files.get(PREDICATES, b"").decode("utf-8-sig", "replace")
    if base.content_hash != sources.content_hash or base.user_predicates.source != code:
        return None
    with contextlib.suppress(OSError):
        os.utime(entry)  # the oldest are removed first
    return base


def read_private(path: Path, limit: int) -> bytes:
    """Up to `limit` bytes of a file of the cache. Raises OSError where others may write it or its folder, too."""
    if not is_private(path.parent):
        raise PermissionError(errno.EPERM, "others may write its folder", str(path))
    # what is no file of one's own, be it a link or a pipe, is not opened to wait at
    with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        if not (stat.S_ISREG(found.st_mode) and _is_own(found)):
            raise PermissionError(errno.EPERM, "not a file that only this user may write", str(path))
        return file.read(limit)


def not_private(cache: Path, folders: Sequence[str]) -> list[Path]:
    """Those folders of the cache that are there and are not used, since others may write them."""
    return [path for name in folders if os.path.lexists(path := cache / name) and not is_private(path)]


def is_private(folder: Path) -> bool:
    """Whether nobody but this user may write the folder. On Windows the user's profile sees to that."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _is_own(found)


def _is_own(found: os.stat_result) -> bool:
    user = getattr(os, "geteuid", None)
    return user is None or (found.st_uid == user() and not found.st_mode & _OTHERS_WRITE)


def write_private(path: Path, data: bytes) -> bool:
    """Replace a file of the cache as a whole; gives whether that was possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not is_private(path.parent):
            return False
        # made with mode 0600
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    except OSError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        return False
    return True


def _write(entry: Path, data: bytes) -> None:
    if len(data) <= MAX_ENTRY and write_private(entry, data):
        prune(entry.parent, MAX_ENTRIES, MAX_TOTAL)


def prune(folder: Path, entries: int, total: int) -> None:
    """Remove the oldest files of the folder until these many, and these many bytes, are left."""
    files: list[tuple[int, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(OSError):  # another run removed it
                there = entry.stat(follow_symlinks=False)
                files.append((there.st_mtime_ns, there.st_size, entry.path))
    kept = 0
    for number, (_, size, path) in enumerate(sorted(files, reverse=True)):
        kept += size
        if number >= entries or kept > total:
            with contextlib.suppress(OSError):
                Path(path).unlink()
