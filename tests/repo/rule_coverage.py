"""The last table of docs/rule-language.md: every construct and predicate of TEC's rule language, with its test.

`python -m tests.repo.rule_coverage` writes it anew. A test is found by what it says: the construct must stand in a text
that the test function uses, so a test that is renamed or rewritten takes its row with it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from opentec.rules.control import CONTROL
from opentec.rules.predicates import GROUPS, PREDICATES, REFUSED
from tests.repo.checkout import ROOT
from tests.repo.rule_names import CONSTRUCTS, NAMES, PICKS, SEMANTICS, Construct

PAGE: Final = ROOT / "docs/rule-language.md"
HEADING: Final = "## Every construct and its test"
_TESTS: Final = ROOT / "tests/rules"
# they look at every predicate, so they say nothing of one
_GENERAL: Final = ("test_page.py", "test_registry.py")
# tests that read rules, or use them for something else
_READERS: Final = ("test_parser", "test_checker", "test_batching", "test_rulebase", "test_selectors", "test_kinds")
_NEGATIVE: Final = re.compile(r"error|wrong|refuse|cannot|compile|bounded|unknown|fault|limit|large|leave|lost")
_RUNNING: Final = ("test_engine_bodies.py", "test_engine.py", "test_engine_timers.py", "test_engine_changes.py")
# where a file of predicates has no file of tests with its name, or more than that one
_HOMES: Final = {
    "search": ("test_engine_bodies.py",),
    "changes": ("test_engine_changes.py", "test_engine_redo.py", "test_engine_bodies.py", "test_engine.py"),
    "slots": ("test_engine_bodies.py",),
    "timers": ("test_engine_timers.py", "test_engine_bodies.py"),
    "execution": ("test_engine_bodies.py",),
    "lists": ("test_engine_bodies.py",),
    "terms": ("test_engine_bodies.py",),
    "text": ("test_engine_bodies.py",),
    "facts": ("test_clauses.py",),
}
_REFUSAL: Final = "test_habits.py::test_the_goals_of_the_facts_that_are_refused"
_LEAD: Final = """
Names and shapes are those of TEC's public documentation; *ours* marks what we added. The test is one of those that show
the construct at work. The tables are made by `python -m tests.repo.rule_coverage`, and checked with all other tests.
"""


class Witness(NamedTuple):
    """A test, and what it says: all texts that it uses, a line or more each."""

    file: str
    name: str
    own: str  # what stands in the test itself
    further: str  # what stands in what it uses of its file

    @property
    def key(self) -> str:
        return f"{self.file}::{self.name}"

    def says(self, pattern: str) -> bool:
        return any(re.search(pattern, text, flags=re.MULTILINE) for text in (self.own, self.further))


@cache
def functions() -> Mapping[str, Witness]:
    """Every test function of the rules, by its key."""
    found = (one for path in sorted(_TESTS.glob("test_*.py")) if path.name not in _GENERAL for one in _functions(path))
    return {one.key: one for one in found}


def _functions(path: Path) -> Iterator[Witness]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named.update({target.id: node for target in targets if isinstance(target, ast.Name)})
    tests = [(name, node) for name, node in named.items() if isinstance(node, ast.FunctionDef)]
    for name, node in named.items():
        if isinstance(node, ast.ClassDef):
            tests += [(f"{name}.{one.name}", one) for one in node.body if isinstance(one, ast.FunctionDef)]
    for name, node in tests:
        if name.rpartition(".")[2].startswith("test_"):
            further = [text for other in sorted(_used(node, named) - {name}) for text in _strings(named[other])]
            yield Witness(path.name, name, "\n".join(_strings(node)), "\n".join(further))


def _used(node: ast.AST, named: Mapping[str, ast.AST]) -> set[str]:
    """What a test names in its file, and what that names in turn."""
    used: set[str] = set()
    waiting = [node]
    while waiting:
        names = {found.id for found in ast.walk(waiting.pop()) if isinstance(found, ast.Name)}
        new = names & named.keys() - used
        used |= new
        waiting += [named[name] for name in new]
    return used


def _strings(node: ast.AST) -> list[str]:
    documentation = ast.get_docstring(node, clean=False) if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None
    return [
        found.value
        for found in ast.walk(node)
        if isinstance(found, ast.Constant) and isinstance(found.value, str) and found.value != documentation
    ]


def pattern_of(name: str) -> str:
    """What finds a goal of this predicate in the text of a rule."""
    arities = PREDICATES.get(name, frozenset({1}))
    if not name[0].isalpha():
        return rf"\s{re.escape(name)}\s"
    end = r"\s*\(" if 0 not in arities else r"(?:\s*\(|\s*[,)\s]|$)"
    if name == "is":
        return r"\b_\w+ is [\w(-]"
    return rf"(?<![\w'$]){re.escape(name)}{end}"


@cache
def homes() -> Mapping[str, Sequence[str]]:
    """The files of tests where a predicate's are expected first, by its name."""
    found: dict[str, Sequence[str]] = {}
    for path in sorted((ROOT / "src/opentec/rules/predicates").glob("*.py")):
        if re.search(r"^PREDICATES\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE) and path.stem[0] != "_":
            module = import_module(f"opentec.rules.predicates.{path.stem}")
            for predicate in module.PREDICATES:
                found[predicate.name] = (f"test_{path.stem}.py", *_HOMES.get(path.stem, ()))
    return found


def witnesses(name: str) -> list[Witness]:
    """The tests that use the predicate, the best first."""
    if name in PICKS:
        return [functions()[PICKS[name]]] if PICKS[name] in functions() else []
    return _ranked(pattern_of(name), name, homes().get(name, ("test_engine.py", "test_engine_bodies.py")))


def witnesses_of(construct: Construct) -> list[Witness]:
    """The tests that use the construct, the best first."""
    if construct.test:
        return [functions()[construct.test]] if construct.test in functions() else []
    return _ranked(construct.pattern, re.sub(r"\W", "", construct.title), _RUNNING)


def _ranked(pattern: str, words: str, files: Sequence[str]) -> list[Witness]:
    """The tests that say the pattern: of these files first, then what runs rules, then what is about nothing else."""
    found = [one for one in functions().values() if one.says(pattern)]

    def rank(one: Witness) -> tuple[object, ...]:
        home = files.index(one.file) if one.file in files else len(files)
        own = bool(re.search(pattern, one.own, flags=re.MULTILINE))
        named = any(word in one.name for word in words.split("_") if len(word) > 3)
        reads = one.file.startswith(_READERS)
        return home, reads, bool(_NEGATIVE.search(one.name)), not own, not named, len(one.own) + len(one.further)

    return sorted(found, key=rank)


def _link(one: Witness | None) -> str:
    return f"[{one.file}](../tests/rules/{one.file}) `{one.name}`" if one is not None else "MISSING"


def table() -> str:
    """The section of the page, from its heading on."""
    lines = [HEADING, _LEAD, "| construct | what it is | test |", "| --- | --- | --- |"]
    lines += [f"| {one.title} | {one.does} | {_link(next(iter(witnesses_of(one)), None))} |" for one in CONSTRUCTS]
    lines += ["", "| what holds | test |", "| --- | --- |"]
    lines += [f"| {title} | {_link(functions().get(test))} |" for title, test in SEMANTICS.items()]
    lines += ["", "| predicate | what it is | test |", "| --- | --- | --- |"]
    for name in NAMES:
        if name in REFUSED:
            lines.append(f"| `{name}` | refused: {REFUSED[name].split(';')[0]} | {_link(functions().get(_REFUSAL))} |")
        else:
            lines.append(f"| `{name}` | {_group(name)} | {_link(next(iter(witnesses(name)), None))} |")
    for name in further():
        lines.append(f"| `{name}` | {_group(name)}, *ours* | {_link(next(iter(witnesses(name)), None))} |")
    return "\n".join(lines) + "\n"


def _group(name: str) -> str:
    if any(name == known for known, _ in CONTROL):
        return "control"
    return next((title for title, group in GROUPS.items() if any(one.name == name for one in group)), "MISSING")


def further() -> list[str]:
    """The predicates that are there without being in the facts, in the order of the alphabet."""
    shown = {one.name for group in GROUPS.values() for one in group if not one.internal}
    return sorted(shown - set(NAMES))


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, _ = text.partition(HEADING)
    PAGE.write_text(before + table(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
