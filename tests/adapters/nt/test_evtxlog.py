"""Reading event logs: order, growth, restarts, clearing, damage. Each record must come once, or be named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentec.adapters.nt.chunks import CHUNK, FILE_HEADER
from opentec.adapters.nt.evtxlog import SETTLED, Damaged, EvtxLog, Found, Item, Missing
from opentec.adapters.nt.reader import EvtxReader
from tests.adapters.nt.evtx_files import EPOCH, chunk, decode, record, write_log

LATER = EPOCH + 10**12
EMPTY = bytes(CHUNK)


class Reading:
    """A reader of one log, which can be restarted, and all that it gave out."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.options = options
        self.items: list[tuple[str, Item]] = []
        self.notes: list[str] = []
        self.reader = EvtxReader([str(path)], decoder=decode, **options)

    def restart(self, state: Any = None) -> None:
        state = self.reader.to_data() if state is None else state
        self.reader = EvtxReader([str(self.path)], state, decoder=decode, **self.options)

    def poll(self, times: int = 1) -> list[Item]:
        new: list[Item] = []
        for _ in range(times):
            for batch in self.reader.poll():
                self.items += [(batch.generation, item) for item in batch.items]
                new += batch.items
            self.notes += self.reader.notes
        return new

    def all(self) -> list[int | Item]:
        """Polls until nothing is left; records by their number."""
        new = self.poll()
        for _ in range(50):
            if not self.reader.behind:
                return [item.number if isinstance(item, Found) else item for item in new]
            new += self.poll()
        raise AssertionError("the reader never comes to an end")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "Application.evtx"


def numbers(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def test_records_come_in_order_though_the_ring_has_wrapped(log: Path) -> None:
    write_log(log, chunk(31, 40), chunk(11, 20), chunk(21, 30))
    assert Reading(log).all() == numbers(11, 40)


def test_a_log_that_grows_in_place(log: Path) -> None:
    write_log(log, chunk(1, 3), EMPTY, EMPTY)
    reading = Reading(log)
    assert reading.all() == [1, 2, 3]
    assert reading.all() == []
    write_log(log, chunk(1, 5), EMPTY, EMPTY)
    assert reading.all() == [4, 5]
    write_log(log, chunk(1, 6), chunk(7, 8), EMPTY)
    assert reading.all() == [6, 7, 8]
    assert len({generation for generation, _ in reading.items}) == 1


def test_a_restart_goes_on_and_keeps_the_generation(log: Path) -> None:
    write_log(log, chunk(1, 3))
    reading = Reading(log)
    reading.all()
    reading.restart()
    assert reading.all() == []
    write_log(log, chunk(1, 5))
    reading.restart()
    assert reading.all() == [4, 5]
    assert len({generation for generation, _ in reading.items}) == 1


def test_two_readers_name_a_generation_alike(log: Path, tmp_path: Path) -> None:
    write_log(log, chunk(1, 3))
    first = Reading(log)
    first.all()
    write_log(log, chunk(1, 9))
    copy = tmp_path / "copy.evtx"
    copy.write_bytes(log.read_bytes())
    second = Reading(copy)
    first.all()
    second.all()
    assert {name for name, _ in first.items} == {name for name, _ in second.items}


@pytest.mark.parametrize("last", [2, 3, 9])
def test_a_cleared_log_is_a_new_generation(log: Path, last: int) -> None:
    """Whether it has fewer records than were read, as many, or more."""
    write_log(log, chunk(1, 3))
    reading = Reading(log)
    reading.all()
    write_log(log, chunk(1, last, LATER))
    assert reading.poll() == []
    assert reading.all() == numbers(1, last)
    assert len({generation for generation, _ in reading.items}) == 2
    assert "was cleared" in reading.notes[0]


def test_a_log_that_is_cleared_for_a_moment_only_is_not(log: Path) -> None:
    """Such as a copy that is just being written."""
    write_log(log, chunk(1, 3))
    reading = Reading(log)
    reading.all()
    write_log(log, chunk(1, 2, LATER))
    assert reading.poll() == []
    write_log(log, chunk(1, 4))
    assert reading.all() == [4]


def test_records_that_were_overwritten_unread_are_named(log: Path) -> None:
    write_log(log, chunk(1, 3))
    reading = Reading(log)
    reading.all()
    write_log(log, chunk(10, 12))
    assert reading.all() == [Missing(4, 9, "they were overwritten before they were read"), 10, 11, 12]
    assert len({generation for generation, _ in reading.items}) == 2
    assert "6 records were overwritten" in reading.notes[0]


def test_a_ring_that_overwrote_only_what_was_read_is_the_same_log(log: Path) -> None:
    write_log(log, chunk(1, 3), chunk(4, 6))
    reading = Reading(log)
    reading.all()
    write_log(log, chunk(7, 9), chunk(4, 6))
    assert reading.all() == [7, 8, 9]
    assert len({generation for generation, _ in reading.items}) == 1


def test_damage_in_a_chunk_costs_its_own_records_only(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 6)]
    parts[2] = b"\xff" * len(parts[2])
    write_log(log, chunk(1, 6, records=parts), chunk(7, 8))
    reading = Reading(log)
    damage = Missing(3, 3, f"the chunk at byte {FILE_HEADER} is damaged")
    assert reading.all() == [1, 2, damage, 4, 5, 6, 7, 8]
    assert reading.all() == []


