"""Both selectors against brute force: they may select too much, never too little."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.rules.selector import EqualTo, Selectable
from opentec.rules.selectors import durable_rules_problem, make_selector
from opentec.rules.selectors.durable import QUESTIONS, ROWS, TESTS
from opentec.rules.selectors.indexed import KEPT, SLOTS, IndexedSelector

ANCESTORS = {
    "EVENT": ("EVENT",),
    "A": ("A", "EVENT"),
    "B": ("B", "A", "EVENT"),
    "C": ("C", "A", "EVENT"),
    "D": ("D", "EVENT"),
}
VALUES = ("x", "y", "", "ünï", 'say "x"\\', "\0", "x\0", "true", "1", "z" * 70_000, "z" * 70_000 + "x")
SLOT = st.sampled_from(("one", "two", "three"))
TEST = st.builds(EqualTo, SLOT, st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique=True).map(tuple))
RULE = st.tuples(
    st.integers(0, 2), st.lists(st.sampled_from(sorted(ANCESTORS)), min_size=1, max_size=3), st.lists(TEST, max_size=3)
)
EVENT = st.tuples(
    st.sampled_from(sorted(ANCESTORS)),
    st.dictionaries(SLOT, st.sampled_from((*VALUES, 1, 1.5, ["x"], "\ud800"))),
)
DEFAULTS = {"one": "x", "two": 0}

durable = pytest.mark.skipif(bool(durable_rules_problem()), reason=durable_rules_problem() or "it is there")


def numbered(rules: list[Any]) -> list[Selectable]:
    ordered = sorted(rules, key=lambda rule: rule[0])
    return [Selectable(n, rule_set, tuple(names), tuple(tests)) for n, (rule_set, names, tests) in enumerate(ordered)]


def truth(rules: Sequence[Selectable], name: str, slots: Mapping[str, Any]) -> list[int]:
    merged = {**DEFAULTS, **slots}
    return [
        rule.index
        for rule in rules
        if set(rule.classes) & set(ANCESTORS[name])
        and all(any(merged.get(test.slot) == value for value in test.values) for test in rule.tests)
    ]


@given(st.lists(RULE, max_size=40), st.lists(EVENT, min_size=1, max_size=10))
def test_the_indexed_selector_selects_exactly(rules: list[Any], events: list[Any]) -> None:
    selectable = numbered(rules)
    selector = IndexedSelector()
    selector.load(selectable, ANCESTORS)
    for name, slots in events * 2:
        assert list(selector.select(name, slots, DEFAULTS)) == truth(selectable, name, slots)


@durable
@settings(max_examples=100)  # each leaves memory behind in C; test_selectors_fuzz.py goes on where this ends
@given(st.lists(RULE, max_size=70), st.lists(EVENT, min_size=1, max_size=10))
def test_durable_rules_never_misses(rules: list[Any], events: list[Any]) -> None:
    selectable = numbered(rules)
    selector, twin = make_selector("durable-rules"), IndexedSelector()
    for one in (selector, twin):
        one.load(selectable, ANCESTORS)
    for name, slots in events:
        selected = list(selector.select(name, slots, DEFAULTS))
        assert selected == sorted(selected)
        assert set(truth(selectable, name, slots)) <= set(selected)
        assert set(twin.select(name, slots, DEFAULTS)) <= set(selected)
    assert selector.reason == ""
    assert getattr(selector, "errors", 0) == 0


@pytest.fixture(autouse=True)
def self_test_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The self-test runs for real where it is the matter, and once for all other tests."""
    if "problem" not in request.node.name:
        monkeypatch.setattr("opentec.rules.selectors.durable_rules_problem", lambda: "")
    yield


