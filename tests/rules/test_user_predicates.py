"""Predicates in Python: what rules see of them, and what they see of events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.events.errors import SourceError, SourceErrors
from opentec.rules import EventView, Seconds
from opentec.rules.compiled import compile_rules
from opentec.rules.event import Event
from opentec.rules.terms import LIST_LIMIT, TEXT_LIMIT, Struct
from opentec.rules.user_predicates.calling import declared_registry
from opentec.rules.user_predicates.declaration import Declaration, Parameter
from opentec.rules.user_predicates.values import Unfit, converter
from tests.rules.engine_kit import START, Kit, classes, rule_base
from tests.rules.user_predicates_kit import LINES, kit, outcome, report, said

# calls


@pytest.mark.parametrize(
    ("source", "goals", "wanted"),
    [
        ("def f(a: str) -> str: return a.upper()", "f(_hostname, _x)", "WEB1"),
        ("def f(a: str) -> str: return a.upper()", "f('a b', _x)", "A B"),
        ("def f(a: int, b: float) -> float: return a / b", "f(_size, 2, _x)", "3.5"),
        ("def f(a: list[str]) -> str: return '-'.join(a)", "f(_tags, _x)", "a-b"),
        ("def f(a: list[int]) -> int: return sum(a)", "_y = 3, f([1, 2, _y], _x)", "6"),
        ("def f(a: list[float]) -> float: return sum(a)", "f([1, 2.5], _x)", "3.5"),
        ("def f(a: Value) -> str: return repr(a)", "f([1, ['b', 2.5]], _x)", "[1, ['b', 2.5]]"),
        ("def f(a: str) -> list[str]: return list(a)", "f(abc, _x)", "[a, b, c]"),
        ("def f(a: str) -> list[str]: return list(a)", "f(abc, [_, _x | _])", "b"),
        ("def f(a: str) -> tuple[int, str]: return len(a), a", "f(abc, 3, _x)", "abc"),
        ("def f(now: Seconds) -> int: return now", "f(_x)", str(START)),
        ("def f(a: str, now: Seconds, b: str) -> str: return a + b", "f(a, b, _x)", "ab"),
        ("def f(e: EventView) -> str: return e['hostname'] + e.class_name", "f(_event, _x)", "web1Disk"),
        ("def f(e: EventView) -> str: return e.key", "f(_event, _x)", f"{START}.1"),
        ("def f() -> str: return 'constant'", "f(_x)", "constant"),
        ("def f() -> Iterator[int]:\n    yield from range(5)", "findall(_y, f(_y), _x)", "[0, 1, 2, 3, 4]"),
        ("def f() -> Iterator[int]: return [1, 2]", "findall(_y, f(_y), _x)", "[1, 2]"),
        ("def f() -> Iterator[int]: return (1, 2)", "once((f(_x), _x > 1))", "2"),
        ("def f() -> Iterator[tuple[int, str]]: return [(1, 'a'), (2, 'b')]", "f(2, _x)", "b"),
        ("def f(a: str) -> Iterator[str]: return list(a)", "findall(_y, f(abab, _y), _z), length(_z, _x)", "4"),
    ],
)
def test_goals_give_what_functions_give(source: str, goals: str, wanted: str) -> None:
    assert outcome(f"@predicate\n{source}", goals) == wanted


@pytest.mark.parametrize(
    ("source", "goal", "holds"),
    [
        ("def f(a: str) -> bool: return a == 'web1'", "f(_hostname)", True),
        ("def f(a: str) -> bool: return a == 'web1'", "f(other)", False),
        ("def f() -> bool: return True", "f", True),
        ("def f(a: str) -> str | None: return None", "f(a, _)", False),
        ("def f(a: str) -> str | None: return a", "f(a, _)", True),
        ("def f(a: str) -> str: return a", "f(a, b)", False),
        ("def f() -> Iterator[str]: return []", "f(_)", False),
        ("def f() -> Iterator[tuple[str, str]]: return [('a', 'b')]", "f(_y, _y)", False),
        ("def f() -> tuple[str, str]: return 'a', 'a'", "f(_y, _y)", True),
    ],
)
def test_goals_hold_when_functions_say_so(source: str, goal: str, holds: bool) -> None:
    found = kit(f"@predicate\n{source}", f"({goal} -> set_event_message(_event, yes) ; set_event_message(_event, no))")
    found.event(0, "Disk", hostname="web1")
    assert said(found) == ("yes" if holds else "no")


@pytest.mark.parametrize(
    ("source", "goals", "wanted"),
    [
        (
            "def f(a: int) -> int: return 1 // a",
            "f(0, _x)",
            "f: ZeroDivisionError: integer division or modulo by zero ({})",
        ),
        (
            "def g(a):\n    raise KeyError('no such thing')\n@predicate\ndef f() -> int:\n    return g(1)",
            "f(_x)",
            "f: KeyError: no such thing ({})",
        ),
        ("def f() -> int: raise SystemExit(1)", "f(_x)", "f: SystemExit: 1 ({})"),
        (
            "def f() -> Iterator[int]:\n    yield 1\n    1 / 0",
            "f(_x), fail",
            "f: ZeroDivisionError: division by zero (predicates.py:",
        ),
        ("def f() -> bool: return 1", "f, _x = 1", "f must give True or False, not int ({})"),
        ("def f() -> str: return 1", "f(_x)", "f gives a wrong result: '1' is not text ({})"),
        ("def f() -> str: return None", "f(_x)", "f gives a wrong result: None is not text ({})"),
        ("def f() -> int: return True", "f(_x)", "f gives a wrong result: a bool is not a whole number ({})"),
        ("def f() -> list[str]: return ['a', 1]", "f(_x)", "f gives a wrong result: '1' is not text ({})"),
        ("def f() -> list[str]: return ('a',)", "f(_x)", "f gives a wrong result: a tuple is not a list of texts ({})"),
        ("def f() -> tuple[str, str]: return 'ab'", "f(_x, _)", "f must give a tuple of 2 values ({})"),
        ("def f() -> tuple[str, str]: return 'a', 'b', 'c'", "f(_x, _)", "f must give a tuple of 2 values ({})"),
        ("def f() -> Iterator[str]: return {'a'}", "f(_x)", "f must yield or give a list, not set; sort it, its order"),
        ("def f() -> Iterator[str]: return 'abc'", "f(_x)", "f must yield or give a list, not str ({})"),
        ("def f() -> str: return 'x' * 70_000", "f(_x)", "f gives a wrong result: a text of 70000 characters"),
        ("def f(a: str) -> str: return a", "f(_size, _x)", "argument 1 of f (a): '7' is not text"),
        ("def f(a: int) -> str: return ''", "f(_hostname, _x)", "argument 1 of f (a): 'web1' is not a whole number"),
        ("def f(now: Seconds, a: list[int]) -> str: return ''", "f(_tags, _x)", "argument 1 of f (a): 'a' is not"),
        ("def f(a: Value) -> str: return ''", "_y = g(1), f(_y, _x)", "argument 1 of f (a): a Struct is not a text, a"),
        ("def f(a: Value) -> str: return ''", "f(_event, _x)", "argument 1 of f (a): "),
        ("def f(e: EventView) -> str: return ''", "f(_hostname, _x)", "argument 1 of f (e) needs an event"),
        (
            "def f(e: EventView) -> str: return e['hostnam']",
            "f(_event, _x)",
            "f: KeyError: class Disk has no slot 'hostnam'",
        ),
        ("def f(e: EventView) -> str: e.class_name = 'a'", "f(_event, _x)", "f: AttributeError: "),
    ],
)
def test_what_a_function_does_wrong_fails_the_action_with_its_place(source: str, goals: str, wanted: str) -> None:
    text = source if source.startswith("def g") else f"@predicate\n{source}"
    wanted = wanted.replace("({})", f"(predicates.py:{LINES + 2})")
    assert outcome(text, goals).startswith(f"set1.rls:1: rule set1/r: {wanted}")


def test_an_event_whose_rule_failed_is_stored() -> None:
    found = kit("@predicate\ndef f() -> bool: return 1 / 0", "f", "set_event_severity(_event, 'FATAL')")
    effects = found.event(0, "Disk", hostname="web1")
    assert effects.outcome is not None and effects.outcome.event is not None
    assert found.values("severity", "Disk") == ["FATAL"]  # the next action ran
    (error,) = found.stored("TEC_Error")
    assert (error.get("rule"), error.get("line")) == ("r", 1)


def test_endless_solutions_stop_at_the_step_limit() -> None:
    source = "@predicate\ndef f() -> Iterator[int]:\n    while True: yield 1\n"
    found = kit(source, "f(_x), _x > 2", step_limit=1000)
    found.event(0, "Disk", hostname="web1")
    assert "was stopped after 1000 steps" in said(found)
    assert len(found.stored("Disk")) == 1


def test_a_function_that_recurses_for_ever_is_stopped() -> None:
    found = kit("@predicate\ndef f(a: int) -> bool: return f(a + 1)", "f(1)")
    found.event(0, "Disk", hostname="web1")
    assert "nests too deeply" in said(found)


def test_a_generator_that_recurses_for_ever_is_stopped() -> None:
    found = kit("def g(): g()\n@predicate\ndef f() -> Iterator[str]:\n    yield g()", "f(_)")
    found.event(0, "Disk", hostname="web1")
    assert "nests too deeply" in said(found)


def test_a_commit_ends_the_solutions() -> None:
    source = "@predicate\ndef f() -> Iterator[int]:\n    yield 1\n    yield 2\n"
    found = kit(source, "f(_x), add_to_repeat_count(_event, _x), commit_action")
    found.event(0, "Disk", hostname="web1")
    assert found.values("repeat_count") == [1]


def test_a_function_cannot_change_what_rules_hold() -> None:
    source = """
