"""Do log and repository fit together, before a node serves?"""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events.records import position_of
from opentec.log.segments import segment_paths
from opentec.rim.batch import Batch
from opentec.rim.sqlite import open_repository
from opentec.server import preflight
from opentec.server.config import load_config
from opentec.server.errors import ServerError
from opentec.server.instance import Instance
from opentec.server.preflight import refuse_network, standing
from tests.server.kit import make_repository
from tests.server.test_dispatch import segment


async def repository(instance: Instance, position: int = 0, epoch: int = 1) -> Path:
    config = load_config(instance)
    path = await make_repository(instance, config)
    opened = await open_repository(path, instance.uuid(), config.server.name)
    await opened.claim(epoch)
    await opened.commit(Batch(0, position), epoch)
    await opened.close()
    return path


def gap(instance: Instance) -> str:
    return standing(instance, load_config(instance)).gap


async def test_a_new_instance_fits(instance: Instance) -> None:
    await repository(instance)
    assert standing(instance, load_config(instance)) == (1, 0, "")
    segment(instance.rx, 1, 3)
    assert gap(instance) == ""


async def test_an_epoch_that_ended_before_its_first_record_is_no_gap(instance: Instance) -> None:
    await repository(instance)
    segment(instance.rx, 2, 3)  # epoch 1 was claimed, and nothing came of it
    assert gap(instance) == ""
    segment(instance.rx, 3, 3)
    segment_paths(instance.rx)[0].unlink()
    assert "the oldest segment of the log begins at rx:3:0: records between are missing" in gap(instance)


async def test_a_repository_in_the_log_fits(instance: Instance) -> None:
    end = segment(instance.rx, 1, 3)
    await repository(instance, end)
    assert gap(instance) == ""
    segment(instance.rx, 2, 1)
    assert standing(instance, load_config(instance)) == (1, end, "")


async def test_a_log_that_begins_behind_the_repository_is_a_gap(instance: Instance) -> None:
    await repository(instance, position_of(1, 72))
    segment(instance.rx, 2, 3)
    assert gap(instance) == (
        "the repository wants to go on at rx:1:72, but the oldest segment of the log begins at rx:2:0: "
        "records between are missing"
    )


async def test_a_repository_ahead_of_the_log(instance: Instance) -> None:
    await repository(instance, position_of(2, 72))
    assert "the log ends with the segment at nowhere: the repository is ahead" in gap(instance)
    segment(instance.rx, 1, 3)
    assert "the log ends with the segment at rx:1:0: the repository is ahead of the log directory" in gap(instance)


async def test_a_repository_ahead_of_its_own_epoch(instance: Instance) -> None:
    end = segment(instance.rx, 1, 3)
    segment(instance.rx, 2, 3)
    await repository(instance, end + 72)
    assert gap(instance) == "the repository stands at rx:1:288, its epoch was sealed at rx:1:216"


async def test_what_cannot_be_read_says_what_to_do(instance: Instance) -> None:
    config = load_config(instance)
    path = config.repository_path(instance)
    with pytest.raises(ServerError, match=r"tec.db: there is no repository; .* put back a copy of it, or begin anew"):
        standing(instance, config)
    path.mkdir()
    with pytest.raises(ServerError, match=r"cannot be opened: Is a directory; check its owner, its mode and the mount"):
        standing(instance, config)
    path.rmdir()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ServerError, match="cannot be read: .*; restore a backup, or check that it is the right file"):
        standing(instance, config)
    path.unlink()
    await repository(instance)
    (instance.rx / "rx.1.0").write_bytes(b"x" * 200)
    with pytest.raises(ServerError, match=r"segment rx\.1\.0 begins with no readable preamble"):
        standing(instance, config)
    (instance.directory / "instance").write_text("f" * 32)
    with pytest.raises(ServerError, match="the repository of another server was put here"):
        standing(instance, config)


async def test_an_empty_repository(instance: Instance) -> None:
    import sqlite3

    path = await repository(instance)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM repository")
    connection.commit()
    connection.close()
    with pytest.raises(ServerError, match="was not made by `tec init`"):
        gap(instance)


SECOND = """
[nodes.brown]
listen = "127.0.0.1:5530"
"""


def refuse(instance: Instance) -> None:
    refuse_network(instance, load_config(instance))


@pytest.mark.parametrize(("folder", "what"), [("ha", "the lease"), ("rx", "the reception log")])
def test_what_several_nodes_share_is_refused_on_a_network_file_system(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, folder: str, what: str
) -> None:
    shared = instance.directory / folder
    monkeypatch.setattr(preflight, "network_file_system", lambda path: "nfs4" if path == shared else None)
    refuse(instance)  # alone a node has nobody to share it with
    text = instance.config_file.read_text() + SECOND
    instance.config_file.write_text(text)
    with pytest.raises(ServerError) as refused:
        refuse(instance)
    assert str(refused.value).startswith(f"{shared} lies on a nfs4 file system: it does not keep {what} sound for 2 ")
    assert "a cluster file system (GFS2, OCFS2) that all of them reach" in str(refused.value)
    assert "local disk" not in str(refused.value)
    instance.config_file.write_text(f"{text}[rim]\nallow_network_fs = true\n")
    refuse(instance)


def test_a_repository_on_a_network_file_system_is_refused_unless_told(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "network_file_system", lambda path: "cifs")
    with pytest.raises(ServerError, match=r"several need a disk or a cluster file system \(GFS2, OCFS2\)"):
        refuse(instance)
    monkeypatch.setattr(preflight, "network_file_system", lambda path: None)
    refuse(instance)
    with instance.config_file.open("a") as file:
        file.write(SECOND)
    refuse(instance)
