"""The cache of compiled rule bases: what it keeps, and what it does not trust."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from opentec.events.errors import SourceErrors
from opentec.rules import compiled_cache
from opentec.rules.compiled_cache import cache_folder, key_of, load_cached, prune, write_private
from opentec.rules.rulebase import RuleBase, load_rule_base
from opentec.rules.rulebase_sources import read_sources

ROOT_BAROC = Path(__file__).parents[2] / "rules" / "default" / "TEC_CLASSES" / "root.baroc"
RULE = "rule: full: (event: _e of_class 'Disk', reception_action: (set_event_severity(_e, 'FATAL'))).\n"
PREDICATES = """from opentec.rules import predicate


@predicate
def lucky(n: int) -> bool:
    return n == 7
"""


def make_rule_base(folder: Path, rule: str = RULE) -> Path:
    for part in ("TEC_CLASSES", "TEC_RULES"):
        (folder / part).mkdir(parents=True)
    (folder / "TEC_CLASSES" / "root.baroc").write_bytes(ROOT_BAROC.read_bytes())
    (folder / "TEC_CLASSES" / "disk.baroc").write_text("TEC_CLASS: Disk ISA EVENT; END\n")
    (folder / "TEC_RULES" / "rule_sets").write_text("disk\n")
    (folder / "TEC_RULES" / "disk.rls").write_text(rule)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_rule_base(tmp_path / "base")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were compiled, in order."""
    folders: list[Path] = []

    def load(folder: Path) -> RuleBase:
        folders.append(folder)
        return load_rule_base(folder)

    monkeypatch.setattr(compiled_cache, "load_rule_base", load)
    return folders


def entry(cache: Path) -> Path:
    (path,) = (cache / "rulebases").iterdir()
    return path


def test_the_second_time_nothing_is_compiled(base: Path, cache: Path, compiled: list[Path]) -> None:
    first = load_cached(base, cache)
    second = load_cached(base, cache)
    assert compiled == [base]
    assert second.encode() == first.encode() == load_rule_base(base).encode()


def test_a_copy_under_another_name_is_the_same_rule_base(base: Path, cache: Path, compiled: list[Path]) -> None:
    load_cached(base, cache)
    other = make_rule_base(base.parent / "other")
    assert load_cached(other, cache).name == "other"
    assert compiled == [base]


def test_a_change_is_compiled(base: Path, cache: Path, compiled: list[Path]) -> None:
    load_cached(base, cache)
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text(rules.read_text().replace("'FATAL'", "'MINOR'"))
    load_cached(base, cache)
    load_cached(base, cache)
    assert compiled == [base, base]


def test_errors_are_found_anew_each_time(base: Path, cache: Path, compiled: list[Path]) -> None:
    rules = base / "TEC_RULES" / "disk.rls"
    rules.write_text(rules.read_text().replace("'Disk'", "'Disc'"))
    for _ in range(2):
        with pytest.raises(SourceErrors, match="'Disc' is not defined"):
            load_cached(base, cache)
    assert compiled == [base, base]
    assert not cache.exists()


def test_an_error_in_the_settings_is_found_with_a_cache_too(base: Path, cache: Path) -> None:
    (base / "rulebase.toml").write_text("cache_size = 0\n")
    with pytest.raises(SourceErrors, match="cache_size"):
        load_cached(base, cache)


def test_without_a_cache_it_is_compiled(base: Path, compiled: list[Path]) -> None:
    load_cached(base, None)
    assert compiled == [base]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def turned(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_all(path: Path) -> None:
    path.chmod(0o606)


def of_the_group(path: Path) -> None:
    path.chmod(0o620)


def in_an_open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm", [empty, turned, of_all, of_the_group, in_an_open_folder, a_link, a_pipe, a_folder, Path.unlink]
)
def test_what_cannot_be_trusted_is_compiled_again(
    base: Path, cache: Path, compiled: list[Path], harm: Callable[[Path], None]
) -> None:
    whole = load_cached(base, cache).encode()
    harm(entry(cache))
    assert load_cached(base, cache).encode() == whole
    assert compiled == [base, base]


