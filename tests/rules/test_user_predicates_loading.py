"""predicates.py as a part of a rule base: hash, snapshot, installed packages, the process that reads it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from opentec.events.errors import SourceErrors
from opentec.rules import predicate
from opentec.rules.engine import Engine
from opentec.rules.predicates import REGISTRY
from opentec.rules.rulebase import RuleBase, RuleBaseError, load_compiled, load_rule_base, snapshot
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.user_predicates import apart, checking, packages
from opentec.rules.user_predicates.apart import read_apart
from opentec.rules.user_predicates.calling import load_registry
from opentec.rules.user_predicates.declaration import Installed, UserPredicates
from opentec.rules.user_predicates.module import read
from opentec.testing.collection import collect

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "rules/default/TEC_CLASSES/root.baroc"
EXAMPLE = REPOSITORY / "examples/user-predicates"
HEAD = "from opentec.rules import predicate\n\n\n"
TWICE = HEAD + "@predicate\ndef twice(n: int) -> int:\n    return 2 * n\n"
RULE = "rule: one: (event: _event of_class EVENT, action: ({0})).\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "TEC_CLASSES").mkdir(parents=True)
    (folder / "TEC_RULES").mkdir()
    shutil.copy(ROOT, folder / "TEC_CLASSES/root.baroc")
    (folder / "TEC_RULES/rule_sets").write_text("first\n")
    (folder / "TEC_RULES/first.rls").write_text(RULE.format("twice(2, _x), _x > 3, drop_received_event"))
    (folder / "predicates.py").write_text(TWICE)
    return folder


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read predicates in this process: other tests see to it that it makes no difference."""
    monkeypatch.setattr(checking, "read_apart", lambda source, installed: read(source, installed)[0])


def messages(folder: Path) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        load_rule_base(folder)
    return [str(error).split("\n")[0].replace(f"{folder}/", "") for error in caught.value.errors]


def test_predicates_travel_with_the_rule_base(base: Path, tmp_path: Path) -> None:
    name = snapshot(base, tmp_path / "store")
    assert (tmp_path / "store" / name / "predicates.py").read_text() == TWICE
    (base / "predicates.py").write_text("1 / 0  # what people edit is not what runs")
    found = load_compiled(tmp_path / "store", name)
    assert found.user_predicates.source == TWICE
    (declared,) = found.user_predicates.declarations
    assert (declared.name, declared.place, declared.arity) == ("twice", "predicates.py:5", 2)
    assert RuleBase.decode(found.encode()).user_predicates == found.user_predicates
    Engine(found, IndexedSelector())
    # and without the compiled form
    (tmp_path / "store" / name / "compiled.msgpack").unlink()
    assert load_compiled(tmp_path / "store", name).encode() == found.encode()


@pytest.mark.usefixtures("here")
def test_the_text_is_part_of_the_hash(base: Path) -> None:
    before = load_rule_base(base).content_hash
    (base / "predicates.py").write_text(TWICE + "# the same, and yet not\n")
    assert load_rule_base(base).content_hash != before


def test_no_predicates_cost_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "predicates.py").unlink()
    (base / "TEC_RULES/first.rls").write_text(RULE.format("drop_received_event"))
    monkeypatch.setattr(checking, "read_apart", None)
    found = load_rule_base(base)
    assert not found.user_predicates
    assert load_registry(found.user_predicates) is REGISTRY


def test_the_checks_run_no_user_code_in_this_process(base: Path, tmp_path: Path) -> None:
    (base / "predicates.py").write_text(TWICE + "import sys\nsys.modules['ran_here'] = sys\n")
    name = snapshot(base, tmp_path / "store")
    found = load_compiled(tmp_path / "store", name)
    assert "ran_here" not in sys.modules
    try:
        Engine(found, IndexedSelector())
        assert "ran_here" in sys.modules
    finally:
        sys.modules.pop("ran_here", None)
    assert "predicates" not in sys.modules


