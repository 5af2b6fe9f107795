"""L401: problems that nothing closes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.kit import make_rule_base
from tests.testing.lint.kit import Look, look, rule

MAKES = rule("makes", "generate_event('Disk_Full', [severity='FATAL'])", event="event: _e of_class 'Disk_OK'")
SEARCH = "all_instances(event: _old of_class '{}'), change_event_status(_old, 'CLOSED')"


def test_a_problem_that_rules_make(says: Look) -> None:
    (one,) = says("L401", MAKES)
    assert one.message == "nothing closes a Disk_Full that disk/makes makes FATAL"
    assert one.line == 1


def test_a_severity_that_rules_raise(says: Look) -> None:
    text = rule("a", "set_event_severity(_event, 'CRITICAL')") + rule("b", "bo_set_slotval(_event, severity, 'FATAL')")
    (one,) = says("L401", text)  # once for each class
    assert one.message == "nothing closes a Disk_Full that disk/a makes CRITICAL"


def test_the_default_of_the_class_counts(says: Look) -> None:
    assert says("L401", MAKES.replace("severity='FATAL'", "")) == []
    assert says("L401", MAKES.replace("FATAL", "WARNING")) == []


def test_a_notice_is_for_a_person_to_close(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base", rule("a", "generate_event('TEC_Notice', [severity='FATAL'])"))
    (folder / "TEC_CLASSES" / "notice.baroc").write_text("TEC_CLASS: TEC_Notice ISA EVENT; END\n")
    assert look(folder, "L401") == []


@pytest.mark.parametrize(
    "closes",
    [
        rule("c", SEARCH.format("Disk_Full"), event="event: _e of_class 'Disk_OK'"),
        rule("c", SEARCH.format("Disk"), event="event: _e of_class 'Disk_OK'"),
        rule("c", "first_duplicate(_event, event: _d where []), set_event_status(_d, 'CLOSED')"),
        rule("c", "change_event_status(_event, 'CLOSED')", kind="timer_rule"),
        rule("c", "bo_set_slotval(_event, status, 'CLOSED')", kind="timer_rule"),
        rule("c", "create_clearing_event(x, 'Disk_OK', ['Disk_Full'], [hostname])"),
        rule(
            "c", "create_event_criteria(k, ['Disk_Full'], yes, []), create_clearing_event(x, 'Disk_OK', [k], [drive])"
        ),
        rule(
            "c",
            "create_event_criteria(k, event: _k of_class 'Disk_Full' where []), "
            "create_clearing_event(x, 'Disk_OK', [k], [])",
        ),
        "correlation_rule: c:\n  event_relation: Disk_OK clears Disk_Full.\n",
        # through a clause, and one within another
        "end(_e) :- end2(_e).\nend2(_e) :- change_event_status(_e, 'CLOSED').\n"
        + rule("c", "end(_event)", kind="timer_rule"),
    ],
)
def test_what_is_a_recovery(says: Look, closes: str) -> None:
    assert says("L401", MAKES + closes) == []


@pytest.mark.parametrize(
    "closes",
    [
        rule("c", SEARCH.format("EVENT"), event="event: _e of_class 'Disk_OK'"),  # tidying up
        rule("c", SEARCH.format("Disk_OK"), event="event: _e of_class 'Disk_OK'"),
        rule("c", "change_event_status(_event, 'ACK')", kind="timer_rule"),
        rule("c", "create_clearing_event(x, 'Disk_OK', [k], [hostname])"),
    ],
)
def test_what_is_none(says: Look, closes: str) -> None:
    assert len(says("L401", MAKES + closes)) == 1


def test_a_severity_that_is_no_constant_or_of_several_classes_is_not_looked_at(says: Look) -> None:
    text = rule("a", "get_global_var(a, b, _x, c), set_event_severity(_event, _x)")
    text += rule("b", "set_event_severity(_e, 'FATAL')", event="event: _e of_class within ['Disk_OK', 'Disk_Full']")
    text += rule("c", "set_event_severity(_e, 'FATAL')", event="event: _e of_class 'EVENT'")
    text += rule("d", "get_global_var(a, b, _c, c), generate_event(_c, [severity='FATAL'])")
    text += rule("e", "first_instance(event: _o of_class 'Disk_OK'), set_event_severity(_o, 'FATAL')")
    assert says("L401", text) == []
