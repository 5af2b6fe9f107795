"""Preparing a node, and the word that its starter waits for."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from opentec.ha import epochs, marks, process, readers
from opentec.ha.errors import LeaseDirectoryError
from opentec.ha.lease import Lease
from opentec.rules.snapshots import CURRENT, SEEN, WAITING, read_mark, write_mark
from opentec.server import activation, preflight
from opentec.server import start as module
from opentec.server.config import load_config
from opentec.server.control import Control
from opentec.server.errors import ConfigError, InstanceError, ServerError
from opentec.server.instance import Instance
from opentec.server.start import AlreadyRunning, Prepared, _rejoin, _wait_for_word, _writer
from tests.server.kit import make_context, make_instance, make_repository
from tests.server.test_dispatch import segment

RULES = Path(__file__).parents[2] / "rules/default"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance whose rule base has been active once: compiling it again for every test would take long."""
    directory = tmp_path_factory.mktemp("made")
    text = '[nodes.black]\nlisten = "0.0.0.0:5529"\n[rules]\nselector = "indexed"\n'
    instance = make_instance(directory, text)
    (directory / "rules").mkdir()
    shutil.copytree(RULES / "TEC_CLASSES", directory / "rules/TEC_CLASSES")
    (directory / "rules/TEC_RULES").mkdir()
    (directory / "rules/TEC_RULES/rule_sets").write_text("")
    from opentec.rules.rulebase import snapshot

    write_mark(instance.rule_bases, CURRENT, snapshot(directory / "rules", instance.rule_bases))
    return directory


@pytest.fixture
async def instance(made: Path, tmp_path: Path) -> Instance:
    shutil.copytree(made, tmp_path / "tec")
    found = Instance(tmp_path / "tec")
    await make_repository(found, load_config(found))
    return found


def activates(found: Prepared) -> bool:
    return found.chosen is not None and found.chosen.activates


def comes_up(found: Prepared) -> Prepared:
    """What reception does when the log has what this start chose."""
    context = make_context(found.instance, base=found.rule_base, chosen=found.chosen)
    activation.remember(context, log_time=None, loaded=False)
    epochs.path_of(found.instance.ha, context.epoch).unlink()
    return found


def prepare(instance: Instance, said: list[str] | None = None, **options: Any) -> Prepared:
    """A node that was prepared, and let go again."""
    found = Prepared(instance, "black", (said if said is not None else []).append, **options)
    os.close(found.lock)
    found.lease_settled()
    return found


async def test_a_node_that_can_serve_at_once(instance: Instance) -> None:
    said: list[str] = []
    found = prepare(instance, said)
    assert found.rule_base.content_hash == found._current_hash()
    assert found.selector == "indexed" and found.notices == [] and not found.skip_to_log
    assert said == [
        "warning: listening on 0.0.0.0: events travel unencrypted and anyone who reaches the port may send them"
    ]


async def test_an_unknown_node_and_a_directory_that_cannot_be_written(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="node 'blue' is not in"):
        Prepared(instance, "blue", print)
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    with pytest.raises(InstanceError, match="rx cannot be written by user .*; check its owner and the mount"):
        prepare(instance)


async def test_a_second_master_of_the_node(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Prepared(instance, "black", lambda text: None)
    states = ["", "stopping", "up"]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Prepared, "_state_of_other", lambda self, runtime: states.pop(0))
    with pytest.raises(AlreadyRunning, match=r"node black runs already \(up\)"):
        prepare(instance)
    monkeypatch.setattr(module, "_BUSY_LIMIT", 0.0)
    for state, said in (("", r"does not answer \(it hangs, .*"), ("stopping", "is ending")):
        monkeypatch.setattr(Prepared, "_state_of_other", lambda self, runtime, state=state: state)
        with pytest.raises(ServerError, match=f"a master that {said}, waited .*`tec stop --node black`") as silent:
            prepare(instance)
        assert not isinstance(silent.value, AlreadyRunning), "such a start must not end with 0"
    os.close(first.lock)
    first.lease_settled()
    prepare(instance)