def rules_on(count: int, **tests: tuple[str, ...]) -> list[Selectable]:
    equal = tuple(EqualTo(slot, values) for slot, values in tests.items())
    return [Selectable(n, n // 200, ("A",), equal) for n in range(count)]


@durable
@pytest.mark.parametrize("count", [ROWS * QUESTIONS, 500])  # the second goes to the twin
def test_durable_rules_with_many_rules_that_all_match(count: int) -> None:
    selector = make_selector("durable-rules")
    selector.load(rules_on(count, one=("x",)), ANCESTORS)
    assert list(selector.select("B", {"one": "x"}, {})) == list(range(count))
    assert list(selector.select("B", {"one": "y"}, {})) == []
    assert list(selector.select("D", {"one": "x"}, {})) == []
    assert list(selector.select("Unknown", {"one": "x"}, {})) == []
    assert selector.reason == ""
    assert getattr(selector, "errors", 0) == 0


@durable
def test_an_event_that_bears_everything_that_is_asked_for() -> None:
    """All conditions of the ruleset are pending at once, each as long as it may be."""
    slots = [f"s{n}" for n in range(ROWS * TESTS)]
    rules = [
        Selectable(n, 0, ("A",), tuple(EqualTo(slots[n * TESTS + at], ("x",)) for at in range(TESTS)))
        for n in range(ROWS)
    ]
    selector: Any = make_selector("durable-rules")
    selector.load(rules, ANCESTORS)
    for missing in [None, *slots]:
        event = {slot: "x" for slot in slots if slot != missing}
        expected = [n for n in range(ROWS) if missing not in slots[n * TESTS : (n + 1) * TESTS]]
        assert list(selector.select("A", event, {})) == expected
    assert (selector.reason, selector.errors) == ("", 0)


@durable
def test_durable_rules_leaves_out_tests_that_would_make_too_many_conditions() -> None:
    # each text of `one` is asked for by a rule of its own too, so none can stand for another
    many = tuple(f"v{n}" for n in range(20))
    rules = [
        *rules_on(3, one=many, two=("x",)),
        Selectable(3, 9, tuple(f"K{n}" for n in range(30)), ()),
        *(Selectable(4 + n, 9, ("D",), (EqualTo("one", (text,)),)) for n, text in enumerate(many)),
    ]
    ancestors = {**ANCESTORS, "K7": ("K7", "EVENT")}
    selector = make_selector("durable-rules")
    selector.load(rules, ancestors)
    assert list(selector.select("A", {"one": "none", "two": "x"}, {})) == [0, 1, 2]  # too many, none missing
    assert list(selector.select("A", {"one": "v3", "two": "y"}, {})) == []
    assert list(selector.select("D", {"one": "v3", "two": "x"}, {})) == [7]
    assert list(selector.select("K7", {}, {})) == [3]


@durable
def test_the_length_of_a_list_costs_nothing_where_no_rule_tells_its_texts_apart() -> None:
    many = tuple(f"v{n}" for n in range(2000))
    selector: Any = make_selector("durable-rules")
    selector.load(rules_on(3, one=many, two=("x", "z" * 70_000, "a\0b")), ANCESTORS)
    assert [len(ruleset.rows) for ruleset in selector._rulesets] == [3]
    for text in ("x", "z" * 70_000, "a\0b"):
        assert list(selector.select("A", {"one": "v1999", "two": text}, {})) == [0, 1, 2]
    for text in ("z" * 69_999, "z" * (70_000 + 65_536), "a", "a\0c", "\ud800"):
        assert list(selector.select("A", {"one": "v1999", "two": text}, {})) == []


@durable
def test_rules_beyond_what_fits_are_selected_for_their_class_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentec.rules.selectors.durable.RULESETS", 1)
    rules = [Selectable(n, 0, ("A",), (EqualTo("one", (f"v{n}",)),)) for n in range(ROWS + 2)]
    selector = make_selector("durable-rules")
    selector.load(rules, ANCESTORS)
    assert list(selector.select("A", {"one": "v0"}, {})) == [0, ROWS, ROWS + 1]
    assert list(selector.select("D", {"one": "v0"}, {})) == []


def test_the_names_that_durable_rules_sees_have_different_hashes() -> None:
    """It compares properties by 32 bits of FNV-1a (durable-rules.md 3.2)."""

    def fnv(text: str) -> int:
        found = 2166136261
        for byte in text.encode():
            found = (found ^ byte) * 16777619 % 2**32
        return found

    names = ["id", "sid", "$s", *(f"g{n}" for n in range(ROWS)), *(f"s{n}" for n in range(ROWS * TESTS))]
    assert len({fnv(name) for name in names}) == len(names) <= 255


class Failing:
    """Stands in for the C module and fails from some assertion on."""

    def __init__(self, real: Any, working: int, build: bool = True) -> None:
        self.real, self.working, self.build = real, working, build

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def assert_fact(self, handle: int, fact: str) -> Any:
        self.working -= 1
        if self.working == -1:
            return 2, 0
        if self.working < 0:
            raise RuntimeError("error code: 303")
        return self.real.assert_fact(handle, fact)

    def create_ruleset(self, name: str, definition: str) -> Any:
        if not self.build:
            raise RuntimeError("no more")
        return self.real.create_ruleset(name, definition)


@durable
def test_after_errors_it_rebuilds_and_then_the_twin_takes_over() -> None:
    selector: Any = make_selector("durable-rules")
    selector.load(rules_on(3, one=("x",)), ANCESTORS)
    selector._engine = Failing(selector._engine, 1)
    for errors in range(6):
        assert list(selector.select("A", {"one": "x"}, {})) == [0, 1, 2]
        assert selector.errors == min(errors, 4)
    assert "failed 4 times, the last time with: error code: 303" in selector.reason


@durable
def test_when_the_rebuilding_fails_the_twin_takes_over_at_once() -> None:
    selector: Any = make_selector("durable-rules")
    selector.load(rules_on(3, one=("x",)), ANCESTORS)
    selector._engine = Failing(selector._engine, 0, build=False)
    assert list(selector.select("A", {"one": "x"}, {})) == [0, 1, 2]
    assert "again while it was rebuilt with: no more" in selector.reason
    assert list(selector.select("A", {"one": "y"}, {})) == []


@durable
def test_the_self_test_holds_here() -> None:
    from opentec.rules.selectors.durable import self_test

    self_test()


@durable
def test_auto_is_durable_rules_where_it_works() -> None:
    assert make_selector("auto").name == "durable-rules"


def test_indexed_by_name_and_unknown_names() -> None:
    assert make_selector("indexed").name == "indexed"
    with pytest.raises(ValueError, match="'rete' is not a selector; choose one of auto, durable-rules, indexed"):
        make_selector("rete")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (subprocess.CompletedProcess([], 0, "", ""), ""),
        (subprocess.CompletedProcess([], -11, "", ""), "died with signal 11"),
        (
            subprocess.CompletedProcess([], 1, "", "ModuleNotFoundError: No module named 'durable_rules_engine'\n"),
            "durable-rules is not installed",
        ),
        (
            subprocess.CompletedProcess([], 1, "", "x\nImportError: undefined symbol\n"),
            "failed: ImportError: undefined",
        ),
        (subprocess.CompletedProcess([], 1, "", ""), "failed: no message"),
        (subprocess.TimeoutExpired([], 20), "did not end within 20 s"),
        (OSError("no process"), "could not be started: no process"),
    ],
)
def test_a_problem_of_durable_rules_is_told(monkeypatch: pytest.MonkeyPatch, result: Any, reason: str) -> None:
    def run(*args: Any, **kwargs: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(subprocess, "run", run)
    if not reason:
        assert durable_rules_problem() == ""
        return
    selector = make_selector("auto")
    assert (selector.name, reason in selector.reason) == ("indexed", True)


def test_the_index_looks_at_the_slots_that_tell_rules_apart() -> None:
    """Those that most rules test, and of each rule the best: rules with many tests are left partly to the filter."""
    common = tuple(EqualTo(f"s{n}", ("1",)) for n in range(SLOTS + 2))
    rules = [
        Selectable(0, 0, ("A",), common),
        Selectable(1, 0, ("A",), common),
        Selectable(2, 0, ("A",), (*common, EqualTo("own", ("1", "2")), EqualTo("other", ("1",)))),
    ]
    selector = IndexedSelector()
    selector.load(rules, ANCESTORS)
    matching = {f"s{n}": "1" for n in range(SLOTS + 2)}
    assert list(selector.select("A", matching, {})) == [0, 1]
    assert list(selector.select("A", {**matching, "own": "2"}, {})) == [0, 1, 2]  # `other` is not looked at
    assert list(selector.select("A", {**matching, f"s{SLOTS + 1}": "none"}, {})) == [0, 1]
    assert list(selector.select("A", {**matching, "s0": "none", "own": "2"}, {})) == []


def test_the_index_forgets_results_when_it_is_full() -> None:
    rules = [Selectable(n, 0, ("A",), (EqualTo(f"s{n}", ("1",)),)) for n in range(13)]
    selector = IndexedSelector()
    selector.load(rules, ANCESTORS)
    for number in range(2**13):
        bits = [n for n in range(13) if number >> n & 1]
        assert list(selector.select("A", {f"s{n}": "1" for n in bits}, {})) == bits
        assert len(selector._plans["A"]._results) <= KEPT


def test_classes_with_the_same_rules_share_their_index_and_rules_on_event_concern_all() -> None:
    rules = [Selectable(0, 0, ("EVENT",), (EqualTo("one", ("x",)),)), Selectable(1, 0, ("C",), ())]
    selector = IndexedSelector()
    selector.load(rules, ANCESTORS)
    assert {name: list(selector.select(name, {"one": "x"}, {})) for name in (*ANCESTORS, "Unknown")} == {
        "EVENT": [0],
        "A": [0],
        "B": [0],
        "C": [0, 1],
        "D": [0],
        "Unknown": [0],
    }
    assert selector._plans["A"] is selector._plans["D"] is selector._plans["EVENT"]
    assert "Unknown" not in selector._plans  # names of strangers take no memory
