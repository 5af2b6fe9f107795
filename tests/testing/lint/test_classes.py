"""L101 to L104 but L102, and L502: what is declared and not used or said."""

from __future__ import annotations

from pathlib import Path

from tests.testing.kit import make_rule_base, write_spec
from tests.testing.lint.kit import Look, lines, look, rule

EXTRA = "# TEC_CLASS: Gone\nENUMERATION SPEED 1 SLOW 2 FAST END\nTEC_CLASS: Tape ISA EVENT; END\n"
EXTRA += "TEC_CLASS: Tape_Full ISA Tape; END\nENUMERATION SIZE 1 S 2 L END\n"
EXTRA += "TEC_CLASS: Shoe ISA EVENT DEFINES { size: SIZE; msg: default = 'TEC_CLASS: Not'; }; END\n"


def base(tmp_path: Path, rules: str) -> Path:
    folder = make_rule_base(tmp_path / "base", rules)
    (folder / "TEC_CLASSES" / "extra.baroc").write_text(EXTRA)
    return folder


def test_classes_and_enumerations_that_nothing_uses(tmp_path: Path) -> None:
    folder = base(tmp_path, rule("r", "drop_received_event", event="event: _e of_class 'Disk'"))
    found = look(folder, "L101,L103")
    assert [(one.code, one.line, one.column, one.message.split()[-1]) for one in found] == [
        ("L103", 2, 13, "SPEED"),
        ("L101", 3, 12, "Tape"),
        ("L101", 4, 12, "Tape_Full"),
        ("L101", 6, 12, "Shoe"),
    ]
    assert found[0].file == str(folder / "TEC_CLASSES" / "extra.baroc")
    assert {one.severity for one in found} == {"info"}


def test_an_heir_or_a_test_or_a_text_uses_a_class(tmp_path: Path) -> None:
    event = "event: _e of_class 'Disk'"
    folder = base(tmp_path, rule("r", "generate_event('Tape_Full', [])", event=event))
    write_spec(folder, "- {at: 0s, event: {class: Shoe}}")
    assert look(folder, "L101") == []


def test_rules_on_every_event_use_no_class(tmp_path: Path) -> None:
    folder = base(tmp_path, rule("r", "drop_received_event", event="event: _e of_class 'EVENT'"))
    assert "Disk_Full" in {one.message.split()[-1] for one in look(folder, "L101")}


def test_a_rule_file_that_no_line_names(tmp_path: Path) -> None:
    folder = make_rule_base(tmp_path / "base")
    (folder / "TEC_RULES" / "other.rls").write_text("\n")
    (one,) = look(folder, "L104")
    assert (one.message, one.line, one.column) == ("rule set other is not active", 1, 1)
    (folder / "TEC_RULES" / "other.rls").write_text("% lint: ignore L104 for sites with tapes\nx.\n")
    assert look(folder, "L104,L0") == []


def test_a_rule_without_a_description(says: Look) -> None:
    text = rule("a", "commit_rule") + rule("b", "commit_set").replace("description: 'x', ", "")
    assert lines(says("L502", text)) == [("L502", 2)]
