"""The command `tec` as a whole: its table, its help, how it fails, and how light the clients are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import opentec
from opentec.commands import cli, names, version
from opentec.commands.cli import Status
from opentec.commands.main import COMMANDS, build, load
from opentec.commands.names import TEC_NAMES
from opentec.events.errors import EventError
from opentec.server.errors import ConfigError, Elsewhere, NotRunning, Refused, ServerError
from opentec.server.instance import Instance
from tests.commands.running import Runner
from tests.repo.checkout import ROOT, project

PAGE = (ROOT / "docs" / "commands.md").read_text() if (ROOT / "docs" / "commands.md").exists() else ""
HEAVY = ("pydantic", "sqlalchemy", "lark", "asyncio", "rich", "aiosqlite", "opentec.rules", "opentec.rim")


def section(command: str) -> str:
    """What docs/commands.md says under the heading of a command."""
    found = re.search(rf"^### `tec {command}`.*?(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no heading for tec {command}"
    return found.group()


def parameters(command: str) -> Iterator[Any]:
    app = typer.main.get_command(build([command]))
    for part in command.split():
        app = app.commands[part]  # type: ignore[attr-defined]
    yield from app.params


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tec: Runner, command: str) -> None:
    ran = tec(*command.split(), "--help")
    assert ran.status == 0
    assert f"Usage: tec {command}" in ran.out
    summary = (load(command).__doc__ or "").partition("\n")[0]
    assert summary.endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_with_its_default(command: str) -> None:
    for parameter in parameters(command):
        assert parameter.help, f"tec {command} {parameter.name} says nothing of itself"
        is_option = any(option.startswith("-") for option in parameter.opts)
        if is_option and not getattr(parameter, "is_flag", False):
            # a default of "" is as good as a flag that is off
            default = "[default:" in parameter.help or (parameter.show_default and parameter.default is not None)
            assert default or parameter.required, f"tec {command} {parameter.opts} does not say its default"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_every_option(command: str) -> None:
    text = section(command)
    for parameter in parameters(command):
        for option in parameter.opts:
            if option.startswith("-") and option not in ("--help", "-h", "--debug", "--json", "-d", "--dir"):
                assert f"`{option}" in text, f"docs/commands.md does not say {option} of tec {command}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_the_exit_statuses_that_the_help_promises(command: str) -> None:
    promised = set(re.findall(r"(?:[Ee]xit status|, |: |\. )(\d)(?=[ :])", load(command).__doc__ or ""))
    documented = set(
        re.findall(r"\b\d\b", "".join(re.findall(r"^Exit status.*?(?:\n\n|\Z)", section(command), re.M | re.S)))
    )
    assert documented >= promised | {"0"}, f"tec {command}: help promises {promised}, the page has {documented}"


def test_the_page_has_no_command_that_there_is_not() -> None:
    assert set(re.findall(r"^### `tec ([a-z -]+)`", PAGE, flags=re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", TEC_NAMES)
def test_the_page_says_what_tec_names_are(name: str) -> None:
    heading = section(TEC_NAMES[name]).partition("\n")[0]
    assert f"`{name}`" in heading


def test_every_console_script_is_there() -> None:
    scripts = project()["project"]["scripts"]
    for name, target in scripts.items():
        if name != "tec":
            assert target == f"opentec.commands.names:{name}"
            assert callable(getattr(names, name)), name


def test_help_has_the_groups_and_every_command(tec: Runner) -> None:
    ran = tec("--help")
    assert ran.status == 0
    for words in ("The server:", "Events:", "Dumps:", *{name.partition(" ")[0] for name in COMMANDS}):
        assert words in ran.out
    assert "The configuration" in tec("config", "--help").out


def test_an_unknown_command_names_the_nearest(tec: Runner) -> None:
    ran = tec("strat")
    assert ran.status == 2
    assert "'start'" in ran.err


@pytest.mark.parametrize("early", [["-d", "{}"], ["--dir", "{}"], ["--dir={}"], ["--json", "-d", "{}", "--debug"]])
@pytest.mark.parametrize(("command", "status"), [("status", 3), ("config check", 0), ("task list", 0)])
def test_options_of_all_commands_may_stand_before_the_command(
    tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch, early: list[str], command: str, status: int
) -> None:
    monkeypatch.setenv("TEC_DIR", "/nowhere")
    ran = tec(*(word.format(instance.directory) for word in early), *command.split())
    assert ran.status == status, ran
    assert ran.out.startswith("{") == (early[0] == "--json" and command != "task list")
    assert tec("--node", "brown", "status", "-d", instance.directory).out.splitlines()[1] == "node    brown"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "/x", "strat"], "No such command 'strat'"),
        (["-d", "/x", "task", "lst"], "No such command 'lst'"),
        (["-d", "/x", "task"], "Usage: tec task"),
        (["-d", "/x"], "Usage: tec "),
        (["-d"], "Usage: tec "),
        (["-x", "status"], "No such option: -x"),
    ],
)
def test_options_before_no_command(tec: Runner, arguments: list[str], said: str) -> None:
    ran = tec(*arguments)
    assert ran.status == 2
    assert said in ran.out + ran.err


@pytest.mark.parametrize("arguments", [["version"], ["version", "--json"], ["--version"]])
def test_version(tec: Runner, arguments: list[str]) -> None:
    ran = tec(*arguments)
    assert (ran.status, ran.err) == (0, "")
    assert opentec.__version__ in ran.out


def test_help_is_a_word_too(tec: Runner) -> None:
    for arguments in (["help"], ["help", "status"], ["help", "task", "log"]):
        assert tec(*arguments) == tec(*arguments[1:], "--help")
    assert tec("help", "strat").status == 2


def test_version_json(tec: Runner) -> None:
    assert json.loads(tec("version", "--json").out) == {"version": opentec.__version__}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("key"), Status.USAGE, "key"),
        (NotRunning("away"), Status.NO_SERVER, "away"),
        (Elsewhere("black"), Status.NO_SERVER, "black"),
        (Refused("no"), Status.REFUSED, "no"),
        (ServerError("why"), Status.FAILED, "why"),
        (EventError("event"), Status.FAILED, "event"),
        (FileNotFoundError(2, "No such file or directory", "/x"), Status.FAILED, "/x: No such file or directory"),
        (OSError(28, "No space left on device"), Status.FAILED, "No space left on device"),
        (ZeroDivisionError("division"), Status.FAILED, "unexpected error: ZeroDivisionError('division')"),
    ],
)
def test_an_error_is_one_message(
    tec: Runner, monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status, said: str
) -> None:
    def fail(text: str) -> None:
        raise error

    monkeypatch.setattr(version, "say", fail)
    ran = tec("version")
    assert ran.status == status
    assert ran.out == ""
    assert ran.err.startswith(f"tec: {said}")
    assert "Traceback" not in ran.err
    assert "Traceback" in tec("version", "--debug").err
    monkeypatch.setenv("TEC_DEBUG", "1")
    assert "Traceback" in tec("version").err


def test_no_instance_says_what_to_do(tec: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("status", "start", "stop", "list", "dump", "log"):
        ran = tec(command)
        assert ran.status == 2, command
        assert "is not an instance directory" in ran.err


def test_dir_wins_over_tec_dir(tec: Runner, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEC_DIR", "/nowhere")
    assert tec("status", "-d", instance.directory).status == 3


def test_control_characters_are_shown() -> None:
    assert cli.visible("a\x1b[2J\r\n\t\x7f\x9b\u2028é") == "a\\x1b[2J\\r\\n\\t\\x7f\\x9b\\u2028é"


def imported_by(code: str, **environment: str) -> set[str]:
    """The modules that a program imports."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep=chr(10))"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n"))


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith(HEAVY)}


def test_posting_imports_nothing_heavy(instance: Instance) -> None:
    code = (
        "import sys\n"
        "from opentec.commands import names\n"
        "sys.argv = ['wpostemsg', '-S', '127.0.0.1:1', '-m', 'x', 'a=[b]', 'C', 'S']\n"
        "try: names.wpostemsg()\n"
        "except SystemExit as end: assert end.code == 4, end.code"
    )
    found = imported_by(code)
    assert "opentec.eif.client" in found
    assert heavy(found) == set()
    assert heavy(imported_by(code.replace("'-S', '127.0.0.1:1', ", ""))) == set()


@pytest.mark.parametrize("command", ["ack", "list", "status", "why", "log", "dump", "stop"])
def test_clients_of_the_control_socket_import_nothing_heavy(instance: Instance, command: str) -> None:
    """Up to the point where they find that nobody runs (and with --help where they would read the files)."""
    arguments = [command] if command in ("status", "stop") else [command, "--help"]
    code = f"from opentec.commands.main import main\ntry: main({arguments!r})\nexcept SystemExit: pass"
    assert heavy(imported_by(code)) == set()


def test_a_heavy_import_is_found() -> None:
    assert "asyncio" in heavy(imported_by("import asyncio"))
