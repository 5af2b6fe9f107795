"""Specifications: what a test says, read strictly from YAML (docs/testing-rules.md).

rulebase: ..
setup:
  - at: 0s
    event: {class: NT_Disk_Full, hostname: web1, drive: '${drive}'}
tests:
  - name: a recovery closes the problem of drive ${drive}
    start: 2026-03-01 08:00 Europe/Berlin
    parameters: [{drive: 'C:'}, {drive: 'D:'}]
    steps:
      - at: +30s
        restart: true
        event: {class: NT_Disk_OK, hostname: web1, drive: '${drive}'}
        expect: [{class: NT_Disk_Full, status: CLOSED}]
        no_actions: true
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opentec.events.errors import SourceErrors
from opentec.events.names import shown
from opentec.testing.document import Document, Mark, Node, Scalar, Sequence, read_document, read_text, weight
from opentec.testing.instants import parse_start
from opentec.testing.parameters import Filler, Row, read_rows
from opentec.testing.spec_data import Case as Case
from opentec.testing.spec_data import Pattern as Pattern
from opentec.testing.spec_data import RawSlot as RawSlot
from opentec.testing.spec_data import Spec as Spec
from opentec.testing.spec_data import Step as Step
from opentec.testing.spec_steps import STEP_KEYS as STEP_KEYS
from opentec.testing.spec_steps import StepReader

DEFAULT_START: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z, of tests that say none
MAX_TESTS: Final = 100_000  # of one file
SPEC_KEYS: Final = ("rulebase", "include", "setup", "tests")
CASE_KEYS: Final = ("name", "start", "parameters", "steps")


def read_spec(path: Path, file: str | None = None) -> Spec:
    """Read a specification; `file` is its name in messages. Raises OSError, and SourceErrors with everything wrong."""
    return spec_of(read_document(path, file or str(path)), path)


def spec_of(document: Document, path: Path, rule_base: Path | None = None) -> Spec:
    """The specification in a document. Paths in it are relative to the folder of `path`.

    With `rule_base` the document needs none of its own. Raises SourceErrors with everything wrong.
    """
    spec = None if document.errors else _Reader(document, path).spec(rule_base)
    if document.errors or spec is None:
        raise SourceErrors(document.errors)
    return spec


class _Reader:
    """Reads one document."""

    def __init__(self, document: Document, path: Path) -> None:
        self.document = document
        self._path = path
        self._steps = StepReader(document, path.parent)
        self._cases: dict[str, Case] = {}
        self._setup: list[Node] = []
        self._setup_weight = 0

    def spec(self, rule_base: Path | None) -> Spec | None:
        document = self.document
        required = ("tests",) if rule_base is not None else ("rulebase", "tests")
        top = document.mapping(document.root, "a test file", SPEC_KEYS, required)
        if top is None:
            return None
        folder = document.scalar(top["rulebase"][1], "'rulebase'") if "rulebase" in top else None
        if folder is not None and not folder.text:
            hint = "name the folder of the rule base, relative to this file"
            document.report(folder.mark, "'rulebase' is empty", hint)
        if "include" in top:
            self._include(top["include"][1])
        if "setup" in top:
            self._setup += document.sequence(top["setup"][1], "'setup'") or ()
        self._setup_weight = sum(map(weight, self._setup))
        items = document.sequence(top["tests"][1], "'tests'") if "tests" in top else None
        for item in items or ():
            self._test(item)
        if folder is not None:
            rule_base = self._path.parent / folder.text
        if rule_base is None:
            return None
        mark = folder.mark if folder is not None else Mark(1, 1)
        return Spec(self._path, document, rule_base, mark, tuple(self._cases.values()))

    def _include(self, node: Node) -> None:
        """Take the setup of other files, in their order."""
        document = self.document
        for item in node.items if isinstance(node, Sequence) else [node]:
            named = document.scalar(item, "'include'")
            if named is None:
                continue
            file = str(Path(document.file).parent / named.text)
            try:
                text, wrong = read_text(self._path.parent / named.text)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                document.report(
                    named.mark, f"{shown(named.text)} cannot be read: {reason}", "it is relative to this file"
                )
                continue
            root = document.include(file, text)
            if wrong is not None:
                document.report(wrong[0]._replace(file=file), *wrong[1:])
            if root is None:
                if wrong is None and text.strip() == "":
                    document.report(Mark(1, 1, file), "an included file has no 'setup'", "add setup: ...")
                continue
            found = document.mapping(root, "an included file", ("setup",), ("setup",))
            if found is not None and "setup" in found:
                self._setup += document.sequence(found["setup"][1], "'setup'") or ()

    def _test(self, node: Node) -> None:
        document = self.document
        found = document.mapping(node, "a test", CASE_KEYS, ("name", "steps"))
        if found is None:
            return
        if "parameters" not in found:
            if document.grow(self._setup_weight):
                self._case(node.mark, found, self._setup, None)
            return
        rows = read_rows(document, found.pop("parameters")[1])
        if not rows:
            return
        filler = Filler(document, rows)
        for row in rows:
            filled = {key: (mark, filler.fill(value, row.values)) for key, (mark, value) in found.items()}
            setup = [filler.fill(step, row.values) for step in self._setup]
            if not document.grow(sum(map(weight, [*setup, *(value for _, value in filled.values())]))):
                return
            self._case(node.mark, filled, setup, row if filled.get("name") == found.get("name") else None)
        filler.finish()

    def _case(self, mark: Mark, found: dict[str, tuple[Mark, Node]], setup: list[Node], row: Row | None) -> None:
        """Read one test; a `row` is named behind the test's name, which does not tell it from the others."""
        document = self.document
        name = document.scalar(found["name"][1], "'name'") if "name" in found else None
        said = "" if name is None else self._name(name)
        if row is not None:
            said = f"{said} [{row.name}]"
        start: int | None = DEFAULT_START
        if "start" in found:
            start = self._steps.patterns.timed(document.scalar(found["start"][1], "'start'"), parse_start)
        items = document.sequence(found["steps"][1], "'steps'") if "steps" in found else None
        if items is not None and not items:
            document.report(found["steps"][1].mark, "the test has no steps")
        steps = self._steps.steps([*setup, *(items or ())], 0)
        if name is None or start is None:
            return
        if said in self._cases:
            first = self._cases[said].mark.line
            document.report(mark, f"two tests have the name {shown(said)}", f"the first is in line {first}")
        elif len(self._cases) == MAX_TESTS:
            document.report(mark, f"a file has at most {MAX_TESTS} tests", "split it")
        self._cases[said] = Case(document.file, mark, said, start, steps)

    def _name(self, name: Scalar) -> str:
        text = name.text.strip()
        if not text:
            self.document.report(name.mark, "the name of a test is empty", "say in one line what the rules must do")
        elif "\n" in text or not text.isprintable():
            self.document.report(
                name.mark, "the name of a test is more than one line", "say in one line what must happen"
            )
        return text
