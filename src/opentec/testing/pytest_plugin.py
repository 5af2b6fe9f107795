"""pytest collects tests of rule bases beside its own, when it is asked to: `--opentec`, or `opentec_tests = true` in
its configuration.

Without that it only knows two more options. The files are those of `tec test`: `*.yaml` in a folder `tests`, and
`*.test.yaml`; of the former only those that have `rulebase` and `tests`, as other tools have YAML there too. A file
that is named on the command line must be one of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from opentec.testing.binding import BoundCase
    from opentec.testing.jobs import Session

_SNIFFED: Final = 64 * 1024  # bytes of a file in which its two keys must begin


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--opentec`, and `opentec_tests` of the configuration."""
    text = "collect the tests of rule bases too: tests/*.yaml and *.test.yaml"
    parser.getgroup("opentec", "rule bases").addoption("--opentec", action="store_true", help=text)
    parser.addini("opentec_tests", text, type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A collector for a file of tests; None for every other file, and where nobody asked."""
    if file_path.suffix != ".yaml":
        return None
    config = parent.config
    if not (config.getoption("opentec", default=False) or config.getini("opentec_tests")):
        return None
    is_named = parent.session.isinitpath(file_path) or file_path.name.endswith(".test.yaml")
    if is_named or (
        file_path.parent.name == "tests" and not file_path.name.startswith(".") and _looks_like_tests(file_path)
    ):
        collector: RuleTests = RuleTests.from_parent(parent, path=file_path)
        return collector
    return None


def _looks_like_tests(path: Path) -> bool:
    """Whether `rulebase:` and `tests:` begin lines of the file: cheap, and no file is read as YAML for nothing."""
    try:
        with path.open("rb") as file:
            lines = file.read(_SNIFFED).splitlines()
    except OSError:
        return False
    return all(any(line.startswith(key) for line in lines) for key in (b"rulebase:", b"tests:"))


class Broken(Exception):
    """A file of tests, or its rule base, is wrong; the text has every error with its place."""


class RuleTests(pytest.File):
    """A file of tests of a rule base."""

    def collect(self) -> Iterator[pytest.Item]:
        """Its tests. Raises Broken."""
        from opentec.rules.compiled_cache import cache_folder
        from opentec.testing.collection import collect

        collected = collect([_shown(self.path)], cache_folder())
        if collected.errors:
            raise Broken("\n".join(map(str, collected.errors)))
        for group, bound in collected.order:
            session = _session(self.config, group.folder, group.rule_base)
            item: RuleTest = RuleTest.from_parent(
                self, name=bound.case.name, bound=bound, folder=group.folder, session_of_rules=session
            )
            yield item

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The errors as `tec test` shows them."""
        if isinstance(excinfo.value, Broken):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class RuleTest(pytest.Item):
    """One test of a rule base."""

    def __init__(self, *, bound: BoundCase, folder: Path, session_of_rules: Session, **known: Any) -> None:
        super().__init__(**known)
        self._bound, self._folder, self._session_of_rules = bound, folder, session_of_rules

    def runtest(self) -> None:
        """Run it. Raises Failed with the text of `tec test`, and SourceErrors where it turns out wrong."""
        from opentec.testing.report import as_text

        result = self._session_of_rules.run(self._folder, self._bound)
        if not result.passed:
            raise Failed(as_text(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What `tec test` shows."""
        from opentec.events.errors import SourceErrors

        if isinstance(excinfo.value, (Failed, SourceErrors)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the test; lines count from 0 here."""
        return self.path, self._bound.case.mark.line - 1, self.name


class Failed(Exception):
    """A test failed; the text says how."""


def _shown(path: Path) -> Path:
    """The file as one would type it here."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


_SESSIONS: Final[pytest.StashKey[dict[Path, tuple[str, Session]]]] = pytest.StashKey()


def _session(config: pytest.Config, folder: Path, rule_base: Any) -> Session:
    """One engine for each rule base, however many files test it."""
    from opentec.testing.jobs import Session

    sessions = config.stash.setdefault(_SESSIONS, {})
    known = sessions.get(folder)
    if known is None or known[0] != rule_base.content_hash:
        known = sessions[folder] = (rule_base.content_hash, Session({folder: rule_base}))
    return known[1]
