"""What `tec test` prints and writes: text or JSON, annotations, JUnit, coverage."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentec.commands.cli import Failure, Status, say, say_json, visible, warn

if TYPE_CHECKING:
    from opentec.events.errors import SourceError
    from opentec.rules.profile import Cost
    from opentec.testing.collection import Collected
    from opentec.testing.coverage import CoverageData
    from opentec.testing.jobs import Outcome
    from opentec.testing.mutation import MutationReport

# Azure looks for its commands anywhere in a line, and GitHub knows the second form of them too; those that begin with
# `::` are GitHub's where nothing but blanks stands before them
_COMMANDS: Final = (("##vso[", "## vso["), ("##[", "## ["))


class Annotations(NamedTuple):
    """For which CI system, and in which file where it reads one."""

    kind: str  # "" for none
    file: Path | None = None


def parse_annotations(given: str, is_json: bool, environment: Mapping[str, str]) -> Annotations:
    """What --annotations asks for. Raises Failure where that is not known."""
    from opentec.testing.annotations import GITLAB_FILE, KINDS, detect

    if not given:
        return Annotations("" if is_json else detect(environment))
    kind, equals, file = given.partition("=")
    if kind == "none" and not equals:
        return Annotations("")
    if kind not in KINDS or (equals and (kind != "gitlab" or not file)):
        kinds = ", ".join(KINDS)
        text = f"--annotations {visible(given)}: the kinds are {kinds}, gitlab=FILE and none"
        raise Failure(text, Status.USAGE)
    if kind == "gitlab":
        return Annotations(kind, Path(file or GITLAB_FILE))
    if is_json:
        raise Failure(f"--annotations {kind} and --json both print to standard output; leave one out", Status.USAGE)
    return Annotations(kind)


class Output:
    """One run's output. With `is_json` every line of standard output is an object."""

    def __init__(self, is_json: bool, annotations: Annotations, environment: Mapping[str, str]) -> None:
        from opentec.testing.annotations import READERS, detect

        self.outcomes: list[Outcome] = []
        self._is_json = is_json
        self._annotations = annotations
        self._environment = environment
        # also without annotations somebody reads what is printed there
        self._is_read = annotations.kind in READERS or bool(detect(environment))
        self._errors: list[SourceError] = []
        self._file = ""
        self._seed: int | None = None

    def note(self, text: str) -> None:
        """A remark about the run."""
        if self._is_json:
            self.warn(text)
        else:
            say(self.clean(text))

    def warn(self, text: str) -> None:
        """A remark on standard error."""
        warn(self.clean(f"tec test: {text}"))

    def shuffled(self, seed: int) -> None:
        self._seed = seed
        if not self._is_json:
            say(f"shuffled with --seed {seed}")

    def broken(self, errors: Sequence[SourceError]) -> None:
        """The errors because of which nothing was run, or no more."""
        self._errors += errors
        for error in errors:
            if self._is_json:
                data: dict[str, Any] = {"error": error.message, "hint": error.hint, "file": error.file}
                self._say_json({**data, "line": error.line, "column": error.column})
            else:
                warn("\n".join(self.clean(line) for line in str(error).split("\n")))
        if not self._is_json:
            count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
            warn(f"tec test: {'stopped' if self.outcomes else 'nothing was run'}: {count}")

    def listed(self, collected: Collected) -> None:
        """The tests, as --collect-only shows them."""
        for group, bound in collected.order:
            case = bound.case
            if self._is_json:
                place = {"file": case.file, "line": case.mark.line}
                self._say_json({**place, "name": case.name, "rulebase": str(group.folder)})
            else:
                say(self.clean(f"{case.file}:{case.mark.line}  {case.name}"))
        if self._is_json:
            self._say_json({"collected": collected.tests})
        else:
            say(f"{collected.tests} test{'' if collected.tests == 1 else 's'}")

    def show(self, outcome: Outcome) -> None:
        """One result, under the name of its file where that is another one than before."""
        from opentec.testing.report import as_data, as_text

        self.outcomes.append(outcome)
        result = outcome.result
        if self._is_json:
            self._say_json(as_data(result))
            return
        if result.file != self._file:
            say(self.clean(result.file))
            self._file = result.file
        for line in as_text(result).split("\n"):
            say(f"  {self.clean(line)}")

    def costs(self, folder: Path, costs: list[Cost]) -> None:
        """What the rules of a rule base cost."""
        from opentec.testing.report import profile_data, profile_lines

        if self._is_json:
            self._say_json(profile_data(str(folder), costs))
        else:
            say(self.clean(f"what the rules of {folder} cost:"))
            for line in profile_lines(costs):
                say(f"  {self.clean(line)}")

    def coverage(self, found: Mapping[Path, CoverageData], file: Path | None) -> None:
        """What the tests have seen of each rule base; as JSON also in a file."""
        from opentec.testing.coverage import as_data, lines

        data = [{"rulebase": str(folder), "coverage": as_data(part)} for folder, part in found.items()]
        if self._is_json:
            for one in data:
                self._say_json(one)
        else:
            for folder, part in found.items():
                say(self.clean(f"what the tests have seen of {folder}:"))
                for line in lines(part):
                    say(f"  {self.clean(line)}")
        if file is not None:
            _write(file, json.dumps({"rulebases": data}, indent=1, ensure_ascii=False) + "\n")

    def progress(self, done: int, total: int) -> None:
        """How far --mutate is: a line on a terminal, that is written over."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {total} mutants{'' if done < total else chr(10)}")
            sys.stderr.flush()

    def mutation(self, report: MutationReport) -> None:
        """Which broken rules the tests did not notice."""
        if self._is_json:
            self._say_json({"mutation": report.as_data()})
        else:
            for line in report.lines():
                say("\n".join(map(self.clean, line.split("\n"))))

    def sums(self, collected: int) -> None:
        """The last line."""
        from opentec.testing.report import summary

        passed = sum(outcome.result.passed for outcome in self.outcomes)
        failed = len(self.outcomes) - passed
        not_run = collected - passed - failed
        if self._is_json:
            seed = {} if self._seed is None else {"seed": self._seed}
            self._say_json({"passed": passed, "failed": failed, "not_run": not_run, **seed})
        else:
            say(summary(passed, failed, not_run))

    def finish(self, junit: Path | None) -> None:
        """Write what CI systems read. Raises Failure where a file cannot be written."""
        self._annotate()
        if junit is not None:
            from opentec.testing.junit import junit as document

            _write(junit, document(self.outcomes, self._errors))

    def _annotate(self) -> None:
        from opentec.testing.annotations import code_quality, command, note_of, notes_of, root_of

        kind, file = self._annotations
        if not kind:
            return
        notes = [note_of(error) for error in self._errors]
        notes += [note for outcome in self.outcomes for note in notes_of(outcome.result)]
        root = root_of(kind, self._environment)
        if file is not None:
            _write(file, code_quality(notes, root))
            return
        for note in notes:
            say(command(kind, note, root))

    def clean(self, line: str) -> str:
        """A line for a terminal; for a CI system also without what that would take for a command."""
        line = visible(line)
        if self._is_read:
            for text, harmless in _COMMANDS:
                line = line.replace(text, harmless)
            rest = line.lstrip()
            if rest.startswith("::"):
                line = f"{line[: len(line) - len(rest)]}: {rest[1:]}"
        return line

    def _say_json(self, data: dict[str, Any]) -> None:
        if not self._is_read:
            say_json(data)
            return
        # a command that stands in a text is the same text with an escape
        say(json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).replace("##", "#\\u0023"))


def check_writable(file: Path | None) -> None:
    """Raises Failure where a report could not be written, before anybody waits for it. No folder is made for it."""
    if file is None:
        return
    problem = 0
    if file.is_dir():
        problem = errno.EISDIR
    elif not file.parent.is_dir():
        raise Failure(f"{file}: there is no folder {file.parent}; make it first. Nothing was run", Status.USAGE)
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        problem = errno.EACCES
    if problem:
        raise Failure(f"{file}: {os.strerror(problem)}; name another file. Nothing was run", Status.USAGE)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}; nothing was written there", Status.USAGE) from error
