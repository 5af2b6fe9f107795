from __future__ import annotations

from pathlib import Path

import pytest

from opentec.rules.rulebase import RuleBase, load_rule_base
from opentec.testing.runner import Runner
from tests.testing.kit import make_rule_base


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rule_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base(folder: Path) -> RuleBase:
    return load_rule_base(folder)


@pytest.fixture(scope="session")
def runner(base: RuleBase) -> Runner:
    return Runner(base)
