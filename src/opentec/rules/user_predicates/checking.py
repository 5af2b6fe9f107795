"""User predicates while a rule base is checked: their errors, and what the checks of rules need to know of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Final

from opentec.events.errors import SourceError
from opentec.rules.predicates import PREDICATES
from opentec.rules.user_predicates.apart import read_apart
from opentec.rules.user_predicates.calling import Registry, declared_registry
from opentec.rules.user_predicates.declaration import Declaration, Installed, UserPredicates
from opentec.rules.user_predicates.module import FILE

# the arities of a predicate whose declaration is wrong: rules that use it are not blamed
_ANY: Final = frozenset(range(100))


class Checked:
    """The outcome. `complete` is False when not even the names of the predicates are known."""

    def __init__(
        self,
        predicates: UserPredicates,
        errors: Sequence[SourceError] = (),
        wrong: Collection[str] = (),
        *,
        complete: bool = True,
    ) -> None:
        self.predicates = predicates
        self.errors = errors
        self.complete = complete
        self._wrong = wrong

    @cached_property
    def registry(self) -> Registry:
        """Every predicate, to compile with and not to run."""
        return declared_registry(self.predicates.declarations)

    @cached_property
    def arities(self) -> Mapping[str, Collection[int]]:
        """The numbers of arguments of every predicate by name."""
        found: dict[str, Collection[int]] = dict(PREDICATES)
        for one in self.predicates.declarations:
            found[one.name] = {*found.get(one.name, ()), one.arity}
        found.update((name, _ANY) for name in self._wrong if name not in PREDICATES)
        return found


def check_user_predicates(
    source: str, installed: Sequence[Installed], package_error: Callable[[str, str], SourceError]
) -> Checked:
    """Run predicates.py and the packages once, elsewhere, and check what they declare.

    `package_error` makes the error of a package from a message and a hint: its place is where the package is named.
    """
    if not source and not installed:
        return Checked(UserPredicates())
    report = read_apart(source, installed)
    errors = [
        package_error(fault.message, fault.hint)
        if fault.package
        else _error(fault.line, fault.column, fault.message, fault.hint)
        for fault in report.faults
    ]
    declarations = []
    for one in report.declarations:
        if one.name in PREDICATES:
            errors.append(_taken(one, package_error))
        else:
            declarations.append(one)
    return Checked(
        UserPredicates(source, tuple(installed), tuple(declarations)), errors, report.wrong, complete=report.complete
    )


def _taken(declaration: Declaration, package_error: Callable[[str, str], SourceError]) -> SourceError:
    message = f"{declaration.name!r} is a predicate of the language, which cannot be defined again"
    hint = "give it another name, or @predicate(name='...')"
    if declaration.package:
        return package_error(f"predicates {declaration.package!r}: {message}", hint)
    return _error(int(declaration.place.rpartition(":")[2]), 1, message, hint)


def _error(line: int, column: int, message: str, hint: str) -> SourceError:
    return SourceError(message, file=FILE, line=line, column=column, hint=hint)
