"""`tec version`."""

from __future__ import annotations

import opentec
from opentec.commands.cli import Debug, Json, say, say_json


def version(json: Json = False, debug: Debug = False) -> None:
    """Print the version."""
    if json:
        say_json({"version": opentec.__version__})
    else:
        say(f"opentec {opentec.__version__}")
