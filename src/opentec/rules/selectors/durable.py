"""The selector on durable-rules (Rete in C), kept inside what is safe there (durable-rules.md 3.3, 5, 6).

Only its C module, in the caller's thread. One fact per event, asserted, drained and retracted before anything else
happens; class flags and equality of texts; no joins, no ranges, at most RULES rules in a ruleset. It is asked only what
it is needed for: rules that test nothing but the class are known by the class, and a fact holds only texts that some
rule asks for. What it cannot represent is left to the filters, and after errors the indexed twin takes over for good.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec

from opentec.rules.selector import EqualTo, Selectable
from opentec.rules.selectors.indexed import IndexedSelector

RULES: Final = 30  # in one ruleset; an event that matches more than 64 conditions at once is an error there
ALTERNATIVES: Final = 8  # one rule becomes at most so many
TEXT_BYTES: Final = 60_000  # longer texts are compared modulo 65,536 there
REBUILDS: Final = 3  # after that many errors the twin takes over

_ANYTHING: Final = "EVENT"
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_numbers = itertools.count()  # rulesets have one name space per process


class _Row(NamedTuple):
    """One conjunction: this class, and in each of these slots this text."""

    rule: int  # its index
    cls: str
    tests: tuple[tuple[str, str], ...]


class _Ruleset:
    """One ruleset in C, and the rows that it was made of."""

    __slots__ = ("handle", "rows")

    def __init__(self, engine: Any, rows: Sequence[_Row]) -> None:
        self.rows = rows
        definition = {
            f"r{index}_{number}": {
                "all": [{"m": {"$and": [{f"isa.{cls}": 1}, *({f"s.{slot}": value} for slot, value in tests)]}}]
            }
            for number, (index, cls, tests) in enumerate(rows)
        }
        self.handle = engine.create_ruleset(f"opentec{next(_numbers)}", json.dumps(definition, ensure_ascii=False))


class _Question(NamedTuple):
    """What events of one class bring to one ruleset: class flags as JSON, and by slot the texts that are asked for."""

    handle: Any
    flags: bytes
    slots: tuple[tuple[str, frozenset[str]], ...]


class DurableSelector:
    """Selects by durable-rules. `reason` is "" while it does, and says why when the twin does it instead.

    Raises ImportError when the module is not there.
    """

    name = "durable-rules"

    def __init__(self) -> None:
        engine: Any = import_module("durable_rules_engine")
        self.reason = ""
        self.errors = 0
        self._engine = engine
        self._twin = IndexedSelector()
        self._rulesets: list[_Ruleset] = []
        self._of_class: dict[str, tuple[tuple[int, ...], list[_Question]]] = {}
        self._rules: Sequence[Selectable] = ()
        self._ancestors: Mapping[str, tuple[str, ...]] = {}

    def load(self, rules: Sequence[Selectable], ancestors: Mapping[str, tuple[str, ...]]) -> None:
        """Learn the rules; what was loaded before is forgotten (its memory in C is not: durable-rules.md 4)."""
        self._twin.load(rules, ancestors)
        self._rules = sorted(rules, key=lambda rule: rule.index)
        self._ancestors = ancestors
        self._build()

    def select(self, class_name: str, slots: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sequence[int]:
        """Indexes of the rules that may concern an event, ascending."""
        if self.reason or class_name not in self._of_class:
            return self._twin.select(class_name, slots, defaults)
        always, questions = self._of_class[class_name]
        found: set[int] = set()
        try:
            for handle, flags, asked in questions:
                values = {}
                for slot, texts in asked:
                    value = slots[slot] if slot in slots else defaults.get(slot)
                    if type(value) is str and value in texts:
                        values[slot] = value
                if values:
                    fact = b'{"id":"n","isa":' + flags + b',"s":' + _encode(values) + b"}"
                    self._ask(handle, fact.decode(), found)
        except Exception as error:  # the C module raises nothing narrower for some of its failures
            self._recover(error)
            return self._twin.select(class_name, slots, defaults)
        return sorted(found.union(always)) if found else always

    def _ask(self, handle: Any, fact: str, found: set[int]) -> None:
        engine = self._engine
        code, state = engine.assert_fact(handle, fact)
        if code == 1:  # no condition matches; the fact was not kept
            return
        if code != 0:
            raise RuntimeError(f"assert_fact answered {code}")
        started = engine.start_action_for_state(handle, state)
        message = started[1] if started else None
        while message:
            for name in _decode(message):
                found.add(int(name[1 : name.index("_")]))
            message = engine.complete_and_start_action(handle, state)
        engine.retract_fact(handle, '{"id":"n"}')

    def _build(self) -> None:
        for ruleset in self._rulesets:
            self._engine.delete_ruleset(ruleset.handle)
        self._rulesets = []
        plain: list[_Row] = []  # rows without tests
        for _, group in itertools.groupby(self._rules, key=lambda rule: rule.rule_set):
            rows: list[_Row] = []
            for rule in group:
                mine = _alternatives(rule)
                if not any(row.tests for row in mine):
                    plain += mine
                    continue
                if len(rows) + len(mine) > RULES:
                    self._rulesets.append(_Ruleset(self._engine, rows))
                    rows = []
                rows += mine
            if rows:
                self._rulesets.append(_Ruleset(self._engine, rows))
        self._of_class = {
            name: (
                tuple(sorted({row.rule for row in _of(plain, names)})),
                [_question(ruleset.handle, rows) for ruleset in self._rulesets if (rows := _of(ruleset.rows, names))],
            )
            for name, names in self._ancestors.items()
        }

    def _recover(self, error: Exception) -> None:
        """An error leaves the network in doubt (durable-rules.md 6.21): build it anew, a few times."""
        self.errors += 1
        if self.errors > REBUILDS:
            self.reason = f"durable-rules failed {self.errors} times, the last time with: {error}"
            return
        try:
            self._build()
        except Exception as again:
            self.reason = f"durable-rules failed with {error}, and again while it was rebuilt with: {again}"


def _of(rows: Iterable[_Row], names: Sequence[str]) -> list[_Row]:
    """The rows that concern a class with these names, its own and those of its ancestors."""
    return [row for row in rows if row.cls in names]


def _question(handle: Any, rows: Sequence[_Row]) -> _Question:
    texts: dict[str, set[str]] = {}
    for row in rows:
        for slot, text in row.tests:
            texts.setdefault(slot, set()).add(text)
    flags = _encode(dict.fromkeys((row.cls for row in rows), 1))
    return _Question(handle, flags, tuple((slot, frozenset(asked)) for slot, asked in texts.items()))


def _alternatives(rule: Selectable) -> list[_Row]:
    """The rule as conjunctions of one class and one value per slot; tests that would make too many are left out."""
    classes = rule.classes if len(rule.classes) <= ALTERNATIVES else (_ANYTHING,)
    count, kept = len(classes), []
    for test in rule.tests:
        if len(test.values) * count <= ALTERNATIVES and _representable(test):
            count *= len(test.values)
            kept.append([(test.slot, value) for value in test.values])
    return [_Row(rule.index, cls, tests) for cls in classes for tests in itertools.product(*kept)]


def _representable(test: EqualTo) -> bool:
    return bool(test.values) and all(
        "\0" not in value and len(value) <= TEXT_BYTES // 4 and _is_unicode(value) for value in test.values
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def self_test() -> None:
    """Compare with the indexed twin on a small rule base; raises AssertionError or whatever goes wrong.

    Run it in a process of its own: a module that does not fit the Python may crash it.
    """
    ancestors = {"EVENT": ("EVENT",), "A": ("A", "EVENT"), "B": ("B", "A", "EVENT"), "C": ("C", "EVENT")}
    levels = ("low", "high", "höchst", "")
    rules = [
        Selectable(
            index=index,
            rule_set=index // 20,
            classes=(("EVENT",), ("A",), ("B", "C"), ("C",))[index % 4],
            tests=(EqualTo("level", levels[: index % 3 + 1]),) if index % 5 else (),
        )
        for index in range(60)
    ]
    tested, twin = DurableSelector(), IndexedSelector()
    tested.load(rules, ancestors)
    twin.load(rules, ancestors)
    for name, level, host in itertools.product(ancestors, (*levels, "other"), ("h1", 'say "ö"\n\\')):
        event = {"level": level, "host": host}
        if list(tested.select(name, event, {})) != list(twin.select(name, event, {})):
            raise AssertionError(f"durable-rules and the indexed selector disagree on {name} {event}")
    if tested.errors:
        raise AssertionError("durable-rules reported an error")
