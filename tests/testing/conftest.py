from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opentec.commands import main as tec
from opentec.rules.rulebase import RuleBase, load_rule_base
from opentec.testing.runner import Runner
from tests.testing.kit import Ran, Run, make_rule_base


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests leave the user's cache alone, and print no annotations where they run in CI; so do programs they start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "TF_BUILD"):
            patch.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("OPENTEC_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rule_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base(folder: Path) -> RuleBase:
    return load_rule_base(folder)


@pytest.fixture(scope="session")
def runner(base: RuleBase) -> Runner:
    return Runner(base)


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]) -> Run:
    """`replay(...)` runs the command in this process."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            tec.main(["replay", *map(str, arguments)])
        return Ran(int(ended.value.code or 0), *capsys.readouterr())

    return call
