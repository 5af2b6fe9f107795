"""Watching compiled rules at work: what they cost, or what tests have seen of them."""

from __future__ import annotations

from typing import Protocol

from opentec.rules.compiled import CompiledRules


class Watcher(Protocol):
    """Wraps the compiled rules of an engine. It is asked again for each rule base that the engine takes."""

    def watch(self, rules: CompiledRules) -> CompiledRules:
        """Rules that do the same as these, to be run in their place."""


class Watchers:
    """Several watchers as one. The first is next to the rules, the last sees what the others added."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def watch(self, rules: CompiledRules) -> CompiledRules:
        """The rules, wrapped by each in turn."""
        for watcher in self._watchers:
            rules = watcher.watch(rules)
        return rules
