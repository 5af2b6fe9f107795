"""`tec rulebase` and `wrb`: which rule base is meant, what is printed, and the statuses that scripts rely on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opentec.commands import names, rulebase_load, wrb
from opentec.commands.cli import Failure
from opentec.commands.rulebase_names import Places
from opentec.events.records import position_of
from opentec.ha import marks
from opentec.ha.lease import Lease
from opentec.rules import snapshots
from opentec.rules.rulebase import snapshot
from opentec.server.errors import Refused
from opentec.server.instance import Instance
from tests.commands.running import FakeProcess, Ran, Runner, lines

CLASSES = Path(__file__).parents[2] / "rules/default/TEC_CLASSES"
SHOP = "TEC_CLASS: Shop ISA EVENT DEFINES { amount: INTEGER; };\n"
RULE = "rule: big: ( event: _e of_class 'Shop', action: ( commit_rule ) ).\n"
MakeProcess = Callable[..., FakeProcess]


@pytest.fixture
def small(instance: Instance) -> Path:
    """The instance's rule base made small, so that it compiles quickly."""
    rules = instance.directory / "rules"
    shutil.rmtree(rules / "TEC_RULES")
    (rules / "TEC_RULES").mkdir()
    (rules / "TEC_RULES/rule_sets").write_text("")
    for path in (rules / "TEC_CLASSES").glob("*"):
        if path.name not in ("root.baroc", "tec.baroc"):
            path.unlink()
    return rules


@pytest.fixture
def shop(instance: Instance, small: Path, tec: Runner, tmp_path: Path) -> Path:
    """A named rule base with a class and a rule of its own."""
    assert tec("rulebase", "copy", "rules", "shop").status == 0
    for name, text, command in (("shop.baroc", SHOP, "import-class"), ("shop.rls", RULE, "import-rule")):
        (tmp_path / name).write_text(text)
        assert tec("rulebase", command, tmp_path / name, "shop").status == 0
    assert tec("rulebase", "activate-rule", "shop", "shop").status == 0
    return instance.directory / "rulebases/shop"


def objects(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(ran.out)]


# sources


def test_a_rule_base_is_made_changed_and_deleted(tec: Runner, instance: Instance, tmp_path: Path) -> None:
    made = tec("rulebase", "create", "mine")
    folder = instance.directory / "rulebases/mine"
    assert (made.status, made.out) == (0, f"made {folder}\n")
    (tmp_path / "shop.baroc").write_text(SHOP)
    (tmp_path / "shop.rls").write_text(RULE)
    assert tec("rulebase", "import-class", tmp_path / "shop.baroc", "mine", "--before", "tec").status == 0
    assert lines(tec("rulebase", "classes", "mine").out) == ["root.baroc", "shop.baroc", "tec.baroc"]
    assert tec("rulebase", "import-rule", tmp_path / "shop.rls", "mine").out.endswith("and not active yet\n")
    assert lines(tec("rulebase", "rules", "mine").out) == ["  -  shop"]
    activated = tec("rulebase", "activate-rule", "shop", "mine", "--json")
    assert objects(activated) == [{"rule_base": "mine", "rule_set": "shop", "place": 1}]
    assert objects(tec("rulebase", "rules", "mine", "--json")) == [{"rule_set": "shop", "place": 1}]
    assert tec("rulebase", "check", "mine").out.endswith(" classes, 1 rule sets, 1 rules\n")
    assert tec("rulebase", "deactivate-rule", "shop", "mine").status == 0
    assert tec("rulebase", "rules", "mine", "--active").out == ""
    assert "it was active" not in tec("rulebase", "delete-rule", "shop", "mine").out
    assert tec("rulebase", "delete-class", "shop", "mine").out == f"shop.baroc is gone from {folder}\n"
    assert objects(tec("rulebase", "classes", "mine", "--json")) == [
        {"class_file": n} for n in ("root.baroc", "tec.baroc")
    ]
    assert tec("rulebase", "delete", "mine").out == f"{folder} is deleted\n"
    assert not folder.exists()


def test_errors_of_sources_change_nothing(tec: Runner, instance: Instance, tmp_path: Path) -> None:
    tec("rulebase", "create", "mine")
    (tmp_path / "bad.baroc").write_text("TEC_CLASS: Bad ISA EVNT;\n")
    ran = tec("rulebase", "import-class", tmp_path / "bad.baroc", "mine")
    assert ran.status == 2 and "nothing was changed:\n" in ran.err and "did you mean 'EVENT'?" in ran.err
    gone = tec("rulebase", "import-rule", tmp_path / "gone.rls", "mine")
    assert gone.status == 1 and "gone.rls: No such file" in gone.err


