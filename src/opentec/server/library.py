"""tasks.toml: the tasks of the library, and which operators have which role (docs/tasks.md).

Light, since commands import it. Read when a task is claimed, not when the server starts: a change counts at once.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from opentec.server.errors import ConfigError, ServerError
from opentec.server.toml import parse_toml

FILE_NAME: Final = "tasks.toml"
# TEC's roles, the highest first; each includes those behind it
ROLES: Final = ("super", "senior", "admin", "user")
RULE: Final = "rule"  # whoever asks is a rule
_SIZE: Final = 1 << 20  # bytes of the file
_TASKS: Final = 1000
_WORDS: Final = 256
_LONGEST: Final = 86_400.0  # seconds
_KEYS: Final = ("program", "description", "roles", "time_limit", "concurrency", "environment")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]?)\}|[{}]", re.ASCII)
_ALL: Final = "{args}"


class TaskRefused(ServerError):
    """A task cannot be run as it was asked for; the text says why."""


class TaskDefinition(msgspec.Struct, frozen=True):
    """One task: an argument list with placeholders, who may run it, and its limits."""

    name: str
    program: tuple[str, ...]
    description: str = ""
    roles: tuple[str, ...] = ()
    time_limit: float | None = None  # seconds; None: tasks.time_limit of tec_server.toml
    concurrency: int | None = None  # at a time; None: only tasks.concurrency counts
    environment: tuple[str, ...] = ()  # variables of the server that the program may see

    @property
    def arguments(self) -> int:
        """How many arguments it needs at least."""
        numbers = [int(name) for word in self.program for name in _names(word) if name.isdigit()]
        return max(numbers, default=0)

    def allows_rules(self) -> bool:
        return not self.roles or RULE in self.roles

    def allows(self, roles: Iterable[str]) -> bool:
        """May an operator with these roles run it? A task without roles is for rules and the role super."""
        wanted = [role for role in self.roles if role != RULE] or ["super"]
        lowest = max(ROLES.index(role) for role in wanted)
        return any(ROLES.index(role) <= lowest for role in roles)


class Library(msgspec.Struct, frozen=True):
    """All of tasks.toml."""

    tasks: Mapping[str, TaskDefinition] = {}
    roles: Mapping[str, tuple[str, ...]] = {}  # role -> users, and groups as %GROUP

    def task(self, name: str) -> TaskDefinition:
        """The task of that name; raises TaskRefused with the nearest one."""
        found = self.tasks.get(name)
        if found is None:
            raise TaskRefused(f"there is no task {name!r} in {FILE_NAME}{nearest_text(name, self.tasks)}")
        return found

    def roles_of(self, uid: int) -> tuple[str, ...]:
        """The roles of a user of this machine. Root and the server's own user are super."""
        found = {"super"} if uid in (0, os.geteuid()) else set()
        names = _names_of(uid)
        found |= {role for role, members in self.roles.items() if names.intersection(members)}
        return tuple(role for role in ROLES if role in found)


def load_library(path: Path) -> Library:
    """Read and check tasks.toml; a file that is not there is an empty library.

    Raises ConfigError that names everything that is wrong, one a line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE + 1)
    except FileNotFoundError:
        return Library()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > _SIZE:
        raise ConfigError(f"{path} is larger than {_SIZE} bytes")
    table = parse_toml(path, data)
    errors: list[str] = []
    library = _library(table, errors)
    if errors:
        raise ConfigError("\n".join(f"{path}: {error}" for error in errors))
    return library


def command_of(task: TaskDefinition, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The argument list of a task: {slot} is the event's, {1} an argument, {args} as a word all that are left.

    Every word of the definition stays one argument. Raises TaskRefused when something is missing, or left over.
    """
    needed = task.arguments
    takes_all = _ALL in task.program
    if len(arguments) < needed or (len(arguments) > needed and not takes_all):
        least = "at least " if takes_all else ""
        raise TaskRefused(f"task {task.name} takes {least}{needed} argument{'s' * (needed != 1)}, not {len(arguments)}")
    words: list[str] = []
    for word in task.program:
        if word == _ALL:
            words += arguments[needed:]
        else:
            words.append(_fill(task, word, arguments, environment))
    return words


