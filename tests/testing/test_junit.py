"""JUnit XML, read again by a parser that is not ours."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from opentec.events.errors import SourceError
from opentec.testing.jobs import Outcome
from opentec.testing.junit import junit
from opentec.testing.results import Failure, Happened, Result


def good(file: str = "tests/a.yaml", name: str = "good") -> Outcome:
    return Outcome(Result(file, 3, name), 0.25)


def bad(file: str = "tests/a.yaml", name: str = "bad", what: str = "Disk_Full") -> Outcome:
    failure = Failure(file, 8, "+1m", "2026-01-01T00:01:00Z", "expect", "Disk_OK", ())
    return Outcome(Result(file, 5, name, (failure,), (Happened("0s", what, "stored", ()),)), 0.5)


def test_a_suite_for_each_file_and_a_case_for_each_test() -> None:
    # shuffled, so files come several times
    text = junit([good(), bad("tests/b.yaml"), bad()])
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text)
    counts = {"tests": "3", "failures": "2", "errors": "0", "skipped": "0", "time": "1.250000"}
    assert root.attrib == {"name": "tec test", **counts}
    first, second = root
    assert first.attrib["name"] == "tests/a.yaml"
    assert [case.attrib["name"] for case in first] == ["good", "bad"]
    assert first.attrib["tests"] == "2" and first.attrib["failures"] == "1" and first.attrib["time"] == "0.750000"
    assert second.attrib["name"] == "tests/b.yaml"
    assert first[0].attrib == {
        "classname": "tests/a.yaml",
        "name": "good",
        "file": "tests/a.yaml",
        "line": "3",
        "time": "0.250000",
    }
    assert len(first[0]) == 0
    (failure,) = first[1]
    assert failure.tag == "failure"
    assert failure.attrib["message"] == "tests/a.yaml:8: at +1m (2026-01-01T00:01:00Z); expected: Disk_OK"
    assert "expected: Disk_OK" in (failure.text or "")
    assert "what happened:" in (failure.text or "")


def test_every_text_survives_as_far_as_xml_can() -> None:
    odd = "<&>\"'\t\n\r \x00\x1b\x7f\x85\u2028\ud800\udcff\ufffe\U0001f600]]>"
    root = ElementTree.fromstring(junit([bad("a/<&>.yaml", odd, odd)]).encode("utf-8"))
    case = root[0][0]
    shown = "<&>\"'\t\n\r \\x00\\x1b\x7f\x85\u2028\\ud800\\udcff\\ufffe\U0001f600]]>"
    assert case.attrib["name"] == shown
    assert case.attrib["classname"] == "a/<&>.yaml"
    text = case[0].text or ""
    assert "\\x1b" in text
    assert "]]>" in text


def test_what_kept_the_tests_from_running_is_an_error() -> None:
    errors = [
        SourceError("no such slot", file="tests/a.yaml", line=4, column=2, source_line=" x", hint="take <msg>"),
        SourceError("not YAML", file="tests/b.yaml", line=1, column=1),
    ]
    root = ElementTree.fromstring(junit([], errors))
    assert (root.attrib["tests"], root.attrib["errors"], root.attrib["failures"]) == ("2", "2", "0")
    (case,) = root[0]
    assert (case.attrib["name"], case.attrib["line"]) == ("line 4, column 2", "4")
    assert case[0].tag == "error"
    assert case[0].attrib["message"] == "no such slot"
    assert "take <msg>" in (case[0].text or "")


def test_nothing_is_a_document_too() -> None:
    assert ElementTree.fromstring(junit([])).attrib["tests"] == "0"
