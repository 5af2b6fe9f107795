"""Which class files are read, in which order, and what is said when one cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.events import SourceErrors, load_classes


@pytest.fixture
def folder(tmp_path: Path, root_text: str) -> Path:
    classes = tmp_path / "TEC_CLASSES"
    classes.mkdir()
    (classes / "root.baroc").write_text(root_text)
    (classes / "a.baroc").write_text("TEC_CLASS: A ISA Tec;")
    (classes / "tec.baroc").write_text("TEC_CLASS: Tec ISA EVENT;")
    return classes


def messages(folder: Path) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        load_classes(folder)
    return [str(error).replace(f"{folder}/", "").replace(str(folder), "DIR") for error in caught.value.errors]


def test_without_an_order_root_and_tec_come_first(folder: Path) -> None:
    assert list(load_classes(folder).classes) == ["EVENT", "Tec", "A"]


def test_the_rule_base_folder_will_do(folder: Path) -> None:
    assert list(load_classes(folder.parent).classes) == ["EVENT", "Tec", "A"]


def test_load_classes_gives_the_order_and_the_selection(folder: Path) -> None:
    (folder / ".load_classes").write_text("# order\n\nroot.baroc # first\r\n tec.baroc\n# a.baroc\n")
    assert list(load_classes(folder).classes) == ["EVENT", "Tec"]


def test_a_class_file_that_is_not_named_is_not_forgotten(folder: Path) -> None:
    (folder / ".load_classes").write_text("root.baroc\ntec.baroc\n")
    (found,) = messages(folder)
    assert found.startswith(".load_classes:2:1: a.baroc lies in DIR, but is not named here; add a line with it; a comm")


def test_a_wrong_order_says_where_the_parent_is(folder: Path) -> None:
    (folder / ".load_classes").write_text("root.baroc\na.baroc\ntec.baroc\n")
    (found,) = messages(folder)
    assert found.startswith("a.baroc:1:18: the parent 'Tec' of class A is not defined; it is defined later, in ")


def test_files_that_are_missing_or_named_twice(folder: Path) -> None:
    (folder / ".load_classes").write_text("root.baroc\ntce.baroc\nqqqqqq\nroot.baroc\n# a.baroc tec.baroc\n")
    twin, unknown, twice = (found.partition("\n")[0] for found in messages(folder))
    assert twin == ".load_classes:2:1: there is no file 'tce.baroc' in DIR; did you mean tec.baroc?"
    assert unknown.startswith(".load_classes:3:1: there is no file 'qqqqqq' in DIR; the files of DIR are listed here")
    assert twice == ".load_classes:4:1: root.baroc is named twice; remove one of the lines"


def test_a_folder_without_classes(tmp_path: Path) -> None:
    assert messages(tmp_path) == ["DIR:1:1: no class files here; expected *.baroc or .load_classes"]


def test_errors_of_all_files_in_order(folder: Path) -> None:
    (folder / "a.baroc").write_text("TEC_CLASS: A ISA Tec DEFINES { a: STRNG; b: STRING };")
    (folder / "b.baroc").write_text("TEC_CLASS: A ISA Tecc;\nTEC_CLASS: B ISA Tecc;")
    assert [found.split(": ")[0] for found in messages(folder)] == [
        "a.baroc:1:35",
        "a.baroc:1:52",
        "b.baroc:1:12",
        "b.baroc:2:18",
    ]


def test_the_same_class_in_two_files(folder: Path) -> None:
    (folder / "b.baroc").write_text("TEC_CLASS: A ISA Tec;")
    (found,) = messages(folder)
    assert found.startswith("b.baroc:1:12: 'A': names have already been defined; first defined in ")
    assert "a.baroc:1; remove one of the two" in found


def test_a_file_that_is_not_utf8(folder: Path) -> None:
    (folder / "a.baroc").write_bytes(b"# ok\n# \xfc\n")
    (found,) = messages(folder)
    assert found == "a.baroc:2:3: byte 0xfc is not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_and_dos_line_ends(folder: Path) -> None:
    (folder / "a.baroc").write_bytes(b"\xef\xbb\xbfTEC_CLASS: A\r\n ISA Tec;\r\n")
    assert "A" in load_classes(folder).classes


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "z.baroc").mkdir()
    (found,) = messages(folder)
    assert found == "z.baroc:1:1: cannot be read: Is a directory"
