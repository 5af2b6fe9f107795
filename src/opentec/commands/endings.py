"""What the end of a master's log says of why its node does not serve."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from opentec.commands.cli import visible

_TAIL: Final = 64 << 10  # bytes of a log that are looked at
_LIMIT: Final = 500  # characters of a line of it
_LINE: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}) ([A-Z]+) (.*)")
_BEGUN: Final = re.compile(r"epoch \d+ is ours|standing by for ")
_MENDED: Final = " stands by again when this is mended: "
_FRESH: Final = timedelta(minutes=1)  # before the end: what is older was got over


def last_words(path: Path) -> str:
    """The last error of a master's last run, and where its log is; "" where there is no log.

    An error of a run before, or one that the master outlived by more than a minute, is no reason of its end.
    """
    lines = _lines(path)
    if lines is None:
        return ""
    end = next((_time(found) for line in reversed(lines) if (found := _LINE.fullmatch(line))), None)
    for line in reversed(lines):
        found = _LINE.fullmatch(line)
        if found is None or end is None:
            continue
        if _BEGUN.match(found[3]) or end - _time(found) > _FRESH:
            break
        if found[2] in ("ERROR", "CRITICAL"):
            return f"; the last error in {path}: {visible(line)[:_LIMIT]}"
    return f"; its log is {path}"


def awaited(path: Path) -> str:
    """What a node that gave way waits for, as the last line of its log has it; "" where that says something else."""
    lines = _lines(path)
    found = _LINE.fullmatch(lines[-1]) if lines else None
    return visible(found[3].partition(_MENDED)[2])[:_LIMIT] if found else ""


def _lines(path: Path) -> list[str] | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace").splitlines()
    except OSError:
        return None


def _time(line: re.Match[str]) -> datetime:
    try:
        return datetime.fromisoformat(line[1]).replace(tzinfo=UTC)
    except ValueError:  # a month 13, say
        return datetime.min.replace(tzinfo=UTC)
