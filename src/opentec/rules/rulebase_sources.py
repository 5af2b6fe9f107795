"""The files of a rule base: which of them matter, their content hash, and the two small ones (rule_sets, settings)."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from opentec.events.errors import EventError, SourceError
from opentec.events.names import nearest

CLASSES: Final = "TEC_CLASSES"
RULES: Final = "TEC_RULES"
RULE_SETS: Final = f"{RULES}/rule_sets"
LOAD_CLASSES: Final = f"{CLASSES}/.load_classes"
SETTINGS: Final = "rulebase.toml"
MAX_FILE: Final = 8 * 1024 * 1024  # bytes of one source file
MAX_RULE_SETS: Final = 1000

_NAME: Final = re.compile(r"\w[\w.-]*")
_TOML_PLACE: Final = re.compile(r"(.*) \(at line (\d+), column (\d+)\)")
_BOUNDS: Final = {"cache_size": (1, 10_000_000), "step_limit": (1_000, 1_000_000_000)}


class RuleBaseError(EventError):
    """A folder is not a rule base, or a stored rule base is missing, damaged or of another format."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's inputs that belong to the rule base and not to the server (spine: the rule process).

    They are set in the optional `rulebase.toml`. The defaults are pinned: a rule base without that file means these
    values in every version.
    """

    cache_size: int = 5000  # events in the event cache before the oldest are removed
    step_limit: int = 100_000  # goals that one record may run before its rules are stopped
    time_zone: str = "UTC"  # of the predicates on local time


class Sources(msgspec.Struct, frozen=True):
    """The files that make a rule base, as they were read; names are relative, with `/`."""

    folder: Path
    files: dict[str, bytes]
    rule_sets: tuple[str, ...]  # in the order of evaluation
    errors: tuple[SourceError, ...] = ()

    @property
    def content_hash(self) -> str:
        """sha256 over names and bytes, in hex: the same for every copy of the rule base, wherever it is."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            for part in (name.encode(), self.files[name]):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.hexdigest()


def source_error(file: str, lines: list[str], line: int, column: int, message: str, hint: str = "") -> SourceError:
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return SourceError(message, file=file, line=line, column=column, source_line=text, hint=hint)


def read_sources(folder: Path) -> Sources:
    """Read every file of a rule base that matters; `errors` tells what is wrong with the list of rule sets.

    Files that no rule set names (tests, notes, rule sets switched off) do not matter. Raises RuleBaseError.
    """
    if not folder.is_dir():
        raise RuleBaseError(f"{folder}: there is no such folder; a rule base has {CLASSES} and {RULES} in it")
    for part in (CLASSES, RULES):
        if not (folder / part).is_dir():
            raise RuleBaseError(f"{folder / part} is missing; a rule base has {CLASSES} and {RULES} in it")
    if not (folder / RULE_SETS).is_file():
        raise RuleBaseError(f"{folder / RULE_SETS} is missing; it names the active rule sets, one a line, in order")
    files = {RULE_SETS: _read(folder, RULE_SETS)}
    if (folder / SETTINGS).exists():
        files[SETTINGS] = _read(folder, SETTINGS)
    for name in _class_files(folder, files):
        files[f"{CLASSES}/{name}"] = _read(folder, f"{CLASSES}/{name}")
    present = sorted(path.stem for path in (folder / RULES).glob("*.rls"))
    names, errors = _rule_set_names(files[RULE_SETS], present)
    for name in names:
        files[f"{RULES}/{name}.rls"] = _read(folder, f"{RULES}/{name}.rls")
    return Sources(folder, files, tuple(names), tuple(errors))


