"""Changing the sources of a rule base, and the snapshots that a server keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules import management, snapshots
from opentec.rules.management import RuleSetEntry
from opentec.rules.rulebase import load_rule_base, snapshot
from opentec.rules.rulebase_sources import RuleBaseError

SHIPPED = Path(__file__).parents[2] / "rules/default"
RULE = "rule: one: ( event: _e of_class 'EVENT', action: ( commit_rule ) ).\n"
DAY = 86_400


@pytest.fixture
def base(tmp_path: Path) -> Path:
    management.create(tmp_path / "base", SHIPPED / "TEC_CLASSES")
    return tmp_path / "base"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_rule_base_compiles_and_is_not_made_twice(base: Path) -> None:
    made = load_rule_base(base)
    assert (made.name, made.rule_sets) == ("base", ())
    assert "TEC_Start" in made.classes.classes
    assert management.class_files(base) == ["root.baroc", "tec.baroc"]
    with pytest.raises(RuleBaseError, match="is there already; name a new or empty folder"):
        management.create(base, SHIPPED / "TEC_CLASSES")


def test_a_copy_has_the_same_hash_and_no_version_control(base: Path, tmp_path: Path) -> None:
    (base / ".git").mkdir()
    write(base / ".git" / "HEAD", "x")
    write(base / "tests" / "a.yaml", "a: 1\n")
    management.copy(base, tmp_path / "copy")
    assert load_rule_base(tmp_path / "copy").content_hash == load_rule_base(base).content_hash
    assert (tmp_path / "copy/tests/a.yaml").exists() and not (tmp_path / "copy/.git").exists()
    for target, said in ((tmp_path / "copy", "is there already"), (base / "inner", "is inside of")):
        with pytest.raises(RuleBaseError, match=said):
            management.copy(base, target)
    with pytest.raises(RuleBaseError, match="there is no such folder"):
        management.copy(tmp_path / "gone", tmp_path / "new")


# classes


def test_class_files_come_and_go(base: Path, tmp_path: Path) -> None:
    write(base / "TEC_CLASSES/.load_classes", "root.baroc # first\n\n# the server's\ntec.baroc")
    one = write(tmp_path / "one.baroc", "TEC_CLASS: One ISA EVENT;\n")
    two = write(tmp_path / "two.baroc", "TEC_CLASS: Two ISA One;\n")
    assert management.import_class(base, one) == "one.baroc"
    assert management.import_class(base, two, after="one") == "two.baroc"
    zero = write(tmp_path / "zero.baroc", "TEC_CLASS: Zero ISA EVENT;\n")
    management.import_class(base, zero, before="one.baroc")
    assert (base / "TEC_CLASSES/.load_classes").read_text() == (
        "root.baroc # first\n\n# the server's\ntec.baroc\nzero.baroc\none.baroc\ntwo.baroc\n"
    )
    assert {"Zero", "One", "Two"} <= set(load_rule_base(base).classes.classes)
    assert management.delete_class(base, "zero") == "zero.baroc"
    assert management.class_files(base) == ["root.baroc", "tec.baroc", "one.baroc", "two.baroc"]
    assert not (base / "TEC_CLASSES/zero.baroc").exists()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda base, new: management.import_class(base, new), RuleBaseError, "new.baroc is in .* already; delete it"),
        (lambda base, new: management.import_class(base, new.with_name("a b.baroc")), RuleBaseError, "no blanks"),
        (lambda base, new: management.import_class(base, new.with_suffix(".txt")), RuleBaseError, "end in .baroc"),
        (lambda base, new: management.import_class(base, new.with_name("gone.baroc")), FileNotFoundError, "gone"),
        (lambda base, new: management.delete_class(base, "nwe"), RuleBaseError, "no class file 'nwe'; did you mean"),
        (lambda base, new: management.delete_class(base, "root"), SourceErrors, "base/TEC_CLASSES/.*EVENT"),
        (
            lambda base, new: management.import_class(
                base, write(new.with_name("bad.baroc"), "TEC_CLASS: Bad ISA EVNT;\n")
            ),
            SourceErrors,
            "base/TEC_CLASSES/bad.baroc:1:.*'EVNT'.*did you mean",
        ),
        (
            lambda base, new: management.import_class(
                base, write(new.with_name("odd.baroc"), ""), before="new", after="tec"
            ),
            RuleBaseError,
            "before one and after another",
        ),
    ],
)
def test_what_cannot_be_changes_nothing(
    base: Path, tmp_path: Path, change: Callable[[Path, Path], str], error: type[Exception], said: str
) -> None:
    new = write(tmp_path / "new.baroc", "TEC_CLASS: New ISA EVENT;\n")
    management.import_class(base, new)
    before = files(base)
    with pytest.raises(error, match=f"(?s){said}"):
        change(base, new)
    assert files(base) == before


def test_without_a_load_order_the_first_import_makes_one(base: Path, tmp_path: Path) -> None:
    (base / "TEC_CLASSES/.load_classes").unlink()
    write(base / "TEC_CLASSES/aaa.baroc", "TEC_CLASS: Aaa ISA EVENT;\n")
    assert management.class_files(base) == ["root.baroc", "tec.baroc", "aaa.baroc"]
    management.delete_class(base, "aaa")
    management.import_class(base, write(tmp_path / "b.baroc", "TEC_CLASS: B ISA EVENT;\n"))
    assert (base / "TEC_CLASSES/.load_classes").read_text() == "root.baroc\ntec.baroc\nb.baroc\n"


# rule sets


def test_rule_sets_come_become_active_and_go(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        assert management.import_rule(base, write(tmp_path / f"{name}.rls", RULE)) == name
    assert management.rule_sets(base) == [RuleSetEntry(name, 0) for name in "abc"]
    write(base / "TEC_RULES/rule_sets", "# order\nb.rls % second\n")
    management.activate_rule(base, "a", before="b")
    management.activate_rule(base, "c.rls", after="a.rls")
    assert management.rule_sets(base) == [RuleSetEntry(name, place) for place, name in enumerate("acb", 1)]
    assert (base / "TEC_RULES/rule_sets").read_text() == "# order\na\nc\nb.rls % second\n"
    assert [one.name for one in load_rule_base(base).rule_sets] == ["a", "c", "b"]
    management.activate_rule(base, "c", after="b")
    assert [entry.name for entry in management.rule_sets(base)] == ["a", "b", "c"]
    assert management.deactivate_rule(base, "b") == "b"
    assert management.rule_sets(base)[-1] == RuleSetEntry("b", 0)
    assert management.delete_rule(base, "b") == ("b", False)
    assert management.delete_rule(base, "a") == ("a", True)
    assert management.rule_sets(base) == [RuleSetEntry("c", 1)]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda base, new: management.import_rule(base, new), RuleBaseError, "new.rls is in .* already"),
        (lambda base, new: management.activate_rule(base, "new"), RuleBaseError, "is active already; before or after"),
        (lambda base, new: management.activate_rule(base, "new", before="new"), RuleBaseError, "beside itself"),
        (lambda base, new: management.activate_rule(base, "nww"), RuleBaseError, "rule set 'nww'; did you mean 'new'"),
        (
            lambda base, new: management.activate_rule(base, "off", before="zz"),
            RuleBaseError,
            "no active rule set 'zz'",
        ),
        (lambda base, new: management.deactivate_rule(base, "off"), RuleBaseError, "no active rule set 'off'"),
        (lambda base, new: management.delete_rule(base, "zz"), RuleBaseError, "no rule set 'zz'; there is new, off"),
        (
            lambda base, new: management.import_rule(base, write(new.with_name("bad.rls"), "rule: x ( ).")),
            SourceErrors,
            "bad.rls:1:",
        ),
        (
            lambda base, new: management.import_rule(base, _latin(new.with_name("bad.rls"))),
            SourceErrors,
            "is not UTF-8",
        ),
    ],
)
def test_what_cannot_be_changes_no_rule(
    base: Path, tmp_path: Path, change: Callable[[Path, Path], object], error: type[Exception], said: str
) -> None:
    new = write(tmp_path / "new.rls", RULE)
    management.import_rule(base, new)
    management.import_rule(base, write(tmp_path / "off.rls", RULE))
    management.activate_rule(base, "new")
    before = files(base)
    with pytest.raises(error, match=said):
        change(base, new)
    assert files(base) == before


def _latin(path: Path) -> Path:
    path.write_bytes(b"% \xe9\n")
    return path


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuleBaseError, match="TEC_RULES/rule_sets is missing"):
        management.rule_sets(tmp_path)
    with pytest.raises(RuleBaseError, match="TEC_CLASSES is missing"):
        management.class_files(tmp_path)


def test_a_file_that_is_too_large_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(management, "MAX_FILE", 4)
    with pytest.raises(RuleBaseError, match="new.rls is larger than 4 bytes"):
        management.import_rule(base, write(tmp_path / "new.rls", RULE))


# snapshots


def fake(rule_bases: Path, number: int, log_time: int) -> str:
    """A snapshot without content, as it is after its activation at that log time (seconds)."""
    content_hash = f"{number:064x}"
    (rule_bases / content_hash).mkdir(parents=True)
    snapshots.note_activated(rule_bases, content_hash, log_time * 1_000_000)
    return content_hash


def test_marks(tmp_path: Path) -> None:
    assert snapshots.read_mark(tmp_path, snapshots.WAITING) == ""
    snapshots.write_mark(tmp_path, snapshots.WAITING, "a" * 64)
    assert snapshots.read_mark(tmp_path, snapshots.WAITING) == "a" * 64
    snapshots.clear_mark(tmp_path, snapshots.WAITING)
    snapshots.clear_mark(tmp_path, snapshots.WAITING)
    assert list(tmp_path.iterdir()) == []


def test_snapshots_are_listed_newest_first_and_found_by_the_first_digits(base: Path, tmp_path: Path) -> None:
    kept = tmp_path / "rulebase"
    assert snapshots.snapshots(kept) == []
    first = snapshot(base, kept)
    snapshots.note_activated(kept, first, 1_000 * 1_000_000)
    other = f"{first[:8]}{'0' * 56}"
    (kept / other).mkdir()
    snapshots.note_activated(kept, other, 2_000 * 1_000_000)
    snapshots.write_mark(kept, snapshots.CURRENT, first)
    snapshots.write_mark(kept, snapshots.WAITING, other)
    assert snapshots.snapshots(kept) == [
        snapshots.Snapshot(other, "", 2000.0, False, True),
        snapshots.Snapshot(first, "base", 1000.0, True, False),
    ]
    assert snapshots.find_snapshot(kept, first[:9]) == first
    for word in ("abcde", "current", "f" * 12, first.upper()):
        assert snapshots.find_snapshot(kept, word) is None
    with pytest.raises(RuleBaseError, match="begins 2 hashes"):
        snapshots.find_snapshot(kept, first[:6])


def test_what_the_log_and_people_may_need_is_kept(tmp_path: Path) -> None:
    made = [fake(tmp_path, number, log_time=100 + number) for number in range(1, 21)]  # the 20th was the last
    now = (tmp_path / made[0]).stat().st_ctime + 2 * DAY
    snapshots.write_mark(tmp_path, snapshots.CURRENT, made[0])
    snapshots.write_mark(tmp_path, snapshots.WAITING, made[1])
    named = {made[2]}
    # activated within the kept log, as it goes back to the eighth's activation
    assert snapshots.prune(tmp_path, named, 108_000_000, now=now) == [made[6], made[5], made[4], made[3]]
    assert {path.name for path in tmp_path.iterdir() if len(path.name) == 64} == {*made[:3], *made[7:]}
    assert snapshots.prune(tmp_path, named, 10**18, now=now) == [made[9], made[8], made[7]]
    assert len(snapshots.snapshots(tmp_path)) == snapshots.KEPT + 3


def test_what_was_asked_for_today_is_kept(tmp_path: Path) -> None:
    made = [fake(tmp_path, number, log_time=number) for number in range(1, 13)]
    (tmp_path / ".new-left").mkdir()
    now = (tmp_path / made[0]).stat().st_ctime
    assert snapshots.prune(tmp_path, (), 10**18, now=now) == []
    before = (tmp_path / made[0]).stat()
    snapshots.note_wanted(tmp_path, made[0])
    after = (tmp_path / made[0]).stat()
    assert (after.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns) == (before.st_mtime_ns, True)
    assert snapshots.prune(tmp_path, (), 10**18, now=after.st_ctime + DAY - 0.000001) != []
    assert made[0] in {one.content_hash for one in snapshots.snapshots(tmp_path)}
    assert snapshots.prune(tmp_path, (), 10**18, now=now + 2 * DAY) == [made[0]]
    assert not (tmp_path / ".new-left").exists()
