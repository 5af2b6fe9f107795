"""The program: from event logs and JSON lines to acknowledged events, against a scripted server."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from opentec.adapters.nt import main
from opentec.adapters.nt.main import load, run
from opentec.eif.frame import text_of
from opentec.events.errors import SourceErrors
from opentec.events.text import parse_event
from tests.adapters.nt.evtx_files import event_json
from tests.eif.scripted import Server, Store, serving, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "events.jsonl").write_text(event_json(1) + "\n" + event_json(2, EventID=99) + "\nnonsense\n")
    (tmp_path / "tecad_nt.map").write_text("CLASS *DISCARD*\nSELECT EventId=99\nEND\n")
    return tmp_path


def write_conf(folder: Path, port: int, more: str = "BufEvtPath=buffer", sources: str = "*.jsonl") -> Path:
    path = folder / "a.conf"
    path.write_text(
        f"ServerLocation=127.0.0.1\nServerPort={port}\nLogSources={sources}\nPollInterval=0.01\nRetryInterval=0.01\n{more}\n"
    )
    return path


def arrived(store: Store) -> list[Any]:
    return [parse_event(text_of(frame.data))[1]["record_id"] for frame, _ in store.events]


@pytest.mark.parametrize(
    "more", ["BufEvtPath=buffer", "BufEvtPath=buffer\nBufferEvents=NO", "BufferEvents=MEMORY_ONLY"]
)
async def test_once(folder: Path, more: str) -> None:
    store = Store()
    async with serving(Server(store)) as (_, port):
        outcome = await run(write_conf(folder, port, more), once=True, node="web1")
    assert arrived(store) == ["1"]
    counters = outcome.counters
    assert (counters.records, counters.discarded, counters.unreadable, outcome.unconfirmed) == (3, 1, 1, 0)
    assert counters.to_data()["events"] == 1


async def test_until_stopped_and_again(folder: Path) -> None:
    store = Store()
    stop = asyncio.Event()
    async with serving(Server(store)) as (_, port):
        running = asyncio.create_task(run(write_conf(folder, port), stop=stop, node="web1"))
        await until(lambda: len(store.events) == 1)
        with (folder / "events.jsonl").open("a") as file:
            file.write(event_json(3) + "\n")
        await until(lambda: len(store.events) == 2)
        stop.set()
        assert (await running).counters.events == 2
        outcome = await run(write_conf(folder, port), once=True, node="web1")
    assert arrived(store) == ["1", "3"]
    assert outcome.counters.events == 2  # of both runs


async def test_without_a_server_events_wait_in_the_buffer(folder: Path) -> None:
    async with serving(Server(Store())) as (_, port):
        pass  # the port is free again
    outcome = await run(write_conf(folder, port), once=True, node="web1", wait=0.05)
    assert outcome.unconfirmed == 1


async def test_what_the_server_refuses_is_told(folder: Path) -> None:
    store = Store()
    store.refuse = lambda frame: "class 'NT_Event' is not defined"
    reports: list[str] = []
    async with serving(Server(store)) as (_, port):
        conf = write_conf(folder, port, "BufEvtPath=buffer\nLanguageID=x")
        outcome = await run(conf, once=True, node="web1", report=reports.append)
    assert outcome.rejected == 1
    assert "LanguageID is not used" in reports[0]
    assert "class 'NT_Event' is not defined; is the class in the server's rule base" in reports[-1]


def test_the_map_beside_the_configuration_or_the_shipped_one(folder: Path) -> None:
    conf = write_conf(folder, 1)
    assert len(load(conf, "web1")[2].blocks) == 1
    (folder / "tecad_nt.map").rename(folder / "my.map")
    assert len(load(conf, "web1")[2].blocks) > 20
    assert len(load(write_conf(folder, 1, "BufEvtPath=b\nMapFile=my.map"), "web1")[2].blocks) == 1
    with pytest.raises(FileNotFoundError):
        load(write_conf(folder, 1, "BufEvtPath=b\nMapFile=gone.map"), "web1")


def test_without_the_library_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "is_installed", lambda: False)
    assert load(write_conf(folder, 1), "web1")  # JSON lines need none
    with pytest.raises(SourceErrors, match=r"names System.evtx, and the library .* pip install 'opentec\[nt\]'"):
        load(write_conf(folder, 1, sources="System.evtx"), "web1")


def test_whether_the_library_is_there() -> None:
    assert main.is_installed() == (importlib.util.find_spec("evtx") is not None)
