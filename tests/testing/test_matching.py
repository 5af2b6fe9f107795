from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from opentec.testing.binding import Wanted
from opentec.testing.document import Mark
from opentec.testing.matching import _give


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=5))
def test_as_many_expectations_are_met_as_can_be(choices: list[list[int]]) -> None:
    owner: dict[int, int] = {}
    met = sum(_give(number, choices, owner, set()) for number in range(len(choices)))
    assert met == len(owner) == best(choices)
    assert all(at in choices[number] for at, number in owner.items())


def best(choices: list[list[int]]) -> int:
    """The largest number that can be met, by trying every order."""
    most = 0
    for order in permutations(range(5), len(choices)):
        most = max(most, sum(at in choices[number] for number, at in enumerate(order)))
    return most


def test_an_expectation_reads_as_it_was_written() -> None:
    assert str(Wanted("Disk", {"drive": "C:", "used": 3}, Mark(1, 1))) == "Disk drive='C:' used=3"
    assert str(Wanted(None, {"tags": ["a"]}, Mark(1, 1))) == "any class tags=['a']"