async def test_a_master_of_the_node_under_another_runtime_directory(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Lease.claim(instance.ha, "black", [], 0)
    assert holder is not None
    monkeypatch.setattr(module, "_ENDING_LIMIT", 0.0)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    said = (
        f"node black already runs with pid {os.getpid()} under another runtime directory than .*; set TEC_RUNTIME_DIR"
    )
    with pytest.raises(ServerError, match=said):
        prepare(instance)
    with monkeypatch.context() as patch:
        patch.setattr(process, "boot_id", lambda: "that of another machine")
        prepare(instance)  # the holder is elsewhere, so this one stands by
    monkeypatch.setattr(module, "_ENDING_LIMIT", 60.0)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: holder.release())
    prepare(instance)  # it was about to end


async def test_the_state_of_the_other_master(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepare(instance)
    assert found._state_of_other(instance.runtime("black")) == ""
    state = "up"
    monkeypatch.setattr(Control, "__init__", lambda self, path, timeout: None)
    monkeypatch.setattr(Control, "call", lambda self, operation: {"state": state})
    monkeypatch.setattr(Control, "close", lambda self: None)
    assert found._state_of_other(instance.runtime("black")) == "up"
    state = "stopping"
    assert found._state_of_other(instance.runtime("black")) == "stopping"


async def test_a_gap_is_refused_or_accepted_loudly(instance: Instance) -> None:
    segment(instance.rx, 1, 3)
    segment(instance.rx, 2, 3)
    (instance.rx / "rx.1.0").unlink()
    with pytest.raises(
        ServerError, match="records between are missing; put the missing files back, or .* --accept-gap"
    ):
        prepare(instance)
    said: list[str] = []
    found = prepare(instance, said, accept_gap=True)
    assert found.skip_to_log and found.notices[0][0] == "TEC_Error" and "going on without them" in said[0]


async def test_a_stop_is_cleared_by_a_start_even_when_the_edited_rule_base_is_refused(instance: Instance) -> None:
    epochs.path_of(instance.ha, 1).touch()
    marks.mark_stopped(instance.ha, 1)
    (instance.directory / "rules/TEC_CLASSES/root.baroc").write_text("TEC_CLASS: broken")
    said: list[str] = []
    found = prepare(instance, said)
    assert not marks.stopped(instance.ha)
    assert found.rule_base.content_hash == found._current_hash()
    assert "is refused and the one before stays active" in said[0]
    ((name, slots),) = found.notices
    assert name == "TEC_Error" and "the one before stays active: " in slots["msg"]
    assert "TEC_CLASSES/root.baroc:1:" in slots["msg"]


async def test_a_start_that_is_refused_leaves_the_server_stopped(instance: Instance) -> None:
    epochs.path_of(instance.ha, 1).touch()
    marks.mark_stopped(instance.ha, 1)
    (instance.rule_bases / CURRENT).unlink()
    (instance.directory / "rules/TEC_CLASSES/root.baroc").write_text("TEC_CLASS: broken")
    with pytest.raises(ServerError, match="the rule base in .* is refused:\n"):
        prepare(instance)
    assert marks.stopped(instance.ha)


async def test_a_rule_base_that_does_not_run_here_is_never_named(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passed the check, but no rule process of this node would get past the record that activates it."""
    before = (instance.rule_bases / "current").read_text()
    with (instance.directory / "rules/TEC_CLASSES/tec.baroc").open("a") as classes:
        classes.write("TEC_CLASS: Own ISA EVENT;\nEND\n")
    monkeypatch.setattr(
        "opentec.server.trial.problem_of",
        lambda base, rule_bases: "not installed" if base.content_hash != before.strip() else "",
    )
    said: list[str] = []
    found = prepare(instance, said)
    assert (instance.rule_bases / "current").read_text() == before == found.rule_base.content_hash + "\n"
    assert "does not run here: not installed" in said[0] and found.notices[0][0] == "TEC_Error"
    (instance.rule_bases / "current").unlink()
    with pytest.raises(ServerError, match="is refused:\n.* does not run here: not installed"):
        prepare(instance)
    assert not (instance.rule_bases / "current").exists()


async def test_a_standby_that_could_not_open_its_port_says_so(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "port_trouble", lambda name, node: f"{node.listen}: another program has the port")
    said: list[str] = []
    prepare(instance, said)
    assert len(said) == 1, "who serves at once opens it, and says why it cannot"
    holder = Lease.claim(instance.ha, "brown", [], 0)
    assert holder is not None
    prepare(instance, said)
    assert said[1] == "warning: this node could not take over now: 0.0.0.0:5529: another program has the port"
    holder.release()


async def test_little_room_is_warned_of(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "short_of_room", lambda *given: "rx: 1 MiB free")
    said: list[str] = []
    prepare(instance, said)
    assert said[0] == "warning: rx: 1 MiB free"


async def test_a_node_that_cannot_run_the_active_rule_base_does_not_stand_by(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Lease.claim(instance.ha, "brown", [], 0)
    assert holder is not None
    monkeypatch.setattr("opentec.server.trial.problem_of", lambda base, rule_bases: "not installed")
    with pytest.raises(ServerError, match="active rule base cannot be loaded: .* does not run here: not installed"):
        prepare(instance)
    holder.release()


async def test_a_first_start_with_a_broken_rule_base_is_refused(instance: Instance) -> None:
    (instance.rule_bases / "current").unlink()
    (instance.directory / "rules/TEC_CLASSES/root.baroc").write_text("TEC_CLASS: broken")
    with pytest.raises(ServerError, match="the rule base in .* is refused:\n"):
        prepare(instance)


async def other_snapshot(instance: Instance, tmp_path: Path) -> str:
    """A snapshot of a rule base that is not the configured one."""
    from opentec.rules.rulebase import snapshot

    other = tmp_path / "other"
    shutil.copytree(instance.directory / "rules", other)
    with (other / "TEC_CLASSES/.load_classes").open("a") as file:
        file.write("own.baroc\n")
    (other / "TEC_CLASSES/own.baroc").write_text("TEC_CLASS: Own ISA EVENT;\n")
    return snapshot(other, instance.rule_bases)


async def test_what_was_loaded_stays_until_the_configured_folder_is_edited(instance: Instance, tmp_path: Path) -> None:
    first = comes_up(prepare(instance))
    assert activates(first), "the folder was not seen before"
    assert read_mark(instance.rule_bases, SEEN) == first.rule_base.content_hash
    assert not activates(prepare(instance)), "the folder is as it was"
    loaded = await other_snapshot(instance, tmp_path)
    write_mark(instance.rule_bases, CURRENT, loaded)
    again = comes_up(prepare(instance))
    assert (again.rule_base.content_hash, activates(again)) == (loaded, False)
    with (instance.directory / "rules/TEC_RULES/rule_sets").open("a") as file:
        file.write("# edited\n")
    edited = comes_up(prepare(instance))
    assert activates(edited) and edited.rule_base.content_hash not in (loaded, first.rule_base.content_hash)
    assert read_mark(instance.rule_bases, CURRENT) == edited.rule_base.content_hash
    shutil.rmtree(instance.rule_bases / edited.rule_base.content_hash)
    assert activates(prepare(instance)), "its snapshot is gone: the folder is read again"


async def test_a_start_that_never_serves_leaves_what_it_chose_to_the_next(instance: Instance, tmp_path: Path) -> None:
    """It dies before the log has it, or another node is faster: nothing may look as if it had been activated."""
    comes_up(prepare(instance))
    before = {mark: read_mark(instance.rule_bases, mark) for mark in (CURRENT, SEEN)}
    with (instance.directory / "rules/TEC_RULES/rule_sets").open("a") as file:
        file.write("# edited\n")
    chosen = [prepare(instance) for _ in range(2)]
    assert all(activates(found) for found in chosen)
    assert {mark: read_mark(instance.rule_bases, mark) for mark in before} == before
    edited = comes_up(chosen[1])
    assert not activates(prepare(instance)), "now it is at work"
    waiting = await other_snapshot(instance, tmp_path)
    write_mark(instance.rule_bases, WAITING, waiting)
    assert {prepare(instance).rule_base.content_hash for _ in range(2)} == {waiting}
    assert read_mark(instance.rule_bases, WAITING) == waiting
    assert read_mark(instance.rule_bases, CURRENT) == edited.rule_base.content_hash
    write_mark(instance.rule_bases, WAITING, "e" * 64)
    assert all(prepare(instance).notices for _ in range(2)), "why it was refused is told until the log has it"


async def test_the_first_start_names_its_rule_base_for_a_node_that_starts_behind_it(instance: Instance) -> None:
    (instance.rule_bases / CURRENT).unlink()
    first = prepare(instance)
    assert read_mark(instance.rule_bases, CURRENT) == first.rule_base.content_hash
    assert activates(prepare(instance)), "but it is not active before the log has it"


async def test_what_waits_for_a_start_is_taken_once(instance: Instance, tmp_path: Path) -> None:
    prepare(instance)
    waiting = await other_snapshot(instance, tmp_path)
    write_mark(instance.rule_bases, WAITING, waiting)
    found = comes_up(prepare(instance))
    assert (found.rule_base.content_hash, activates(found)) == (waiting, True)
    assert read_mark(instance.rule_bases, WAITING) == ""
    again = prepare(instance)
    assert (again.rule_base.content_hash, activates(again)) == (waiting, False)


async def test_what_waits_and_cannot_be_loaded_is_told_once(instance: Instance) -> None:
    comes_up(prepare(instance))
    write_mark(instance.rule_bases, WAITING, "e" * 64)
    said: list[str] = []
    found = comes_up(prepare(instance, said))
    assert found.rule_base.content_hash == found._current_hash() and not activates(found)
    assert said[0].startswith("the rule base eeeeeeeeeeee, loaded for this start, is refused and the one before stays")
    assert found.notices[0][0] == "TEC_Error"
    assert prepare(instance).notices == []


async def test_a_node_that_gave_way_clears_no_stop_and_activates_nothing(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs.path_of(instance.ha, 1).touch()
    marks.mark_stopped(instance.ha, 1)
    before = (instance.rule_bases / "current").read_text()
    (instance.directory / "rules/TEC_CLASSES/own.baroc").write_text("TEC_CLASS: Own ISA EVENT;")
    became: list[float] = []
    monkeypatch.setattr(Prepared, "become_master", lambda self, ready, cool_off: became.append(cool_off))
    monkeypatch.setattr("opentec.server.logs.log_to_file", lambda path: None)
    lock = os.open(os.devnull, os.O_RDONLY)
    _rejoin([str(instance.directory), "black", "5.0", str(lock)])
    os.close(lock)
    assert became == [5.0] and marks.stopped(instance.ha)
    assert (instance.rule_bases / "current").read_text() == before


async def test_a_node_that_cannot_stand_by_again_says_why_in_its_log(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("opentec.server.logs.log_to_file", lambda path: None)
    instance.config_file.write_text("[rx]\nnone = 1\n")
    lock = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(SystemExit) as ended:
        _rejoin([str(instance.directory), "black", "0.0", str(lock)])
    os.close(lock)
    assert ended.value.code == 1
    assert "node black cannot stand by again" in caplog.text and "rx.none" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_node_whose_disk_fails_stands_by_again_when_it_is_mended(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits, also for trials that still hang, and systemd does not take that for a hang."""
    monkeypatch.setattr("opentec.server.logs.log_to_file", lambda path: None)
    monkeypatch.setattr("opentec.server.notify.Notifier.send", lambda self, *lines: told.append(lines))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: slept.append(seconds))
    monkeypatch.setattr(Prepared, "become_master", lambda self, ready, cool_off: became.append(cool_off))
    told: list[tuple[str, ...]] = []
    slept: list[float] = []
    became: list[float] = []

    def fails(self: Prepared) -> None:
        # read-only: the folders cannot be written either, and this must be what is told
        if troubles:
            raise module.DiskTrouble(troubles.pop())

    troubles = ["rx: it cannot be written: Read-only file system"]
    children = [(7, 9), (0, 0), (8, 9)]

    def waitpid(pid: int, flags: int) -> tuple[int, int]:
        if not children:
            raise ChildProcessError
        return children.pop(0)

    monkeypatch.setattr(Prepared, "_require_disks", fails)
    monkeypatch.setattr(
        module, "require_access", lambda *given, asked: None if slept else pytest.fail("the disk comes first")
    )
    monkeypatch.setattr(module.os, "waitpid", waitpid)
    lock = os.open(os.devnull, os.O_RDONLY)
    _rejoin([str(instance.directory), "black", "5.0", str(lock)])
    os.close(lock)
    assert became == [5.0] and slept == [module._DISK_AGAIN] * 2 and not children
    assert told == [("WATCHDOG=1", "STATUS=rx: it cannot be written: Read-only file system")] * 2
    assert caplog.text.count("stands by again when this is mended") == 1


@pytest.mark.parametrize(
    "error",
    [InstanceError("tec is not an instance directory"), OSError(5, "Input/output error"), "cannot be read"],
    ids=["folder", "disk", "file"],
)
async def test_a_node_whose_storage_is_away_waits_for_it(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception | str
) -> None:
    """The mount is gone for a moment: that must not cost the standby. Why it waits is said once."""
    monkeypatch.setattr("opentec.server.logs.log_to_file", lambda path: None)
    waited: list[str] = []
    became: list[float] = []
    monkeypatch.setattr(module, "_wait_for_disk", waited.append)
    monkeypatch.setattr(Prepared, "become_master", lambda self, ready, cool_off: became.append(cool_off))
    looks = iter([error, error, None])

    def load(found: Instance) -> Any:
        away = next(looks)
        if isinstance(away, str):
            raise ConfigError(away) from OSError(116, "Stale file handle")
        if away is not None:
            raise away
        return load_config(found)

    monkeypatch.setattr(module, "load_config", load)
    lock = os.open(os.devnull, os.O_RDONLY)
    _rejoin([str(instance.directory), "black", "0.0", str(lock)])
    os.close(lock)
    assert became == [0.0] and len(waited) == 2
    assert caplog.text.count("node black stands by again when this is mended") == 1


class Replaced(BaseException):
    """What an exec would have begun, or an exit."""


async def ended(found: Prepared, monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[str, list[str]]:
    """What becomes of a master that ends with this error: its exec, or its exit."""

    class Fails:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.options = options

        async def run(self) -> int:
            raise error

    def stop(*what: Any) -> None:
        raise Replaced(*what)

    monkeypatch.setattr("opentec.server.master.Master", Fails)
    monkeypatch.setattr("opentec.server.logs.log_to_file", lambda path: None)
    monkeypatch.setattr("setproctitle.setproctitle", lambda title: None)
    monkeypatch.setattr(module, "_wait_for_disk", lambda trouble: None)
    monkeypatch.setattr(module.asyncio, "run", run_here)
    monkeypatch.setattr(module.logging, "shutdown", lambda: None)
    monkeypatch.setattr(module.os, "execv", stop)
    monkeypatch.setattr(module.os, "_exit", stop)
    found.lock = os.open(os.devnull, os.O_RDONLY)
    try:
        with pytest.raises(Replaced) as replaced:
            found.become_master(lambda word: None)
    finally:
        os.close(found.lock)
    return replaced.value.args[0], list(replaced.value.args[1:])


def run_here(work: Any) -> Any:
    """A coroutine that waits for nothing, to its end."""
    try:
        work.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("it waits")


async def test_a_node_that_lost_the_lease_s_folder_before_it_stood_by_again_begins_anew(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = os.open(os.devnull, os.O_RDONLY)
    found = Prepared(instance, "black", lambda text: None, lock=lock)
    os.close(lock)
    away = ServerError("ha: Stale file handle")
    away.__cause__ = LeaseDirectoryError("ha: Stale file handle")
    program, (arguments,) = await ended(found, monkeypatch, away)
    assert program == sys.executable
    # a module of the directory that the server was started in must not be imported in place of a library's
    assert arguments[1:4] == ["-P", "-m", "opentec.server.start"]
    assert await ended(found, monkeypatch, ServerError("a newer version is at work")) == (1, [])
    assert await ended(prepare(instance), monkeypatch, away) == (1, []), "somebody waits for the word of this one"


def test_no_python_that_the_server_starts_imports_from_the_current_directory() -> None:
    """Whoever owns the directory that a server of root was started in would run code as root."""
    source = Path(module.__file__).parents[1]
    texts = [path.read_text() for path in source.rglob("*.py")]
    found = [after for text in texts for after in re.findall(r"\[\s*sys\.executable,\s*(\S+)", text)]
    assert len(found) >= 5 and set(found) <= {'"-P",', '"-I",'}, found


async def test_a_standby_takes_what_the_active_node_has(instance: Instance) -> None:
    holder = Lease.claim(instance.ha, "brown", [], 0)
    assert holder is not None
    (instance.directory / "rules/TEC_CLASSES/root.baroc").write_text("TEC_CLASS: broken")
    found = prepare(instance)
    assert found.rule_base.content_hash == found._current_hash() and found.notices == []
    (instance.rule_bases / "current").write_text("f" * 64)
    with pytest.raises(ServerError, match="the active rule base cannot be loaded"):
        prepare(instance)
    (instance.rule_bases / "current").unlink()
    with pytest.raises(ServerError, match="names no active rule base; the active node must start first"):
        prepare(instance)
    holder.release()


@pytest.mark.parametrize(("wanted", "chosen"), [("durable-rules", "indexed"), ("auto", "indexed")])
async def test_where_durable_rules_has_a_problem_the_indexed_selector_is_used(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, wanted: str, chosen: str
) -> None:
    monkeypatch.setattr("opentec.rules.selectors.durable_rules_problem", lambda: "its self-test failed")
    text = instance.config_file.read_text().replace('"indexed"', f'"{wanted}"')
    instance.config_file.write_text(text)
    said: list[str] = []
    assert prepare(instance, said).selector == chosen
    assert any("its self-test failed" in text for text in said) == (wanted == "durable-rules")


def wait_for(instance: Instance, data: bytes) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    try:
        return _wait_for_word(read_end, instance, "black")
    finally:
        os.close(read_end)


async def test_the_word_of_the_daemon(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait_for(instance, b'{"state": "up", "epoch": 3}\nmore') == {"state": "up", "epoch": 3}
    with pytest.raises(ServerError, match="because"):
        wait_for(instance, b'{"state": "failed", "reason": "because"}\n')
    with pytest.raises(ServerError, match="node black ended while it started; .*log/black holds its logs"):
        wait_for(instance, b'{"state"')
    monkeypatch.setattr(module, "_START_LIMIT", 0.01)
    read_end, write_end = os.pipe()
    with pytest.raises(ServerError, match="node black is not up after 0 s; `tec status` says what it waits for"):
        _wait_for_word(read_end, instance, "black")
    tell = _writer(write_end)
    tell({"state": "up"})
    assert json.loads(os.read(read_end, 100)) == {"state": "up"}
    os.close(read_end)
    tell({"state": "failed"})  # who started it is gone
    os.close(write_end)


async def test_a_start_waits_for_who_reads_the_files(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    with readers.reading(instance.ha, lambda: told.append(True)):
        monkeypatch.setattr(module, "_READERS_LIMIT", 0.0)
        with pytest.raises(ServerError, match="a command still reads the files of the stopped server"):
            prepare(instance)
        monkeypatch.setattr(module.hooks, "unsafe", lambda rule: rule == "no-reader-lock")
        assert prepare(instance)._reader_lock is None
    assert not told
    monkeypatch.undo()


async def test_a_start_that_has_waited_has_readers_make_way(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READERS_PATIENCE", 0.0)
    monkeypatch.setattr(readers, "_LOOK", 0.001)
    reads = readers.take(instance.ha, shared=True)
    assert reads is not None
    looking = threading.Thread(target=readers._look, args=(instance.ha, lambda: os.close(reads), threading.Event()))
    looking.start()
    found = Prepared(instance, "black", lambda text: None)
    looking.join()
    assert found._reader_lock is not None
    os.close(found.lock)
    found.lease_settled()
    free = readers.take(instance.ha, readers.WANTED)
    assert free is not None, "the start wants nothing any more"
    os.close(free)


async def test_no_command_reads_until_the_lease_is_settled(instance: Instance) -> None:
    found = Prepared(instance, "black", lambda text: None)
    with readers.reading(instance.ha, lambda: None) as alone:
        assert not alone
    found.lease_settled()
    found.lease_settled()
    with readers.reading(instance.ha, lambda: None) as alone:
        assert alone
    os.close(found.lock)


async def test_another_node_that_claims_meanwhile_makes_this_one_a_standby(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(instance)
    free = [True, False, False]
    monkeypatch.setattr(Prepared, "_lease_is_free", lambda self: free.pop(0))
    found = prepare(instance)
    assert found._reader_lock is None and not found.alone and not activates(found) and not free


async def test_a_disk_that_fails_refuses_the_start(instance: Instance, tmp_path: Path) -> None:
    text = instance.config_file.read_text()
    second = '[nodes.brown]\nlisten = "127.0.0.1:5530"\n'
    instance.config_file.write_text(f'{text}\n{second}[ha]\nlocal_disks = ["{tmp_path}/none"]\n')
    with pytest.raises(
        module.DiskTrouble, match="none: it cannot be written: No such file or directory; mend the disk"
    ):
        prepare(instance)


async def test_a_network_file_system_refuses_the_start_unless_told(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "network_file_system", lambda path: "nfs4")
    with pytest.raises(ServerError, match="lies on a nfs4 file system: SQLite's locks do not protect it"):
        prepare(instance)
    text = instance.config_file.read_text()
    instance.config_file.write_text(f"{text}\n[rim]\nallow_network_fs = true\n")
    prepare(instance)
