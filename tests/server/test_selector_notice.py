"""When durable-rules crashes the rule process, the log says so."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from opentec.server.child import Context
from opentec.server.master import Master
from opentec.server.progress import CHILDREN
from opentec.server.rpc import Peer, RpcServer
from opentec.server.supervisor import Supervisor


async def die(supervisor: Supervisor, code: int) -> None:
    await supervisor._died(supervisor.children[CHILDREN.index("rule")], code)


@pytest.fixture
def posted() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def supervisor(
    context: Context, posted: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> Supervisor:
    async def ignore(position: int, reason: str) -> None:
        pass

    async def post(name: str, slots: dict[str, Any]) -> None:
        posted.append((name, slots))

    found = Supervisor(context, ignore, post)
    monkeypatch.setattr(found, "_start", lambda child: None)
    return found


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE])
async def test_a_crash_under_durable_rules_is_told_once(
    supervisor: Supervisor, context: Context, posted: list[tuple[str, dict[str, Any]]], number: int
) -> None:
    context.selector = "durable-rules"
    for _ in range(2):
        await die(supervisor, -number)
    assert context.selector == "indexed"
    ((name, slots),) = posted
    assert name == "TEC_Notice"
    assert f"killed by {signal.Signals(number).name}" in slots["msg"]
    assert "the indexed selector takes over until node black is started again" in slots["msg"]
    context.rule_base.classes.check(name, slots)  # reception will take it


@pytest.mark.parametrize("code", [-9, 1])
async def test_other_deaths_leave_the_selector_as_it_is(
    supervisor: Supervisor, context: Context, posted: list[tuple[str, dict[str, Any]]], code: int
) -> None:
    context.selector = "durable-rules"
    await die(supervisor, code)
    assert (context.selector, posted) == ("durable-rules", [])


async def test_the_master_posts_through_reception_and_survives_its_absence(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    master = Master(context.instance, context.config, context.node, context.rule_base, [], lambda word: None)
    master._context = context
    await master._post("TEC_Notice", {"msg": "nobody hears it"})
    assert "TEC_Notice cannot be posted" in caplog.text
    assert "it would have said: nobody hears it" in caplog.text
    asked: list[Any] = []

    async def answer(peer: Peer, operation: str, argument: Any) -> int:
        asked.append([operation, *argument])
        return 1

    context.runtime.mkdir(parents=True, exist_ok=True)
    server = RpcServer(context.runtime / "reception.sock", answer)
    await server.start()
    try:
        await master._post("TEC_Notice", {"msg": "x"})
    finally:
        server.close()
    assert asked == [["notice", "TEC_Notice", {"msg": "x"}]]