def test_what_belongs_to_somebody_else_is_not_read(
    base: Path, cache: Path, compiled: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_cached(base, cache)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    load_cached(base, cache)
    assert compiled == [base, base]


def test_another_rule_base_under_the_name_is_not_taken(base: Path, cache: Path, compiled: list[Path]) -> None:
    load_cached(base, cache)
    path = entry(cache)
    other = make_rule_base(base.parent / "other", RULE.replace("full", "other"))
    path.write_bytes(load_rule_base(other).encode())
    assert [rule.name for rule in load_cached(base, cache).rule_sets[0].rules] == ["full"]
    assert compiled == [base, base]


def test_python_code_never_comes_from_the_cache(base: Path, cache: Path, compiled: list[Path]) -> None:
    (base / "predicates.py").write_text(PREDICATES)
    good = load_cached(base, cache)
    assert load_cached(base, cache).user_predicates == good.user_predicates
    assert compiled == [base]
    evil = good.user_predicates.source + "\nimport os\n"
    forged = RuleBase(
        good.name,
        good.content_hash,
        good.classes,
        good.rule_sets,
        good.settings,
        type(good.user_predicates)(evil, (), good.user_predicates.declarations),
    )
    entry(cache).write_bytes(forged.encode())
    assert load_cached(base, cache).user_predicates.source == PREDICATES
    assert compiled == [base, base]


def test_other_code_of_ours_compiles_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = read_sources(base)
    before = key_of(sources)
    assert key_of(sources) == before
    assert len(list(compiled_cache._code())) > 100
    monkeypatch.setattr(compiled_cache, "_code", lambda: iter([("rules/checker.py", 1, 1)]))
    assert key_of(sources) != before


def test_a_cache_that_cannot_be_made_is_no_error(base: Path, tmp_path: Path, compiled: list[Path]) -> None:
    (tmp_path / "file").write_text("")
    load_cached(base, tmp_path / "file")
    load_cached(base, tmp_path / "file")
    assert compiled == [base, base]


def test_a_disk_that_is_full_is_no_error(base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    load_cached(base, cache)
    assert list((cache / "rulebases").iterdir()) == []


def test_nothing_is_written_where_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert not write_private(tmp_path / "open" / "x", b"")
    assert write_private(tmp_path / "own" / "x", b"1")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "own" / "x").stat().st_mode & 0o777 == 0o600


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes(10))
        os.utime(tmp_path / str(number), (number, number))
    prune(tmp_path, 4, 1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4", "5"]
    prune(tmp_path, 4, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "5"]
    prune(tmp_path / "gone", 4, 25)


def test_what_is_used_is_young(base: Path, cache: Path) -> None:
    load_cached(base, cache)
    os.utime(entry(cache), (1, 1))
    load_cached(base, cache)
    assert entry(cache).stat().st_mtime > 1


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"OPENTEC_CACHE": "/c"}, "linux", "/c"),
        ({"OPENTEC_CACHE": "/c"}, "win32", "/c"),
        ({"OPENTEC_CACHE": ""}, "linux", None),
        ({}, "linux", "/home/me/.cache/opentec"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/opentec"),
        ({"XDG_CACHE_HOME": "x"}, "linux", "/home/me/.cache/opentec"),
        ({}, "darwin", "/home/me/Library/Caches/opentec"),
        ({"LOCALAPPDATA": "/l"}, "win32", "/l/opentec/Cache"),
        ({}, "win32", None),
    ],
)
def test_where_it_is(environment: dict[str, str], platform: str, folder: str | None) -> None:
    found = cache_folder(environment, platform, Path("/home/me"))
    assert found == (None if folder is None else Path(folder))


def test_who_has_no_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder({}, "linux") is None
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder({}, "linux") == Path("/home/me/.cache/opentec")
