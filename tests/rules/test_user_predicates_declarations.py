"""Predicates in Python: what annotations mean, and what is refused."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import opentec.rules
from opentec.rules import predicate
from opentec.rules.user_predicates.calling import declared_registry
from opentec.rules.user_predicates.declaration import TYPES
from opentec.rules.user_predicates.module import FILE, decorated, read
from tests.rules.user_predicates_kit import LINES, declared, faults, report

# declarations


@pytest.mark.parametrize(
    ("text", "parameters", "outputs", "determinism"),
    [
        ("def f() -> bool", [], [], "semidet"),
        ("def f(a: str, b: int, c: float) -> str", ["str", "int", "float"], ["str"], "det"),
        ("def f(a: list, b: list[str], c: List[int]) -> list[float]", ["list", "list[str]", "list[int]"], None, "det"),
        ("def f(a: Value, b: list[Value], /) -> Value", ["value", "list"], ["value"], "det"),
        ("def f(a: object, e: EventView) -> int | None", ["value", "event"], ["int"], "semidet"),
        ("def f(now: Seconds, a: str) -> Optional[str]", ["now", "str"], ["str"], "semidet"),
        ("def f() -> tuple[str, int]", [], ["str", "int"], "det"),
        ("def f() -> tuple[str, list[str]] | None", [], ["str", "list[str]"], "semidet"),
        ("def f() -> Iterator[str]", [], ["str"], "nondet"),
        ("def f() -> 'Iterable[tuple[str, float]]'", [], ["str", "float"], "nondet"),
        ("def f() -> Generator[int, None, None]", [], ["int"], "nondet"),
    ],
)
def test_annotations_say_what_a_predicate_is(
    text: str, parameters: list[str], outputs: list[str] | None, determinism: str
) -> None:
    one = declared(f'@predicate\n{text}:\n    """Does it.\n\n    More."""\n')
    assert [parameter.type for parameter in one.parameters] == parameters
    assert list(one.outputs) == (["list[float]"] if outputs is None else outputs)
    assert one.determinism == determinism
    assert (one.name, one.place, one.effect) == ("f", f"predicates.py:{LINES + 2}", "Does it.")
    assert one.arity == len(one.modes) == len([one for one in parameters if one != "now"]) + len(one.outputs)
    assert all(one in TYPES for one in one.outputs)


def test_modes_and_signature_are_those_of_the_registry() -> None:
    one = declared("@predicate\ndef f(e: EventView, now: Seconds, a: str, n: int, r: float) -> tuple[str, int]: ...")
    assert one.modes == "esivtt"
    assert one.signature == "f(_e, a, n, r, _result1, _result2)"
    assert declared("@predicate\ndef f() -> bool: ...").signature == "f"
    assert declared("@predicate\ndef f() -> str: ...").signature == "f(_result)"
    ((key, found),) = [item for item in declared_registry([one]).items() if item[0][0] == "f"]
    assert key == ("f", 6)
    assert (found.determinism, found.signature, found.arity) == ("det", one.signature, 6)


def test_a_name_of_ones_own() -> None:
    assert declared("@predicate(name='nearTo')\ndef f() -> bool: ...").name == "nearTo"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("@predicate\ndef f(a) -> bool: ...", "2:7: parameter 'a' of f has no type; a parameter is str, int, "),
        ("@predicate\ndef f(a: dict) -> bool: ...", "2:7: parameter 'a' of f has a type that rules do not have; "),
        ("@predicate\ndef f(a: bool) -> bool: ...", "2:7: parameter 'a' of f has a type that rules do not have; "),
        ("@predicate\ndef f(a: list[dict]) -> bool: ...", "2:7: parameter 'a' of f has a type that rules do"),
        ("@predicate\ndef f(a: list[EventView]) -> bool: ...", "2:7: parameter 'a' of f has a type that rules do"),
        ("@predicate\ndef f(a: []) -> bool: ...", "2:7: parameter 'a' of f has a type that rules do not have; "),
        ("@predicate\ndef f(a: str = '') -> bool: ...", "2:7: parameter 'a' of f has a default; rules give every"),
        ("@predicate\ndef f(*a: str) -> bool: ...", "2:8: parameter 'a' of f is not a plain one; name every"),
        ("@predicate\ndef f(*, a: str) -> bool: ...", "2:10: parameter 'a' of f is not a plain one; name every"),
        ("@predicate\ndef f(a: str): ...", "2:1: f does not say what it gives; -> bool holds or does not; "),
        ("@predicate\ndef f() -> None: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> EventView: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> Iterator[bool]: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> str | int: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> set[str]: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> tuple[str, ...]: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> tuple[()]: ...", "2:1: f gives what rules do not have; -> bool"),
        ("@predicate\ndef f() -> 'strr': ...", "2:1: the annotations of f cannot be read: name 'strr' is not"),
        ("@predicate\nasync def f() -> bool: ...", "2:1: f is async; a predicate computes and never waits"),
        ("@predicate\ndef _f() -> bool: ...", "2:1: '_f' is not a name for a predicate; a name is a letter"),
        ("@predicate(name='a b')\ndef f() -> bool: ...", "2:1: 'a b' is not a name for a predicate; a name is"),
        ("@predicate\nclass A: ...", "1:1: TypeError: @predicate stands before a function, not before type; "),
        ("x = 1 +", "1:8: invalid syntax; "),
        ("x = '\0'", "1:1: source code string cannot contain null bytes; "),
        ("1 / 0", "1:1: ZeroDivisionError: division by zero; "),
        ("def f():\n    raise ValueError('no')\n\nf()", "2:1: ValueError: no; "),
        ("raise ValueError", "1:1: ValueError; "),
        (
            "import nowhere_to_be_found",
            "1:1: ModuleNotFoundError: No module named 'nowhere_to_be_found'; predicates.py",
        ),
        ("from . import x", "1:1: ImportError: attempted relative import"),
        ("import sys\nsys.exit(3)", "2:1: SystemExit: 3; "),
        ("{}['key']", "1:1: KeyError: key; "),
        ("class A(Exception):\n    def __str__(self): 1 / 0\nraise A", "3:1: A: its text raises ZeroDivisionError; "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, wanted: str) -> None:
    found = faults(text)
    # where Python itself finds no line, it names the first of the file
    assert any(re.sub(r"^-\d+:", "1:", one).startswith(wanted) for one in found), found


def test_a_name_is_declared_once_for_each_number_of_arguments() -> None:
    twice = "@predicate\ndef f(a: str) -> bool: ...\n@predicate\ndef f(a: int) -> bool: ...\n"
    assert faults(twice) == [f"4:1: f with 1 arguments is declared twice; the first is at predicates.py:{LINES + 2}"]
    assert not faults("@predicate\ndef f(a: str) -> bool: ...\n@predicate\ndef f(a: str) -> str: ...\n")


def test_all_that_is_wrong_in_one_run_and_the_names_all_the_same() -> None:
    found = report(
        "@predicate\ndef f(a, b=1) -> str: ...\n@predicate\ndef g() -> dict: ...\n@predicate\ndef h() -> bool: ..."
    )
    assert len(found.faults) == 3
    assert (found.wrong, [one.name for one in found.declarations], found.complete) == (("f", "g"), ["h"], True)
    stopped = report("@predicate\ndef f() -> str: ...\n1 / 0")
    assert (stopped.wrong, stopped.declarations, stopped.complete) == (("f",), (), True)
    assert not report("def").complete


def test_names_are_found_in_a_source_that_is_not_run() -> None:
    text = """