KEPT = ["x"]
@predicate
def f(a: list[str], e: EventView) -> list[str]:
    a.append("mine")
    e["tags"].append("mine")
    return KEPT
@predicate
def g() -> bool:
    KEPT.append("later")
    return True
"""
    found = kit(source, "f(_tags, _event, _x), g, bo_set_slotval(_event, tags, _x)", "f(['c'], _event, _)")
    found.event(0, "Disk", hostname="web1", tags=["a"])
    assert found.values("tags") == [["x"]]
    again = kit(source, "f(_tags, _event, _)")
    again.event(0, "Disk", hostname="web1", tags=["a"])
    assert again.values("tags") == [["a"]]


# at compile time


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("f(1, _)", "3: argument 1 of f (a): '1' is not text"),
        ("f([a], _)", "3: argument 1 of f (a): '[a]' is not text"),
        ("f(1 + 2, _)", "5: argument 1 of f (a) is not computed; compute it first, with _x is ..., and give"),
        ("f(event: _e of_class Disk, _)", "3: argument 1 of f (a) is a value, not an event filter; search first"),
        ("f(_never, _)", "3: variable _never has no value here"),
        ("g(a)", "3: argument 1 of g (e): 'a' is not an event; give the variable of an event"),
        ("h(['1'])", "3: argument 1 of h (l): '1' is not a whole number"),
        ("f(a)", "1: f takes 2 arguments, not 1"),
        ("ff(a)", "1: predicate 'ff' is not defined"),
        ("f(a, 1)", ""),
        ("h([])", ""),
        ("h([_event])", ""),
    ],
)
def test_constants_are_checked_when_rules_are_compiled(goal: str, wanted: str) -> None:
    source = "@predicate\ndef f(a: str) -> str: ...\n@predicate\ndef g(e: EventView) -> bool: ...\n"
    found = report(source + "@predicate\ndef h(l: list[int]) -> bool: ...")
    before = "rule: r: (event: _event of_class Disk, action: ("
    base = rule_base(f"{before}{goal})).", check=False)
    try:
        compile_rules(base.rule_sets, classes(), declared_registry(found.declarations))
        errors: list[SourceError] = []
    except SourceErrors as wrong:
        errors = wrong.errors
    said = [f"{one.column - len(before)}: {one.message}; {one.hint}"[: len(wanted)] for one in errors]
    assert said == ([wanted] if wanted else [])


def test_a_registry_for_checks_does_not_run() -> None:
    one = Declaration("f", "", "predicates.py:1", (), (), "semidet")
    base = rule_base("rule: r: (event: _event of_class Disk, action: (f)).", check=False)
    rules = compile_rules(base.rule_sets, classes(), declared_registry([one]))
    with pytest.raises(Exception, match="for checks only"):
        rules.plain[0].actions[0].step([None] * 9, Kit().engine._run)


# values


def test_values_are_checked_and_limited() -> None:
    text, whole, real, any_, list_ = map(converter, ("str", "int", "float", "value", "list"))
    assert (text("ä"), whole(-(2**63)), real(1), any_([["a"], 1, 2.5]), list_([])) == (
        "ä",
        -(2**63),
        1.0,
        [["a"], 1, 2.5],
        [],
    )
    assert type(real(1)) is float
    deep: list[object] = []
    for _ in range(20):
        deep = [deep]
    for convert, value, message in (
        (text, "\ud800", "character 1 of the text is half of a surrogate pair"),
        (text, "a" * (TEXT_LIMIT + 1), f"a text of {TEXT_LIMIT + 1} characters"),
        (whole, 2**63, "does not fit into 64 bits"),
        (real, 2**63, "does not fit into 64 bits"),
        (real, float("nan"), "nan is no number"),
        (any_, float("inf"), "inf is no number"),
        (any_, None, "None is not a text, a number or a list"),
        (any_, Struct("f", ()), "a Struct is not a text"),
        (list_, "a", "'a' is not a list"),
        (list_, [True], "a bool is not a text, a number or a list"),
        (list_, [["a"] * (LIST_LIMIT // 2)] * 3, f"at most {LIST_LIMIT} items"),
        (converter("list[str]"), ["a"] * (LIST_LIMIT + 1), f"at most {LIST_LIMIT} items"),
        (any_, deep, "lists may be nested 20 deep"),
    ):
        with pytest.raises(Unfit, match=re.escape(message)):
            convert(value)


scalars = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_plain_values_pass_unchanged_and_lists_are_copies(value: object) -> None:
    passed = converter("value")(value)
    assert passed == value and type(passed) is type(value)
    if isinstance(value, list):
        assert passed is not value
        assert all(one is not other for one, other in zip(passed, value, strict=True) if isinstance(one, list))


# events


def test_a_view_reads_and_nothing_else() -> None:
    found = kit("@predicate\ndef f() -> bool: return True", "f")
    found.event(0, "Disk_Full", hostname="web1", tags=["a"])
    (event,) = found.stored()
    assert isinstance(event, Event)
    view = EventView(event)
    assert (view["hostname"], view["owner"], view.get("nothing", 5), view.get("nothing")) == ("web1", "root", 5, None)
    assert ("hostname" in view, "nothing" in view) == (True, False)
    assert (view.class_name, view.is_a("Disk"), view.is_a("Disk_Full"), view.is_a("Link")) == (
        "Disk_Full",
        True,
        True,
        False,
    )
    assert view.key == f"{START}.1"
    assert "hostname" in view.slots and list(view.slots) == sorted(view.slots)
    view["tags"].append("b")
    assert event.get("tags") == ["a"]
    assert repr(view) == f"<EventView Disk_Full {START}.1>"
    with pytest.raises(TypeError):
        view["hostname"] = "web2"  # type: ignore[index]
    with pytest.raises(AttributeError):
        view.more = 1  # type: ignore[attr-defined]


def test_views_are_made_up_for_tests() -> None:
    view = EventView.of("Disk_Full", "Disk", hostname="web1", tags=["a"])
    assert (view.class_name, view.is_a("EVENT"), view.is_a("Disk"), view.is_a("Disk_Full")) == (
        "Disk_Full",
        True,
        True,
        True,
    )
    assert (view["hostname"], view.slots, view.key) == ("web1", ("hostname", "tags"), "0.0")
    assert not view.is_a("Link")
    with pytest.raises(KeyError, match="class Disk_Full has no slot 'hostnam'; did you mean 'hostname'"):
        view["hostnam"]


def test_seconds_are_plain_numbers() -> None:
    assert Seconds(5) == 5 and Parameter("now", "now").type == "now"