@pytest.mark.usefixtures("here")
def test_errors_of_predicates_and_of_rules_come_in_one_run(base: Path) -> None:
    text = TWICE + "@predicate\ndef member(n: int) -> bool: ...\n@predicate\ndef thrice(n) -> int: ...\n"
    (base / "predicates.py").write_text(text)
    (base / "TEC_RULES/first.rls").write_text(
        RULE.format("twice(2), thrice(3), twice(1, 2, 3), member(_x, [1]), twyce(2, _y), dropp")
    )
    (base / "rulebase.toml").write_text("cache_size = 0")
    assert messages(base) == [
        "rulebase.toml:1:1: cache_size = 0: it must be a whole number from 1 to 10000000",
        "predicates.py:10:12: parameter 'n' of thrice has no type; a parameter is str, int, float, list, list[str], "
        "list[int], list[float], Value, EventView",
        "predicates.py:8:1: 'member' is a predicate of the language, which cannot be defined again; give it another "
        "name, or @predicate(name='...')",
        "TEC_RULES/first.rls:1:52: twice takes 2 arguments, not 1; write twice(n, _result)",
        "TEC_RULES/first.rls:1:73: twice takes 2 arguments, not 3; write twice(n, _result)",
        "TEC_RULES/first.rls:1:106: predicate 'twyce' is not defined; did you mean 'twice'?",
        "TEC_RULES/first.rls:1:120: predicate 'dropp' is not defined",
    ]
    with pytest.raises(SourceErrors) as caught:
        load_rule_base(base)
    assert "    def thrice(n) -> int: ...\n               ^" in str(caught.value)


@pytest.mark.usefixtures("here")
def test_a_broken_file_does_not_blame_the_rules(base: Path) -> None:
    (base / "predicates.py").write_text(HEAD + "def twice(:\n")
    (base / "TEC_RULES/rule_sets").write_text("first\nsecond\n")
    (base / "TEC_RULES/second.rls").write_text("rule")
    assert [one.split(": ")[0] for one in messages(base)] == ["predicates.py:4:11", "TEC_RULES/second.rls:1:5"]
    # what does not depend on the names is checked all the same
    (base / "TEC_RULES/second.rls").write_text("rule: two: (event: _event of_class Evnt, action: (some(1, _))).")
    assert [one.split(": ")[0] for one in messages(base)] == ["predicates.py:4:11", "TEC_RULES/second.rls:1:36"]
    (base / "predicates.py").write_bytes(b"# caf\xe9\n")
    assert messages(base)[0].startswith("predicates.py:1:6: the byte 0xe9 is not UTF-8")
    # run or not, the names are known: rules are checked
    (base / "predicates.py").write_text(TWICE + "import time\n")
    (base / "TEC_RULES/second.rls").write_text("rule: two: (event: _event of_class Evnt, action: (twice(1, _))).")
    assert [one.split(": ")[0] for one in messages(base)] == ["predicates.py:7:1", "TEC_RULES/second.rls:1:36"]