def test_damage_at_the_end_of_a_chunk(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 4)]
    parts[3] = b"\xff" * len(parts[3])
    write_log(log, chunk(1, 4, records=parts))
    reading = Reading(log)
    found = reading.all()
    assert found[:3] == [1, 2, 3]
    assert [type(item) for item in found[3:]] == [Damaged]
    assert reading.all() == []
    write_log(log, chunk(1, 4, records=parts), chunk(5, 6))
    assert reading.all() == [Missing(4, 4, f"the chunk at byte {FILE_HEADER} is damaged"), 5, 6]


def test_damage_at_the_end_that_is_put_right_loses_nothing(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 4)]
    write_log(log, chunk(1, 4, records=[*parts[:3], bytes(len(parts[3]))]))
    reading = Reading(log)
    reading.all()
    reading.restart()
    assert reading.all() == []
    write_log(log, chunk(1, 4))
    assert reading.all() == [4]


def test_one_look_at_damage_is_not_enough(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 4)]
    torn = chunk(1, 4, records=[parts[0], bytes(len(parts[1])), *parts[2:]])
    write_log(log, torn)
    reading = Reading(log)
    for _ in range(SETTLED - 1):
        reading.poll()
    assert [item.number for _, item in reading.items if isinstance(item, Found)] == [1]
    write_log(log, chunk(1, 4))
    assert reading.all() == [2, 3, 4]
    write_log(log, torn)
    assert [type(item) for item in Reading(log).poll(SETTLED)] == [Found, Missing, Found, Found]


def test_damage_at_the_beginning_of_the_log(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 3)]
    parts[0] = b"\xff" * len(parts[0])
    write_log(log, chunk(1, 3, records=parts))
    assert Reading(log).all() == [Missing(1, 1, f"the chunk at byte {FILE_HEADER} is damaged"), 2, 3]


def test_a_record_that_is_still_being_written_is_waited_for(log: Path) -> None:
    parts = [record(number) for number in numbers(1, 3)]
    write_log(log, chunk(1, 3, records=[*parts[:2], bytes(len(parts[2]))]))
    reading = Reading(log)
    assert reading.poll() == [item for _, item in reading.items]
    assert [item.number for _, item in reading.items if isinstance(item, Found)] == [1, 2]
    assert reading.reader.behind
    write_log(log, chunk(1, 3, records=parts))
    assert reading.all() == [3]


def test_a_chunk_without_a_header_is_named_and_the_rest_read(log: Path) -> None:
    bad = bytes(512) + chunk(4, 6)[512:]
    write_log(log, chunk(1, 3), bad, chunk(7, 9), EMPTY)
    found = Reading(log).all()
    assert next(item for item in found if isinstance(item, Damaged)).place == FILE_HEADER + CHUNK
    assert [item for item in found if not isinstance(item, Damaged)] == [
        *numbers(1, 3),
        Missing(4, 6, "the log does not hold them"),
        *numbers(7, 9),
    ]


def test_damage_is_named_once_across_restarts(log: Path) -> None:
    write_log(log, chunk(1, 3), b"\xff" * CHUNK)
    reading = Reading(log)
    assert len([item for item in reading.all() if isinstance(item, Damaged)]) == 1
    reading.restart()
    assert reading.all() == []


def test_a_log_with_nothing_to_read_is_named(log: Path) -> None:
    write_log(log, chunk(1, 2, records=[b"\xff" * 64]))
    reading = Reading(log)
    assert [type(item) for item in reading.all()] == [Damaged]
    assert reading.all() == []
    write_log(log, b"\xff" * CHUNK)
    assert [type(item) for item in Reading(log).all()] == [Damaged]