def _class_files(folder: Path, files: dict[str, bytes]) -> list[str]:
    """The class files that count; `.load_classes` itself goes into `files`. What is missing, its reader reports."""
    order = folder / LOAD_CLASSES
    if not order.is_file():
        return sorted(path.name for path in (folder / CLASSES).glob("*.baroc"))
    files[LOAD_CLASSES] = _read(folder, LOAD_CLASSES)
    names = []
    for number, line in enumerate(files[LOAD_CLASSES].decode("utf-8-sig", "replace").splitlines(), 1):
        name = line.partition("#")[0].strip()
        if name.startswith("/") or ".." in name.split("/"):
            raise RuleBaseError(f"{order}:{number}: {name!r} is not inside {CLASSES}; move the file there")
        if name and (folder / CLASSES / name).is_file():
            names.append(name)
    return names


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise RuleBaseError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise RuleBaseError(f"{path} is larger than {MAX_FILE} bytes; split it")
    return data


def decode_text(name: str, data: bytes) -> str:
    """The text of a source file; raises SourceError where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise SourceError(
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            file=name,
            line=line,
            column=column,
            hint="convert the file, for example with iconv -f latin1 -t utf-8",
        ) from None


def _rule_set_names(data: bytes, present: list[str]) -> tuple[list[str], list[SourceError]]:
    """The names in TEC_RULES/rule_sets (tec-2.md 3.1), `#` and `%` beginning comments, `.rls` optional."""
    try:
        lines = decode_text(RULE_SETS, data).splitlines()
    except SourceError as error:
        return [], [error]
    names: list[str] = []
    errors: list[SourceError] = []
    for number, line in enumerate(lines, 1):
        text = re.split("[#%]", line, maxsplit=1)[0].strip()
        name = text.removesuffix(".rls")
        column = len(line) - len(line.lstrip()) + 1
        hint = ""
        if not name:
            continue
        if not _NAME.fullmatch(name):
            message, hint = f"{text!r} is not the name of a rule set", "write one name a line"
        elif name in names:
            message, hint = f"rule set {name!r} is named twice", "keep the line that stands where it shall run"
        elif name not in present:
            message = f"rule set {name!r} has no file {RULES}/{name}.rls"
            if near := nearest(name, present):
                hint = f"did you mean {near!r}?"
        elif len(names) == MAX_RULE_SETS:
            errors.append(source_error(RULE_SETS, lines, number, column, f"more than {MAX_RULE_SETS} rule sets"))
            break
        else:
            names.append(name)
            continue
        errors.append(source_error(RULE_SETS, lines, number, column, message, hint))
    return names, errors


def parse_settings(data: bytes) -> tuple[Settings, list[SourceError]]:
    """The settings of a rulebase.toml, every wrong one reported at its line; defaults stand in for those."""
    try:
        text = decode_text(SETTINGS, data)
    except SourceError as error:
        return Settings(), [error]
    lines = text.splitlines()
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_PLACE.fullmatch(str(error))
        message, line, column = str(error).removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1
        if match:
            message, line, column = match[1], int(match[2]), int(match[3])
        return Settings(), [source_error(SETTINGS, lines, line, column, message)]
    values: dict[str, Any] = {}
    errors: list[SourceError] = []
    known = Settings.__struct_fields__
    for key, value in table.items():
        line = next((n for n, text in enumerate(lines, 1) if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}\b", text)), 1)
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else f"the settings are {', '.join(known)}"
            errors.append(source_error(SETTINGS, lines, line, 1, f"there is no setting {key!r}", hint))
        elif problem := _problem(key, value):
            errors.append(source_error(SETTINGS, lines, line, 1, f"{key} = {value!r}: {problem}"))
        else:
            values[key] = value
    return Settings(**values), errors


def _problem(key: str, value: object) -> str:
    if key in _BOUNDS:
        low, high = _BOUNDS[key]
        if type(value) is int and low <= value <= high:
            return ""
        return f"it must be a whole number from {low} to {high}"
    if not isinstance(value, str):
        return "it must be a text, the name of a time zone such as 'Europe/Berlin'"
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        return "there is no such time zone; names are those of the tz database, such as 'Europe/Berlin'"
    return ""
