"""The shared page, the test hooks, and the processes' own logs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.server import hooks
from opentec.server.logs import log_to_file
from opentec.server.progress import CHILDREN, Progress, Word


def test_words_have_places_of_their_own() -> None:
    page = Progress()
    assert len(set(Word)) == len(Word.__members__)
    for word in Word:
        assert page[word] == 0
        page[word] = word + (1 << 62)
    assert all(page[word] == word + (1 << 62) for word in Word)


def test_beats_and_readiness() -> None:
    page = Progress()
    for number in range(len(CHILDREN)):
        page.beat(number)
        page.ready(number)
    assert all(page[Word.BEAT_RECEPTION + number] > 0 for number in range(4))
    assert [page[Word.READY_RECEPTION + number] for number in range(4)] == [1, 1, 1, 1]
    page.ready(2, False)
    assert page[Word.READY_DISPATCH] == 0


def test_a_forked_process_writes_the_same_page() -> None:
    page = Progress()
    pid = os.fork()
    if pid == 0:
        page[Word.DURABLE] = 77
        os._exit(0)
    os.waitpid(pid, 0)
    assert page[Word.DURABLE] == 77


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_kills", "_pauses"):
        monkeypatch.setattr(hooks, name, {})
    monkeypatch.setattr(hooks, "_unsafe", set())
    monkeypatch.setattr(hooks, "active", True)


@pytest.mark.usefixtures("loaded")
def test_hooks_kill_at_the_nth_time(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(hooks.os, "kill", lambda pid, number: killed.append(number))
    hooks._load("kill:here:2,unsafe:rule")
    hooks.reach("there")
    hooks.reach("here")
    assert not killed
    hooks.reach("here")
    assert killed == [9]
    assert hooks.unsafe("rule") and not hooks.unsafe("other")
    with pytest.raises(ValueError, match="'jump:x' is not kill:, pause: or unsafe:"):
        hooks._load("jump:x")


@pytest.mark.usefixtures("loaded")
def test_hooks_pause_until_the_file_is_there(tmp_path: Path) -> None:
    go = tmp_path / "go"
    hooks._load(f"pause:here:{go}")
    paused = threading.Thread(target=hooks.reach, args=("here",))
    paused.start()
    while not (tmp_path / "go.reached").exists():
        assert paused.is_alive()
    go.touch()
    paused.join(20)
    assert not paused.is_alive()
    hooks._load(f"pause:here:{tmp_path / 'never'}")
    (tmp_path / "never.reached").touch()
    hooks.reach("here")  # another process paused here before: this one goes on


def test_hooks_do_nothing_in_a_server_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hooks.active
    monkeypatch.setattr(hooks, "_kills", {"here": 1})
    hooks.reach("here")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    for handler in list(logger.handlers):
        if handler not in handlers:
            logger.removeHandler(handler)
            handler.close()
    for handler in handlers:
        if handler not in logger.handlers:
            logger.addHandler(handler)
    logger.setLevel(level)


def test_a_process_logs_to_its_own_file_only(root: logging.Logger, tmp_path: Path) -> None:
    (tmp_path / "tec_server.toml").touch()
    log_to_file(tmp_path / "log" / "black" / "tec_rule.log")
    assert len(root.handlers) == 1
    logging.getLogger("rule").warning("hello %s", "there")
    (line,) = (tmp_path / "log" / "black" / "tec_rule.log").read_text().splitlines()
    assert line.endswith(" WARNING hello there") and line[10] == "T"


def test_a_process_makes_no_folders_where_the_instance_is_gone(root: logging.Logger, tmp_path: Path) -> None:
    log_to_file(tmp_path / "log" / "black" / "tec_rule.log")
    assert type(root.handlers[0]) is logging.StreamHandler and not list(tmp_path.iterdir())


def test_where_no_file_can_be_made_it_goes_to_standard_error(root: logging.Logger, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    log_to_file(tmp_path / "log" / "tec_rule.log")
    assert type(root.handlers[0]) is logging.StreamHandler
