"""Changing the sources of a rule base: what TEC's wrb does to one (tec.md 5), on plain files.

A rule base is a folder under version control, and every change here is one that an editor could make. Comments and
the order of lines in `rule_sets` and `.load_classes` stay. What would leave classes that cannot be read is refused
and nothing is changed; whether rules still compile is a question for `load_rule_base`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import nearest, shown
from opentec.rules.rulebase_sources import (
    CLASSES,
    LOAD_CLASSES,
    MAX_FILE,
    RULE_SETS,
    RULES,
    RuleBaseError,
    decode_text,
    read_sources,
)

TESTS: Final = "tests"
_FIRST: Final = ("root.baroc", "tec.baroc")  # without .load_classes these come first (events/loader.py)
_NAME: Final = re.compile(r"\w[\w.-]*")
_NOT_COPIED: Final = (".git", ".hg", ".svn", "__pycache__", ".pytest_cache", "compiled.msgpack", "name")
_RULE_SETS_TEXT: Final = "# The active rule sets, one a line, in the order in which an event passes them.\n"


class RuleSetEntry(NamedTuple):
    """A rule file; `place` counts from 1 in the order of evaluation, 0 = not active."""

    name: str
    place: int


def create(folder: Path, shipped_classes: Path) -> None:
    """Make an empty rule base that compiles: the two class files that every server needs, and no rules.

    `shipped_classes` is the folder that they are taken from. Raises RuleBaseError when something is there already.
    """
    _require_free(folder)
    for part in (CLASSES, RULES, TESTS):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in _FIRST:
        shutil.copyfile(shipped_classes / name, folder / CLASSES / name)
    (folder / LOAD_CLASSES).write_text("".join(f"{name}\n" for name in _FIRST))
    (folder / RULE_SETS).write_text(_RULE_SETS_TEXT)


def copy(source: Path, target: Path) -> None:
    """Copy a rule base with its tests, without version control and what a snapshot adds. Raises RuleBaseError."""
    read_sources(source)
    _require_free(target)
    if target.resolve().is_relative_to(source.resolve()):
        raise RuleBaseError(f"{target} is inside of {source}; copy it to somewhere else")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True)


def _require_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RuleBaseError(f"{folder} is there already; name a new or empty folder")


# classes


def class_files(folder: Path) -> list[str]:
    """The class files in the order in which they are read."""
    order = folder / LOAD_CLASSES
    if order.is_file():
        return _entries(_lines(folder, LOAD_CLASSES), "#")
    found = [path.name for path in _part(folder, CLASSES).glob("*.baroc")]
    return sorted(found, key=lambda name: (name not in _FIRST, name))


def import_class(folder: Path, file: Path, *, before: str = "", after: str = "") -> str:
    """Copy a BAROC file into a rule base, read last or where `before` or `after` say; gives its name there.

    Raises RuleBaseError when a file of that name is there (TEC, too, wants it deleted first), SourceErrors when the
    classes would not be right with it.
    """
    name = _file_name(file, ".baroc")
    target = folder / CLASSES / name
    files = class_files(folder)
    if target.exists():
        raise RuleBaseError(f"{name} is in {folder} already; delete it first")
    data = _read(file)
    before, after = (_known(one, ".baroc", files, folder, "class file") if one else "" for one in (before, after))
    lines = _lines(folder, LOAD_CLASSES) if (folder / LOAD_CLASSES).is_file() else [f"{one}\n" for one in files]
    lines = _insert(lines, name, before, after, "#")
    _try_classes(folder, _entries(lines, "#"), {name: data})
    _replace(target, data)
    _replace(folder / LOAD_CLASSES, "".join(lines).encode())
    return name


def delete_class(folder: Path, name: str) -> str:
    """Delete a class file; gives its name. Raises RuleBaseError, and SourceErrors when other classes need it."""
    files = class_files(folder)
    name = _known(name, ".baroc", files, folder, "class file")
    _try_classes(folder, [one for one in files if one != name], {})
    if (folder / LOAD_CLASSES).is_file():
        lines = _without(_lines(folder, LOAD_CLASSES), name, "#")
        _replace(folder / LOAD_CLASSES, "".join(lines).encode())
    (folder / CLASSES / name).unlink(missing_ok=True)
    return name


def _try_classes(folder: Path, names: Sequence[str], more: dict[str, bytes]) -> None:
    """Read the classes as they would be; raises SourceErrors, the places as if they were that already."""
    from opentec.events.loader import load_classes

    with tempfile.TemporaryDirectory(prefix="tec-classes-") as draft:
        place = Path(draft)
        for name in names:
            data = more[name] if name in more else _read(folder / CLASSES / name)
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        (place / ".load_classes").write_text("".join(f"{name}\n" for name in names))
        try:
            load_classes(place)
        except SourceErrors as errors:
            raise SourceErrors([_moved(error, draft, folder) for error in errors.errors]) from None


def _moved(error: SourceError, draft: str, folder: Path) -> SourceError:
    return SourceError(
        error.message.replace(draft, str(folder / CLASSES)),
        file=error.file.replace(draft, str(folder / CLASSES)),
        line=error.line,
        column=error.column,
        source_line=error.source_line,
        hint=error.hint.replace(draft, str(folder / CLASSES)),
    )


# rule sets


def rule_sets(folder: Path) -> list[RuleSetEntry]:
    """The rule sets of a rule base: the active ones in their order, then the others by name."""
    active = _active(folder)
    others = sorted({path.stem for path in _part(folder, RULES).glob("*.rls")} - set(active))
    return [
        *(RuleSetEntry(name, place) for place, name in enumerate(active, 1)),
        *(RuleSetEntry(name, 0) for name in others),
    ]


def import_rule(folder: Path, file: Path) -> str:
    """Copy a rule file into a rule base; gives its name. It is not active before `activate_rule`.

    Raises RuleBaseError when it is there already, SourceErrors when it is not written in the rule language.
    """
    from opentec.rules.parser import parse_rules

    name = _file_name(file, ".rls")
    target = _part(folder, RULES) / name
    if target.exists():
        raise RuleBaseError(f"{name} is in {folder} already; delete it first")
    data = _read(file)
    try:
        text = decode_text(str(file), data)
    except SourceError as error:
        raise SourceErrors([error]) from None
    parse_rules(text, str(file))
    _replace(target, data)
    return name.removesuffix(".rls")


def delete_rule(folder: Path, name: str) -> tuple[str, bool]:
    """Delete a rule file; gives its name, and whether it was active. Raises RuleBaseError."""
    name = _known_rule(folder, name)
    active = name in _active(folder)
    if active:
        _write_rule_sets(folder, _without(_lines(folder, RULE_SETS), name, "#%"))
    (folder / RULES / f"{name}.rls").unlink(missing_ok=True)
    return name, active


def activate_rule(folder: Path, name: str, *, before: str = "", after: str = "") -> str:
    """Make a rule set active: as the last one, or where `before` or `after` say; gives its name.

    One that is active already is moved there. Raises RuleBaseError.
    """
    name = _known_rule(folder, name)
    active = _active(folder)
    before, after = (
        _known(one, "", active, folder, "active rule set", ".rls") if one else "" for one in (before, after)
    )
    if name in (before, after):
        raise RuleBaseError(f"rule set {name} cannot stand beside itself")
    lines = _lines(folder, RULE_SETS)
    if name in active:
        if not before and not after:
            raise RuleBaseError(f"rule set {name} is active already; before or after another one moves it")
        lines = _without(lines, name, "#%")
    _write_rule_sets(folder, _insert(lines, name, before, after, "#%"))
    return name


def deactivate_rule(folder: Path, name: str) -> str:
    """Make a rule set inactive, its file stays; gives its name. Raises RuleBaseError."""
    name = _known(name, "", _active(folder), folder, "active rule set", ".rls")
    _write_rule_sets(folder, _without(_lines(folder, RULE_SETS), name, "#%"))
    return name


def _active(folder: Path) -> list[str]:
    return [entry.removesuffix(".rls") for entry in _entries(_lines(folder, RULE_SETS), "#%")]


def _known_rule(folder: Path, name: str) -> str:
    return _known(name, "", [entry.name for entry in rule_sets(folder)], folder, "rule set", ".rls")


def _write_rule_sets(folder: Path, lines: Sequence[str]) -> None:
    _replace(folder / RULE_SETS, "".join(lines).encode())


# files and lines


def _part(folder: Path, part: str) -> Path:
    if not (folder / part).is_dir():
        raise RuleBaseError(f"{folder / part} is missing; a rule base has {CLASSES} and {RULES} in it")
    return folder / part


def _file_name(file: Path, suffix: str) -> str:
    if file.suffix != suffix or not _NAME.fullmatch(file.stem):
        raise RuleBaseError(f"{file}: the name of the file must end in {suffix}, and have no blanks")
    return file.name


def _known(name: str, suffix: str, names: Sequence[str], folder: Path, what: str, optional: str = "") -> str:
    """The entry that a person means, with or without its suffix; raises RuleBaseError."""
    name = name.removesuffix(optional)
    for wanted in (name, f"{name}{suffix}"):
        if wanted in names:
            return wanted
    near = nearest(name.removesuffix(suffix), [one.removesuffix(suffix) for one in names])
    hint = f"did you mean {near!r}?" if near else f"there is {', '.join(names) or 'none'}"
    raise RuleBaseError(f"{folder} has no {what} {shown(name)}; {hint}")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise RuleBaseError(f"{path} is larger than {MAX_FILE} bytes; split it")
    return data


def _lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    if not path.is_file():
        raise RuleBaseError(f"{path} is missing; a rule base has {CLASSES} and {RULES} in it")
    try:
        text = decode_text(str(path), _read(path))
    except SourceError as error:
        raise SourceErrors([error]) from None
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _entry(line: str, comments: str) -> str:
    return re.split(f"[{comments}]", line, maxsplit=1)[0].strip()


def _entries(lines: Sequence[str], comments: str) -> list[str]:
    return [entry for line in lines if (entry := _entry(line, comments))]


def _at(lines: Sequence[str], name: str, comments: str) -> int:
    wanted = (name, f"{name}.rls") if "%" in comments else (name,)
    return next(number for number, line in enumerate(lines) if _entry(line, comments) in wanted)


def _insert(lines: list[str], name: str, before: str, after: str, comments: str) -> list[str]:
    if before and after:
        raise RuleBaseError("before one and after another: name one of them")
    at = _at(lines, before, comments) if before else _at(lines, after, comments) + 1 if after else len(lines)
    return [*lines[:at], f"{name}\n", *lines[at:]]


def _without(lines: list[str], name: str, comments: str) -> list[str]:
    at = _at(lines, name, comments)
    return [*lines[:at], *lines[at + 1 :]]


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    if path.exists():
        shutil.copymode(path, draft)
    draft.replace(path)
