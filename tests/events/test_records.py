from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.events import records
from opentec.events.image import COLUMNS, key_name, parse_key


@given(st.integers(1, 2**18), st.integers(0, records.OFFSET_MASK))
def test_a_position_has_a_name(epoch: int, offset: int) -> None:
    position = records.position_of(epoch, offset)
    assert (records.epoch_of(position), records.offset_of(position)) == (epoch, offset)
    assert records.parse_position(records.name_of(position)) == position


@pytest.mark.parametrize("name", ["rx:1", "rx:1:x", "1:2:3", "rx:1:2:3", ""])
def test_what_is_no_position(name: str) -> None:
    with pytest.raises(ValueError, match="rx:EPOCH:OFFSET"):
        records.parse_position(name)


def test_an_event_is_named_by_its_key() -> None:
    assert key_name((1772352000, 3, 1)) == "1772352000.3"
    assert key_name((1772352000, 3, 2)) == "1772352000.3.2"
    assert parse_key("1772352000.3") == (1772352000, 3, 1)
    assert parse_key("1772352000.3.2") == (1772352000, 3, 2)
    for wrong in ("1772352000", "a.b", "1.2.3.4", "1.-2", "9223372036854775808.1"):
        with pytest.raises(ValueError, match="is not an event"):
            parse_key(wrong)


def test_payloads_come_back() -> None:
    event = records.EventPayload("NT_Disk_Full", {"drive": "C:", "acl": ["admin"], "pid": 3})
    assert records.decode_event(records.encode(event)) == event
    change = records.ChangePayload((1, 2, 1), {"status": "ACK"}, "root")
    assert records.decode_change(records.encode(change)) == change


def test_columns_are_named_once() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
