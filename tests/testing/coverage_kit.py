"""An engine that coverage watches, and short words for what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentec.events.records import Record
from opentec.rules.effects import Effects
from opentec.rules.engine import Engine
from opentec.rules.selectors.indexed import IndexedSelector
from opentec.testing.coverage import Coverage, CoverageData, lines
from opentec.testing.coverage_data import never
from tests.rules.engine_kit import Kit


class Covered(Kit):
    """A Kit whose rules are watched by `coverage`."""

    def __init__(self, *texts: str, **settings: Any) -> None:
        super().__init__(*texts, **settings)
        self.coverage = Coverage(self.base, Path("base"))
        self.engine = Engine(self.base, IndexedSelector(), self.coverage)
        self.coverage.begin()

    def process(self, record: Record) -> Effects:
        effects = super().process(record)
        self.coverage.saw(record, effects)
        return effects

    def missing(self, kind: str, rule: str = "") -> dict[str, tuple[str, ...]]:
        """What was not seen of the items of a kind, by their text."""
        return missing(self.coverage.data(), kind, rule)

    def report(self) -> list[str]:
        return lines(self.coverage.data())


def missing(data: CoverageData, kind: str, rule: str = "") -> dict[str, tuple[str, ...]]:
    items = [item for item in data.items if item.kind == kind and rule in ("", item.rule)]
    return {item.text: never(data, item) for item in items if never(data, item)}


def texts(data: CoverageData, kind: str) -> list[str]:
    return [item.text for item in data.items if item.kind == kind]
