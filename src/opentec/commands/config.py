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

    instance = find_instance(directory)
    errors: list[str] = []
    for load in (lambda: load_config(instance), lambda: load_library(instance.directory / FILE_NAME)):
        try:
            load()
        except ConfigError as error:
            errors += str(error).splitlines()
    if json:
        say_json({"file": str(instance.config_file), "errors": errors})
    elif errors:
        for line in errors:
            warn(line)
    else:
        say(f"{instance.config_file}: right")
    raise typer.Exit(Status.FAILED if errors else Status.OK)
