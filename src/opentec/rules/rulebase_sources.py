"""The files of a rule base: which of them matter, their content hash, and the two small ones (rule_sets, settings)."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from opentec.events.errors import EventError, SourceError
from opentec.events.names import nearest, shown
from opentec.rules import destinations
from opentec.rules.user_predicates import packages
from opentec.rules.user_predicates.declaration import Installed

CLASSES: Final = "TEC_CLASSES"
RULES: Final = "TEC_RULES"
RULE_SETS: Final = f"{RULES}/rule_sets"
LOAD_CLASSES: Final = f"{CLASSES}/.load_classes"
SETTINGS: Final = "rulebase.toml"
PREDICATES: Final = "predicates.py"
PACKAGES: Final = "predicates"  # key of SETTINGS: names of installed packages of predicates
INSTALLED: Final = "predicates.installed"  # in a snapshot: their versions when it was made
MAX_FILE: Final = 8 * 1024 * 1024  # bytes of one source file
MAX_TOTAL: Final = 64 * 1024 * 1024  # bytes of all of them
MAX_PACKAGES: Final = 100
MAX_RULE_SETS: Final = 1000

_NAME: Final = re.compile(r"\w[\w.-]*")
_TOML_PLACE: Final = re.compile(r"(.*) \(at line (\d+), column (\d+)\)")
_BOUNDS: Final = {"cache_size": (1, 10_000_000), "step_limit": (1_000, 1_000_000_000)}
_SWITCHES: Final = ("drop_ends", "commit_rule_ends_set")


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
    drop_ends: bool = False  # drop_received_event ends evaluation behind its action (tec-2.md 3.1 leaves it open)
    commit_rule_ends_set: bool = False  # commit_rule also skips the rest of its rule set (tec-2.md 3.5 leaves it open)


class Parsed(NamedTuple):
    """A rulebase.toml: what it says, and what is wrong with it."""

    settings: Settings
    packages: tuple[str, ...]  # entry points of user predicates
    errors: tuple[SourceError, ...] = ()
    lines: tuple[str, ...] = ()

    def error(self, key: str, message: str, hint: str = "") -> SourceError:
        """An error at the line of a key."""
        named = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}\b")
        line = next((number for number, text in enumerate(self.lines, 1) if named.match(text)), 1)
        return source_error(SETTINGS, list(self.lines), line, 1, message, hint)


class Sources(msgspec.Struct, frozen=True):
    """The files that make a rule base, as they were read; names are relative, with `/`."""

    folder: Path
    files: dict[str, bytes]
    rule_sets: tuple[str, ...]  # in the order of evaluation
    errors: tuple[SourceError, ...] = ()  # in SETTINGS and RULE_SETS
    parsed: Parsed = Parsed(Settings(), ())
    installed: tuple[Installed, ...] = ()

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
    """Read every file of a rule base that matters; `errors` tells what is wrong with settings and rule sets.

    Files that no rule set names (tests, notes, rule sets switched off) do not matter. Raises RuleBaseError.
    """
    if not folder.is_dir():
        raise RuleBaseError(f"{folder}: there is no such folder; a rule base has {CLASSES} and {RULES} in it")
    for part in (CLASSES, RULES):
        if not (folder / part).is_dir():
            raise RuleBaseError(f"{folder / part} is missing; a rule base has {CLASSES} and {RULES} in it")
    if not (folder / RULE_SETS).is_file():
        raise RuleBaseError(f"{folder / RULE_SETS} is missing; it names the active rule sets, one a line, in order")
    files: dict[str, bytes] = {}
    _take(folder, RULE_SETS, files)
    for name in (SETTINGS, PREDICATES, INSTALLED):
        if (folder / name).exists():
            _take(folder, name, files)
    parsed = parse_settings(files.get(SETTINGS, b""))
    installed, wrong_packages = _installed(parsed, files)
    for name in _class_files(folder, files):
        _take(folder, f"{CLASSES}/{name}", files)
    present = sorted(path.stem for path in (folder / RULES).glob("*.rls"))
    names, wrong_names = _rule_set_names(files[RULE_SETS], present)
    for name in names:
        _take(folder, f"{RULES}/{name}.rls", files)
    wrong = (*parsed.errors, *wrong_packages, *wrong_names, *_destinations(folder, files))
    return Sources(folder, files, tuple(names), wrong, parsed, installed)


def _destinations(folder: Path, files: dict[str, bytes]) -> list[SourceError]:
    """Takes tec_forward.conf in, which tec_task reads from the snapshot; gives what is wrong with it."""
    if not (folder / destinations.FILE).exists():
        return []
    _take(folder, destinations.FILE, files)
    try:
        return destinations.parse_destinations(decode_text(destinations.FILE, files[destinations.FILE]))[1]
    except SourceError as error:
        return [error]


def _take(folder: Path, name: str, files: dict[str, bytes]) -> None:
    files[name] = _read(folder, name)
    if sum(map(len, files.values())) > MAX_TOTAL:
        raise RuleBaseError(f"{folder}: the files of this rule base are larger than {MAX_TOTAL} bytes; split it")


def _installed(parsed: Parsed, files: dict[str, bytes]) -> tuple[tuple[Installed, ...], list[SourceError]]:
    """The packages that the settings name, as recorded in a snapshot, else as they are installed here."""
    if not parsed.packages:
        files.pop(INSTALLED, None)
        return (), []
    if INSTALLED in files:
        return packages.decode(files[INSTALLED]), []
    found, errors = [], []
    for name in parsed.packages:
        try:
            found.append(packages.find(name))
        except packages.PackageError as error:
            errors.append(parsed.error(PACKAGES, str(error)))
    files[INSTALLED] = packages.encode(found)
    return tuple(found), errors


def _class_files(folder: Path, files: dict[str, bytes]) -> list[str]:
    """The class files that count; `.load_classes` itself goes into `files`. What is missing, its reader reports."""
    order = folder / LOAD_CLASSES
    if not order.is_file():
        return sorted(path.name for path in (folder / CLASSES).glob("*.baroc"))
    _take(folder, LOAD_CLASSES, files)
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


def parse_settings(data: bytes) -> Parsed:
    """A rulebase.toml, every wrong setting reported at its line; defaults stand in for those."""
    try:
        text = decode_text(SETTINGS, data)
    except SourceError as error:
        return Parsed(Settings(), (), (error,))
    lines = text.splitlines()
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_PLACE.fullmatch(str(error))
        message, line, column = str(error).removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1
        if match:
            message, line, column = match[1], int(match[2]), int(match[3])
        return Parsed(Settings(), (), (source_error(SETTINGS, lines, line, column, message),))
    parsed = Parsed(Settings(), (), (), tuple(lines))
    values: dict[str, Any] = {}
    errors: list[SourceError] = []
    known = (*Settings.__struct_fields__, PACKAGES)
    for key, value in table.items():
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else f"the settings are {', '.join(known)}"
            errors.append(parsed.error(key, f"there is no setting {key!r}", hint))
        elif problem := _problem(key, value):
            errors.append(parsed.error(key, f"{key} = {shown(value)}: {problem}"))
        else:
            values[key] = value
    names = tuple(values.pop(PACKAGES, ()))
    return parsed._replace(settings=Settings(**values), packages=names, errors=tuple(errors))


def _problem(key: str, value: object) -> str:
    if key == PACKAGES:
        names = value if isinstance(value, list) else ()
        if names and len(names) <= MAX_PACKAGES and all(isinstance(one, str) and _NAME.fullmatch(one) for one in names):
            return "" if len(set(names)) == len(names) else "one of them is named twice"
        return "it must be a list of names of installed predicates, such as ['acme']"
    if key in _SWITCHES:
        return "" if type(value) is bool else "it must be true or false"
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
