"""The matcher with its prefilters, against trying every format in turn."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.adapters.logfile.fmt import parse_formats
from opentec.adapters.logfile.matcher import Matcher, Prefilter

PREFILTERS: tuple[Prefilter, ...] = ("literals", "words", "none")


def matcher(text: str, prefilter: Prefilter = "auto") -> Matcher:
    return Matcher(parse_formats(text, "x.fmt"), prefilter)


def entry(class_name: str, string: str, kind: str = "FORMAT") -> str:
    return f"{kind} {class_name}\n{string}\nEND\n"


def winner(found: Any) -> Any:
    return found and (found[0].class_name, found[1].groups())


@pytest.mark.parametrize("prefilter", PREFILTERS)
def test_the_last_format_wins_and_discards_shield(prefilter: Prefilter) -> None:
    found = matcher(
        entry("A", "disk %s failed") + entry("*DISCARD*", "disk %s*") + entry("B", "disk sda %s*"), prefilter
    )
    assert winner(found.find("disk sda failed")) == ("B", ("failed",))
    assert winner(found.find("disk sdb failed")) == ("*DISCARD*", ("sdb failed",))
    assert found.find("nothing") is None


@pytest.mark.parametrize("prefilter", PREFILTERS)
def test_formats_without_a_literal_are_always_tried(prefilter: Prefilter) -> None:
    found = matcher(entry("A", "%s %s") + entry("B", "x %s") + entry("C", "^abc", kind="REGEX"), prefilter)
    assert winner(found.find("abc y")) == ("C", ())
    assert winner(found.find("x y")) == ("B", ("y",))
    assert winner(found.find("z y")) == ("A", ("z", "y"))


@pytest.mark.parametrize("prefilter", PREFILTERS)
def test_formats_of_several_lines(prefilter: Prefilter) -> None:
    found = matcher(entry("A", "second %s") + entry("B", "first %s%nsecond %s") + entry("C", "second c"), prefilter)
    assert found.window == 2
    assert winner(found.find("second b")) == ("A", ("b",))
    assert winner(found.find("second b", ["first a"])) == ("B", ("a", "b"))
    assert winner(found.find("second b", ["other"])) == ("A", ("b",))
    assert winner(found.find("second c", ["first a"])) == ("C", ())  # stands behind it
    assert found.find("other", ["first a"]) is None


words = st.sampled_from(["disk", "su", "su[", "]:", "failed", "x", "é", "foo_bar", "1", "-", "a.b"])
parts = st.one_of(words, st.sampled_from(["%s", "%s*", "%s+", "%d", "%[2]s"]))
strings = st.lists(st.tuples(parts, st.sampled_from(["", " "])), min_size=1, max_size=7).map(
    lambda found: "".join(part + blank for part, blank in found).strip()
)
lines = st.one_of(
    st.lists(st.tuples(words, st.sampled_from(["", " ", "  "])), max_size=10).map(
        lambda found: "".join(part + blank for part, blank in found)
    ),
    st.text(max_size=20).filter(lambda text: "\n" not in text),
)


@given(st.lists(strings, min_size=1, max_size=12), st.lists(lines, min_size=1, max_size=10))
def test_prefilters_change_nothing(format_strings: list[str], texts: list[str]) -> None:
    text = "".join(entry(f"C{number}", string) for number, string in enumerate(format_strings))
    sequential, *fast = [matcher(text, prefilter) for prefilter in ("none", "literals", "words")]
    for line in texts:
        expected = winner(sequential.find(line))
        assert [winner(each.find(line)) for each in fast] == [expected, expected]


def test_without_pyahocorasick(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "ahocorasick":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert winner(matcher(entry("A", "disk %s")).find("disk x")) == ("A", ("x",))
    with pytest.raises(ImportError):
        matcher(entry("A", "disk %s"), "literals")


def test_formats_without_any_literal_at_all() -> None:
    assert winner(matcher(entry("A", "%s"), "literals").find("x")) == ("A", ("x",))
