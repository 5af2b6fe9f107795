"""Loading another rule base: what reception, rule process and dispatch make of it, and what is left on disk."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from opentec.events.records import Disposition, Kind, decode_activate, position_of
from opentec.log.segments import segment_paths
from opentec.rules import snapshots
from opentec.rules.rulebase import load_compiled, snapshot
from opentec.server import activation
from opentec.server.activation import Chosen, may_activate, prune_rule_bases, remember, rule_base_of_log
from opentec.server.child import Context, Fatal
from opentec.server.errors import Refused
from opentec.server.progress import Word
from opentec.server.rpc import Peer
from tests.server.kit import Node, log_of, make_context, node, until

CLASSES = Path(__file__).parents[2] / "rules/default/TEC_CLASSES"
NEW_CLASS = "TEC_CLASS: Shop_New ISA EVENT DEFINES { number: INTEGER; };\n"
RULES = "rule: mark: ( event: _e of_class 'Shop_New', reception_action: ( set_event_severity(_e, 'FATAL') ) ).\n"


def base_in(folder: Path, rules: str = RULES, classes: str = NEW_CLASS) -> Path:
    (folder / "TEC_RULES").mkdir(parents=True)
    shutil.copytree(CLASSES, folder / "TEC_CLASSES")
    (folder / "TEC_CLASSES/shop.baroc").write_text(classes)
    with (folder / "TEC_CLASSES/.load_classes").open("a") as order:
        order.write("shop.baroc\n")
    (folder / "TEC_RULES/rule_sets").write_text("shop\n")
    (folder / "TEC_RULES/shop.rls").write_text(rules)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot of a rule base that knows Shop_New."""
    folder = tmp_path_factory.mktemp("made")
    snapshot(base_in(folder / "shop"), folder / "rulebase")
    return folder / "rulebase"


@pytest.fixture
def shop(context: Context, made: Path) -> str:
    """The hash of that snapshot, which the instance has too."""
    (content_hash,) = (path.name for path in made.iterdir())
    shutil.copytree(made / content_hash, context.instance.rule_bases / content_hash)
    return content_hash


def new(number: int) -> tuple[str, dict[str, Any]]:
    return "Shop_New", {"number": number}


async def outcomes(tec: Node, kind: Kind = Kind.EVENT) -> list[str]:
    records = log_of(tec.context.instance.rx, tec.progress[Word.DURABLE])
    found = [await tec.ask("dispatch", "verdict", [record.position, 5]) for record in records if record.kind == kind]
    return [Disposition(outcome[1]).name if outcome else "" for outcome in found]


async def test_what_comes_behind_the_record_is_taken_by_the_new_classes_and_rules(context: Context, shop: str) -> None:
    async with node(context) as tec:
        await tec.post(new(1))
        answer = await tec.ask("reception", "activate", shop)
        assert (answer["name"], answer["before"]) == ("shop", context.rule_base.content_hash)
        await tec.post(new(2))
        assert await tec.ask("dispatch", "applied", [answer["after"], 5]) == shop
        await tec.committed()
        assert await outcomes(tec) == ["REJECTED", "STORED"]
        (row,) = [row for row in await tec.rows() if row["class"] == "Shop_New"]
        assert (row["number"], row["severity"]) == (2, "FATAL")
        assert len(await tec.ask("dispatch", "list", {"classes": ["Shop_New"]})) == 1
        (last,) = [
            record for record in log_of(context.instance.rx, answer["after"]) if record.position == answer["position"]
        ]
        assert decode_activate(last.payload).rule_base == shop
        assert tec.progress[Word.RULE_BASE] == int(shop[:12], 16)
        assert snapshots.read_mark(context.instance.rule_bases, snapshots.CURRENT) == shop
        assert (context.instance.rule_bases / shop).stat().st_mtime_ns == last.time * 1000
        again = await tec.ask("reception", "activate", shop)
        assert (again["position"], again["before"]) == (None, shop) and again["after"] >= answer["after"]


async def test_not_applied_in_time(context: Context, shop: str) -> None:
    async with node(context) as tec:
        await tec.kill("rule")
        answer = await tec.ask("reception", "activate", shop)
        assert await tec.ask("dispatch", "applied", [answer["after"], 0.01]) is None
        with pytest.raises(Refused, match="applied cannot be answered"):
            await tec.ask("dispatch", "applied", ["x"])


