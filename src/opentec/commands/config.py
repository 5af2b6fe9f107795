"""`tec config check`: are tec_server.toml and tasks.toml right?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import typer

from opentec.commands.cli import Debug, Directory, Json, Status, say, say_json, warn

if TYPE_CHECKING:
    from opentec.server.config import Config
    from opentec.server.instance import Instance

_LOOPBACK: Final = ("127.", "localhost:", "[::1]:")


def same_address(nodes: Mapping[str, str]) -> list[str]:
    """What is wrong where nodes of one machine share a port. `nodes`: node name -> HOST:PORT.

    Of other addresses than those of one machine nothing can be said: two machines may take turns at one.
    """
    users: dict[str, list[str]] = {}
    for name, address in nodes.items():
        if address.startswith(_LOOPBACK):
            users.setdefault(address, []).append(name)
    return [
        f"nodes {' and '.join(names)} have one address, {address}: while one hangs, the other cannot open the port; "
        "give each a port of its own"
        for address, names in users.items()
        if len(names) > 1
    ]


def _ports(instance: Instance, config: Config) -> list[str]:
    """Which nodes could not open their port on this machine, as far as can be said here.

    A node that is at work has its port itself. An address elsewhere is right for a node of another machine: only of the
    one that TEC_NODE names, or that is the only one, it is known that it belongs on this one.
    """
    from opentec.ha import epochs
    from opentec.ha.errors import LeaseDirectoryError
    from opentec.server.port import port_trouble

    try:
        newest = epochs.newest(instance.ha)
    except LeaseDirectoryError as error:
        return [str(error)]
    at_work = newest.node if newest is not None and not epochs.holder_dead(newest) else ""
    here = os.environ.get("TEC_NODE") or (next(iter(config.nodes)) if len(config.nodes) == 1 else "")
    found = [port_trouble(name, node, elsewhere=name != here) for name, node in config.nodes.items() if name != at_work]
    return [trouble for trouble in found if trouble]


def check(directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """Check the configuration and say everything that is wrong with it; exit status 1 when something is."""
    from opentec.server.config import load_config
    from opentec.server.errors import ConfigError
    from opentec.server.instance import find_instance
    from opentec.server.library import FILE_NAME, load_library
    from opentec.server.report import fence_warnings

    instance = find_instance(directory)
    errors: list[str] = []
    warnings: list[str] = []
    try:
        config = load_config(instance)
        warnings = fence_warnings(config) + same_address({name: node.listen for name, node in config.nodes.items()})
        warnings += _ports(instance, config)
        if not (folder := config.rule_base_path(instance)).is_dir():
            warnings.append(f"server.rule_base: there is no folder {folder}; make it, or correct the name")
    except ConfigError as error:
        errors += str(error).splitlines()
    try:
        load_library(instance.directory / FILE_NAME)
    except ConfigError as error:
        errors += str(error).splitlines()
    if json:
        say_json({"file": str(instance.config_file), "errors": errors, "warnings": warnings})
    else:
        for line in errors:
            warn(line)
        for line in warnings:
            warn(f"warning: {line}")
        if not errors:
            say(f"{instance.config_file}: right")
    raise typer.Exit(Status.FAILED if errors else Status.OK)
