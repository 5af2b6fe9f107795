"""Failures as annotations, which CI systems show beside the lines of a change.

GitHub reads workflow commands (`::error file=...`) and Azure logging commands (`##vso[task.logissue ...]`) from what a
step prints; GitLab reads a file, a Code Quality report. The escapes are those of their documentation; a text from an
event must not be able to become a command.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, NamedTuple

import msgspec

from opentec.events.errors import SourceError
from opentec.testing.results import Failure, Result

KINDS: Final = ("github", "gitlab", "azure")
READERS: Final = ("github", "azure")  # those that look for commands in what is printed
GITLAB_FILE: Final = "gl-code-quality-report.json"
MAX_TEXT: Final = 4000  # characters of one message
# variable of a CI system that names the folder of the checkout: paths in annotations are relative to it
_ROOTS: Final = {"github": "GITHUB_WORKSPACE", "gitlab": "CI_PROJECT_DIR", "azure": "BUILD_SOURCESDIRECTORY"}

Escapes = dict[str, str | int | None]

_GITHUB: Final[Escapes] = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_GITHUB_PROPERTY: Final[Escapes] = _GITHUB | {":": "%3A", ",": "%2C"}
_AZURE: Final[Escapes] = {"%": "%AZP25", "\r": "%0D", "\n": "%0A"}
_AZURE_PROPERTY: Final[Escapes] = _AZURE | {";": "%3B", "]": "%5D"}


class Note(NamedTuple):
    """Something that is wrong at a place. `column` 0: none in particular."""

    file: str
    line: int
    column: int
    title: str
    text: str


def detect(environment: Mapping[str, str]) -> str:
    """The system of `KINDS` that reads annotations from what is printed here; "" when there is none."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "azure" if environment.get("TF_BUILD", "").lower() == "true" else ""


def notes_of(result: Result) -> Iterator[Note]:
    """One note for each expectation of a test that does not hold."""
    for failure in result.failures:
        text = "\n".join([result.name, f"at {failure.at}", *_told(result, failure)])
        yield Note(failure.file, failure.line, 0, "tec test: a test failed", text[:MAX_TEXT])


def _told(result: Result, failure: Failure) -> list[str]:
    """What the report says of one expectation, without its place and without what happened."""
    from opentec.testing.report import as_text

    alone = msgspec.structs.replace(result, failures=(failure,), happened=(), left_out=0)
    lines = as_text(alone).split("\n")
    return dedent("\n".join(lines[2 : lines.index("    what happened:")])).split("\n")


def note_of(error: SourceError) -> Note:
    """The note of an error in a specification or a rule base."""
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return Note(error.file, error.line, error.column, "tec test: nothing was run", text[:MAX_TEXT])


def root_of(kind: str, environment: Mapping[str, str]) -> Path:
    """The folder to which paths in annotations are relative: that of the checkout, else the current one."""
    return Path(environment.get(_ROOTS[kind]) or Path.cwd())


def command(kind: str, note: Note, root: Path) -> str:
    """The line that makes GitHub or Azure show a note."""
    path, place = _path(note.file, root), {"line": note.line, **({"col": note.column} if note.column else {})}
    if kind == "github":
        properties = {"file": path, **place, "title": note.title}
        said = ",".join(f"{name}={_escaped(value, _GITHUB_PROPERTY)}" for name, value in properties.items())
        return f"::error {said}::{_escaped(note.text, _GITHUB)}"
    properties = {"type": "error", "sourcepath": path, "linenumber": note.line}
    if note.column:
        properties["columnnumber"] = note.column
    said = "".join(f"{name}={_escaped(value, _AZURE_PROPERTY)};" for name, value in properties.items())
    return f"##vso[task.logissue {said}]{_escaped(note.text, _AZURE)}"


def code_quality(notes: Sequence[Note], root: Path) -> str:
    """GitLab's Code Quality report. Two reports are compared by fingerprint, so it holds no line."""
    found: list[dict[str, Any]] = []
    times: dict[str, int] = {}
    for note in notes:
        path = _path(note.file, root)
        name = "\0".join((path, note.title, note.text))
        times[name] = times.get(name, 0) + 1
        data = f"{name}\0{times[name]}".encode("utf-8", "backslashreplace")
        found.append(
            {
                "description": note.text,
                "check_name": note.title,
                "fingerprint": hashlib.sha256(data).hexdigest(),
                "severity": "major",
                "location": {"path": path, "lines": {"begin": note.line}},
            }
        )
    return json.dumps(found, indent=1) + "\n"


def _path(file: str, root: Path) -> str:
    """The file relative to the checkout, with `/`; as it is where it lies elsewhere."""
    try:
        # not resolved: a link inside the checkout is what the reader sees
        return Path(os.path.normpath(Path(file).absolute())).relative_to(root.absolute()).as_posix()
    except ValueError:
        return Path(file).as_posix()


def _escaped(value: object, table: Escapes) -> str:
    text = str(value).translate(str.maketrans(table))
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