@predicate
def f(): ...
@rules.predicate
def g(): ...
@predicate(name="other")
def h(): ...
@functools.cache
def i(): ...
@predicate
class J: ...
"""
    assert decorated(ast.parse(text)) == ("f", "g", "other")


def test_a_module_can_have_what_modules_have() -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from opentec.rules import predicate
@dataclass(frozen=True)
class Site:
    kind: ClassVar[str] = "site"
    name: str
@predicate
def site() -> str:
    return Site("here").name + __name__ + __file__
"""
    found, (function,) = read(source, ())
    assert not found.faults
    assert function() == "here" + "predicates" + FILE


def test_the_function_stays_what_it_is() -> None:
    assert predicate(sum_of)(1, 2) == 3
    assert opentec.rules.predicate is predicate
    with pytest.raises(AttributeError, match="has no attribute 'predicat'"):
        opentec.rules.predicat  # noqa: B018


def sum_of(a: int, b: int) -> int:
    return a + b


# purity


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import time", "1:1: module 'time' is not for predicates; a parameter `now: Seconds` gives log time"),
        ("import re, random", "1:1: module 'random' is not for predicates; the same event must"),
        ("from os import environ", "1:1: module 'os' is not for predicates; write the table into"),
        ("from os.path import join, split", ""),
        ("import os.path", ""),
        ("import timeit_like", "1:1: ModuleNotFoundError"),
        ("from urllib import parse", ""),
        ("from urllib import request", "1:1: module 'urllib.request' is not for predicates; a rule that needs"),
        ("import urllib.request", "1:1: module 'urllib.request' is not for predicates; a rule that needs"),
        ("def f():\n    from threading import Thread", "2:5: module 'threading' is not for predicates; the processes"),
        ("print(1)", "1:1: print() is not for predicates; it has no output; give the value to the rule"),
        ("x = open('/etc/hosts')", "1:5: open() is not for predicates; write the table into predicates.py"),
        ("x = hash('a')", "1:5: hash() is not for predicates; the hash of a text differs"),
        (
            "from datetime import *\nx = lambda: datetime.now()",
            "2:13: datetime.now() reads the wall clock; a parameter",
        ),
        ("import datetime as d\nx = lambda: d.datetime.now(None)", "2:13: datetime.now() reads the wall clock; a"),
        ("import datetime\nx = lambda: datetime.date.today()", "2:13: date.today() reads the wall clock; a parameter"),
        ("class A:\n    def now(self): ...\nx = A().now()", ""),
        (
            "n = 0\ndef f():\n    global n",
            "3:5: global n: a predicate remembers nothing; what rules remember are facts",
        ),
    ],
)
def test_what_is_certainly_not_pure_is_refused(text: str, wanted: str) -> None:
    found = faults(text)
    if wanted:
        assert len(found) == 1 and found[0].startswith(wanted), found
    else:
        assert found == []


