"""`tec`: the newcomer's command. One table names every command, its file and its group."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NoReturn

from typer.core import TyperGroup

from opentec.commands.cli import CONTEXT, LINUX_ONLY, UNIX_ONLY, Failure, new_app, run_app

# command -> function, as module:name below opentec.commands; in the order of `tec --help`
GROUPS: Final = {
    "The server": {
        "init": "init:init",
        "start": "start:start",
        "stop": "stop:stop",
        "status": "status:status",
        "probe": "probe:probe",
        "switch": "switch:switch",
        "config check": "config:check",
    },
    "Events": {
        "post": "post:post",
        "list": "listing:list_events",
        "ack": "change:ack",
        "close": "change:close",
        "why": "why:why",
        "trace on": "trace:on",
        "trace off": "trace:off",
        "trace list": "trace:list_traces",
    },
    "Programs and tasks": {
        "task list": "task:list_tasks",
        "task show": "task:show",
        "task run": "task:run",
        "task log": "task:log",
    },
    "Dumps": {
        "dump": "dump:dump",
        "log": "log:log",
    },
    "Rule bases and adapters": {
        "rulebase create": "rulebase:create",
        "rulebase copy": "rulebase:copy",
        "rulebase delete": "rulebase:delete",
        "rulebase list": "rulebase:list_rule_bases",
        "rulebase classes": "rulebase:classes",
        "rulebase import-class": "rulebase:import_class",
        "rulebase delete-class": "rulebase:delete_class",
        "rulebase rules": "rulebase:rules",
        "rulebase import-rule": "rulebase:import_rule",
        "rulebase delete-rule": "rulebase:delete_rule",
        "rulebase activate-rule": "rulebase:activate_rule",
        "rulebase deactivate-rule": "rulebase:deactivate_rule",
        "rulebase check": "rulebase_load:check",
        "rulebase load": "rulebase_load:load",
        "rulebase current": "rulebase_load:current",
        "rulebase diff": "rulebase_load:diff",
        "test": "test:test",
        "lint": "lint:lint",
        "replay": "replay:replay",
        "adapter try": "adapter:try_lines",
        "adapter logfile": "tecad:tecad_logfile",
        "adapter nt": "tecad:tecad_nt",
    },
    "opentec": {
        "version": "version:version",
    },
}
COMMANDS: Final = {name: target for group in GROUPS.values() for name, target in group.items()}
_SUBGROUPS: Final = {
    "rulebase": "Rule bases: make, change, check, compare, and load them while the server runs.",
    "config": "The configuration, tec_server.toml.",
    "adapter": "Adapters: run them, try their formats.",
    "trace": "Say of some events also which rules did not fire, and why.",
    "task": "The task library, and what became of programs, tasks and forwarded events.",
}


# options of (nearly) all commands, and of how many words each is
_COMMON: Final = {"-d": 2, "--dir": 2, "--node": 2, "--json": 1, "--debug": 1}


def load(command: str) -> Callable[..., None]:
    """The function of a command of the table; only its own module is imported."""
    module, _, name = COMMANDS[command].partition(":")
    try:
        function: Callable[..., None] = getattr(import_module(f"opentec.commands.{module}"), name)
    except (ModuleNotFoundError, AttributeError):
        if all(find_spec(name) for name in UNIX_ONLY):
            raise
        return _absent
    return function


def _absent() -> None:
    """Not on this system: it runs on Linux only."""
    raise Failure(LINUX_ONLY)


class _Grouped(TyperGroup):
    """Help in which the commands stand under the headings of the table."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for heading, group in GROUPS.items():
            rows = []
            for name in dict.fromkeys(name.partition(" ")[0] for name in group):
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name, command.get_short_help_str(formatter.width - 16)))
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def build(names: Sequence[str]) -> Any:
    """The app with these commands of the table."""
    app = new_app(cls=_Grouped, no_args_is_help=True)
    groups: dict[str, Any] = {}

    @app.callback(context_settings=CONTEXT)
    def tec() -> None:
        """opentec: an event server that emulates the Tivoli Enterprise Console.

        `tec COMMAND --help` says more about each. TEC's own names are there too: wpostemsg, wstartesvr, wstopesvr,
        wstatesvr, wtdumper, wtdumprl, wrb.
        """

    for name in names:
        group, _, rest = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = new_app(no_args_is_help=True, help=_SUBGROUPS[group])
            app.add_typer(groups[group], name=group)
        (groups[group] if group else app).command(rest, context_settings=CONTEXT)(load(name))
    return app


def _in_order(given: list[str]) -> list[str]:
    """`tec -d DIR status` as `tec status -d DIR`: options that all commands have may stand before the command, too."""
    match given:
        case ["--version", *rest]:
            return ["version", *rest]
        case ["help", *rest]:
            return [*rest, "--help"]
    at = 0
    while at < len(given) and (many := _COMMON.get(given[at].partition("=")[0])) is not None:
        at += 1 if "=" in given[at] else many
    early, rest = given[:at], given[at:]
    words = next((count for count in (2, 1) if " ".join(rest[:count]) in COMMANDS), None)
    if words is None:
        return rest  # what is wrong is the command, or that there is none
    return [*rest[:words], *early, *rest[words:]]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `tec`. Only the command that is asked for is loaded, so that it starts fast."""
    given = _in_order(list(sys.argv[1:] if arguments is None else arguments))
    word = given[0] if given else ""
    wanted = [name for name in COMMANDS if name == word or name.startswith(f"{word} ")]
    run_app(build(wanted or list(COMMANDS)), "tec", given)


if __name__ == "__main__":
    main()
