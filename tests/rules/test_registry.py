"""The table of predicates: complete, without contradictions, and what is refused has a reason."""

from __future__ import annotations

import pytest

from opentec.rules.control import CONTROL
from opentec.rules.predicates import GROUPS, PREDICATES, REFUSED, REGISTRY
from opentec.rules.predicates.registry import Predicate

ALL = [predicate for group in GROUPS.values() for predicate in group]


def test_no_predicate_is_there_twice() -> None:
    assert len(REGISTRY) == len(ALL)
    assert not REGISTRY.keys() & CONTROL.keys()


@pytest.mark.parametrize("predicate", ALL, ids=lambda predicate: f"{predicate.name}/{predicate.arity}")
def test_every_predicate_says_what_it_is(predicate: Predicate) -> None:
    assert set(predicate.modes) <= set("evist")
    assert predicate.determinism in ("det", "semidet", "nondet")
    if predicate.internal:
        return
    assert predicate.signature.split("(")[0] == predicate.name
    assert predicate.name in predicate.example
    assert predicate.effect.endswith(".")
    assert "|" not in predicate.effect.replace("\\|", "")
    assert predicate.compile is not None or predicate.many == (predicate.determinism == "nondet")


def test_what_is_refused_is_not_there() -> None:
    assert not REFUSED.keys() & PREDICATES.keys()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refusal_says_why_and_what_to_do(name: str) -> None:
    reason = REFUSED[name]
    assert reason[0].islower()
    assert not reason.endswith(".")
    assert ";" in reason  # why; what instead


@pytest.mark.parametrize(
    "name",
    [
        *("fopen", "fclose", "fprintf", "printf", "print", "write", "nl", "tell", "see", "consult", "reconsult"),
        *("current_file", "re_user_predicates", "load_globals", "save_globals", "ip_node_unreachable", "system"),
        *("shell", "random", "halt"),
    ],
)
def test_these_are_refused(name: str) -> None:
    assert name in REFUSED
