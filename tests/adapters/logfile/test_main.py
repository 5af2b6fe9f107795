"""The program: from lines in a file to acknowledged events, against a scripted server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from opentec.adapters.logfile.main import load, run
from opentec.adapters.logfile.positions import PositionFile
from opentec.eif.errors import BufferLocked, BufferUnusable
from opentec.eif.frame import text_of
from opentec.events.errors import SourceErrors
from opentec.events.text import parse_event
from tests.eif.scripted import Server, Store, serving, until

FMT = "FORMAT Line\nline %s*\nmsg $1\nEND\nFORMAT *DISCARD*\nnoise\nEND\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tecad_logfile.fmt").write_text(FMT)
    (tmp_path / "log").write_text("line one\nnoise\nline two\nelse\n")
    return tmp_path


def write_conf(folder: Path, port: int, more: str = "BufEvtPath=buffer") -> Path:
    path = folder / "a.conf"
    path.write_text(
        f"ServerLocation=127.0.0.1\nServerPort={port}\nLogSources=log\nPollInterval=0.01\nRetryInterval=0.01\n{more}\n"
    )
    return path


def arrived(store: Store) -> list[Any]:
    return [parse_event(text_of(frame.data))[1]["msg"] for frame, _ in store.events]


@pytest.mark.parametrize(
    "more", ["BufEvtPath=buffer", "BufEvtPath=buffer\nBufferEvents=NO", "BufferEvents=MEMORY_ONLY"]
)
async def test_once(folder: Path, more: str) -> None:
    store = Store()
    async with serving(Server(store)) as (_, port):
        outcome = await run(write_conf(folder, port, more), once=True, node="web1")
    assert arrived(store) == ["one", "two"]
    assert (outcome.counters.lines, outcome.counters.unmatched, outcome.unconfirmed) == (4, 1, 0)
    _, file = store.events[1]
    assert file is not None
    assert (file.scope, file.path) == ("web1", str(folder / "log"))
    assert store.events[1][0].end_offset == 24


@pytest.mark.parametrize("more", ["BufEvtPath=buffer", "BufEvtPath=buffer\nBufferEvents=NO"])
async def test_a_second_run_goes_on(folder: Path, more: str) -> None:
    store = Store()
    async with serving(Server(store)) as (_, port):
        conf = write_conf(folder, port, more)
        await run(conf, once=True, node="web1")
        with (folder / "log").open("a") as file:
            file.write("line three\n")
        outcome = await run(conf, once=True, node="web1")
    assert arrived(store) == ["one", "two", "three"]
    assert outcome.counters.lines == 5  # of both runs


async def test_until_stopped(folder: Path) -> None:
    store = Store()
    stop = asyncio.Event()
    async with serving(Server(store)) as (_, port):
        running = asyncio.create_task(run(write_conf(folder, port), stop=stop, node="web1"))
        await until(lambda: len(store.events) == 2)
        with (folder / "log").open("a") as file:
            file.write("line three\n")
        await until(lambda: len(store.events) == 3)
        stop.set()
        assert (await running).counters.events == 3


async def test_without_a_server_events_wait_in_the_buffer(folder: Path) -> None:
    async with serving(Server(Store())) as (_, port):
        pass  # the port is free again
    conf = write_conf(folder, port)
    outcome = await run(conf, once=True, node="web1", wait=0.05)
    assert outcome.unconfirmed == 2
    (folder / "log").unlink()
    store = Store()
    async with serving(Server(store)) as (_, port):
        outcome = await run(write_conf(folder, port), once=True, node="web1")
    assert arrived(store) == ["one", "two"]
    assert outcome.unconfirmed == 0


async def test_stopped_while_waiting_for_the_last_acknowledgements(folder: Path) -> None:
    async with serving(Server(Store())) as (_, port):
        pass
    stop = asyncio.Event()
    running = asyncio.create_task(run(write_conf(folder, port), once=True, stop=stop, node="web1"))
    await until(lambda: (folder / "buffer" / "positions").exists())
    stop.set()
    assert (await running).unconfirmed == 2


async def test_memory_that_was_not_acknowledged_is_read_again(folder: Path) -> None:
    async with serving(Server(Store())) as (_, port):
        pass
    more = "BufEvtPath=buffer\nBufferEvents=MEMORY_ONLY"
    outcome = await run(write_conf(folder, port, more), once=True, node="web1", wait=0.05)
    assert outcome.unconfirmed == 2
    store = Store()
    async with serving(Server(store)) as (_, port):
        await run(write_conf(folder, port, more), once=True, node="web1")
    assert arrived(store) == ["one", "two"]


async def test_what_the_server_refuses_is_told_once(folder: Path) -> None:
    store = Store()
    store.refuse = lambda frame: "class 'Line' is not defined"
    reports: list[str] = []
    async with serving(Server(store)) as (_, port):
        conf = write_conf(folder, port, "BufEvtPath=buffer\nConnectionMode=CO")
        outcome = await run(conf, once=True, node="web1", report=reports.append)
    assert outcome.rejected == 2
    assert ["ConnectionMode is not used" in reports[0], "class 'Line'" in reports[1]] == [True, True]
    assert "`tec adapter try` shows which format made it" in reports[1]
    assert len(reports) == 2


async def test_a_small_buffer_stops_tailing_and_loses_nothing(folder: Path) -> None:
    count = 6000
    (folder / "log").write_text("".join(f"line {number} {'x' * 100}\n" for number in range(count)))
    store = Store()
    async with serving(Server(store)) as (_, port):
        conf = write_conf(folder, port, "BufEvtPath=buffer\nBufEvtMaxSize=256")
        outcome = await run(conf, once=True, node="web1")
    assert [int(message.split()[0]) for message in arrived(store)] == list(range(count))
    assert outcome.counters.lines == count


async def test_once_ends_when_the_buffer_is_full_and_no_server_answers(folder: Path) -> None:
    count = 6000
    (folder / "log").write_text("".join(f"line {number} {'x' * 100}\n" for number in range(count)))
    async with serving(Server(Store())) as (_, port):
        pass  # the port is free again
    more = "BufEvtPath=buffer\nBufEvtMaxSize=256"
    reports: list[str] = []
    conf = write_conf(folder, port, more)
    conf.write_text(conf.read_text().replace("PollInterval=0.01", "PollInterval=9"))
    running = run(conf, once=True, node="web1", wait=0.05, report=reports.append)
    outcome = await asyncio.wait_for(running, 5)
    assert (outcome.unread, 0 < outcome.unconfirmed < count) == (True, True)
    assert f"the buffer {folder / 'buffer'} is full" in reports[-1]
    store = Store()
    async with serving(Server(store)) as (_, port):
        outcome = await run(write_conf(folder, port, more), once=True, node="web1")
    # what was buffered comes again, and has the same identity: file and offset
    ranges = {
        (file, frame.end_offset): message for (frame, file), message in zip(store.events, arrived(store), strict=True)
    }
    assert sorted(int(message.split()[0]) for message in ranges.values()) == list(range(count))
    assert (outcome.unread, outcome.unconfirmed, outcome.counters.lines) == (False, 0, count)


async def test_two_adapters_cannot_share_a_buffer(folder: Path) -> None:
    store = Store()
    stop = asyncio.Event()
    async with serving(Server(store)) as (_, port):
        conf = write_conf(folder, port)
        first = asyncio.create_task(run(conf, stop=stop, node="web1"))
        await until(lambda: len(store.events) == 2)
        with pytest.raises(BufferLocked):
            await run(conf, once=True, node="web1")
        stop.set()
        await first


async def test_positions_of_another_version_are_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("opentec.adapters.logfile.positions.VERSION", 9)
        (folder / "buffer").mkdir()
        PositionFile(folder / "buffer" / "positions").save({})
    with pytest.raises(BufferUnusable, match="buffer/positions: saved positions of version 9"):
        await run(write_conf(folder, 1), once=True, node="web1")
    assert not (folder / "buffer" / "positions.old").exists()


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(SourceErrors, match="NodeName is missing"):
        load(write_conf(folder, 5529))
    conf, formats = load(write_conf(folder, 5529), node="web1")
    assert (conf.node_name, len(formats)) == ("web1", 2)
    (folder / "tecad_logfile.fmt").unlink()
    with pytest.raises(FileNotFoundError):
        load(write_conf(folder, 5529), node="web1")
