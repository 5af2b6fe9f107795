"""What keeps a user from running an instance, what is missing of it, and how much room its log needs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from opentec.log.store import LogDirectory
from opentec.server import folders as module
from opentec.server.config import load_config
from opentec.server.errors import InstanceError, ServerError
from opentec.server.folders import mib, require_access, short_of_room
from opentec.server.instance import Instance

OWNERS = {0: "root", 990: "tec"}


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Whose a file is, where that is not who runs this test, who is `tec` from here on."""
    found: dict[Path, int] = {}
    stat = Path.stat
    access = os.access

    def owned(path: Path, **options: bool) -> os.stat_result:
        values = list(stat(path, **options))
        values[4] = found.get(path, 990)
        return os.stat_result(values)

    def name(uid: int) -> SimpleNamespace:
        return SimpleNamespace(pw_name=OWNERS[uid])

    monkeypatch.setattr(Path, "stat", owned)
    monkeypatch.setattr(module.os, "geteuid", lambda: 990)
    monkeypatch.setattr(module.os, "access", lambda path, mode: Path(path) not in found and access(path, mode))
    monkeypatch.setattr(module.pwd, "getpwuid", name)
    return found


def start(instance: Instance, *, asked: bool = True) -> None:
    require_access(instance, load_config(instance), "black", asked=asked)


def refused(instance: Instance) -> str:
    with pytest.raises(InstanceError) as error:
        start(instance)
    return str(error.value)


def test_root_does_not_start_what_another_user_runs(
    instance: Instance, owners: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    identity = instance.directory / "instance"
    owners[identity] = 990
    said = refused(instance)
    assert said.startswith(f"{instance.directory} belongs to user tec, and this is root")
    assert "`runuser -u tec -- tec start`" in said and f"chown -R root: {instance.directory}" in said
    start(instance, asked=False)  # it has run here
    owners[identity] = 4711  # of a host whose users this container does not know
    said = refused(instance)
    assert "belongs to user 4711" in said and "`setpriv --reuid=4711 --regid=" in said
    for harmless in (0, module._NOBODY):
        owners[identity] = harmless
        start(instance)


@pytest.mark.parametrize("name", ["rx", "ha", "rulebase"])
def test_a_missing_folder_is_not_called_unwritable(instance: Instance, name: str) -> None:
    folder = instance.directory / name
    folder.rmdir()
    with pytest.raises(InstanceError) as error:
        start(instance)
    assert str(error.value) == (
        f"{folder} does not exist: restore it from a backup, or check that {instance.directory} is mounted"
    )


def test_a_folder_that_cannot_be_looked_at(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance.rx.rmdir()
    instance.rx.symlink_to("rx")
    with pytest.raises(InstanceError, match="rx: Too many levels of symbolic links; check its owner and the mount"):
        start(instance)


def test_a_folder_of_another_user_s(instance: Instance, owners: dict[Path, int]) -> None:
    owners[instance.ha] = 0
    said = refused(instance)
    assert said.startswith(f"{instance.ha} belongs to user root, and user tec may not open it")
    assert said.endswith(f"as root: chown -R tec: {instance.directory}")


@pytest.mark.parametrize("name", ["rx/rx.2.0", "ha/readers", "rim/tec.db", "rim/tec.db-wal", "log/black/output"])
def test_a_file_of_another_user_s_says_how_to_give_it_back(
    instance: Instance, owners: dict[Path, int], name: str
) -> None:
    path = instance.directory / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    start(instance)
    owners[path] = 0
    said = refused(instance)
    assert said.startswith(f"{path} belongs to user root, ") and said.endswith(f"chown -R tec: {instance.directory}")
    start(instance, asked=False)


def test_a_repository_elsewhere_is_given_back_by_itself(
    instance: Instance, owners: dict[Path, int], tmp_path: Path
) -> None:
    (tmp_path / "my disk").mkdir()
    repository = tmp_path / "my disk" / "tec.db"
    repository.touch()
    (repository.parent / "other.db").touch()
    owners[repository.parent / "other.db"] = 0  # nobody's affair
    with instance.config_file.open("a") as file:
        file.write(f'[rim]\npath = "{repository}"\n')
    start(instance)
    owners[repository] = 0
    assert refused(instance).endswith(f"as root: chown tec: '{repository}'")


def test_what_is_written_no_more_need_only_be_readable(
    instance: Instance, owners: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, int] = {}
    monkeypatch.setattr(module.os, "access", lambda path, mode: not wanted.update({Path(path).name: mode}))
    for name in ("ha/epoch.3", "ha/readers"):
        (instance.directory / name).touch()
    (instance.rx / "lost+found").mkdir()
    start(instance)
    assert (wanted["epoch.3"], wanted["readers"]) == (os.R_OK, os.R_OK | os.W_OK)
    assert "lost+found" not in wanted


def test_a_file_that_is_deleted_meanwhile_and_a_mode_of_one_s_own(
    instance: Instance, owners: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, mine = instance.rx / "rx.1.0", instance.rx / "rx.2.0"
    gone.touch()
    mine.touch()

    def access(path: Path, mode: int) -> bool:
        if path == gone:
            gone.unlink(missing_ok=True)
        return path not in (gone, mine)

    monkeypatch.setattr(module.os, "access", access)
    start(instance)  # nothing is another's: whatever is wrong is told by whoever opens it


def test_the_room_that_a_start_needs(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(instance)

    def room(total: int, free: int) -> str:
        monkeypatch.setattr(LogDirectory, "disk", lambda self: (total << 20, free << 20))
        return short_of_room(instance, config)

    assert room(1000, 82) == ""
    assert room(1000, 81) == (
        f"{instance.rx}: the disk has 81 MiB free and 66 MiB are needed: rx.free_percent (5 %, 50 MiB) and one segment "
        "(rx.segment_size, 16 MiB), and the segment that a start or a takeover makes takes another 16 MiB: with less "
        "no event is taken; make room"
    )
    for small in (8, 20, 33):
        with pytest.raises(ServerError, match=f"rx: the disk has {small} MiB in all and the log needs .* larger disk"):
            room(small, small)
    assert room(34, 34) == ""


def test_sizes_as_a_person_reads_them() -> None:
    assert [mib(size) for size in (0, 64 << 10, 1 << 20, 3 << 19, 16 << 20, (16 << 20) + 9)] == [
        "0 MiB",
        "0.1 MiB",
        "1 MiB",
        "1.5 MiB",
        "16 MiB",
        "16 MiB",
    ]
