"""Rule bases: from a folder of sources to checked data, and the snapshots that a server runs.

A server never runs the folder that people edit. `snapshot` checks it and copies it under its content hash, with the
compiled form beside; `load_compiled` gives it back on any node without reading the rule language again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from opentec.events.classes import ClassTable
from opentec.events.errors import SourceError, SourceErrors
from opentec.rules import destinations
from opentec.rules.ast import RuleSet
from opentec.rules.rulebase_sources import (
    CLASSES,
    PACKAGES,
    PREDICATES,
    RULES,
    RuleBaseError,
    Settings,
    Sources,
    decode_text,
    read_sources,
)
from opentec.rules.user_predicates import packages
from opentec.rules.user_predicates.declaration import UserPredicates

if TYPE_CHECKING:
    from opentec.rules.user_predicates.checking import Checked

__all__ = ["FORMAT", "RuleBase", "RuleBaseError", "Settings", "load_compiled", "load_rule_base", "snapshot"]

FORMAT: Final = 2  # of the compiled form; another one is compiled again from the sources beside it
COMPILED: Final = "compiled.msgpack"
NAME: Final = "name"  # of the rule base, kept beside the sources of a snapshot

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


class _Envelope(msgspec.Struct, array_like=True, frozen=True):
    format: int
    checksum: bytes  # sha256 of body
    body: bytes


class _Body(msgspec.Struct, frozen=True):
    name: str
    content_hash: str
    classes: dict[str, Any]
    rule_sets: tuple[RuleSet, ...]
    settings: Settings
    user_predicates: UserPredicates


class RuleBase(msgspec.Struct, frozen=True):
    """A rule base that was checked: everything the engine needs, as data."""

    name: str  # of the folder
    content_hash: str  # sha256 of the sources, hex
    classes: ClassTable
    rule_sets: tuple[RuleSet, ...]  # in the order of evaluation
    settings: Settings = Settings()
    user_predicates: UserPredicates = UserPredicates()

    def encode(self) -> bytes:
        """The compiled form: msgpack, data only, with its format and a checksum."""
        classes = self.classes.to_data()
        body = msgspec.msgpack.encode(
            _Body(self.name, self.content_hash, classes, self.rule_sets, self.settings, self.user_predicates)
        )
        return msgspec.msgpack.encode(_Envelope(FORMAT, hashlib.sha256(body).digest(), body))

    @classmethod
    def decode(cls, data: bytes) -> RuleBase:
        """The rule base that `encode` gave; raises RuleBaseError for another format or damaged bytes."""
        try:
            envelope = msgspec.msgpack.decode(data, type=_Envelope)
            if envelope.format != FORMAT:
                raise RuleBaseError(f"the compiled rule base has format {envelope.format}, this version reads {FORMAT}")
            if hashlib.sha256(envelope.body).digest() != envelope.checksum:
                raise RuleBaseError("the compiled rule base is damaged: its checksum is wrong")
            body = msgspec.msgpack.decode(envelope.body, type=_Body)
        except msgspec.MsgspecError as error:
            raise RuleBaseError(f"the compiled rule base cannot be read: {error}") from error
        table = ClassTable.from_data(body.classes)
        return cls(body.name, body.content_hash, table, body.rule_sets, body.settings, body.user_predicates)


def load_rule_base(folder: Path, *, name: str | None = None) -> RuleBase:
    """Read and check a rule base: TEC_CLASSES, TEC_RULES/rule_sets with its .rls files, optional rulebase.toml and
    predicates.py.

    `name` is by default the folder's. Places in the syntax trees are relative to the folder, so a rule base is the
    same data wherever it lies. Python code of the rule base is run in a process of its own. Raises RuleBaseError when
    a part is missing, and SourceErrors with everything that is wrong in the sources.
    """
    return _compile(read_sources(folder), name)


def _compile(sources: Sources, name: str | None) -> RuleBase:
    # heavy imports stay here: a compiled rule base is loaded without lark and the parser
    from opentec.events.loader import load_classes
    from opentec.rules.checker import check_rules
    from opentec.rules.parser import parse_rules

    folder = sources.folder
    table: ClassTable | None = None
    class_errors: list[SourceError] = []
    try:
        table = load_classes(folder / CLASSES)
    except SourceErrors as errors:
        class_errors = errors.errors
    found = list(sources.errors)
    texts: dict[str, str] = {}
    user = _user_predicates(sources, texts)
    found += user.errors
    rule_sets: list[RuleSet] = []
    for rule_set in sources.rule_sets:
        file = f"{RULES}/{rule_set}.rls"
        try:
            texts[file] = decode_text(file, sources.files[file])
            rule_sets.append(parse_rules(texts[file], file, user.registry))
        except SourceErrors as errors:
            found += errors.errors
        except SourceError as error:
            found.append(error)
    if table is not None:
        found += check_rules(
            rule_sets,
            table,
            user.arities,
            texts,
            registry=user.registry,
            reach=True,
            complete=user.complete,
            destinations=_destinations(sources),
        )
        if not found:
            found += _compiler_errors(rule_sets, table, user)
    if table is None or found:
        raise SourceErrors(class_errors + [_in_folder(error, folder, texts) for error in found])
    settings = sources.parsed.settings
    return RuleBase(
        name or folder.resolve().name, sources.content_hash, table, tuple(rule_sets), settings, user.predicates
    )


def _destinations(sources: Sources) -> Collection[str] | None:
    """The destinations that forward_event may name; None when tec_forward.conf is wrong, which is reported already."""
    data = sources.files.get(destinations.FILE, b"")
    found, errors = destinations.parse_destinations(data.decode("utf-8-sig", "replace"))
    return None if errors else found.keys()


def _user_predicates(sources: Sources, texts: dict[str, str]) -> Checked:
    from opentec.rules.user_predicates.checking import Checked, check_user_predicates

    source = ""
    if PREDICATES in sources.files:
        try:
            source = texts[PREDICATES] = decode_text(PREDICATES, sources.files[PREDICATES])
        except SourceError as error:
            return Checked(UserPredicates(), [error], complete=False)

    def package_error(message: str, hint: str) -> SourceError:
        return sources.parsed.error(PACKAGES, message, hint)

    return check_user_predicates(source, sources.installed, package_error)


def _compiler_errors(rule_sets: Sequence[RuleSet], table: ClassTable, user: Checked) -> list[SourceError]:
    # a rule base that cannot be compiled must be refused here, not when a server takes over with it
    from opentec.rules.compiled import compile_rules

    try:
        compile_rules(rule_sets, table, user.registry)
    except SourceErrors as errors:
        return errors.errors
    return []


def _in_folder(error: SourceError, folder: Path, texts: Mapping[str, str]) -> SourceError:
    """The same error, its file as the user gave the folder, and with the offending line."""
    lines = texts.get(error.file, "").replace("\r\n", "\n").split("\n")
    return SourceError(
        error.message,
        file=str(folder / error.file),
        line=error.line,
        column=error.column,
        source_line=error.source_line or lines[min(error.line, len(lines)) - 1],
        hint=error.hint,
    )


def snapshot(source: Path, instance_rulebase: Path) -> str:
    """Check a rule base and copy it to `instance_rulebase/HASH/`; gives the hash.

    The copy appears whole or not at all, and is durable when this returns. A snapshot that exists is left as it is,
    except that a compiled form of another format is replaced. Raises as `load_rule_base` does.
    """
    sources = read_sources(source)
    base = _compile(sources, None)
    if read_sources(source).content_hash != base.content_hash:
        raise RuleBaseError(f"{source} was changed while it was read; try again")
    target = instance_rulebase / base.content_hash
    instance_rulebase.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        _refresh(target, base)
        return base.content_hash
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=instance_rulebase))
    try:
        new.chmod(0o750)
        for name, data in {**sources.files, NAME: base.name.encode(), COMPILED: base.encode()}.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            _write(new / name, data)
        for folder in (*(path for path in new.rglob("*") if path.is_dir()), new):
            _sync_folder(folder)
        new.rename(target)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        if not target.is_dir():  # else another start made the same snapshot
            raise
    _sync_folder(instance_rulebase)
    return base.content_hash


def _refresh(target: Path, base: RuleBase) -> None:
    if read_sources(target).content_hash != base.content_hash:
        raise RuleBaseError(f"{target}: the files of this rule base were changed; delete the folder and try again")
    try:
        RuleBase.decode((target / COMPILED).read_bytes())
    except (RuleBaseError, OSError):
        new = target / f".{COMPILED}.{os.getpid()}"
        _write(new, base.encode())
        new.replace(target / COMPILED)
        _sync_folder(target)


def load_compiled(instance_rulebase: Path, content_hash: str) -> RuleBase:
    """The rule base of a snapshot, from its compiled form, or from its sources when that is missing, damaged or of
    another format. Raises RuleBaseError when there is no such snapshot or its sources were changed."""
    if not _HASH.fullmatch(content_hash):
        raise RuleBaseError(f"{content_hash!r} is not the content hash of a rule base (64 hexadecimal digits)")
    folder = instance_rulebase / content_hash
    if not folder.is_dir():
        raise RuleBaseError(f"there is no rule base {content_hash} in {instance_rulebase}; activate it again")
    try:
        base = RuleBase.decode((folder / COMPILED).read_bytes())
    except (RuleBaseError, OSError):
        name = (folder / NAME).read_text(encoding="utf-8") if (folder / NAME).is_file() else None
        try:
            base = load_rule_base(folder, name=name)
        except SourceErrors as errors:
            raise RuleBaseError(f"{folder}: this rule base cannot be compiled again:\n{errors}") from errors
    if base.content_hash != content_hash:
        raise RuleBaseError(f"{folder}: the files of this rule base were changed; activate it again from its source")
    if base.user_predicates:
        _refuse_foreign_code(folder, base)
    return base


def _refuse_foreign_code(folder: Path, base: RuleBase) -> None:
    """Python code is run by the server: nobody else may write it, and packages are those that were checked."""
    for path in (folder, folder / COMPILED, folder / PREDICATES):
        if path.exists() and path.stat().st_mode & _WRITABLE:
            raise RuleBaseError(
                f"{path} holds code that the server runs, and others may write it; look who did, then chmod go-w {path}"
            )
    try:
        packages.check(base.user_predicates.installed)
    except packages.PackageError as error:
        raise RuleBaseError(str(error)) from error


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
