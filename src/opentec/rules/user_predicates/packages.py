"""Installed packages of predicates: entry points of the group `opentec.predicates`.

A rule base names those it uses in rulebase.toml (`predicates = ["acme"]`): what happens to be installed must not
change what a rule base is. Distribution and version are recorded with the rule base and part of its content hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from opentec.events.names import nearest
from opentec.rules.user_predicates.declaration import Installed

GROUP: Final = "opentec.predicates"


class PackageError(Exception):
    """Predicates that a rule base names are not installed, more than once, or in another version; the text says it."""


def find(name: str) -> Installed:
    """What provides the predicates of this name here. Raises PackageError."""
    return _find(name)[0]


def load(wanted: Installed) -> Any:
    """Import the module with these predicates. Raises PackageError, and whatever the module raises."""
    installed, entry = _find(wanted.name)
    _compare(wanted, installed)
    return entry.load()


def check(wanted: Iterable[Installed]) -> None:
    """Refuse packages that are not the ones a rule base was checked with. Raises PackageError."""
    for one in wanted:
        _compare(one, find(one.name))


def _compare(wanted: Installed, installed: Installed) -> None:
    if installed != wanted:
        raise PackageError(
            f"the rule base was checked with predicates {wanted}, and {installed.distribution} {installed.version} is "
            f"installed here; install {wanted.distribution}=={wanted.version}, or activate the rule base again"
        )


def _find(name: str) -> tuple[Installed, Any]:
    from importlib.metadata import entry_points  # only for rule bases that name packages

    entries = entry_points(group=GROUP)
    found = {(entry.dist.name, entry.dist.version): entry for entry in entries if entry.name == name and entry.dist}
    if not found:
        near = nearest(name, sorted({entry.name for entry in entries}))
        hint = f"; did you mean {near!r}?" if near else ""
        raise PackageError(f"no installed package has predicates {name!r}{hint or '; install it on every node'}")
    if len(found) > 1:
        names = " and ".join(sorted(distribution for distribution, _ in found))
        raise PackageError(f"predicates {name!r} are in more than one package, {names}; uninstall all but one")
    (((distribution, version), entry),) = found.items()
    return Installed(name, distribution, version), entry


def encode(installed: Iterable[Installed]) -> bytes:
    """The lines that a snapshot keeps."""
    return "".join(f"{one.name} {one.distribution} {one.version}\n" for one in installed).encode()


def decode(data: bytes) -> tuple[Installed, ...]:
    """What `encode` wrote; lines of another form are left out, which the content hash notices."""
    lines = [line.split(" ") for line in data.decode("utf-8", "replace").splitlines()]
    return tuple(Installed(*line) for line in lines if len(line) == 3)
