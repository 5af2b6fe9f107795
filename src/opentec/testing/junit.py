"""Results as JUnit XML, as CI systems read it: a `testsuite` for each file, a `testcase` for each test.

There is no standard; this is the shape that Jenkins, GitLab and Azure document alike: counts on the suites, `failure`
with a `message` and the whole text, `error` for what kept tests from running.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from opentec.events.errors import SourceError
from opentec.testing.jobs import Outcome
from opentec.testing.report import as_text

# what XML 1.0 cannot hold, not even escaped (section 2.2)
_IMPOSSIBLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Escapes = dict[str, str | int | None]

_TEXT: Final[Escapes] = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_ATTRIBUTE: Final[Escapes] = _TEXT | {'"': "&quot;", "\n": "&#10;", "\t": "&#9;"}


def junit(outcomes: Sequence[Outcome], errors: Sequence[SourceError] = ()) -> str:
    """The document. `errors` are those because of which nothing was run."""
    failed = sum(not outcome.result.passed for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    counts = _counts(len(outcomes) + len(errors), failed, len(errors), seconds)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name="tec test"{counts}>']
    # a shuffled run comes to a file several times
    ordered = sorted(outcomes, key=lambda outcome: outcome.result.file)
    for file, found in groupby(ordered, key=lambda outcome: outcome.result.file):
        lines += _suite(file, list(found))
    for file, wrong in groupby(sorted(errors, key=lambda error: error.file), key=lambda error: error.file):
        lines += _errors(file, list(wrong))
    return "\n".join([*lines, "</testsuites>", ""])


def _suite(file: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    failed = sum(not outcome.result.passed for outcome in outcomes)
    counts = _counts(len(outcomes), failed, 0, sum(outcome.seconds for outcome in outcomes))
    yield f"  <testsuite{_attributes(name=file)}{counts}>"
    for result, seconds in outcomes:
        case = _attributes(classname=file, name=result.name, file=file, line=result.line, time=f"{seconds:.6f}")
        if result.passed:
            yield f"    <testcase{case}/>"
            continue
        text = as_text(result)
        yield f"    <testcase{case}>"
        yield f"      <failure{_attributes(message=_first(text), type='failed')}>{_escape(text, _TEXT)}</failure>"
        yield "    </testcase>"
    yield "  </testsuite>"


def _first(text: str) -> str:
    """What failed first, in one line: the place and what was expected there."""
    return "; ".join(line.strip() for line in text.split("\n")[1:3])


def _errors(file: str, errors: Sequence[SourceError]) -> Iterator[str]:
    yield f"  <testsuite{_attributes(name=file)}{_counts(len(errors), 0, len(errors), 0)}>"
    for error in errors:
        name = f"line {error.line}, column {error.column}"
        yield f"    <testcase{_attributes(classname=file, name=name, file=file, line=error.line, time=0)}>"
        text = _escape(str(error), _TEXT)
        yield f"      <error{_attributes(message=error.message, type='error')}>{text}</error>"
        yield "    </testcase>"
    yield "  </testsuite>"


def _counts(tests: int, failures: int, errors: int, seconds: float) -> str:
    return _attributes(tests=tests, failures=failures, errors=errors, skipped=0, time=f"{seconds:.6f}")


def _attributes(**values: object) -> str:
    return "".join(f' {name}="{_escape(str(value), _ATTRIBUTE)}"' for name, value in values.items())


def _escape(text: str, table: Escapes) -> str:
    """Text as XML; a character that XML does not have is shown as in a program, `\\x1b`."""
    text = _IMPOSSIBLE.sub(lambda match: _shown(match[0]), text)
    return text.translate(str.maketrans(table))


def _shown(characters: Iterable[str]) -> str:
    return "".join(
        f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}" for character in characters
    )
