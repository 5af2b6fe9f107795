"""Finds the rule bases and adapter packages that ship with opentec."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parents[2]


def shipped(*parts: str) -> Path:
    """The path of a shipped file or folder: `shipped("rules", "default")`, `shipped("adapters", "logfile")`.

    `parts` begin with `rules` or `adapters`. An installed wheel carries both folders as package data; a checkout
    (editable install) has them at its root. Raises FileNotFoundError, naming the place, where the path does not exist.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    path = root.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{'/'.join(parts)} is not among what opentec ships in {root}; reinstall opentec")
    return path
