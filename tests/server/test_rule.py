"""Rule process, dispatch and reception together, in one loop over their real sockets: from an event to its row."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from opentec.events.records import ActivatePayload, ChangePayload, Disposition, Kind, name_of, position_of
from opentec.log.segments import read_preamble, segment_paths
from opentec.rim.batch import Batch
from opentec.rim.errors import RepositoryRefused, RepositoryUnavailable
from opentec.rim.repository import Repository
from opentec.rules.engine import Engine
from opentec.rules.rulebase import RuleBase
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.rules.user_predicates.declaration import UserPredicates
from opentec.server import reception as reception_module
from opentec.server import rule as module
from opentec.server.child import Context, Fatal, Restart
from opentec.server.instance import Instance
from opentec.server.progress import Word
from opentec.server.rule import Reprime, RuleProcess
from tests.rules.engine_kit import rule_base
from tests.server.kit import Client, Node, event, log_of, make_context, make_repository, node, until, with_config

COUNTING = """
rule: count: (
  event: _event of_class within ['Disk_Full'] where [hostname: _h],
  reception_action: once: (
    first_duplicate(_event, event: _dup where [status: outside ['CLOSED']]),
    add_to_repeat_count(_dup, 1), drop_received_event, commit_rule )).
"""


def message(number: int) -> tuple[str, dict[str, Any]]:
    return "Link_Up", {"hostname": f"h{number}", "msg": f"'m{number}'"}


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["hostname"] for row in rows if row["class"] == "Link_Up"]


async def errors(tec: Node) -> list[dict[str, Any]]:
    """The stored TEC_Error, once all of the log is committed."""
    await tec.work("reception")._intake.durable()
    await tec.committed()
    return [row for row in await tec.rows() if row["class"] == "TEC_Error"]


async def recovery_said(tec: Node) -> None:
    """Wait until TEC_Recovered is in the log, and committed."""

    def newest() -> bytes:
        return log_of(tec.context.instance.rx, tec.progress[Word.DURABLE])[-1].payload

    await until(lambda: b"TEC_Recovered" in newest())
    await tec.committed()


async def outcome(tec: Node, position: int) -> Any:
    return await tec.ask("dispatch", "verdict", [position, 20])


async def test_an_event_from_the_wire_is_stored_with_its_key(context: Context) -> None:
    async with node(context) as tec:
        client = await Client.connect(context.config.nodes["black"].port)
        await client.greet()
        client.send(event(1, hostname="web1", drive="'C:'"))
        await client.answer()
        await client.close()
        await tec.committed()
        (row,) = [row for row in await tec.rows() if row["class"] == "Disk_Full"]
        assert (row["hostname"], row["drive"], row["status"]) == ("web1", "C:", "OPEN")
        assert tec.progress[Word.PROCESSED] == tec.progress[Word.COMMITTED] == tec.progress[Word.DURABLE]
        assert (await outcome(tec, row["position"]))[1] == Disposition.STORED


async def test_a_restarted_rule_process_goes_on_where_the_repository_stands(context: Context) -> None:
    async with node(context) as tec:
        await tec.post(*(message(number) for number in range(5)))
        await tec.committed()
        await tec.kill("rule")
        await tec.post(*(message(number) for number in range(5, 9)))
        tec.start("rule")
        await tec.ready("rule")
        await tec.committed()
        assert names(await tec.rows()) == [f"h{number}" for number in range(9)]


async def test_a_rule_process_is_primed_with_all_state_however_many_pages_it_is(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(context) as tec:
        await tec.post(*(message(number) for number in range(3)))
        await tec.committed()
        before = tec.work("rule")._engine.state_hash()
        await tec.kill("rule")
        monkeypatch.setattr("opentec.rim.queries.STATE_BYTES", 1)  # every key is a page
        asked = []
        read = Repository.rule_state

        async def counted(repository: Repository, after: str = "") -> Any:
            asked.append(after)
            return await read(repository, after)

        monkeypatch.setattr(Repository, "rule_state", counted)
        tec.start("rule")
        await tec.ready("rule")
        await until(lambda: hasattr(tec.work("rule"), "_reader"))
        assert tec.work("rule")._engine.state_hash() == before
        assert asked == ["", *sorted(asked[1:])]
        assert len(asked) > 5


async def test_a_restarted_dispatch_gets_what_it_had_not_committed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(context) as tec:
        await tec.committed()
        gate = asyncio.Event()
        commit = Repository.commit

        async def slow(repository: Repository, batch: Batch, epoch: int) -> None:
            await gate.wait()
            await commit(repository, batch, epoch)

        monkeypatch.setattr(Repository, "commit", slow)
        for number in range(3):
            await tec.post(message(number))
        await until(lambda: tec.work("rule")._sent)
        await tec.kill("dispatch")
        monkeypatch.undo()
        tec.start("dispatch")
        await tec.committed()
        assert names(await tec.rows()) == ["h0", "h1", "h2"]


async def test_a_rule_process_that_dies_in_a_commit_leaves_a_whole_commit_to_its_successor(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor is told the position after the commit that was under way, so its own first batch fits."""
    async with node(context) as tec:
        await tec.committed()
        before = tec.progress[Word.COMMITTED]
        gate, begun = asyncio.Event(), asyncio.Event()
        move = Repository._move

        async def slow(repository: Repository, *arguments: Any) -> None:
            begun.set()
            await gate.wait()
            await move(repository, *arguments)

        monkeypatch.setattr(Repository, "_move", slow)
        await tec.post(message(1))
        await begun.wait()
        await tec.kill("rule")
        for _ in range(20):
            await asyncio.sleep(0)  # dispatch sees the end of the connection
        tec.start("rule")
        await until(lambda: tec.work("dispatch")._turn.locked())
        gate.set()
        await tec.ready("rule")
        await tec.committed()
        assert tec.progress[Word.COMMITTED] > before
        await tec.post(message(2))
        await tec.committed()
        assert names(await tec.rows()) == ["h1", "h2"]
        assert not tec.progress[Word.SINGLE]
        assert all(record.kind != Kind.QUARANTINE for record in log_of(context.instance.rx, tec.progress[Word.DURABLE]))