def test_a_name_may_lead_to_a_folder_elsewhere(tec: Runner, instance: Instance, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkout/rb"
    assert tec("rulebase", "create", "mine", "--path", elsewhere).status == 0
    assert (instance.directory / "rulebases/mine").resolve() == elsewhere
    assert tec("rulebase", "check", "mine").status == tec("rulebase", "check", elsewhere).status == 0
    ran = tec("rulebase", "delete", "mine")
    assert (ran.status, ran.out) == (0, f"the name mine is gone; {elsewhere} stays\n")
    assert elsewhere.is_dir()
    path = tmp_path / "by/path"
    assert tec("rulebase", "create", path).status == 0
    assert objects(tec("rulebase", "copy", path, "copied", "--json"))[0]["rule_base"] == "copied"
    (instance.directory / "rulebases/copied/.git").mkdir()
    kept = tec("rulebase", "delete", "copied")
    assert kept.status == 1 and "is under version control" in kept.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("create", "abcdef0"), 2, "is no name for a rule base"),
        (("create", "Current"), 2, "is no name for a rule base"),
        (("create", "rules"), 3, "there is a rule base rules already"),
        (("create", "./x", "--path", "y"), 2, "with --path DIR a name is given to it"),
        (("delete", "rules"), 1, "rules is not deleted: it is not in"),
        (("delete", "./rules"), 2, "delete the folder itself"),
        (("delete", "Default"), 1, "it ships with opentec; `tec rulebase copy Default NAME`"),
        (("delete-rule", "cleanup", "Default"), 1, "it ships with opentec"),
        (("delete-rule", "clenup", "rules"), 1, "did you mean 'cleanup'?"),
        (("check", "ruls"), 3, "there is no rule base 'ruls'; did you mean 'rules'?"),
        (("check", "zzzzzz"), 3, "the names are rules, Default; a path has a '/' in it"),
        (("check", "./gone"), 2, "gone: there is no such folder"),
        (("check", "current"), 3, "no rule base was active yet"),
        (("current",), 3, "no rule base was active yet"),
    ],
)
def test_what_is_not_done_is_explained(
    tec: Runner, instance: Instance, words: tuple[str, ...], status: int, said: str
) -> None:
    ran = tec("rulebase", *words)
    assert ran.status == status, ran
    assert said in ran.err