@pytest.mark.usefixtures("here")
def test_constants_of_the_wrong_type_are_refused_with_their_place(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text(RULE.format("twice('2', _x)"))
    assert messages(base) == [
        "TEC_RULES/first.rls:1:58: argument 1 of twice (n): '2' is not a whole number",
    ]


@pytest.mark.usefixtures("here")
def test_clauses_do_not_redefine_user_predicates(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("twice(1, 2).\n" + RULE.format("twice(1, _)"))
    (found,) = messages(base)
    assert found.startswith("TEC_RULES/first.rls:1:1: twice/2 is a predicate")


def test_the_example_passes_its_tests() -> None:
    collected = collect([EXAMPLE])
    assert not collected.errors
    results = list(collected.run())
    assert len(results) == 4
    assert [failure for result in results for failure in result.failures] == []
    assert (EXAMPLE / "TEC_CLASSES/root.baroc").read_bytes() == ROOT.read_bytes()


# safety


@pytest.mark.parametrize("writable", ["", "compiled.msgpack", "predicates.py"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.usefixtures("here")
def test_code_that_others_may_write_is_refused(base: Path, tmp_path: Path, writable: str, mode: int) -> None:
    name = snapshot(base, tmp_path / "store")
    path = tmp_path / "store" / name / writable
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(
        RuleBaseError, match=f"{path} holds code that the server runs, and others may write it; .*chmod"
    ):
        load_compiled(tmp_path / "store", name)
    path.chmod(path.stat().st_mode & ~0o022)
    assert load_compiled(tmp_path / "store", name).content_hash == name


def test_rules_alone_may_be_shared(base: Path, tmp_path: Path) -> None:
    (base / "predicates.py").unlink()
    (base / "TEC_RULES/first.rls").write_text(RULE.format("drop_received_event"))
    name = snapshot(base, tmp_path / "store")
    assert (tmp_path / "store" / name / "compiled.msgpack").stat().st_mode & 0o777 == 0o640
    (tmp_path / "store" / name).chmod(0o777)
    assert load_compiled(tmp_path / "store", name).content_hash == name


# loading in the rule process


def made(source: str) -> UserPredicates:
    return UserPredicates(source, (), read(source, ())[0].declarations)


def test_what_declares_something_else_than_before_is_refused() -> None:
    kept = made(TWICE)
    other = msgspec.structs.replace(kept, source=TWICE.replace("n: int", "n: str"))
    with pytest.raises(RuleBaseError, match="declare something else than when the rule base was checked"):
        load_registry(other)
    broken = msgspec.structs.replace(kept, source=TWICE + "1 / 0\n")
    with pytest.raises(RuleBaseError, match=r"on this node: predicates\.py:7: ZeroDivisionError"):
        load_registry(broken)


def test_each_engine_has_functions_of_its_own() -> None:
    source = HEAD + "KEPT = []\n@predicate\ndef count() -> int:\n    KEPT.append(1)\n    return len(KEPT)\n"
    _, (one,) = read(source, ())
    _, (other,) = read(source, ())
    assert [one(), one(), other()] == [1, 2, 1]


# the process of its own


def test_a_process_of_its_own_says_the_same() -> None:
    text = TWICE + "import sys\nsys.stdout.write('this goes elsewhere')\n@predicate\ndef f(n) -> int: ...\n"
    assert read_apart(text, ()) == read(text, ())[0]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("import sys\nsys.stderr.write('last words')\nos = sys.modules['os']\nos._exit(7)", "(status 7)", "last words"),
        ("import ctypes\nctypes.string_at(0)", "(status -11)", ""),
        ("import importlib\nimportlib.import_module('time').sleep(60)", "was stopped after 0.5 s", "take what is slow"),
    ],
)
def test_what_a_file_does_to_its_process_is_an_error_of_the_rule_base(text: str, message: str, hint: str) -> None:
    found = read_apart(text, (), 0.5 if "sleep" in text else apart.TIME_LIMIT)
    (fault,) = found.faults
    assert message in fault.message and fault.message.startswith("predicates.py ")
    assert hint in fault.hint
    assert (fault.line, fault.column, found.complete) == (1, 1, False)


def test_a_python_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    (fault,) = read_apart("", ()).faults
    assert fault.message == "predicates.py cannot be read: /nowhere/python does not start: No such file or directory"


def test_the_answer_to_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    given = msgspec.json.encode({"source": TWICE, "installed": []})
    assert msgspec.json.decode(apart.answer(given), type=type(read("", ())[0])) == read(TWICE, ())[0]


# installed packages


class Entry:
    """An entry point of a distribution, for `find`."""

    def __init__(self, name: str, distribution: str, version: str, load: Callable[[], Any]) -> None:
        self.name = name
        self.dist = type("Dist", (), {"name": distribution, "version": version})
        self.load = load


@predicate
def thrice(n: int) -> int:
    return 3 * n


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    module = ModuleType("acme")
    module.__dict__["__opentec_predicates__"] = [
        mark for mark in globals()["__opentec_predicates__"] if mark.name == "thrice"
    ]
    entries = [Entry("acme", "acme-tec", "1.2", lambda: module)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "opentec.predicates" else [])
    monkeypatch.setattr(checking, "read_apart", lambda source, installed: read(source, installed)[0])
    return entries


@pytest.fixture
def with_acme(base: Path, installed: list[Entry]) -> Path:
    (base / "rulebase.toml").write_text('# what others wrote\npredicates = ["acme"]\n')
    (base / "TEC_RULES/first.rls").write_text(RULE.format("thrice(2, _x), twice(_x, _y), _y > 3"))
    return base


def test_packages_that_are_named_are_used_and_recorded(with_acme: Path, tmp_path: Path) -> None:
    name = snapshot(with_acme, tmp_path / "store")
    kept = tmp_path / "store" / name
    assert (kept / "predicates.installed").read_text() == "acme acme-tec 1.2\n"
    found = load_compiled(tmp_path / "store", name)
    assert found.user_predicates.installed == (Installed("acme", "acme-tec", "1.2"),)
    assert [one.name for one in found.user_predicates.declarations] == ["thrice", "twice"]
    assert found.user_predicates.declarations[0].place.startswith(f"{__name__}:")
    Engine(found, IndexedSelector())
    (kept / "compiled.msgpack").unlink()
    assert load_compiled(tmp_path / "store", name).encode() == found.encode()
    assert snapshot(kept, tmp_path / "other") == name


def test_another_version_is_another_rule_base_and_refused_at_load(
    with_acme: Path, tmp_path: Path, installed: list[Entry]
) -> None:
    name = snapshot(with_acme, tmp_path / "store")
    installed[0] = Entry("acme", "acme-tec", "1.3", installed[0].load)
    message = (
        r"the rule base was checked with predicates 'acme' of acme-tec 1\.2, and acme-tec 1\.3 is installed here; "
        r"install acme-tec==1\.2, or activate the rule base again"
    )
    with pytest.raises(RuleBaseError, match=message):
        load_compiled(tmp_path / "store", name)
    (tmp_path / "store" / name / "compiled.msgpack").unlink()
    with pytest.raises(RuleBaseError, match=f"rulebase.toml:2:1: predicates 'acme': {message}"):
        load_compiled(tmp_path / "store", name)
    assert snapshot(with_acme, tmp_path / "store") != name


def test_a_package_that_is_not_named_does_not_matter(base: Path, installed: list[Entry]) -> None:
    before = load_rule_base(base)
    assert [one.name for one in before.user_predicates.declarations] == ["twice"]
    (base / "predicates.installed").write_text("left over 1\n")
    assert load_rule_base(base).content_hash == before.content_hash


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("predicates = ['acm']", "1:1: no installed package has predicates 'acm'; did you mean 'acme'?"),
        ("predicates = ['zzzz']", "1:1: no installed package has predicates 'zzzz'; install it on every node"),
        ("\npredicates = 'acme'", "2:1: predicates = 'acme': it must be a list of names of installed predicates, such"),
        ("predicates = []", "1:1: predicates = []: it must be a list of names"),
        ("predicates = [1]", "1:1: predicates = [1]: it must be a list of names"),
        ("predicates = ['acme', 'acme']", "1:1: predicates = ['acme', 'acme']: one of them is named twice"),
        ("predicates = ['two']", "1:1: predicates 'two' are in more than one package, one and other; uninstall all"),
        ("predicates = ['empty']", "1:1: predicates 'empty': there is no @predicate in it"),
        ("predicates = ['broken']", "1:1: predicates 'broken': it cannot be imported: ImportError: no such module"),
        ("predicates = ['taken']", "1:1: predicates 'taken': 'member' is a predicate of the language, which cannot be"),
        ("predicates = ['wrong']", "1:1: predicates 'wrong': dim gives what rules do not have; -> bool"),
        ("predicates = ['acme', 'again']", "1:1: predicates 'again': thrice with 2 arguments is declared twice; the"),
    ],
)
def test_packages_that_are_wrong(base: Path, installed: list[Entry], text: str, wanted: str) -> None:
    def broken() -> None:
        raise ImportError("no such module")

    def module(source: str) -> ModuleType:
        made = ModuleType("other")
        exec(HEAD + source, made.__dict__)
        return made

    load = installed[0].load
    installed += [
        Entry("two", "one", "1", load),
        Entry("two", "other", "1", load),
        Entry("empty", "empty", "1", lambda: ModuleType("empty")),
        Entry("broken", "broken", "1", broken),
        Entry("taken", "taken", "1", lambda: module("@predicate\ndef member() -> bool: ...")),
        Entry("wrong", "wrong", "1", lambda: module("@predicate\ndef dim() -> dict: ...")),
        Entry("again", "again", "1", load),
    ]
    (base / "rulebase.toml").write_text(text)
    found = messages(base)
    assert len(found) == 1
    assert found[0].startswith(f"rulebase.toml:{wanted}")


def test_a_record_of_another_form_is_not_taken() -> None:
    assert packages.decode(packages.encode([Installed("a", "b", "1"), Installed("c", "d", "2")]) + b"e f\n\xff\n") == (
        Installed("a", "b", "1"),
        Installed("c", "d", "2"),
    )