async def test_a_restarted_reception_is_followed_again(context: Context) -> None:
    async with node(context) as tec:
        await tec.kill("reception")
        tec.start("reception")
        await tec.ready("reception")
        await until(lambda: tec.work("reception")._rule)
        await tec.post(message(1))
        await tec.committed()
        assert names(await tec.rows()) == ["h1"]


async def test_a_record_that_the_repository_refuses_ends_failed_and_the_others_are_stored(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _refusing(context, monkeypatch, says_which=True)


async def test_where_the_repository_does_not_say_which_record_it_was_batches_of_one_find_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _refusing(context, monkeypatch, says_which=False)


async def _refusing(context: Context, monkeypatch: pytest.MonkeyPatch, *, says_which: bool) -> None:
    commit = Repository.commit

    async def refuse(repository: Repository, batch: Batch, epoch: int) -> None:
        for index, row in enumerate(batch.inserts):
            if "h2" in row:
                position = batch.outcomes[index].position if says_which else None
                raise RepositoryRefused("inserts", index if says_which else None, position, "a test")
        await commit(repository, batch, epoch)

    monkeypatch.setattr(Repository, "commit", refuse)
    async with node(context) as tec:
        await tec.committed()
        await tec.post(*(message(number) for number in range(5)))
        deaths = 0
        while tec.progress[Word.COMMITTED] < tec.progress[Word.DURABLE]:
            await until(lambda: tec.ended() or tec.progress[Word.COMMITTED] >= tec.progress[Word.DURABLE])
            for process in tec.ended():
                assert process.work is tec.work("rule") and isinstance(process.task.exception(), Reprime)
                await tec.kill("rule")
                tec.start("rule")
                await tec.ready("rule")
                deaths += 1
        assert deaths == (1 if says_which else 2)
        assert names(await tec.rows()) == ["h0", "h1", "h3", "h4"]
        records = log_of(context.instance.rx, tec.progress[Word.DURABLE])
        failed = [record for record in records if (await outcome(tec, record.position) or [0, 0])[1] == 4]
        assert len(failed) == 1 and b"h2" in failed[0].payload
        assert tec.progress[Word.SINGLE] == 0, "the search is over: full batches again"


async def test_a_batch_that_does_not_fit_blames_no_record(context: Context) -> None:
    """Somebody else moved the position: the rule process primes again, and nothing is quarantined."""
    async with node(context) as tec:
        await tec.committed()
        tec.work("rule")._builder.before -= 1
        tec.work("rule")._builder._clear()
        await tec.post(message(1))
        await until(tec.ended)
        (process,) = tec.ended()
        with pytest.raises(Reprime, match="the batch begins at"):
            process.task.result()
        await tec.kill("rule")
        tec.start("rule")
        await tec.committed()
        assert names(await tec.rows()) == ["h1"]
        assert not tec.progress[Word.SINGLE]


async def test_a_change_for_an_event_in_the_cache(context: Context) -> None:
    async with node(context) as tec:
        await tec.post(message(1))
        await tec.committed()
        row = (await tec.rows())[-1]
        key = [row["date_reception"], row["event_handle"], row["server_handle"]]
        position = await tec.ask("reception", "change", {"event": key, "slots": {"status": "ACK"}})
        assert (await outcome(tec, position))[1] == Disposition.APPLIED
        assert (await tec.rows())[-1]["status"] == "ACK"


async def test_a_change_for_an_event_outside_the_cache_waits_for_its_row(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(instance, base=rule_base(cache_size=20))
    async with node(context) as tec:
        await tec.post(message(0))
        await tec.post(*(message(number) for number in range(1, 60)))
        await tec.committed()
        first = next(row for row in await tec.rows() if row["hostname"] == "h0")
        key = [first["date_reception"], first["event_handle"], first["server_handle"]]
        # dispatch dies while it is asked for the row; meanwhile no record is in work
        event_by_key = Repository.event_by_key
        asked = asyncio.Event()

        async def never(*_: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Repository, "event_by_key", never)
        position = await tec.ask("reception", "change", {"event": key, "slots": {"status": "CLOSED"}})
        await tec.post(message(60))
        await asked.wait()
        assert tec.progress[Word.ATTEMPT] == 0
        await tec.kill("dispatch")
        monkeypatch.setattr(Repository, "event_by_key", event_by_key)
        tec.start("dispatch")
        await tec.committed()
        assert (await outcome(tec, position))[1] == Disposition.APPLIED
        assert [row["status"] for row in await tec.rows() if row["hostname"] == "h0"] == ["CLOSED"]
        unknown = await tec.ask("reception", "change", {"event": [1, 2, 1], "slots": {"status": "ACK"}})
        assert (await outcome(tec, unknown))[1] == Disposition.REFUSED


async def test_a_quarantined_record_is_not_even_looked_at(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node(context) as tec:
        await tec.committed()
        needs_row = Engine.needs_row

        def poison(engine: Engine, record: Any) -> Any:
            if record.kind == Kind.CHANGE:
                raise RecursionError("poison")
            return needs_row(engine, record)

        monkeypatch.setattr(Engine, "needs_row", poison)
        position = await tec.ask("reception", "change", {"event": [1, 2, 1], "slots": {"status": "ACK"}})
        await until(tec.ended)
        assert tec.progress[Word.ATTEMPT] == position, "the master sees which record it was"
        assert isinstance(tec.processes["rule"].task.exception(), RecursionError)
        await tec.kill("rule")
        await tec.ask("reception", "quarantine", [position, "it ended the rule process 2 times"])
        tec.progress[Word.ATTEMPT] = 0
        tec.start("rule")
        await tec.committed()
        assert (await outcome(tec, position))[1] == Disposition.FAILED


async def test_a_damaged_record_is_named_and_the_next_one_is_processed(context: Context) -> None:
    async with node(context) as tec:
        await tec.committed()
        await tec.kill("rule")
        await tec.post(message(1))
        await tec.post(message(2))
        records = log_of(context.instance.rx, tec.progress[Word.DURABLE])
        damaged = records[-2]
        (path,) = segment_paths(context.instance.rx)
        with path.open("r+b") as file:
            file.seek(read_preamble(path).records_at + damaged.position - position_of(1, 0) + 80)
            file.write(b"\xff\xff")
        tec.start("rule")
        await tec.committed()
        assert (await outcome(tec, damaged.position))[1] == Disposition.FAILED
        at = read_preamble(path).records_at + damaged.position - position_of(1, 0)
        where = f"{name_of(damaged.position)} (segment rx.1.0, byte {at})"
        (told,) = await errors(tec)
        assert told["msg"].startswith(f"the record at {where} is damaged and lost") and told["severity"] == "CRITICAL"
        assert names(await tec.rows()) == ["h2"]
        # who reads it again does not tell it again
        tec.work("rule")._damaged = [damaged.position]
        tec.work("rule")._wake.set()
        await until(lambda: not tec.work("rule")._damaged)
        assert await errors(tec) == [told]


async def test_damage_is_told_though_reception_was_away(context: Context) -> None:
    async with node(context) as tec:
        await tec.committed()
        rule = tec.work("rule")
        await tec.kill("reception")
        rule._damaged = [position_of(1, 72)]
        rule._wake.set()
        tec.start("reception")
        await until(lambda: not rule._damaged)
        assert len(await errors(tec)) == 1


async def test_an_away_repository_stops_the_rule_process_at_its_window(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_config(context, "rules", window=100, batch=10)
    monkeypatch.setattr(module, "_SLICE", 10)
    async with node(context) as tec:
        await tec.committed()
        commit = Repository.commit

        full = True

        async def away(repository: Repository, batch: Batch, epoch: int) -> None:
            if full:
                raise RepositoryUnavailable("database or disk is full")
            await commit(repository, batch, epoch)

        monkeypatch.setattr(Repository, "commit", away)
        await tec.post(*(message(number) for number in range(300)))
        rule = tec.work("rule")
        await until(lambda: not rule._room() and tec.progress[Word.REPOSITORY_ERROR_SINCE])
        assert 100 <= rule._builder.records + sum(sent.size for sent in rule._sent) <= 120
        full = False
        await tec.committed()
        assert not tec.progress[Word.REPOSITORY_ERROR_SINCE]
        assert names(await tec.rows()) == [f"h{number}" for number in range(300)]


async def test_a_batch_is_closed_by_its_bytes_too(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 1000)
    monkeypatch.setattr(module, "_WINDOW_BYTES", 20_000)
    sizes: list[int] = []
    commit = Repository.commit

    async def note(repository: Repository, batch: Batch, epoch: int) -> None:
        sizes.append(len(batch.outcomes))
        await commit(repository, batch, epoch)

    monkeypatch.setattr(Repository, "commit", note)
    async with node(context) as tec:
        await tec.post(*(("Link_Up", {"hostname": f"h{n}", "msg": "x" * 400}) for n in range(20)))
        await tec.committed()
        assert names(await tec.rows()) == [f"h{number}" for number in range(20)]
        assert max(sizes) <= 3


async def test_a_timer_that_waits_in_the_repository_is_told_to_reception_at_once(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception_module, "_TICK_SHORTEST", 0.001)
    timing = """
    rule: wait: ( event: _event of_class within ['Link_Down'],
      reception_action: set: ( set_timer(_event, 3600, 'late') )).
    timer_rule: late: ( event: _event of_class within ['Link_Down'], timer_info: equals 'late',
      action: note: ( bo_set_slotval(_event, msg, 'timed out') )).
    """
    context = make_context(instance, base=rule_base(timing, check=False))
    async with node(context) as tec:
        await tec.post(("Link_Down", {"hostname": "a"}))
        await tec.committed()
        due = tec.progress[Word.DUE]
        assert due > tec.work("reception")._intake.writer.time
        await tec.kill("rule")
        tec.progress[Word.DUE] = 0  # as on another node's page
        tec.start("rule")
        await tec.ready("rule")
        assert tec.progress[Word.DUE] == due
        clock = tec.work("reception")._intake.clock
        clock._log = due  # an hour passes
        await until(lambda: tec.progress[Word.DUE] == 0)
        await tec.committed()
        assert [row["msg"] for row in await tec.rows() if row["class"] == "Link_Down"] == ["timed out"]


async def test_recovery_is_said_once_when_everything_before_is_committed(instance: Instance) -> None:
    async with node(make_context(instance)) as tec:
        await tec.committed()
        await tec.kill("rule", "dispatch")
        await tec.post(message(1), message(2))
    failover = {"class": "TEC_Failover", "msg": "black -> brown", "epoch": 2, "from_node": "black", "to_node": "brown"}
    context = make_context(instance, 2, takeover=failover)
    async with node(context, repository=False) as tec:
        await recovery_said(tec)
        rows = await tec.rows()
        assert names(rows) == ["h1", "h2"]
        assert [row["class"] for row in rows][-2:] == ["TEC_Failover", "TEC_Recovered"]
        assert rows[-1]["records"] == 3 and rows[-1]["epoch"] == 2
        await tec.kill("rule")
        tec.start("rule")
        await tec.ready("rule")
        await tec.committed()
        assert [row["class"] for row in await tec.rows()].count("TEC_Recovered") == 1


@pytest.mark.parametrize("gone", [True, False])
async def test_recovery_that_cannot_be_said_does_not_end_the_rule_process(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    context = make_context(instance, takeover={"class": "TEC_Failover", "msg": "x"})
    notice = reception_module.Reception._notice

    def fails(reception: Any, name: str, slots: Any) -> int:
        monkeypatch.setattr(reception_module.Reception, "_notice", notice)
        if not gone:
            return notice(reception, "TEC_Recoverde", slots)
        assert reception._rule is not None
        reception._rule.close()
        return 0

    monkeypatch.setattr(reception_module.Reception, "_notice", fails)
    async with node(context) as tec:
        if gone:
            await recovery_said(tec)
        else:
            await until(lambda: tec.progress[Word.RECOVERED])
        await tec.post(message(1))
        await tec.committed()
        assert [row["class"] for row in await tec.rows()].count("TEC_Recovered") == int(gone)


async def test_what_the_engine_counts_is_the_same_with_and_without_restarts(instance: Instance) -> None:
    context = make_context(instance, base=rule_base(COUNTING))
    async with node(context) as tec:
        for number in range(6):
            await tec.post(("Disk_Full", {"hostname": "a", "drive": "c"}))
            if number in (1, 4):
                await tec.kill("rule")
                tec.start("rule")
                await tec.ready("rule")
        await tec.committed()
        assert [row["repeat_count"] for row in await tec.rows() if row["class"] == "Disk_Full"] == [5]


async def test_an_unknown_rule_base_in_the_log_is_fatal(context: Context) -> None:
    process = RuleProcess(context)
    with pytest.raises(Fatal, match="rule base ffffffffffff of the log cannot be loaded"):
        process._base("f" * 64)


def unloadable(base: RuleBase, content_hash: str = "f" * 64) -> RuleBase:
    """One whose predicates.py does not load here, though it was checked elsewhere."""
    user = UserPredicates("import not_installed_here\n", (), ())
    return msgspec.structs.replace(base, user_predicates=user, content_hash=content_hash)


async def test_a_rule_base_that_does_not_load_at_a_start_is_fatal(instance: Instance) -> None:
    context = make_context(instance, base=unloadable(rule_base()))
    await make_repository(instance, context.config)
    tec = Node(context)
    tec.start()
    await until(tec.ended)
    (process,) = tec.ended()
    with pytest.raises(
        Fatal, match=r"rule base test \(ffffffffffff\) of the log cannot be run on node black: .*installed"
    ):
        process.task.result()
    assert context.progress[Word.RULE_BASE] == 0
    await tec.kill()


async def test_a_rule_base_that_does_not_load_at_its_activation_is_fatal(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(context) as tec:
        await tec.committed()
        assert context.progress[Word.RULE_BASE] == int(context.rule_base.content_hash[:12], 16)
        wanted = unloadable(context.rule_base)
        monkeypatch.setattr(module, "load_compiled", lambda folder, content_hash: wanted)
        before = context.progress[Word.RULE_BASE]
        tec.work("reception")._intake.add(Kind.ACTIVATE, ActivatePayload(wanted.content_hash, wanted.name, {}))
        await until(tec.ended)
        (process,) = tec.ended()
        with pytest.raises(Fatal, match=r"make this node like the one that activated it"):
            process.task.result()
        assert context.progress[Word.RULE_BASE] == before, "the old one is at work to the end"


class GivesWay(IndexedSelector):
    reason = ""


async def given_way(tec: Node) -> list[str]:
    """What was posted about it, once the rule process has looked."""
    tec.work("rule")._selector.reason = "durable-rules failed 4 times, the last time with: no"
    await tec.post(message(1))
    await tec.committed()
    await tec.post(message(2))
    await tec.committed()
    return [row["msg"] for row in await tec.rows() if row["class"] == "TEC_Notice"]


async def test_a_selector_that_gives_way_is_told_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IndexedSelector", GivesWay)
    async with node(context) as tec:
        (said,) = await given_way(tec)
        assert said == (
            "durable-rules failed 4 times, the last time with: no: the indexed selector takes over until the rule "
            "process of node black begins anew"
        )


@pytest.mark.parametrize("gone", [True, False])
async def test_a_selector_that_gives_way_while_nobody_hears_it(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, gone: bool
) -> None:
    monkeypatch.setattr(module, "IndexedSelector", GivesWay)
    notice = reception_module.Reception._notice

    def fails(reception: Any, name: str, slots: Any) -> int:
        monkeypatch.setattr(reception_module.Reception, "_notice", notice)
        if not gone:
            return notice(reception, "TEC_Notcie", slots)
        assert reception._rule is not None
        reception._rule.close()
        return 0

    async with node(context) as tec:
        monkeypatch.setattr(reception_module.Reception, "_notice", fails)
        said = await given_way(tec)
        assert len(said) == int(gone)
        assert ("it would have said: durable-rules failed" in caplog.text) != gone


async def test_a_change_of_an_event_that_cannot_be_ends_and_stops_nobody(context: Context) -> None:
    """Reception refuses such a key; one that is in the log all the same is set aside."""
    async with node(context) as tec:
        intake = tec.work("reception")._intake
        position = intake.add(Kind.CHANGE, ChangePayload((1 << 63, 1, 1), {"status": "ACK"}, "ann"))
        await intake.durable()
        await until(tec.ended)
        (process,) = tec.ended()
        assert isinstance(process.task.exception(), Reprime)
        await tec.kill("rule")
        tec.start("rule")
        await tec.committed()
        assert (await outcome(tec, position))[1] == Disposition.FAILED


async def test_a_neighbour_that_dies_in_the_middle_of_a_question_is_no_unexpected_error(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: RuleProcess) -> None:
        raise ConnectionResetError("the other process closed the connection")

    monkeypatch.setattr(RuleProcess, "run", fails)
    with pytest.raises(Restart, match="closed the connection"):
        await module.main(context)
