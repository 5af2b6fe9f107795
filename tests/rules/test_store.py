"""The store: what rules remember besides events and timers."""

from __future__ import annotations

from opentec.rules.store import Store


class Index:
    def __init__(self, store: Store) -> None:
        self.names = sorted(store.section("counter"))


def test_what_is_put_is_got_and_told_once() -> None:
    store = Store()
    store.put("counter", "a:b", [1, "x"])
    assert store.get("counter", "a:b") == [1, "x"]
    assert store.take_changes() == {"counter:a:b": [1, "x"]}
    assert store.take_changes() == {}


def test_none_deletes_and_is_told() -> None:
    store = Store({"counter:a": 1})
    store.put("counter", "a", None)
    assert store.get("counter", "a", 0) == 0
    assert store.take_changes() == {"counter:a": None}


def test_deleting_what_is_not_there_is_no_change() -> None:
    store = Store()
    store.put("counter", "a", None)
    assert store.take_changes() == {}


def test_it_comes_back_from_its_keys() -> None:
    store = Store({"eid": 7, "counter:a": 1, "fact:x:y": [2]})
    assert dict(store.items()) == {"counter:a": 1, "fact:x:y": [2]}
    assert store.section("fact") == {"x:y": [2]}
    assert store.section("nothing") == {}


def test_a_view_is_made_once() -> None:
    store = Store({"counter:b": 1, "counter:a": 2})
    assert store.view(Index).names == ["a", "b"]
    assert store.view(Index) is store.view(Index)
