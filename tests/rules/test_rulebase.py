"""Rule bases on disk: what is read, what is refused, and the snapshots that servers run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from opentec.events.errors import SourceErrors
from opentec.rules import rulebase, rulebase_sources
from opentec.rules.rulebase import RuleBase, RuleBaseError, Settings, load_compiled, load_rule_base, snapshot

ROOT = Path(__file__).parents[2] / "rules/default/TEC_CLASSES/root.baroc"
DISK = "TEC_CLASS : Disk ISA EVENT DEFINES { drive: STRING, dup_detect = yes; }; END\n"
RULE = "rule: {0}: (event: _event of_class Disk, action: (drop_received_event, commit_set)).\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "TEC_CLASSES").mkdir(parents=True)
    (folder / "TEC_RULES").mkdir()
    shutil.copy(ROOT, folder / "TEC_CLASSES/root.baroc")
    (folder / "TEC_CLASSES/.load_classes").write_text("root.baroc # first\n\ndisk.baroc\n")
    (folder / "TEC_CLASSES/disk.baroc").write_text(DISK)
    (folder / "TEC_RULES/rule_sets").write_text("# order matters\nsecond\n  first.rls  % the last\n\n")
    (folder / "TEC_RULES/first.rls").write_text(RULE.format("one"))
    (folder / "TEC_RULES/second.rls").write_text(RULE.format("one") + RULE.format("two"))
    (folder / "TEC_RULES/off.rls").write_text("not a rule at all")
    return folder


def messages(folder: Path) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        load_rule_base(folder)
    return [str(error).split("\n")[0].replace(f"{folder}/", "") for error in caught.value.errors]


def test_a_rule_base_is_read_in_the_order_of_rule_sets(base: Path) -> None:
    found = load_rule_base(base)
    assert found.name == "mine"
    assert [rule_set.name for rule_set in found.rule_sets] == ["second", "first"]
    assert [rule.name for rule in found.rule_sets[0].rules] == ["one", "two"]
    assert found.classes.classes["Disk"].is_a("EVENT")
    assert found.settings == Settings(cache_size=5000, step_limit=100_000, time_zone="UTC")
    assert found.rule_sets[1].rules[0].place == ("TEC_RULES/first.rls", 1, 1)
    assert load_rule_base(base, name="other").name == "other"


def test_without_a_load_order_every_class_file_counts(base: Path) -> None:
    (base / "TEC_CLASSES/.load_classes").unlink()
    assert "Disk" in load_rule_base(base).classes.classes


def test_the_hash_is_of_the_content_that_matters(base: Path, tmp_path: Path) -> None:
    found = load_rule_base(base).content_hash
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    (copy / "TEC_RULES/off.rls").unlink()
    (copy / "tests").mkdir()
    assert load_rule_base(copy).content_hash == found
    for name, text in (
        ("TEC_RULES/first.rls", RULE.format("another")),
        ("TEC_RULES/rule_sets", "first\nsecond\n"),
        ("TEC_CLASSES/disk.baroc", DISK + "# a comment"),
        ("TEC_CLASSES/.load_classes", "root.baroc\ndisk.baroc\n"),
        ("rulebase.toml", "cache_size = 5000"),
        ("predicates.py", "# none yet"),
    ):
        before = (copy / name).read_text() if (copy / name).exists() else None
        (copy / name).write_text(text)
        assert load_rule_base(copy).content_hash != found, name
        (copy / name).unlink() if before is None else (copy / name).write_text(before)
    assert load_rule_base(copy).content_hash == found


def test_content_cannot_move_between_files_under_one_hash(tmp_path: Path) -> None:
    one = rulebase_sources.Sources(tmp_path, {"a": b"bc"}, ())
    other = rulebase_sources.Sources(tmp_path, {"ab": b"c"}, ())
    assert one.content_hash != other.content_hash


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("", "{}: there is no such folder; a rule base has TEC_CLASSES and TEC_RULES in it"),
        ("TEC_CLASSES", "{}/TEC_CLASSES is missing; a rule base has TEC_CLASSES and TEC_RULES in it"),
        ("TEC_RULES", "{}/TEC_RULES is missing; a rule base has TEC_CLASSES and TEC_RULES in it"),
        (
            "TEC_RULES/rule_sets",
            "{}/TEC_RULES/rule_sets is missing; it names the active rule sets, one a line, in order",
        ),
    ],
)
def test_what_is_missing_is_named(base: Path, missing: str, message: str) -> None:
    path = base / missing
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(RuleBaseError) as caught:
        load_rule_base(base)
    assert str(caught.value) == message.format(base)


def test_a_class_file_outside_is_refused(base: Path) -> None:
    (base / "TEC_CLASSES/.load_classes").write_text("root.baroc\n../secret.baroc\n")
    with pytest.raises(RuleBaseError, match=r"\.load_classes:2: '\.\./secret\.baroc' is not inside TEC_CLASSES"):
        load_rule_base(base)


def test_a_file_that_is_too_large_or_unreadable(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebase_sources, "MAX_FILE", 100)
    with pytest.raises(RuleBaseError, match=r"root\.baroc is larger than 100 bytes; split it"):
        load_rule_base(base)
    (base / "TEC_RULES/first.rls").unlink()
    (base / "TEC_RULES/first.rls").mkdir()
    monkeypatch.undo()
    with pytest.raises(RuleBaseError, match=r"first\.rls cannot be read: Is a directory"):
        load_rule_base(base)


def test_all_files_together_are_limited(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(map(len, rulebase_sources.read_sources(base).files.values()))
    monkeypatch.setattr(rulebase_sources, "MAX_TOTAL", total)
    assert load_rule_base(base).name == "mine"
    (base / "TEC_RULES/first.rls").write_text((base / "TEC_RULES/first.rls").read_text() + " ")
    with pytest.raises(RuleBaseError, match=f"mine: the files of this rule base are larger than {total} bytes; split"):
        load_rule_base(base)


def test_rule_sets_that_are_wrong(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "TEC_RULES/rule_sets").write_text("first\n secnd\nzzzzz\nfirst.rls\n../first\na b\nsecond\n")
    assert messages(base) == [
        "TEC_RULES/rule_sets:2:2: rule set 'secnd' has no file TEC_RULES/secnd.rls; did you mean 'second'?",
        "TEC_RULES/rule_sets:3:1: rule set 'zzzzz' has no file TEC_RULES/zzzzz.rls",
        "TEC_RULES/rule_sets:4:1: rule set 'first' is named twice; keep the line that stands where it shall run",
        "TEC_RULES/rule_sets:5:1: '../first' is not the name of a rule set; write one name a line",
        "TEC_RULES/rule_sets:6:1: 'a b' is not the name of a rule set; write one name a line",
    ]
    monkeypatch.setattr(rulebase_sources, "MAX_RULE_SETS", 1)
    (base / "TEC_RULES/rule_sets").write_text("first\nsecond\n")
    assert messages(base) == ["TEC_RULES/rule_sets:2:1: more than 1 rule sets"]
    (base / "TEC_RULES/rule_sets").write_bytes(b"first\n\xff")
    assert messages(base)[0].startswith("TEC_RULES/rule_sets:2:1: the byte 0xff is not UTF-8; convert the file")


def test_no_rule_sets_is_a_rule_base_too(base: Path) -> None:
    (base / "TEC_RULES/rule_sets").write_text("")
    assert load_rule_base(base).rule_sets == ()


def test_all_errors_of_all_files_in_one_run(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("rule: x (\nrule: y: (event: _e of_class Dsk, action: a).")
    (base / "TEC_RULES/second.rls").write_bytes(b"rule: x: (event: _e of_class D\xe4)")
    (base / "rulebase.toml").write_text("cashe_size = 1")
    (base / "TEC_RULES/third.rls").write_text("rule: z: (event: _e of_class Dsk, action: drop).")
    (base / "TEC_RULES/rule_sets").write_text("first\nsecond\nthird\nfourth")
    places = [message.split(": ")[0] for message in messages(base)]
    assert places == [
        "rulebase.toml:1:1",
        "TEC_RULES/rule_sets:4:1",
        "TEC_RULES/first.rls:1:9",
        "TEC_RULES/second.rls:1:31",
        "TEC_RULES/third.rls:1:30",
        "TEC_RULES/third.rls:1:43",
    ]
    (base / "TEC_CLASSES/disk.baroc").write_text("TEC_CLASS : Disk ISA EVNT; END")
    with_classes = messages(base)
    # rules are still read, but not held against classes that are not known
    assert with_classes[0].startswith("TEC_CLASSES/disk.baroc:1:")
    assert [message.split(": ")[0] for message in with_classes[1:]] == places[:4]


def test_errors_show_the_folder_as_it_was_given_and_the_line(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("rule: y: (event: _e of_class Dsk, action: drop_received_event).\n")
    with pytest.raises(SourceErrors) as caught:
        load_rule_base(base)
    first, line, caret = str(caught.value).split("\n")
    assert first == f"{base}/TEC_RULES/first.rls:1:30: class 'Dsk' is not defined; did you mean 'Disk'?"
    assert line.strip() == "rule: y: (event: _e of_class Dsk, action: drop_received_event)."
    assert line.index("Dsk") == caret.index("^")


def test_what_only_the_compiler_finds_is_refused_with_its_line(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("rule: y: (event: _e of_class Disk,\naction: (_g = true, _g)).\n")
    with pytest.raises(SourceErrors) as caught:
        load_rule_base(base)
    (error,) = caught.value.errors
    assert (error.line, error.column, error.source_line) == (2, 21, "action: (_g = true, _g)).")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", Settings()),
        (
            "cache_size = 100\nstep_limit = 5_000 # few\ntime_zone = 'Europe/Berlin'",
            Settings(100, 5000, "Europe/Berlin"),
        ),
    ],
)
def test_settings(base: Path, text: str, settings: Settings) -> None:
    (base / "rulebase.toml").write_text(text)
    assert load_rule_base(base).settings == settings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\ncache_sise = 1", ["2:1: there is no setting 'cache_sise'; did you mean 'cache_size'?"]),
        (
            "[zzz]",
            [
                "1:1: there is no setting 'zzz'; the settings are cache_size, step_limit, time_zone, drop_ends, "
                "commit_rule_ends_set, predicates"
            ],
        ),
        ("cache_size = 0", ["1:1: cache_size = 0: it must be a whole number from 1 to 10000000"]),
        ("step_limit = true", ["1:1: step_limit = True: it must be a whole number from 1000 to 1000000000"]),
        ("cache_size = '5'", ["1:1: cache_size = '5': it must be a whole number from 1 to 10000000"]),
        (
            "cache_size = -1\ntime_zone = 'Berlin'",
            [
                "1:1: cache_size = -1: it must be a whole number from 1 to 10000000",
                "2:1: time_zone = 'Berlin': there is no such time zone; names are those of the tz database, "
                "such as 'Europe/Berlin'",
            ],
        ),
        (
            "time_zone = '../etc'",
            [
                "1:1: time_zone = '../etc': there is no such time zone; names are those of the tz database, "
                "such as 'Europe/Berlin'"
            ],
        ),
        ("time_zone = 1", ["1:1: time_zone = 1: it must be a text, the name of a time zone such as 'Europe/Berlin'"]),
        ("cache_size = 1\nstep_limit = ", ["2:14: Invalid value"]),
        ("cache_size = x", ["1:14: Invalid value"]),
        ("cache_size", ["1:11: Expected '=' after a key in a key/value pair"]),
    ],
)
def test_settings_that_are_wrong(base: Path, text: str, wanted: list[str]) -> None:
    (base / "rulebase.toml").write_text(text)
    assert messages(base) == [f"rulebase.toml:{message}" for message in wanted]


def test_settings_that_are_no_text(base: Path) -> None:
    (base / "rulebase.toml").write_bytes(b"\xff")
    assert messages(base)[0].startswith("rulebase.toml:1:1: the byte 0xff is not UTF-8")


def test_the_compiled_form_gives_the_same_rule_base(base: Path) -> None:
    found = load_rule_base(base)
    again = RuleBase.decode(found.encode())
    assert again.rule_sets == found.rule_sets
    assert (again.name, again.content_hash, again.settings) == (found.name, found.content_hash, found.settings)
    assert again.classes.to_data() == found.classes.to_data()
    assert again.encode() == found.encode()


def test_a_long_action_survives_the_compiled_form(base: Path) -> None:
    goals = ", ".join(["_event = _event"] * 290)
    (base / "TEC_RULES/first.rls").write_text(f"rule: long: (event: _event of_class Disk, action: ({goals})).")
    found = load_rule_base(base)
    assert RuleBase.decode(found.encode()).rule_sets == found.rule_sets


@pytest.mark.parametrize("damage", [b"", b"\x93", b"no msgpack"])
def test_bytes_that_are_no_compiled_form(damage: bytes) -> None:
    with pytest.raises(RuleBaseError, match="cannot be read"):
        RuleBase.decode(damage)


def test_clauses_survive_the_compiled_form(base: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("big(c).\nbig(_x) :- member(_x, [d, e]).\n" + RULE.format("one"))
    found = load_rule_base(base)
    assert len(found.rule_sets[1].clauses) == 2
    assert RuleBase.decode(found.encode()).rule_sets == found.rule_sets


def test_a_damaged_or_foreign_compiled_form_is_refused(base: Path) -> None:
    data = load_rule_base(base).encode()
    at = data.index(b"drop_received_event")
    with pytest.raises(RuleBaseError, match="damaged"):
        RuleBase.decode(data[:at] + b"k" + data[at + 1 :])
    foreign = msgspec.msgpack.encode([99, *msgspec.msgpack.decode(data)[1:]])
    with pytest.raises(RuleBaseError, match=f"has format 99, this version reads {rulebase.FORMAT}"):
        RuleBase.decode(foreign)


def test_a_snapshot_holds_sources_and_compiled_form(base: Path, tmp_path: Path) -> None:
    store = tmp_path / "instance/rulebase"
    name = snapshot(base, store)
    assert [path.name for path in store.iterdir()] == [name]
    kept = sorted(str(path.relative_to(store / name)) for path in (store / name).rglob("*") if path.is_file())
    assert kept == [
        "TEC_CLASSES/.load_classes",
        "TEC_CLASSES/disk.baroc",
        "TEC_CLASSES/root.baroc",
        "TEC_RULES/first.rls",
        "TEC_RULES/rule_sets",
        "TEC_RULES/second.rls",
        "compiled.msgpack",
        "name",
    ]
    original = load_rule_base(base)
    shutil.rmtree(base)
    found = load_compiled(store, name)
    assert (found.name, found.content_hash, found.rule_sets) == ("mine", name, original.rule_sets)


@pytest.mark.parametrize("damage", ["missing", "damaged", "foreign"])
def test_a_snapshot_without_its_compiled_form_is_compiled_again(
    base: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    monkeypatch.setattr(rulebase, "FORMAT", 98 if damage == "foreign" else rulebase.FORMAT)
    name = snapshot(base, store)
    whole = load_compiled(store, name)
    monkeypatch.undo()
    compiled = store / name / "compiled.msgpack"
    if damage == "missing":
        compiled.unlink()
    elif damage == "damaged":
        compiled.write_bytes(compiled.read_bytes()[:-1])
    again = load_compiled(store, name)
    assert (again.name, again.rule_sets, again.encode()) == (whole.name, whole.rule_sets, whole.encode())
    # the next snapshot of the same content mends it
    assert snapshot(base, store) == name
    assert RuleBase.decode(compiled.read_bytes()).name == "mine"


def test_a_snapshot_is_left_alone_when_it_is_whole(base: Path, tmp_path: Path) -> None:
    name = snapshot(base, tmp_path / "store")
    before = (tmp_path / "store" / name / "compiled.msgpack").stat()
    assert snapshot(base, tmp_path / "store") == name
    after = (tmp_path / "store" / name / "compiled.msgpack").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_snapshot_whose_sources_were_changed_is_refused(base: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    name = snapshot(base, store)
    (store / name / "compiled.msgpack").unlink()
    (store / name / "TEC_RULES/first.rls").write_text(RULE.format("other"))
    with pytest.raises(RuleBaseError, match="were changed; activate it again"):
        load_compiled(store, name)
    with pytest.raises(RuleBaseError, match="were changed; delete the folder"):
        snapshot(base, store)


def test_a_snapshot_that_cannot_be_compiled_again_is_refused(base: Path, tmp_path: Path) -> None:
    name = snapshot(base, tmp_path / "store")
    (tmp_path / "store" / name / "compiled.msgpack").unlink()
    (tmp_path / "store" / name / "TEC_RULES/first.rls").write_text("rule")
    with pytest.raises(RuleBaseError, match=r"cannot be compiled again:\n.*first\.rls:1:"):
        load_compiled(tmp_path / "store", name)


def test_a_broken_rule_base_leaves_no_snapshot(base: Path, tmp_path: Path) -> None:
    (base / "TEC_RULES/first.rls").write_text("rule")
    with pytest.raises(SourceErrors):
        snapshot(base, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_snapshot_that_fails_half_way_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rulebase, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        snapshot(base, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_two_snapshots_at_once_are_one(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rename = tmp_path / "store", Path.rename

    def second_comes_first(self: Path, target: Path) -> Path:
        shutil.copytree(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_comes_first)
    name = snapshot(base, store)
    assert [path.name for path in store.iterdir()] == [name]
    assert load_compiled(store, name).content_hash == name


def test_a_folder_that_changes_while_it_is_read_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = rulebase.read_sources

    def change_afterwards(folder: Path) -> rulebase_sources.Sources:
        found = read(folder)
        (base / "TEC_RULES/first.rls").write_text(RULE.format("changed"))
        return found

    monkeypatch.setattr(rulebase, "read_sources", change_afterwards)
    with pytest.raises(RuleBaseError, match="was changed while it was read; try again"):
        snapshot(base, tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "message"), [("../etc", "is not the content hash"), ("0" * 64, "there is no rule base 0000")]
)
def test_a_snapshot_that_is_not_there(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RuleBaseError, match=message):
        load_compiled(tmp_path, name)


def test_a_compiled_rule_base_loads_without_the_parser(base: Path, tmp_path: Path) -> None:
    name = snapshot(base, tmp_path)
    program = (
        "import sys; from pathlib import Path; from opentec.rules.rulebase import load_compiled\n"
        "load_compiled(Path(sys.argv[1]), sys.argv[2])\n"
        "print(sorted(m for m in sys.modules if m in ('lark', 'pydantic', 'sqlalchemy', 'opentec.rules.parser')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), name], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_shipped_classes_with_no_rules_load(tmp_path: Path) -> None:
    folder = tmp_path / "default"
    shutil.copytree(ROOT.parent, folder / "TEC_CLASSES")
    (folder / "TEC_RULES").mkdir()
    (folder / "TEC_RULES/rule_sets").touch()
    assert "NT_Disk_Full" in load_rule_base(folder).classes.classes