def _fill(task: TaskDefinition, word: str, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if name.isdigit():
            return arguments[int(name) - 1]
        if name not in environment:
            what = "the event has no such slot" if environment else "it is run without an event"
            raise TaskRefused(f"task {task.name} needs {{{name}}}, and {what}")
        return environment[name]

    return _PLACEHOLDER.sub(value, word)


def _names(word: str) -> list[str]:
    return [found[1] for found in _PLACEHOLDER.finditer(word) if found[1] is not None]


def _names_of(uid: int) -> set[str]:
    """The user's name, and his groups as %GROUP."""
    import grp
    import pwd

    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return {str(uid)}
    names = {user.pw_name}
    for gid in os.getgrouplist(user.pw_name, user.pw_gid):
        try:
            names.add(f"%{grp.getgrgid(gid).gr_name}")
        except KeyError:
            continue
    return names


def nearest_text(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?` for the end of a message, or nothing."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


# -- checking ----------------------------------------------------------------------------------------------------------


def _library(table: Mapping[str, Any], errors: list[str]) -> Library:
    for key in table.keys() - {"task", "roles"}:
        errors.append(f"{key}: there is no such section{nearest_text(key, ('task', 'roles'))}; known are task, roles")
    tasks: dict[str, TaskDefinition] = {}
    given = table.get("task", {})
    if not isinstance(given, dict):
        errors.append("task: each task is a table, [task.NAME]")
        given = {}
    if len(given) > _TASKS:
        errors.append(f"task: {len(given)} tasks, {_TASKS} at most")
    for name, values in given.items():
        place = f"task.{name}"
        if not _NAME.fullmatch(name):
            errors.append(f"{place}: a name has letters, digits and _ . -, 64 at most")
        elif not isinstance(values, dict):
            errors.append(f"{place}: each task is a table, [task.NAME]")
        else:
            before = len(errors)
            _check_task(place, values, errors)
            if len(errors) == before:
                tasks[name] = msgspec.convert({"name": name, **values}, TaskDefinition)
    return Library(tasks, _roles(table.get("roles", {}), errors))


def _check_task(place: str, values: Mapping[str, Any], errors: list[str]) -> None:
    for key in values.keys() - set(_KEYS):
        errors.append(f"{place}.{key}: there is no such key{nearest_text(key, _KEYS)}; known are {', '.join(_KEYS)}")
    program = values.get("program")
    if not _is_texts(program) or not program:
        errors.append(f'{place}.program: a list of texts is needed, for example ["scripts/restart.sh", "{{hostname}}"]')
    else:
        _check_program(f"{place}.program", program, errors)
    if not isinstance(values.get("description", ""), str):
        errors.append(f"{place}.description: it must be a text")
    roles = values.get("roles", [])
    if not _is_texts(roles):
        errors.append(f"{place}.roles: a list of roles is needed, for example ['admin', 'rule']")
    else:
        known = (*ROLES, RULE)
        for role in roles:
            if role not in known:
                what = f"{role!r} is no role{nearest_text(role, known)}; roles are {', '.join(known)}"
                errors.append(f"{place}.roles: {what}")
    limit = values.get("time_limit", 1)
    if type(limit) not in (int, float) or not 0 < limit <= _LONGEST:
        errors.append(f"{place}.time_limit: seconds are needed, more than 0 and {_LONGEST:.0f} at most")
    concurrency = values.get("concurrency", 1)
    if type(concurrency) is not int or not 1 <= concurrency <= 1000:
        errors.append(f"{place}.concurrency: a whole number from 1 to 1000 is needed")
    environment = values.get("environment", [])
    if not _is_texts(environment) or not all(_VARIABLE.fullmatch(name) for name in environment):
        errors.append(f"{place}.environment: a list of names of variables is needed, for example ['LANG']")


def _check_program(place: str, program: list[str], errors: list[str]) -> None:
    if len(program) > _WORDS:
        errors.append(f"{place}: {len(program)} words, {_WORDS} at most")
    if not program[0] or _PLACEHOLDER.search(program[0]):
        # what a stranger sent must not choose the program
        errors.append(f"{place}: the first word is the program itself; it cannot be empty, nor have braces")
    for word in program:
        if "\0" in word:
            errors.append(f"{place}: {word!r} holds a zero byte")
        for found in _PLACEHOLDER.finditer(word):
            if found[0] in ("{", "}"):
                errors.append(f"{place}: {word!r} has a lone {found[0]}; write {found[0] * 2} for the sign itself")
            elif found[0] == _ALL and word != _ALL:
                errors.append(f"{place}: {_ALL} must be a word of its own, not a part of {word!r}")


def _roles(table: Any, errors: list[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict):
        errors.append("roles: a table is needed, [roles]")
        return {}
    roles = {}
    for role, members in table.items():
        if role not in ROLES:
            why = "rules have it, no operator" if role == RULE else f"{_ROLE_NAMES}{nearest_text(role, ROLES)}"
            errors.append(f"roles.{role}: it cannot be given; {why}")
        elif not _is_texts(members):
            errors.append(f"roles.{role}: a list of users and %groups is needed, for example ['ann', '%operators']")
        else:
            roles[role] = tuple(members)
    return roles


_ROLE_NAMES: Final = f"roles are {', '.join(ROLES)}"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
