from __future__ import annotations

import pytest

from opentec.events import names
from opentec.events.names import nearest, shown

POOL = ("NT_Disk_Full", "NT_Disk_OK", "Su_Failure", "msg", "hostname")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("NT_Dsik_Full", "NT_Disk_Full"),
        ("nt_disk_ok", "NT_Disk_OK"),
        ("mgs", "msg"),
        ("host_name", "hostname"),
        ("zzz", ""),
        ("", ""),
        ("NT_Disk_Full" * 10, ""),
    ],
)
def test_the_nearest_name(wrong: str, right: str) -> None:
    assert nearest(wrong, POOL) == right
    assert nearest(wrong, POOL) == right  # remembered


def test_answers_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_KEPT", 3)
    names._known.clear()
    for number in range(10):
        nearest(f"x{number}", POOL)
    assert 1 <= len(names._known) <= 3


def test_long_texts_are_cut() -> None:
    assert shown("x") == "'x'"
    assert len(shown("x" * 1000)) == 60
    assert shown("x" * 1000).endswith("...'")
