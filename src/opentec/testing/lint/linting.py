"""Runs the checks over one rule base."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from opentec.events.errors import SourceError
from opentec.rules.compiled_cache import load_cached
from opentec.rules.rulebase_sources import RULE_SETS, RULES, read_sources
from opentec.testing.lint.capacity import RATE, check_windows
from opentec.testing.lint.classes import check_classes, check_descriptions, check_rule_files
from opentec.testing.lint.diagnostics import CHECKS, Diagnostic
from opentec.testing.lint.model import Model
from opentec.testing.lint.overlap import check_overlap
from opentec.testing.lint.recovery import check_recovery
from opentec.testing.lint.suppressions import read_suppressions, suppress
from opentec.testing.lint.tasks import check_tasks
from opentec.testing.lint.tested import Tested, check_tested, run_tests
from opentec.testing.lint.timers import check_timers
from opentec.testing.lint.values import check_predicates, check_values
from opentec.testing.lint.variables import check_variables

MAX_FILE: Final = 8 * 1024 * 1024  # bytes of a file that is only looked through
_WORD: Final = re.compile(r"\w+|'[^'\n]*'|\"[^\"\n]*\"|\S")


class Report(msgspec.Struct):
    """What lint found in one rule base."""

    folder: Path
    diagnostics: list[Diagnostic] = []
    rule_sets: int = 0
    rules: int = 0
    tests: int = 0  # that were run for L501
    failed: int = 0
    errors: list[SourceError] = []  # of test files: they were not run, and nothing else was done


def find_rule_bases(path: Path) -> list[Path]:
    """The rule base at this folder, else all below it; hidden folders are left out."""
    if (path / RULES).is_dir():
        return [path]
    return sorted(found for found in _below(path) if (found / RULE_SETS).is_file())


def _below(path: Path) -> Iterator[Path]:
    try:
        folders = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except PermissionError:
        return
    for folder in folders:
        if not folder.is_symlink():
            yield folder
            yield from _below(folder)


def lint(
    folder: Path,
    codes: Collection[str] = CHECKS.keys(),
    *,
    run: bool = True,
    rate: float = RATE,
    tasks: Collection[str] | None = None,
    cache: Path | None = None,
) -> Report:
    """Look through the rule base of a folder for what these codes are about.

    With `run` its tests are run, for L501. `rate` are the events an hour that stay, for L301. `tasks` are the names of
    the task library, None where there is none to compare with. `cache` is the folder of compiled rule bases; None
    compiles them. Raises as `load_rule_base` does.
    """
    base = load_cached(folder, cache)
    tested: Tested | None = None
    if run and "L501" in codes:
        tested = run_tests(folder, cache)
        if tested.errors:
            return Report(folder, errors=tested.errors)
    model = Model(base)
    texts = _texts(folder)
    ran = set(CHECKS) - {code for code, asked in (("L501", tested), ("L801", tasks)) if asked is None}
    # a file that is not active is looked at as a whole only
    active = {rule_set.file for rule_set in base.rule_sets}
    suppressions = [
        one
        for one in read_suppressions(texts, base.rule_sets)
        if not one.file.endswith(".rls") or one.file in active or "L104" in one.codes
    ]
    found = [
        *check_variables(model),
        *check_classes(model, texts, _test_text(folder)),
        *check_rule_files(model, texts),
        *check_descriptions(model),
        *check_overlap(model),
        *check_windows(model, rate),
        *check_recovery(model),
        *check_timers(model),
        *check_predicates(model),
        *check_values(model),
        *(check_tested(model, tested) if tested is not None else ()),
        *(check_tasks(model, tasks) if tasks is not None else ()),
    ]
    left = suppress(found, suppressions, ran)
    shown = sorted({_placed(one, folder, texts) for one in left if one.code in codes})
    tests, failed = (tested.tests, tested.failed) if tested is not None else (0, 0)
    return Report(folder, shown, len(base.rule_sets), len(model.written), tests, failed)


def _texts(folder: Path) -> dict[str, str]:
    """The sources, and the rule files that are not active, by their names within the folder."""
    texts = {
        name: data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        for name, data in read_sources(folder).files.items()
    }
    for path in sorted((folder / RULES).glob("*.rls")):
        name = f"{RULES}/{path.name}"
        if name not in texts and path.is_file() and path.stat().st_size <= MAX_FILE:
            texts[name] = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    return texts


def _test_text(folder: Path) -> str:
    from opentec.testing.collection import find_specs

    paths = [path for path in find_specs([folder])[0] if path.stat().st_size <= MAX_FILE]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def _placed(one: Diagnostic, folder: Path, texts: Mapping[str, str]) -> Diagnostic:
    """The same with the file as the user named the folder, and the end of the word that stands there."""
    lines = texts.get(one.file, "").split("\n")
    word = _WORD.match(lines[one.line - 1], one.column - 1) if one.line <= len(lines) else None
    end = word.end() + 1 if word is not None else one.column + 1
    return msgspec.structs.replace(one, file=str(folder / one.file), end_column=end)
