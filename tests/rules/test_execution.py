"""Programs and tasks that rules ask for: words, environment, who watches, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from opentec.rules.effects import Effects, Program
from tests.rules.engine_kit import START, Kit

RULE = """rule: r: ( event: _e of_class within ['Link', 'TEC_Task_Result']
  where [hostname: _h, msg: _m, repeat_count: _n], reception_action: ( {body} ) )."""


def run(body: str, class_name: str = "Link_Down", **slots: Any) -> tuple[Kit, Effects]:
    kit = Kit(RULE.format(body=body))
    return kit, kit.event(0, class_name, **slots)


def one(body: str, **slots: Any) -> Program:
    (program,) = run(body, **slots)[1].programs
    return program


def complaint(effects: Effects) -> str:
    assert effects.outcome is not None
    return effects.outcome.fired[0].did[-1]


@pytest.mark.parametrize("name", ["exec_program", "exec_program_local"])
def test_a_program_gets_words_that_no_value_can_split(name: str) -> None:
    kit, effects = run(
        f"{name}(_e, 'scripts/mail.sh', '\"T/EC - %s: %s\" tec_print -n %d', [_h, _m, _n], 'YES')",
        hostname="web1",
        msg='a "b" $(c); d',
        repeat_count=3,
    )
    (program,) = effects.programs
    assert program.argv == ["scripts/mail.sh", 'T/EC - web1: a "b" $(c); d', "tec_print", "-n", "3"]
    assert (program.kind, program.name, program.watch, program.event) == ("program", "", True, f"{START}.1")
    assert program.environment["hostname"] == "web1"
    assert program.environment["acl"] == "[admin]"
    assert (program.environment["EVENT"], program.environment["CLASS_NAME"]) == (f"{START}.1", "Link_Down")
    assert kit.values("num_actions") == [1]
    ((_, position, eid, kind, data),) = kit.repository.outbox.values()
    assert (position, eid, kind) == (effects.position, 1, "program")
    work = msgspec.json.decode(data)
    assert work.pop("environment") == program.environment
    assert work == {"argv": program.argv, "event": f"{START}.1", "watch": True}


@pytest.mark.parametrize("name", ["exec_task", "exec_task_local"])
def test_a_task_is_stored_by_its_name(name: str) -> None:
    kit, effects = run(f"{name}(_e, 'restart-web.1', '-h %s', [_h], 'NO')", hostname="web 1")
    (program,) = effects.programs
    assert (program.kind, program.name, program.argv) == ("task", "restart-web.1", ["-h", "web 1"])
    ((*_, kind, data),) = kit.repository.outbox.values()
    assert kind == "task:restart-web.1" and "watch" not in msgspec.json.decode(data)
    assert complaint(effects) == "started task restart-web.1 -h web 1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exec_program(_e, '', '', [], 'NO')", "exec_program needs the name of a program"),
        ("exec_program(_e, p, '', [], 'MAYBE')", "last argument of exec_program is 'YES' or 'NO', not 'MAYBE'"),
        ("exec_program(_e, p, 'a \"b', [], 'NO')", "cannot be split into words"),
        ("exec_program(_e, p, '%s', [], 'NO')", "more directives than there are arguments"),
        ("exec_task(_e, 'a b', '', [], 'NO')", "'a b' is not the name of a task"),
        ("exec_task(_e, '../x', '', [], 'NO')", "'../x' is not the name of a task"),
        ("exec_task(_e, t, '', [], yes)", "last argument of exec_task is 'YES' or 'NO', not 'yes'"),
        (f"exec_program(_e, p, '{'a ' * 257}', [], 'NO')", "at most 256 arguments"),
    ],
)
def test_what_is_refused(body: str, message: str) -> None:
    _, effects = run(body)
    assert effects.programs == [] and message in complaint(effects)


def test_results_of_results_are_not_watched() -> None:
    program = one("exec_task(_e, t, '', [], 'YES')", class_name="TEC_Task_Result")
    assert not program.watch
    assert one("exec_task(_e, t, '', [], 'YES')").watch


def test_slots_that_would_steer_programs_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentec.rules.event import Event
    from opentec.rules.predicates.execution import environment_of

    class Steering(Event):
        def __init__(self) -> None:
            self.defaults = {"LD_PRELOAD": "", "PATH": "", "Path": "", "hostname": "x\0y" + "z" * 20_000}
            self.slots = {"date_reception": 1, "event_handle": 1, "server_handle": 1}

        @property
        def class_name(self) -> str:
            return "Steering"

    environment = environment_of(Steering())
    assert set(environment) == {"CLASS_NAME", "EVENT", "Path", "hostname"}
    assert len(environment["hostname"]) == 16_384 and environment["hostname"].startswith("xyz")


def test_a_dropped_event_still_has_its_program() -> None:
    program = one("exec_program(_e, p, '', [], 'NO'), drop_received_event")
    assert program.eid is None and program.event == f"{START}.1"


def test_the_same_record_asks_for_the_same_rows() -> None:
    body = "exec_program(_e, p, '', [], 'NO'), exec_task(_e, t, '', [], 'NO')"
    first, second = (list(run(body)[0].repository.outbox) for _ in range(2))
    assert first == second and len(set(first)) == 2
