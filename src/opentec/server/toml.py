"""Reading a TOML file that a person wrote: what is wrong with its form has file, line and column."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from opentec.server.errors import ConfigError

_BARE: Final = re.compile(r"\s*([\w.-]+)\s*=\s*([A-Za-z/][^\s\"'#,\[\]{}]{0,80})\s*(?:#.*)?", re.DOTALL)
_PLACE: Final = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)


def parse_toml(path: Path, data: bytes) -> dict[str, Any]:
    """The table that `data`, read from `path`, holds. Raises ConfigError when it is not TOML, or not UTF-8."""
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        what = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ConfigError(f"{path}:{line}:{column}: {what}") from None
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.fullmatch(str(error))
        if not found:
            raise ConfigError(f"{path}: {error}") from None
        hint = _hint(data.decode(), int(found[2])) if found[1] == "Invalid value" else ""
        raise ConfigError(f"{path}:{found[2]}:{found[3]}: {found[1]}{hint}") from None


def _hint(text: str, line: int) -> str:
    """What was meant by a bare word as value."""
    bare = _BARE.fullmatch(text.split("\n")[line - 1])
    if bare is None:
        return ""
    if bare[2].lower() in ("true", "false"):
        return f"; true and false are written in small letters: {bare[1]} = {bare[2].lower()}"
    return f'; a text stands in quotes: {bare[1]} = "{bare[2]}"'
