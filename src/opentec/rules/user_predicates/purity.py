"""What a predicates.py must not do, as far as it can be seen: a predicate is a function of its arguments.

A replay, a standby and a test must come to the same result, so there is no clock, no chance, no file, no network, and
nothing that a predicate remembers. This finds what people do by habit; it is no wall against ill will, for a rule base
is its operator's own code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from opentec.rules.user_predicates.annotations import Problem

_CLOCK: Final = "a parameter `now: Seconds` gives log time"
_CHANCE: Final = "the same event must give the same result in a replay and on a standby"
_OUTSIDE: Final = "a rule that needs the world outside starts a program (exec_program), whose answer is an event"
_THREADS: Final = "the processes of a server are forked, and threads do not survive that"
_FILES: Final = "write the table into predicates.py, which is part of the rule base's content hash"
_MEMORY: Final = "what rules remember are facts and global variables, which survive a failover"
_MODULES: Final = {
    "time": _CLOCK,
    **dict.fromkeys(("random", "secrets"), _CHANCE),
    **dict.fromkeys(("socket", "ssl", "http", "urllib.request", "smtplib", "subprocess"), _OUTSIDE),
    **dict.fromkeys(("threading", "_thread", "multiprocessing", "concurrent", "asyncio", "signal"), _THREADS),
    **dict.fromkeys(("os", "io", "tempfile", "shutil", "sqlite3", "glob", "fileinput"), _FILES),
}
_ALLOWED: Final = ("os.path",)
_BUILTINS: Final = {
    "open": _FILES,
    "input": _OUTSIDE,
    "print": "it has no output; give the value to the rule, and let log_error say it",
    "hash": "the hash of a text differs from process to process",
    "id": "an address differs from process to process",
}
_CLOCK_METHODS: Final = ("now", "utcnow", "today")
_CLOCK_CLASSES: Final = ("datetime", "date")


def impurities(tree: ast.AST) -> list[Problem]:
    """Everything in a predicates.py that a predicate must not do, in the order of the text."""
    return sorted(_find(tree))


def _find(tree: ast.AST) -> Iterator[Problem]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield from _module(node, name.name)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                for name in names:
                    if found := list(_module(node, f"{module}.{name.name}")):
                        yield found[0]
                        break
            case ast.Global(names=[first, *_]):
                yield _problem(node, f"global {first}: a predicate remembers nothing", _MEMORY)
            case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS:
                yield _problem(node, f"{name}() is not for predicates", _BUILTINS[name])
            case ast.Call(func=ast.Attribute(attr=method, value=value)) if method in _CLOCK_METHODS:
                if _last_name(value) in _CLOCK_CLASSES:
                    yield _problem(node, f"{_last_name(value)}.{method}() reads the wall clock", _CLOCK)


def _module(node: ast.stmt, name: str) -> Iterator[Problem]:
    if any(_within(name, allowed) for allowed in _ALLOWED):
        return
    for refused, reason in _MODULES.items():
        if _within(name, refused):
            yield _problem(node, f"module {refused!r} is not for predicates", reason)


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _problem(node: ast.stmt | ast.expr, message: str, hint: str) -> Problem:
    return Problem(node.lineno, node.col_offset + 1, message, hint)