def test_a_chunk_whose_checksum_does_not_fit_is_named(log: Path) -> None:
    data = bytearray(chunk(1, 3))
    at = data.index(b"Some Source")
    data[at : at + 4] = b"SOME"
    write_log(log, bytes(data), chunk(4, 5))
    assert [item if isinstance(item, int) else type(item) for item in Reading(log).all()] == [1, 2, 3, Damaged, 4, 5]


def test_a_header_whose_checksum_does_not_fit_is_named_and_used(log: Path) -> None:
    data = bytearray(chunk(1, 3))
    data[200] = 1
    write_log(log, bytes(data))
    found = Reading(log).all()
    assert [type(item) for item in found[:1]] == [Damaged]
    assert found[1:] == [1, 2, 3]


def test_a_log_cut_within_a_chunk(log: Path) -> None:
    write_log(log, chunk(1, 3))
    whole = log.read_bytes()
    log.write_bytes(whole[: FILE_HEADER + 512 + len(record(1)) + 30])
    reading = Reading(log)
    assert [item for item in reading.poll() if isinstance(item, Found)] == [
        Found(1, record(1)[24:-4].decode().rstrip())
    ]
    log.write_bytes(whole)
    assert reading.all() == [2, 3]


@pytest.mark.parametrize(
    ("catch_up", "expected", "suffix"),
    [(-1, [1, 2, 3, 4], ""), (0, [4], "@4"), (2, [2, 3, 4], "@2"), (9, [1, 2, 3, 4], "")],
)
def test_where_a_log_without_a_position_begins(log: Path, catch_up: int, expected: list[int], suffix: str) -> None:
    write_log(log, chunk(1, 3))
    reading = Reading(log, catch_up=catch_up)
    before = reading.all()
    write_log(log, chunk(1, 4))
    assert before + reading.all() == expected
    assert all(generation == f"1-{EPOCH + 1:x}{suffix}" for generation, _ in reading.items)


def test_a_log_that_appears_later_is_read_whole(log: Path) -> None:
    reading = Reading(log, catch_up=0)
    assert reading.all() == []
    log.touch()
    assert reading.all() == []
    write_log(log, chunk(1, 3))
    assert reading.all() == [1, 2, 3]


def test_what_is_no_event_log_is_a_problem(log: Path) -> None:
    log.write_text("something else")
    reading = Reading(log)
    assert reading.all() == []
    assert "not a Windows event log" in reading.reader.problems[str(log)]


def test_every_log_gets_its_turn(tmp_path: Path) -> None:
    for name in "abc":
        write_log(tmp_path / f"{name}.evtx", *(chunk(1 + 10 * each, 10 + 10 * each) for each in range(4)))
    reading = Reading(tmp_path / "*.evtx")
    reading.all()
    assert len(reading.items) == 3 * 40


@pytest.mark.parametrize(
    "state",
    [
        {"logs": 1},
        {"logs": [{}]},
        {"logs": [{"path": 1, "generation": "", "position": 0, "checks": [], "named": []}]},
        {"logs": [{"path": "p", "generation": "", "position": "0", "checks": [], "named": []}]},
        {"logs": [{"path": "p", "generation": "", "position": 0, "checks": [[1]], "named": []}]},
    ],
)
def test_a_state_that_is_none(state: Any) -> None:
    with pytest.raises(ValueError, match="saved"):
        EvtxReader([], state, decoder=decode)


def test_a_state_survives_as_data(log: Path) -> None:
    write_log(log, chunk(1, 3))
    one = EvtxLog(str(log), decode)
    one.poll(9, print)
    assert EvtxLog.from_data(one.to_data(), decode).to_data() == one.to_data()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(1, 25), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_each_record_comes_once(log: Path, steps: list[tuple[int, bool, bool]]) -> None:
    """Growth, restarts and clearings in any order: each generation gives its records once, in order, without a gap."""
    write_log(log)
    reading = Reading(log)
    last, generation, written = 0, 0, []
    for count, restart, clear in steps:
        if clear:
            last, generation = 0, generation + 1
        last += count
        parts = [(first, min(first + 9, last)) for first in range(1, last + 1, 10)]
        write_log(log, *(chunk(*part, EPOCH + generation * 10**12) for part in parts))
        written.append((generation, last))
        reading.all()
        if restart:
            reading.restart()
    ends = dict(written)
    by_name: dict[str, list[int]] = {}
    for name, item in reading.items:
        assert isinstance(item, Found)
        by_name.setdefault(name, []).append(item.number)
    assert list(by_name.values()) == [numbers(1, end) for end in ends.values()]
