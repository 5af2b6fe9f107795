from __future__ import annotations

from pathlib import Path

import pytest

from opentec.commands.cli import Status
from opentec.server.instance import Instance
from tests.commands.running import Runner


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "-n", "many"], "'many' is not a whole number"),
        (["list", "-n", "-1"], "-1 is less than 0"),
        (["ack", "1.1", "--wait", "soon"], "'soon' is not a number"),
        (["ack", "1.1", "--wait", "nan"], "'nan' is not a number"),
        (["ack", "1.1", "--wait", "inf"], "'inf' is not a number"),
        (["ack", "1.1", "--wait", "-0.5"], "-0.5 is less than 0"),
        (["trace", "on", "x", "--hours", "169"], "169 is more than 168"),
        (["trace", "on", "x", "--hours", "0"], "0 is less than 1"),
        (["test", "--cov-fail-under", "101"], "101 is more than 100"),
        (["stop", "--timeout", "-1"], "-1 is less than 0"),
        (["switch", "--timeout", "0"], "0 is less than 1"),
        (["stop", "--timeout", "1e999"], "'1e999' is not a number"),
        (["ack"], "Missing argument"),
        (["list", "-n"], "requires an argument"),
    ],
)
def test_a_wrong_value_is_usage(tec: Runner, instance: Instance, arguments: list[str], said: str) -> None:
    ran = tec(*arguments)
    assert ran.status == Status.USAGE
    assert said in ran.err


def test_the_bounds_themselves_are_right(tec: Runner, instance: Instance) -> None:
    for hours in ("1", "168"):
        assert tec("trace", "on", "x", "--hours", hours).status == Status.NO_SERVER


def test_values_arrive_as_their_types(tec: Runner, tmp_path: Path, instance: Instance) -> None:
    ran = tec("stop", "-d", instance.directory, "--timeout", "2")
    assert ran.status == Status.OK
    assert tec("ack", "1.1", "2.2", "--wait", "1").status == Status.NO_SERVER