@pytest.mark.parametrize("names", [("reception",), ("dispatch",), ("rule",), ("rule", "dispatch", "reception")])
async def test_a_process_that_is_started_again_goes_on_with_what_was_loaded(
    context: Context, shop: str, names: tuple[str, ...]
) -> None:
    async with node(context) as tec:
        answer = await tec.ask("reception", "activate", shop)
        assert await tec.ask("dispatch", "applied", [answer["after"], 5]) == shop
        snapshots.clear_mark(context.instance.rule_bases, snapshots.CURRENT)
        await tec.kill(*names)
        tec.start(*names)
        await tec.ready(*names)
        await tec.post(new(1))
        await tec.committed()
        assert await outcomes(tec) == ["STORED"]
        assert len(await tec.ask("dispatch", "list", {"classes": ["Shop_New"]})) == 1
        kinds = [record.kind for record in log_of(context.instance.rx, tec.progress[Word.DURABLE])]
        assert kinds.count(Kind.ACTIVATE) == 2
        mark = snapshots.read_mark(context.instance.rule_bases, snapshots.CURRENT)
        assert mark == (shop if "reception" in names else "")


async def test_a_load_that_the_rule_process_does_not_survive_is_given_up(context: Context, shop: str) -> None:
    async with node(context) as tec:
        before = context.rule_base.content_hash
        await tec.kill("rule")
        answer = await tec.ask("reception", "activate", shop)
        await tec.post(new(1))
        after = await tec.ask("reception", "quarantine", [answer["position"], "it ended the rule process 2 times"])
        await tec.post(new(2))
        tec.start("rule")
        await tec.ready("rule")
        assert await tec.ask("dispatch", "applied", [after, 5]) == before
        await tec.committed()
        # the first was taken by the classes that were given up: its own outcome says so
        assert await outcomes(tec) == ["REJECTED", "REJECTED"]
        assert snapshots.read_mark(context.instance.rule_bases, snapshots.CURRENT) == before


async def test_another_record_that_is_set_aside_gives_nothing_up(context: Context, shop: str) -> None:
    async with node(context) as tec:
        await tec.ask("reception", "activate", shop)
        await tec.ask("reception", "quarantine", [position_of(1, 1), "x"])
        assert tec.work("reception")._context.rule_base.content_hash == shop


