"""Readers of a stopped server's files share a lock that a start must have alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opentec.ha import readers
from opentec.ha.errors import LeaseDirectoryError


def test_readers_share_and_a_start_is_alone(tmp_path: Path) -> None:
    with readers.reading(tmp_path) as one, readers.reading(tmp_path) as other:
        assert one and other
        assert readers.take(tmp_path) is None
    held = readers.take(tmp_path)
    assert held is not None
    with readers.reading(tmp_path) as late:
        assert not late
    assert readers.take(tmp_path) is None
    os.close(held)
    with readers.reading(tmp_path) as again:
        assert again


def test_a_reader_that_may_not_write_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.close(readers.take(tmp_path) or -1)
    opened = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(readers.os, "open", refuse)
    with readers.reading(tmp_path) as alone:
        assert alone
    with pytest.raises(LeaseDirectoryError, match="readers: Permission denied; check the mount and the owner"):
        readers.take(tmp_path)
