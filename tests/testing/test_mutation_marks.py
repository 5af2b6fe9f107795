"""Marks of mutants that no test can notice."""

from __future__ import annotations

from opentec.events.loader import load_classes
from opentec.rules.parser import parse_rules
from opentec.shipped import shipped
from opentec.testing.mutation_marks import read_marks, stale
from opentec.testing.mutation_operators import Mutant, mutants

TEXT = """rule: r: (
  event: _event of_class 'NT_Disk_Full',
  reception_action: a: (
    set_timer(_event, 60, '6'), % mutation: equivalent change-number at 60: nobody waits
    % mutation: equivalent drop-commit: nothing stands behind it
    %
    commit_set
  )
).
"""


def made(text: str) -> list[Mutant]:
    classes = load_classes(shipped("rules", "default", "TEC_CLASSES"))
    return mutants(parse_rules(text, "TEC_RULES/s.rls"), classes)


def test_a_mark_speaks_of_its_line_or_of_the_next() -> None:
    marks, errors = read_marks(TEXT, "s.rls")
    assert not errors
    found = made(TEXT)
    meant = [[one.name for one in found if mark.means(one)] for mark in marks]
    assert meant == [["s/r:change-number@4:23"], ["s/r:drop-commit@7:5"]]
    assert [mark.reason for mark in marks] == ["nobody waits", "nothing stands behind it"]
    assert list(stale(marks, found)) == []


def test_the_text_is_whole_words_from_the_beginning() -> None:
    marks, _ = read_marks(TEXT.replace("at 60", "at 6"), "s.rls")
    (error,) = stale(marks, made(TEXT))
    assert "there is no mutant change-number of '6'" in str(error)
    assert error.hint == "what it changes in line 4: 60"
    marks, _ = read_marks(TEXT.replace("change-number at 60", "drop-goal at set_timer(_event"), "s.rls")
    assert list(stale(marks, made(TEXT))) == []


def test_a_mark_that_names_no_mutant_is_an_error_with_what_there_is() -> None:
    marks, _ = read_marks(TEXT.replace("drop-commit", "drop-goal"), "s.rls")
    (error,) = stale(marks, made(TEXT))
    assert (error.file, error.line, error.column) == ("s.rls", 5, 5)
    assert "there is no mutant drop-goal of 'this line'" in str(error)
    assert error.hint == "line 7 has mutants of drop-commit"
    marks, _ = read_marks("% mutation: equivalent negate: at the end\n", "s.rls")
    (error,) = stale(marks, [])
    assert error.hint == "take the mark out"


def test_marks_that_say_nothing_are_errors() -> None:
    text = "% mutation: equivalent negate\n% mutation: equivalent drop-goals: x\n% mutation: equivalent zzz: x\n"
    marks, errors = read_marks(text, "s.rls")
    assert not marks
    assert [(error.line, error.hint.split(";")[0][:30]) for error in errors] == [
        (1, "write: % mutation: equivalent "),
        (2, "did you mean 'drop-goal'?"),
        (3, "operators are drop-rule, drop-"),
    ]