async def test_what_is_refused_changes_nothing(
    context: Context, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(context) as tec:
        before = log_of(context.instance.rx, tec.progress[Word.DURABLE])
        for wanted, said in (("f" * 64, "there is no rule base f{64}"), ("no hash", "is not the content hash")):
            with pytest.raises(Refused, match=said):
                await tec.ask("reception", "activate", wanted)
        monkeypatch.setattr(Peer, "is_own", property(lambda peer: False))
        with pytest.raises(Refused, match="only the server's own user may load a rule base"):
            await tec.ask("reception", "activate", shop)
        assert log_of(context.instance.rx, tec.progress[Word.DURABLE]) == before


def test_what_this_node_cannot_run_is_refused(
    context: Context, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_bases = context.instance.rule_bases
    assert may_activate(rule_bases, shop).content_hash == shop
    monkeypatch.setattr(activation, "problem_of", lambda base, folder: "a package is missing")
    with pytest.raises(Refused, match="rule base shop .* does not run here: a package is missing"):
        may_activate(rule_bases, shop)
    folder = base_in(tmp_path / "base")
    text = (folder / "TEC_CLASSES/tec.baroc").read_text()
    (folder / "TEC_CLASSES/tec.baroc").write_text(text.replace("TEC_Failover", "TEC_Failovr"))
    with pytest.raises(Refused, match="does not know TEC_Failover as the server posts it.*take tec.baroc from"):
        may_activate(rule_bases, snapshot(folder, rule_bases))


def test_the_classes_that_are_asked_for_are_those_that_the_master_posts(context: Context) -> None:
    text = Path(activation.__file__).with_name("takeover.py").read_text()
    for name, slots in activation._NEEDED.items():
        assert f'"class": "{name}"' in text
        for slot in slots:
            assert f'"{slot}"' in text
        context.rule_base.classes.check(name, slots)


def test_the_log_s_last_rule_base_rules_but_for_a_start_that_chose_another(context: Context, shop: str) -> None:
    chosen = context.rule_base
    assert rule_base_of_log(context, "", True) is chosen
    assert rule_base_of_log(context, chosen.content_hash, True) is chosen
    assert rule_base_of_log(context, shop, False) is chosen
    assert rule_base_of_log(context, shop, True).content_hash == shop
    context.activates = False
    assert rule_base_of_log(context, shop, False).content_hash == shop
    with pytest.raises(Fatal, match="rule base eeeeeeeeeeee, the log's last, cannot be loaded"):
        rule_base_of_log(context, "e" * 64, False)


async def test_a_takeover_says_which_rule_base_the_log_names(context: Context, shop: str) -> None:
    async with node(context) as tec:
        await tec.ask("reception", "activate", shop)
        await tec.kill("rule")  # before reception: what is left of it in this loop would follow the next one
    takeover = {"class": "TEC_Failover", "msg": "x", "source": "TEC", "rule_base": context.rule_base.content_hash}
    later = make_context(context.instance, 2, activates=False, takeover=takeover)
    async with node(later, repository=False) as tec:
        await tec.committed()
        failover = next(row for row in await tec.rows() if row["class"] == "TEC_Failover")
        assert failover["rule_base"] == shop


def marks_of(context: Context) -> dict[str, str]:
    return {mark: snapshots.read_mark(context.instance.rule_bases, mark) for mark in ("current", "seen", "waiting")}


async def test_what_a_start_chose_is_settled_when_the_log_has_it(context: Context, shop: str) -> None:
    chosen = load_compiled(context.instance.rule_bases, shop)
    snapshots.write_mark(context.instance.rule_bases, snapshots.WAITING, shop)
    starts = Chosen(shop, "f" * 64, "", shop)
    first = make_context(context.instance, 1, chosen, activates=True, chosen=starts)
    before = marks_of(context)
    async with node(first) as tec:
        assert before == {"current": "", "seen": "", "waiting": shop}
        await tec.committed()
        assert marks_of(context) == {"current": shop, "seen": "f" * 64, "waiting": ""}
        await tec.kill("reception")
        # a reception that died between the log and the marks is followed by one that finds the log as it is
        for mark in (snapshots.CURRENT, snapshots.SEEN):
            snapshots.clear_mark(context.instance.rule_bases, mark)
        tec.start("reception")
        await tec.ready("reception")
        assert marks_of(context) == {"current": shop, "seen": "f" * 64, "waiting": ""}


def test_what_was_loaded_or_put_there_since_the_start_is_left_alone(context: Context, shop: str) -> None:
    rule_bases = context.instance.rule_bases
    for mark in (snapshots.SEEN, snapshots.WAITING):
        snapshots.write_mark(rule_bases, mark, "a" * 64)
    Chosen(shop, "f" * 64, "", "b" * 64).settle(rule_bases, shop)
    assert marks_of(context) == {"current": "", "seen": "a" * 64, "waiting": "a" * 64}
    Chosen(shop, "f" * 64, "a" * 64, "a" * 64).settle(rule_bases, "c" * 64)
    assert marks_of(context) == {"current": "", "seen": "a" * 64, "waiting": "a" * 64}
    refused = Chosen("", "f" * 64, "a" * 64, "a" * 64)
    refused.settle(rule_bases, "c" * 64)
    assert marks_of(context) == {"current": "", "seen": "a" * 64, "waiting": ""} and not refused.activates


def test_what_cannot_be_noted_is_told(context: Context, shop: str, caplog: pytest.LogCaptureFixture) -> None:
    context.rule_base = load_compiled(context.instance.rule_bases, shop)
    remember(context, log_time=1_000_000, loaded=True)
    rule_bases = context.instance.rule_bases
    assert snapshots.read_mark(rule_bases, snapshots.CURRENT) == shop
    assert (rule_bases / snapshots.SEEN).read_text() == "\n", "there is no configured folder in this instance"
    shutil.rmtree(rule_bases / shop)
    remember(context, log_time=2_000_000, loaded=False)
    assert "rule base shop is active, but that cannot be noted" in caplog.text


async def test_snapshots_that_nobody_needs_are_deleted(
    context: Context, shop: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rule_bases, asked = context.instance.rule_bases, []
    prune_rule_bases(context)  # there is no log yet
    async with node(context) as tec:
        await tec.ask("reception", "activate", shop)
        (first, *_) = log_of(context.instance.rx, tec.progress[Word.DURABLE])
    gone = [["a" * 64]]

    def pruned(folder: Path, named: set[str], since: int) -> list[str]:
        asked.append((folder, named, since))
        return gone.pop() if gone else []

    monkeypatch.setattr(activation, "prune", pruned)
    with caplog.at_level(logging.INFO):
        prune_rule_bases(context)
    assert asked[0][:2] == (rule_bases, {"", context.rule_base.content_hash}) and asked[0][2] <= first.time
    assert "rule bases deleted that the log does not name any more: aaaaaaaaaaaa" in caplog.text

    def fails(*arguments: object) -> list[str]:
        raise PermissionError("no")

    monkeypatch.setattr(activation, "prune", fails)
    prune_rule_bases(context)
    assert "cannot be deleted: no" in caplog.text
    path = segment_paths(context.instance.rx)[0]
    data = bytearray(path.read_bytes())
    data[100:120] = b"\xff" * 20
    path.write_bytes(data)
    asked.clear()
    prune_rule_bases(context)
    assert asked == []


async def test_two_loads_at_once_come_one_behind_the_other(context: Context, shop: str, tmp_path: Path) -> None:
    folder = base_in(tmp_path / "other", classes=NEW_CLASS.replace("New", "Old"), rules="")
    other = snapshot(folder, context.instance.rule_bases)
    async with node(context) as tec:
        one, two = await asyncio.gather(tec.ask("reception", "activate", shop), tec.ask("reception", "activate", other))
        assert one["position"] < two["position"] and two["before"] == shop
        await until(lambda: tec.progress[Word.RULE_BASE] == int(other[:12], 16))
        assert snapshots.read_mark(context.instance.rule_bases, snapshots.CURRENT) == other
