"""tasks.toml: what is read, what is wrong with it, who may run what, and what an argument list becomes."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from opentec.server import library as module
from opentec.server.errors import ConfigError
from opentec.server.library import Library, TaskDefinition, TaskRefused, command_of, load_library

TEXT = """
[roles]
super = ["ann"]
admin = ["%operators"]

[task.restart]
program = ["scripts/restart.sh", "{hostname}", "-n", "{1}"]
description = "restarts a service"
roles = ["admin", "rule"]
time_limit = 60
concurrency = 1
environment = ["LANG"]

[task.mail]
program = ["mail", "{args}"]
"""


def load(folder: Path, text: str) -> Library:
    (folder / "tasks.toml").write_text(text)
    return load_library(folder / "tasks.toml")


def task(*program: str, roles: tuple[str, ...] = ()) -> TaskDefinition:
    return TaskDefinition("t", program, roles=roles)


def test_a_library(tmp_path: Path) -> None:
    found = load(tmp_path, TEXT)
    assert found.task("restart") == TaskDefinition(
        *("restart", ("scripts/restart.sh", "{hostname}", "-n", "{1}"), "restarts a service", ("admin", "rule")),
        *(60, 1, ("LANG",)),
    )
    assert found.task("mail").time_limit is None
    assert found.roles == {"super": ("ann",), "admin": ("%operators",)}
    assert load_library(tmp_path / "none") == Library()
    with pytest.raises(TaskRefused, match=r"no task 'restrat' in tasks.toml; did you mean 'restart'\?"):
        found.task("restrat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tasks.a]\n", "tasks: there is no such section; did you mean 'task'?; known are task, roles"),
        ("task = 7\n", "task: each task is a table, [task.NAME]"),
        ("[task]\na = 7\n", "task.a: each task is a table"),
        ("[task.'a b']\nprogram = ['x']\n", "task.a b: a name has letters"),
        ("[task.a]\n", "task.a.program: a list of texts is needed"),
        ("[task.a]\nprogram = 'x y'\n", "task.a.program: a list of texts is needed"),
        ("[task.a]\nprogram = []\n", "task.a.program: a list of texts is needed"),
        ("[task.a]\nprogram = ['']\n", "the first word is the program itself"),
        ("[task.a]\nprogram = ['{msg}']\n", "the first word is the program itself"),
        ("[task.a]\nprogram = ['x', '{']\n", "has a lone {; write {{"),
        ("[task.a]\nprogram = ['x', 'a{0}']\n", "has a lone {"),
        ("[task.a]\nprogram = ['x', '-a{args}']\n", "{args} must be a word of its own"),
        ('[task.a]\nprogram = ["x\\u0000"]\n', "holds a zero byte"),
        ("[task.a]\nprogram = ['x']\nrole = ['admin']\n", "task.a.role: there is no such key; did you mean 'roles'?"),
        ("[task.a]\nprogram = ['x']\nroles = ['amdin']\n", "'amdin' is no role; did you mean 'admin'?"),
        ("[task.a]\nprogram = ['x']\nroles = 'admin'\n", "task.a.roles: a list of roles is needed"),
        ("[task.a]\nprogram = ['x']\ndescription = 7\n", "task.a.description: it must be a text"),
        ("[task.a]\nprogram = ['x']\ntime_limit = 0\n", "task.a.time_limit: seconds are needed"),
        ("[task.a]\nprogram = ['x']\ntime_limit = true\n", "task.a.time_limit: seconds are needed"),
        ("[task.a]\nprogram = ['x']\nconcurrency = 1.5\n", "task.a.concurrency: a whole number"),
        ("[task.a]\nprogram = ['x']\nenvironment = ['A=b']\n", "task.a.environment: a list of names of variables"),
        ("roles = 7\n", "roles: a table is needed"),
        ("[roles]\nrule = ['ann']\n", "roles.rule: it cannot be given; rules have it, no operator"),
        ("[roles]\nroot = ['ann']\n", "roles.root: it cannot be given; roles are super"),
        ("[roles]\nadmin = 'ann'\n", "roles.admin: a list of users and %groups is needed"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'tasks.toml'}: ") and message in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[task\n", "1:6: Expected ']'"),
        (b"# a\n[roles]\nadmin = ['caf\xe9']\n", "3:14: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "tasks.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as error:
        load_library(file)
    assert str(error.value).startswith(f"{file}:{message}")


def test_limits_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="300 words, 256 at most"):
        load(tmp_path, f"[task.a]\nprogram = {['x'] * 300}\n")
    monkeypatch.setattr(module, "_TASKS", 1)
    with pytest.raises(ConfigError, match="2 tasks, 1 at most"):
        load(tmp_path, TEXT)
    with pytest.raises(ConfigError, match="larger than"):
        load(tmp_path, "#" * ((1 << 20) + 1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="directory"):
        load_library(tmp_path / "folder")


def test_all_errors_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "[task.a]\nprogram = 7\nroles = 7\n[roles]\nx = 7\n")
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("roles", "rules", "allowed"),
    [
        ((), True, {"super"}),
        (("rule",), True, {"super"}),
        (("admin",), False, {"super", "senior", "admin"}),
        (("admin", "rule"), True, {"super", "senior", "admin"}),
        (("senior", "user"), False, {"super", "senior", "admin", "user"}),
        (("super",), False, {"super"}),
    ],
)
def test_a_higher_role_may_what_a_lower_one_may(roles: tuple[str, ...], rules: bool, allowed: set[str]) -> None:
    found = task("x", roles=roles)
    assert found.allows_rules() is rules
    assert {role for role in module.ROLES if found.allows([role])} == allowed
    assert not found.allows([])


def test_roles_of_users_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(me.pw_gid).gr_name
    found = Library({}, {"senior": (me.pw_name,), "user": (f"%{group}",), "admin": ("nobody-else",)})
    assert found.roles_of(os.geteuid()) == ("super", "senior", "user")
    monkeypatch.setattr(module.os, "geteuid", lambda: 12345)
    assert Library({}, {"user": ("4294967290",)}).roles_of(4294967290) == ("user",)
    assert Library().roles_of(4294967290) == ()
    assert Library().roles_of(0) == ("super",)


def test_a_group_without_a_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "getgrouplist", lambda *_: [4294967290])
    assert Library({}, {"user": ("root",)}).roles_of(0) == ("super", "user")


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (("x",), [], ["x"]),
        (("x", "-h", "{hostname}"), [], ["x", "-h", "web 1; rm"]),
        (("x", "{2}-{1}"), ["a b", "c"], ["x", "c-a b"]),
        (("x", "{args}"), ["-f", ""], ["x", "-f", ""]),
        (("x", "{1}", "{args}", "end"), ["a", "b", "c"], ["x", "a", "b", "c", "end"]),
        (("x", "{args}"), [], ["x"]),
        (("x", "{{hostname}}"), [], ["x", "{hostname}"]),
        (("x", "{1}"), ["{hostname}"], ["x", "{hostname}"]),
    ],
)
def test_every_word_stays_one_argument(program: tuple[str, ...], arguments: list[str], words: list[str]) -> None:
    assert command_of(task(*program), arguments, {"hostname": "web 1; rm"}) == words


@pytest.mark.parametrize(
    ("program", "arguments", "environment", "message"),
    [
        (("x",), ["a"], {}, "task t takes 0 arguments, not 1"),
        (("x", "{2}"), ["a"], {}, "task t takes 2 arguments, not 1"),
        (("x", "{1}", "{args}"), [], {}, "task t takes at least 1 argument, not 0"),
        (("x", "{drive}"), [], {"hostname": "a"}, "needs {drive}, and the event has no such slot"),
        (("x", "{drive}"), [], {}, "needs {drive}, and it is run without an event"),
    ],
)
def test_what_is_missing_or_left_over(
    program: tuple[str, ...], arguments: list[str], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(TaskRefused) as error:
        command_of(task(*program), arguments, environment)
    assert message in str(error.value)
