"""Examples in the comments of rules, collected as tests (docs/testing-rules.md, "Examples in rules").

% example: a full disk is raised to critical
%   - at: 0s
%     event: {class: NT_Disk_Full, hostname: web1, drive: 'C:'}
%   - at: +31s
%     expect: [{class: NT_Disk_Full, severity: CRITICAL}]

Below the line with the name stand the steps of a test, or its keys; an example ends at the first line that is not
indented behind the word `example`. The comments of a file become one YAML document in which every line and column is
that of the rules, so everything that is wrong has its place there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from opentec.events.errors import SourceError, SourceErrors
from opentec.events.names import shown
from opentec.rules.rulebase_sources import decode_text, read_sources
from opentec.testing.document import Document, Mapping, Mark, Node, Scalar, Sequence
from opentec.testing.spec import Spec, spec_of

NAME_LIMIT: Final = 500  # characters; a key of YAML ends at 1024
# what may hold a percent sign that begins no comment, as in the grammar of rules
_WORDS: Final = re.compile(
    r"'(?:[^'\\\n]|''|\\[^']|\\(?='))*+'"
    r'|"(?:[^"\\\n]|""|\\[\s\S])*+"'
    r"|/\*[\s\S]*?(?:\*/|\Z)"
    r"|%+(?P<comment>[^\n]*)"
)
_EXAMPLE: Final = re.compile(r"([ \t]*)example:[ \t]*(.*?)[ \t\r]*")


class _Comment(NamedTuple):
    """A comment that has its line for itself. Both count from 1; `column` is that of its last percent sign."""

    line: int
    column: int
    text: str


class _Example(NamedTuple):
    name: str
    mark: Mark  # of the word `example`
    body: list[_Comment]


def find_examples(folder: Path) -> list[Spec]:
    """The examples of a rule base's active rule sets, in their order; one Spec for each file that has any.

    `folder` is the rule base as the user names it, and so begins the names of files in messages. Raises SourceErrors
    with everything wrong in the examples, RuleBaseError where the folder holds no rule base.
    """
    sources = read_sources(folder)
    found: list[Spec] = []
    errors: list[SourceError] = []
    for rule_set in sources.rule_sets:
        name = f"TEC_RULES/{rule_set}.rls"
        path = folder / name
        try:
            spec = read_examples(decode_text(str(path), sources.files[name]), path, folder)
        except SourceErrors as wrong:
            errors += wrong.errors
        except SourceError as wrong:
            errors.append(wrong)
        else:
            if spec is not None:
                found.append(spec)
    if errors:
        raise SourceErrors(errors)
    return found


def read_examples(text: str, path: Path, folder: Path) -> Spec | None:
    """The examples in the text of a rule set; None where there are none.

    `path` is the file's, as messages name it, `folder` that of the rule base that the examples run on. Raises
    SourceErrors.
    """
    if "example:" not in text:
        return None
    examples = list(_examples(_comments(text)))
    if not examples:
        return None
    document = Document(str(path), _yaml(examples), text)
    if not document.errors:
        document.root = _tests(document, examples)
    return spec_of(document, path, folder)


def _comments(text: str) -> Iterator[_Comment]:
    line, at = 1, 0
    for word in _WORDS.finditer(text):
        if word["comment"] is None:
            continue
        line += text.count("\n", at, word.start())
        at = word.start()
        start = text.rfind("\n", 0, at) + 1
        if not text[start:at].strip("\ufeff \t"):
            yield _Comment(line, word.start("comment") - start, word["comment"].rstrip("\r"))


def _examples(comments: Iterator[_Comment]) -> Iterator[_Example]:
    current: _Example | None = None
    before = 0
    for comment in comments:
        if current is not None:
            content = comment.text.lstrip(" \t")
            indent = comment.column + len(comment.text) - len(content) + 1
            if comment.line == before + 1 and (not content or indent > current.mark.column):
                before = comment.line
                current.body.append(comment)
                continue
            yield current
            current = None
        if found := _EXAMPLE.fullmatch(comment.text):
            current = _Example(found[2], Mark(comment.line, comment.column + len(found[1]) + 1), [])
            before = comment.line
    if current is not None:
        yield current


def _yaml(examples: list[_Example]) -> str:
    """A mapping of names to bodies; every name is in its line, bodies are in their columns too."""
    lines = [""] * max(comment.line for one in examples for comment in (*one.body, _Comment(one.mark.line, 0, "")))
    for one in examples:
        lines[one.mark.line - 1] = "'" + one.name[:NAME_LIMIT].replace("'", "''") + "':"
        for comment in one.body:
            lines[comment.line - 1] = " " * comment.column + comment.text
    return "\n".join(lines)


def _tests(document: Document, examples: list[_Example]) -> Node:
    """The document of a test file that says the same; what cannot be a test is reported."""
    assert isinstance(document.root, Mapping)  # of names, as it was made
    tests: list[Node] = []
    if len(document.root.pairs) != len(examples):
        # a quoted text may go over lines, and has swallowed the name of the next example
        document.report(
            examples[0].mark, "a quote in the examples of this file is never closed", "look behind each ': '"
        )
    for (_, body), example in zip(document.root.pairs, examples, strict=False):
        mark = example.mark
        name: tuple[Node, Node] = Scalar("name", mark), Scalar(example.name, mark)
        if len(example.name) > NAME_LIMIT:
            document.report(mark, f"the name of an example has at most {NAME_LIMIT} characters")
        elif isinstance(body, Mapping):
            tests.append(Mapping([name, *body.pairs], mark))
        elif isinstance(body, Sequence):
            tests.append(Mapping([name, (Scalar("steps", body.mark), body)], mark))
        else:
            hint = "indent them behind the word `example` in the comments below; where this is no test, write `Example`"
            document.report(mark, f"the example {shown(example.name)} has no steps", hint)
    top = Mark(1, 1)
    return Mapping([(Scalar("tests", top), Sequence(tests, top))], top)