def test_without_an_instance_there_are_paths_only(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tec("rulebase", "create", "./rb").status == 0
    assert tec("rulebase", "check", "rb").status == 0, "a folder here"
    for words, said in (
        (("create", "mine"), "a name belongs to an instance"),
        (("check",), "name a rule base"),
        (("list",), "is not an instance directory"),
        (("check", "rb", "-d", "rb"), "is not an instance directory"),
    ):
        ran = tec("rulebase", *words)
        assert ran.status == 2 and said in ran.err, ran
    assert Places(None).configured is None


# checking and comparing


def test_every_error_is_told(tec: Runner, shop: Path) -> None:
    (shop / "TEC_RULES/shop.rls").write_text(
        RULE.replace("Shop", "Shp") + RULE.replace("big", "two").replace("_rule", "_rul")
    )
    ran = tec("rulebase", "check", "shop")
    assert ran.status == 2
    assert ran.err.count("shop.rls:") == 2 and "did you mean 'Shop'?" in ran.err
    assert ran.err.endswith("tec: rule base shop does not compile: 2 errors\n")
    found = objects(tec("rulebase", "check", "shop", "--json"))
    assert [one["line"] for one in found] == [1, 2]


def test_diff(tec: Runner, shop: Path, instance: Instance) -> None:
    ran = tec("rulebase", "diff", "rules", "shop")
    assert (ran.status, lines(ran.out)) == (0, ["+ class Shop", "+ rule set shop: 1 rules"])
    content_hash = snapshot(shop, instance.rule_bases)
    (shop / "TEC_RULES/shop.rls").write_text("% as before\n" + RULE)
    assert tec("rulebase", "diff", content_hash[:10], "shop").out == "no difference but in comments and layout\n"
    assert tec("rulebase", "diff", "shop", shop).out == "the same\n"
    found = objects(tec("rulebase", "diff", "shop", "rules", "--json"))
    assert found[0] == {"kind": "class", "change": "removed", "name": "Shop", "details": []}
    (shop / "TEC_RULES/shop.rls").write_text("rule")
    assert tec("rulebase", "diff", "rules", "shop").status == 2


def test_lists_and_the_active_one(tec: Runner, shop: Path, small: Path, instance: Instance) -> None:
    active, waiting = snapshot(small, instance.rule_bases), snapshot(shop, instance.rule_bases)
    for content_hash, mark in ((active, snapshots.CURRENT), (waiting, snapshots.WAITING)):
        snapshots.write_mark(instance.rule_bases, mark, content_hash)
        snapshots.note_activated(instance.rule_bases, content_hash, 1_772_352_000_000_000)
    text = tec("rulebase", "list").out
    assert f"* {active[:12]}  2026-03-01T08:00:00Z  rules\n" in text
    assert f"+ {waiting[:12]}  2026-03-01T08:00:00Z  shop\n" in text
    assert [one["name"] for one in objects(tec("rulebase", "list", "--names", "--json"))] == [
        "rules",
        "shop",
        "Default",
    ]
    found = objects(tec("rulebase", "list", "--loaded", "--json"))
    assert {one["hash"]: (one["active"], one["waiting"]) for one in found} == {
        active: (True, False),
        waiting: (False, True),
    }
    assert tec("rulebase", "current").out == f"rules ({active[:12]})\n"
    assert tec("rulebase", "current", "--path").out == f"{instance.rule_bases / active}\n"
    assert objects(tec("rulebase", "current", "--json"))[0]["hash"] == active
    refused = tec("rulebase", "import-rule", "x.rls", "current")
    assert refused.status == 1 and "it is a snapshot of a rule base that was loaded" in refused.err


# loading


@pytest.fixture
def server(instance: Instance, lease: Lease, process: MakeProcess, small: Path) -> dict[str, Any]:
    """A server that answers as told; `calls` are what it was asked."""
    before = snapshot(small, instance.rule_bases)
    snapshots.write_mark(instance.rule_bases, snapshots.CURRENT, before)
    told: dict[str, Any] = {"before": before, "position": position_of(1, 64), "calls": [], "fails": []}

    def reception(operation: str, argument: Any) -> Any:
        told["calls"].append((operation, argument))
        if told["fails"]:
            raise told["fails"].pop()
        told["loaded"] = argument
        answer = {"before": told["before"], "name": "x", "position": told["position"], "after": position_of(1, 99)}
        return {**answer, **told.get("answer", {})}

    def dispatch(operation: str, argument: Any) -> Any:
        told["calls"].append((operation, argument))
        if told.get("away"):
            raise told["away"].pop()
        return told.get("ruling", told["loaded"])

    process("reception", reception)
    process("dispatch", dispatch)
    return told


def test_load_says_what_rules_now_and_what_is_new(tec: Runner, server: dict[str, Any], shop: Path) -> None:
    ran = tec("rulebase", "load", "shop", "--wait", "7")
    assert ran.status == 0, ran
    loaded = server["loaded"]
    assert lines(ran.out) == [
        f"rule base shop ({loaded[:12]}) rules from rx:1:64 on: 1 rule sets, 1 rules",
        "  + class Shop",
        "  + rule set shop: 1 rules",
    ]
    assert server["calls"][0] == ("activate", loaded)
    operation, (after, wait) = server["calls"][1]
    assert (operation, after) == ("applied", position_of(1, 99)) and 6 < wait <= 7
    (found,) = objects(tec("rulebase", "load", "shop", "--json"))
    assert (found["result"], found["name"], found["hash"], found["position"], found["before"]) == (
        *("active", "shop", loaded, "rx:1:64", server["before"]),
    )
    assert [one["kind"] for one in found["changes"]] == ["class", "rule_set"]


def test_a_lost_answer_is_asked_for_again(
    tec: Runner, server: dict[str, Any], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulebase_load, "_POLL", 0)
    server["fails"], server["away"] = [ConnectionResetError()], [ConnectionResetError()]
    assert tec("rulebase", "load", "shop").status == 0
    assert [operation for operation, _ in server["calls"]] == ["activate", "activate", "applied", "applied"]
    server["fails"] = [ConnectionResetError() for _ in range(9)]
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 4 and "`tec rulebase current` says" in ran.err
    assert len(server["fails"]) == 5


def test_the_verdicts_of_a_load(
    tec: Runner, server: dict[str, Any], shop: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    content_hash = snapshot(shop, instance.rule_bases)
    server["ruling"] = None
    ran = tec("rulebase", "load", "shop", "--wait", "0")
    assert ran.status == 5 and "is durable from rx:1:64 on, and does not rule yet" in ran.out
    server["ruling"] = server["before"]
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 3 and f"{server['before'][:12]} rules, not shop" in ran.err
    server["fails"] = [Refused("it does not run here")]
    ran = tec("rulebase", "load", content_hash[:12])
    assert (ran.status, ran.err) == (3, "tec: it does not run here\n")
    del server["ruling"]
    server["answer"] = {"before": content_hash, "position": None}
    again = tec("rulebase", "load", "shop")  # asked again, or by somebody else a moment before
    assert again.status == 0 and f"rule base shop ({content_hash[:12]}) rules: 1 rule sets" in again.out
    snapshots.write_mark(instance.rule_bases, snapshots.CURRENT, content_hash)
    assert "is active already" in tec("rulebase", "load", "shop").out
    server["answer"] = {}
    shutil.rmtree(instance.rule_bases / server["before"])
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 0 and "what is new cannot be said" in ran.err
    monkeypatch.setattr(os, "geteuid", lambda: instance.rule_bases.stat().st_uid + 1)
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 3 and "run the command as that user" in ran.err


def test_what_does_not_compile_never_reaches_the_server(tec: Runner, server: dict[str, Any], shop: Path) -> None:
    (shop / "TEC_RULES/shop.rls").write_text(RULE.replace("Shop", "Shp"))
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 2 and "did you mean 'Shop'?" in ran.err
    assert tec("rulebase", "load", "./gone").status == 2
    assert server["calls"] == []


def test_a_load_for_the_next_start(tec: Runner, server: dict[str, Any], shop: Path, instance: Instance) -> None:
    ran = tec("rulebase", "load", "shop", "--at-restart")
    assert ran.status == 0 and "waits for the next `tec start`" in ran.out and ran.err == ""
    assert server["calls"] == []
    assert snapshots.read_mark(instance.rule_bases, snapshots.WAITING) == snapshot(shop, instance.rule_bases)


def test_a_load_while_the_server_is_stopped_waits_for_its_start(tec: Runner, instance: Instance, shop: Path) -> None:
    ran = tec("rulebase", "load", "shop")
    assert ran.status == 0 and ran.err == "the server is stopped\n"
    assert (instance.rule_bases / snapshots.WAITING).exists()
    held = Lease.claim(instance.ha, "black", [], 0)
    assert held is not None
    held.release()
    marks.mark_stopped(instance.ha, 1)
    assert objects(tec("rulebase", "load", "--json"))[0]["result"] == "waiting"


# wrb


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("-crtrb -path /p shop", "create --path /p -- shop"),
        ("-cprb Default shop", "copy -- Default shop"),
        ("-cprb -path /p/mine Default", "copy --path /p/mine -- Default mine"),
        ("-delrb shop", "delete -- shop"),
        ("-lsrb", "list --names --"),
        ("-imprbclass a.baroc shop", "import-class -- a.baroc shop"),
        ("-imprbclass a.baroc -after b shop", "import-class --after b -- a.baroc shop"),
        ("-delrbclass a.baroc shop", "delete-class -- a.baroc shop"),
        ("-lsrbclass shop", "classes -- shop"),
        ("-imprbrule a.rls shop", "import-rule -- a.rls shop"),
        ("-delrbrule a shop", "delete-rule -- a shop"),
        ("-lsrbrule shop", "rules -- shop"),
        ("-imptgtrule a -before b EventServer shop", "activate-rule --before b -- a shop"),
        ("-deltgtrule a EventServer shop", "deactivate-rule -- a shop"),
        ("-lstgtrule EventServer shop", "rules --active -- shop"),
        ("-comprules shop", "check -- shop"),
        ("-loadrb shop", "load --at-restart -- shop"),
        ("-loadrb -use shop", "load -- shop"),
        ("-lscurrb", "current --"),
        ("-lscurrb -path", "current --path --"),
        ("-d /i -loadrb shop -use --json", "load -d /i --json -- shop"),
    ],
)
def test_wrb_is_tec_rulebase_in_tec_s_words(given: str, meant: str) -> None:
    assert wrb.arguments_of(given.split()) == ["rulebase", *meant.split()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "which sub-command?"),
        ("-lodrb x", "did you mean -loadrb?"),
        ("shop", "'shop' is no sub-command"),
        ("-loadrb", "-loadrb takes RB, not none"),
        ("-lsrb shop", "-lsrb takes no words, not shop"),
        ("-loadrb -us shop", "-loadrb has no option -us; did you mean -use?"),
        ("-crtrb shop -path", "-path needs a value"),
        ("-imptgtrule a Other shop", "there is one rule base target, EventServer"),
        ("-crtrp pack", "-crtrp: there are no rule packs"),
        ("-imprbdata x shop", "put them there"),
        ("-comprules -profile shop", "rules are not profiled"),
        ("-comprules -trace shop", "`tec trace on CLASS`"),
    ],
)
def test_what_wrb_cannot_do_it_explains(given: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        wrb.arguments_of(given.split())
    assert failed.value.status == 2 and said in str(failed.value)


def test_wrb_runs(tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["wrb", *words])
        return tec.entry(names.wrb)

    assert run("-crtrb", "mine").status == 0
    assert "mine" in run("-lsrb").out
    failed = run("-delrb", "other")
    assert failed.status == 3 and failed.err.startswith("wrb: there is no rule base 'other'")
    wrong = run("-lodrb")
    assert (wrong.status, wrong.out) == (2, "") and wrong.err.startswith("wrb: ")
    shown = run("--help")
    assert shown.status == 0 and all(name in shown.out for name in wrb.FORMS)
