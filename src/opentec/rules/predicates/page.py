"""The page of predicates, made from their table: `python -m opentec.rules.predicates.page > docs/predicates.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from opentec.rules.predicates import GROUPS, REFUSED
from opentec.rules.predicates.registry import Predicate

_SOLUTIONS: Final = {"det": "one", "semidet": "none or one", "nondet": "any number"}
_HEAD: Final = """\
# Predicates

Every predicate of the rule language, and those that it refuses. The page is made from the table that the checker and
the compiler read: `python -m opentec.rules.predicates.page > docs/predicates.md`. A test runs every example.
[rule-language.md](rule-language.md) says how goals are put together, and what `_event - before - after` means.

*Solutions*: `one` always succeeds; `none or one` may fail, or must agree with what an argument is already; behind `any
number` the goals that follow run once for each. Arguments with `_` may be unbound, and then get a value; the others
must have one. Where TEC's public documentation gives a name but no arguments, their order is ours.

Words that come again:

* `_event` is an event: that of the rule, or one that a search has found. `event: _found of_class C where [...]` is an
  event filter, as that of a rule.
* A *key* of a counter is a text, a number or a list of them: `[logins, _hostname]` is a counter for each host.
* A *criterion* is a name that `create_event_criteria` has defined, or the name of a class, with all that inherit from
  it. What `create_...` defines is kept: define it once, in a rule on `TEC_Rulebase_Loaded`.
* Where a definition ends in `[slot, ...]`, this is what two events must have in common: `slot`, or `slot=slot` for the
  slots of the first and the second; `attr_condition`, `attr_exception` and `attr_sequence` (Sequences) say more.

[What to use for what](rule-language.md#what-to-use-for-what) goes from the task to the predicate.
"""
_REFUSED: Final = """\
## Refused

What a rule decides follows from the log and the rule base alone; so a failover, a replay and a test agree. A goal that
looks elsewhere is an error when the rule base is loaded, with the reason. A rule base may define a clause of such a
name, which then is its own.

| predicate | reason, and what to do |
| --- | --- |
"""


def page() -> str:
    """The page as Markdown text."""
    return "\n".join([_HEAD, *_groups(), _REFUSED + "".join(_refusals())])


def _groups() -> Iterator[str]:
    for title, predicates in GROUPS.items():
        shown = [predicate for predicate in predicates if not predicate.internal]
        if shown:
            yield f"## {title[0].upper()}{title[1:]}\n"
            yield "| predicate | effect | solutions | example |\n| --- | --- | --- | --- |"
            yield "\n".join(map(_row, shown)) + "\n"


def _row(predicate: Predicate) -> str:
    cells = (_code(predicate.signature), predicate.effect, _SOLUTIONS[predicate.determinism], _code(predicate.example))
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _refusals() -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        names.setdefault(reason, []).append(name)
    for reason, those in names.items():
        yield f"| {', '.join(f'`{name}`' for name in those)} | {reason[0].upper()}{reason[1:]}. |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
