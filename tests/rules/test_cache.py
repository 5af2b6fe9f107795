"""The event cache against a list that is searched from its end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opentec.rules.cache import MANY_CLASSES, EventCache
from opentec.rules.event import Event, Shapes
from tests.rules.engine_kit import classes

SHAPES = Shapes(classes())
NAMES = ("Disk_Full", "Disk_OK", "Link_Up")


def event(eid: int, name: str = "Disk_Full", host: str = "a", drive: str = "C:", status: str = "OPEN") -> Event:
    shape = SHAPES.find(name)
    assert shape is not None
    slots: dict[str, Any] = {"date_reception": eid, "event_handle": 1, "server_handle": 1, "hostname": host}
    return Event(eid, eid, f"rx:1:{eid}", shape, {**slots, "status": status, "drive": drive})


OPERATION = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from("ab"), st.sampled_from("CD")),
    st.tuples(st.just("set"), st.integers(0, 40), st.just("status"), st.sampled_from(["OPEN", "ACK", "CLOSED"])),
    st.tuples(st.just("set"), st.integers(0, 40), st.just("hostname"), st.sampled_from("ab")),
    st.tuples(st.just("set"), st.integers(0, 40), st.just("drive"), st.sampled_from("CD")),
    st.tuples(st.just("look"), st.integers(0, 40)),
    st.tuples(st.just("clean")),
)


@given(st.lists(OPERATION, max_size=80), st.integers(1, 40))
def test_the_cache_finds_what_a_list_would(operations: list[Any], size: int) -> None:
    cache, known = EventCache(size), []
    for operation in operations:
        if operation[0] == "add":
            known.append(event(len(known), *operation[1:]))
            cache.add(known[-1])
        elif operation[0] == "set" and operation[1] < len(known):
            one = known[operation[1]]
            cache.remove(one)
            one.slots[operation[2]] = operation[3]
            cache.add(one)
        elif operation[0] == "look" and operation[1] < len(known):
            check(cache, known, known[operation[1]])
        elif operation[0] == "clean" and len(cache):
            before = len(cache)
            assert cache.clean(len(known) - 1) == before - len(cache) > 0
            assert cache.f2 <= cache.f
    for one in known:
        check(cache, known, one)
    again = EventCache(size, cache.f2, cache.f)
    for one in known:
        again.add(one)
    assert again.events() == cache.events()


def check(cache: EventCache, known: list[Event], one: Event) -> None:
    members = [
        other
        for other in reversed(known)
        if other.eid >= cache.f or (other.eid >= cache.f2 and other.status != "CLOSED")
    ]
    assert cache.events() == members[::-1]
    assert len(cache) == len(members)
    assert (one in cache) is (one in members) is cache.belongs(one)
    assert cache.find(one.key) is (one if one in members else None)
    alive = [other for other in members if other.status != "CLOSED"]
    for open_only, pool in ((False, members), (True, alive)):
        same = [other for other in pool if other.dup_key() == one.dup_key()]
        assert list(cache.duplicates(one, open_only)) == same
        assert list(cache.instances(None, None, open_only)) == pool
        for names in (("Disk_Full",), NAMES, ("Nobody",)):
            found = [other for other in pool if other.class_name in names]
            assert list(cache.instances(names, None, open_only)) == found
            here = [other for other in found if other.get("hostname") == "a"]
            assert list(cache.instances(names, "a", open_only)) == here


def test_a_search_of_many_classes_that_names_the_host_looks_at_that_host_only() -> None:
    cache = EventCache(10)
    for eid, name in enumerate(NAMES):
        cache.add(event(eid, name))
    cache.add(event(50, NAMES[0], host="b"))
    many = (*NAMES, *(f"C{n}" for n in range(MANY_CLASSES + 1)))
    assert [found.eid for found in cache.instances(many, "a", False)] == [2, 1, 0]
    assert [found.eid for found in cache.instances(many, "b", False)] == [50]


def test_removing_what_is_not_there() -> None:
    assert EventCache(1).remove(event(1)) is False


def test_cleaning_takes_five_percent_closed_ones_first() -> None:
    cache = EventCache(100)
    for eid in range(100):
        cache.add(event(eid, status="CLOSED" if eid in (30, 40, 60) else "OPEN"))
    assert cache.clean(99) == 5
    assert (cache.f, cache.f2) == (41, 3)


def test_recent_closed_events_leave_when_nothing_else_is_left() -> None:
    cache = EventCache(100)
    for eid in range(100):
        cache.add(event(eid, status="OPEN" if eid in (97, 98) else "CLOSED"))
    for _ in range(11):
        cache.clean(99)
    assert [one.eid for one in cache.events()] == list(range(55, 100))
    assert (cache.f, cache.f2) == (55, 55)
    small = EventCache(4)
    for eid in (90, 91, 92):
        small.add(event(eid, status="CLOSED"))
    assert small.clean(92) == 1
    assert (small.f, small.f2) == (91, 91)


def test_a_cache_that_became_smaller_is_cleaned_down_to_its_size() -> None:
    cache = EventCache(100)
    for eid in range(100):
        cache.add(event(eid))
    cache.size = 10
    assert cache.clean(99) == 90
    assert len(cache) == 10


def test_the_row_of_an_event_whose_class_has_lost_a_slot() -> None:
    row = list(event(7).row())
    row[-1] = '{"drive":"C:","gone":5}'
    kept = Event.from_row(tuple(row), SHAPES)
    assert kept.get("gone") == 5
    assert kept.row() == tuple(row)
    row[3] = "Vanished"
    lost = Event.from_row(tuple(row), SHAPES)
    assert (lost.class_name, lost.get("gone"), lost.get("severity")) == ("Vanished", 5, "WARNING")
    assert lost.row() == tuple(row)
    assert SHAPES.find("Vanished") is None
    assert (lost.cls.name, repr(lost)) == ("EVENT", "<Event Vanished 7.1>")
