"""A trace from the control socket of reception to the explanations that dispatch gives out, and across restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opentec.events.records import Disposition, Kind, decode_activate
from opentec.server.child import Context
from opentec.server.errors import Refused
from opentec.server.progress import Word
from tests.rules.engine_kit import rule_base
from tests.server.kit import Client, Node, event, log_of, node

RULES = """
rule: other: ( event: _e of_class 'Disk' where [ hostname: equals other ], action: ( drop_received_event ) ).
rule: hit: ( event: _e of_class 'Disk' where [ ], action: ( set_event_message(_e, hit) ) ).
"""
SAID = "hostname: equals 'other' said no: it was 'web1'"


async def rules_of(tec: Node, client: Client, sequence: int) -> list[Any]:
    """What is kept of the rules for one more event from web1."""
    client.send(event(sequence, hostname="web1"))
    await client.answer()
    await tec.committed()
    newest = max((row for row in await tec.rows() if row["class"] == "Disk_Full"), key=lambda row: int(row["eid"]))
    outcome = await tec.ask("dispatch", "verdict", [newest["position"], 20])
    return list(json.loads(outcome[6]))


async def test_from_the_socket_to_the_explanation(context: Context) -> None:
    context.rule_base = rule_base(RULES)
    async with node(context) as tec:
        client = await Client.connect(context.config.nodes["black"].port)
        await client.greet()
        assert [len(entry) for entry in await rules_of(tec, client, 1)] == [6]
        answer = await tec.ask("reception", "trace", {"names": ["Disk", "Dsik"], "hours": 2})
        assert answer["unknown"] == {"Dsik": "Disk"}
        outcome = await tec.ask("dispatch", "verdict", [answer["position"], 20])
        assert (outcome[1], outcome[5]) == (Disposition.APPLIED, "traced: Disk, Dsik")
        other, hit = await rules_of(tec, client, 2)
        assert (other[1:3], other[6], hit[1]) == (["other", []], [SAID], "hit")
        limit = tec.progress[Word.DURABLE]
        first, second = [
            decode_activate(record.payload).settings
            for record in log_of(context.instance.rx, limit)
            if record.kind == Kind.ACTIVATE
        ]
        assert second == {**first, "trace": {"names": ["Disk", "Dsik"], "hours": 2}}
        assert [name for name, _ in await tec.ask("dispatch", "trace")] == ["Disk", "Dsik"]
        await tec.kill("rule")
        tec.start("rule")
        await tec.ready("rule")
        assert len(await rules_of(tec, client, 3)) == 2
        answer = await tec.ask("reception", "trace", {"names": [], "hours": 0})
        await tec.ask("dispatch", "verdict", [answer["position"], 20])
        assert await tec.ask("dispatch", "trace") == []
        assert len(await rules_of(tec, client, 4)) == 1
        await client.close()


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (None, "names and hours"),
        ({"names": ["a"]}, "names and hours"),
        ({"names": "a", "hours": 1}, "a list of names"),
        ({"names": ["a"] * 21, "hours": 1}, "at most 20 names"),
        ({"names": ["a" * 256], "hours": 1}, "is not the name"),
        ({"names": ["a"], "hours": 10**9}, "1 to 168 hours"),
    ],
)
async def test_a_wrong_trace_is_refused_and_leaves_nothing_in_the_log(
    context: Context, argument: Any, reason: str
) -> None:
    async with node(context) as tec:
        await tec.committed()
        end = await tec.ask("reception", "follow")
        with pytest.raises(Refused, match=reason):
            await tec.ask("reception", "trace", argument)
        assert await tec.ask("reception", "follow") == end