def test_threads_are_refused() -> None:
    source = (
        "import importlib\nt = importlib.import_module('threading')\ne = t.Event()\nt.Thread(target=e.wait, name='mine'"
    )
    source += ", daemon=True).start()\nimport sys\nsys.modules['kept'] = e\n"
    try:
        (found,) = faults(source)
    finally:
        sys.modules.pop("kept").set()  # type: ignore[attr-defined]
    assert "RuntimeError: it starts threads (mine), which do not survive a fork" in found


# the page


DOCS = Path(__file__).parents[2] / "docs/user-predicates.md"


def test_every_example_of_the_page_is_right() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    sources = [block for block in blocks if "@predicate" in block]
    assert sources
    for source in sources:
        found, _ = read(source, ())
        assert not found.faults and found.declarations, source


def test_the_page_has_every_type_and_limit() -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    for row in [row.replace("\\|", "|") for row in rows]:
        head = "@predicate\ndef f" + (f"(a: {row}) -> bool: ..." if not row.startswith("->") else f"() {row}: ...")
        assert not faults(head), row
    for name in (
        "str",
        "int",
        "float",
        "list",
        "list[str]",
        "Value",
        "EventView",
        "Seconds",
        "-> bool",
        "-> Iterator[str]",
    ):
        assert name in rows
