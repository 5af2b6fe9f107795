from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from opentec.rules.terms import Struct
from opentec.testing.document import Mark
from opentec.testing.expectations import Wanted, same
from opentec.testing.matching import _give


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=5))
def test_as_many_expectations_are_met_as_can_be(choices: list[list[int]]) -> None:
    owner: dict[int, int] = {}
    met = sum(_give(number, choices, owner) for number in range(len(choices)))
    assert met == len(owner) == best(choices)
    assert all(at in choices[number] for at, number in owner.items())


def test_a_long_chain_of_expectations_is_no_recursion() -> None:
    choices = [[at, at + 1] for at in range(5000)] + [[0]]
    owner = {at: at for at in range(5000)}
    assert _give(5000, choices, owner)
    assert owner[0] == 5000
    assert owner[5000] == 4999


def best(choices: list[list[int]]) -> int:
    """The largest number that can be met, by trying every order."""
    most = 0
    for order in permutations(range(5), len(choices)):
        most = max(most, sum(at in choices[number] for number, at in enumerate(order)))
    return most


def test_an_expectation_reads_as_it_was_written() -> None:
    assert str(Wanted("Disk", {"drive": "C:", "used": 3}, Mark(1, 1))) == "Disk drive='C:' used=3"
    assert str(Wanted(None, {"tags": ["a"]}, Mark(1, 1))) == "any class tags=['a']"


def test_values_of_the_rule_language_are_compared_as_they_are() -> None:
    assert same("9007199254740992", 9007199254740992)
    assert not same("9007199254740993", 9007199254740992)  # one and the same float
    assert same("2.50", 2.5)
    assert same("+3", 3)
    assert same("at( 'it''s' ,2 )", Struct("at", ("it's", 2)))
    assert not same("at(ab)", Struct("at", ("a b",)))
