"""`tec config check`: are tec_server.toml and tasks.toml right?"""

from __future__ import annotations

import typer

from opentec.commands.cli import Debug, Directory, Json, Status, say, say_json, warn


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
        warnings = fence_warnings(load_config(instance))
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
