"""What a PATH on the command line means: a file, a folder, or one test of a file by its line or its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from opentec.events.errors import SourceError
from opentec.events.names import nearest, shown
from opentec.testing.binding import BoundCase

# the shortest file that leaves a name or a line: a name may hold `::` itself, and C: is a drive
_TEST: Final = re.compile(r"(.+?\.(?:yaml|rls))(?:::(.+)|:([0-9]{1,9}))", re.DOTALL)


class Target(NamedTuple):
    """A path, and of its tests the one with this name, or the one that holds this line."""

    path: Path
    name: str | None = None
    line: int | None = None

    @property
    def is_whole(self) -> bool:
        return self.name is None and self.line is None


def parse_target(given: str | Path) -> Target:
    """`PATH`, `FILE:LINE` or `FILE::NAME`; a file that is there under the whole text is that file."""
    path = Path(given)
    match = _TEST.fullmatch(str(given))
    if match is None or path.exists():
        return Target(path)
    return Target(Path(match[1]), match[2], int(match[3]) if match[3] else None)


def pick(cases: Sequence[BoundCase], targets: Sequence[Target]) -> tuple[list[BoundCase], list[SourceError]]:
    """The tests of one file that the targets name, in the order of the file; what names none is an error."""
    if any(target.is_whole for target in targets):
        return list(cases), []
    kept: set[int] = set()
    errors = []
    for target in targets:
        found = _of_line(cases, target.line) if target.name is None else _of_name(cases, target.name)
        kept.update(found)
        if not found:
            errors.append(_missing(cases, target))
    return [case for number, case in enumerate(cases) if number in kept], errors


def _of_name(cases: Sequence[BoundCase], name: str) -> list[int]:
    return [number for number, bound in enumerate(cases) if bound.case.name == name]


def _of_line(cases: Sequence[BoundCase], line: int | None) -> list[int]:
    """The test that begins last before the line; several where parameters made them of one."""
    begins = [bound.case.mark.line for bound in cases]
    last = max((begin for begin in begins if line is not None and begin <= line), default=None)
    return [number for number, begin in enumerate(begins) if begin == last]


def _missing(cases: Sequence[BoundCase], target: Target) -> SourceError:
    if target.name is None:
        first = min((bound.case.mark.line for bound in cases), default=None)
        hint = f"the first begins in line {first}" if first else "it has no tests"
        return SourceError("no test holds this line", file=str(target.path), line=target.line or 1, column=1, hint=hint)
    near = nearest(target.name, [bound.case.name for bound in cases])
    hint = f"did you mean {near!r}?" if near else "--collect-only lists the tests"
    return SourceError(f"there is no test {shown(target.name)}", file=str(target.path), line=1, column=1, hint=hint)
