"""Finding the format of a line among many.

Formats are tried from the last in the file to the first, and the first that matches decides (tec.md 4.2). Trying all
of them in turn costs a line milliseconds at hundreds of formats, so a prefilter names those whose literals the line
holds: pyahocorasick where it is installed, else an index of words. It may name too many, never too few.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from opentec.adapters.logfile.fmt import Format

Prefilter = Literal["auto", "literals", "words", "none"]
Found = tuple[Format, re.Match[str]]
_WORDS: Final = re.compile(r"\w+")


class Matcher:
    """Matches single lines and, for formats with `%n`, the last lines of a file."""

    def __init__(self, formats: Sequence[Format], prefilter: Prefilter = "auto") -> None:
        """`formats` in file order; `literals` raises ImportError without pyahocorasick, `auto` does without it."""
        self.formats = list(formats)
        single = [format_ for format_ in reversed(self.formats) if format_.pattern.lines == 1]
        self._ranks = {id(format_): rank for rank, format_ in enumerate(reversed(self.formats))}
        # formats of several lines are few and match on joined lines: they are tried in turn
        self._multiple = [format_ for format_ in reversed(self.formats) if format_.pattern.lines > 1]
        self.window = max((format_.pattern.lines for format_ in self.formats), default=1)
        self._candidates: Callable[[str], Sequence[Format]] | None = None
        if prefilter in ("auto", "literals"):
            try:
                self._candidates = _Literals(single).candidates
            except ImportError:
                if prefilter == "literals":
                    raise
        if self._candidates is None and prefilter != "none":
            self._candidates = _Words(single).candidates
        self._single = single

    def find(self, line: str, before: Sequence[str] = ()) -> Found | None:
        """The format that decides over `line`, with its match; None when there is none.

        `before` holds the lines in front of it, oldest first, as far as they belong to no earlier match.
        """
        candidates = self._single if self._candidates is None else self._candidates(line)
        found = None
        for format_ in candidates:
            pattern = format_.pattern
            match = pattern.regex.match(line) if pattern.anchored else pattern.regex.search(line)
            if match is not None:
                found = format_, match
                break
        if self._multiple and before:
            return self._find_lines(line, before, found)
        return found

    def _find_lines(self, line: str, before: Sequence[str], found: Found | None) -> Found | None:
        rank = len(self.formats) if found is None else self._ranks[id(found[0])]
        for format_ in self._multiple:
            if self._ranks[id(format_)] > rank:
                break
            wanted = format_.pattern.lines
            if wanted <= len(before) + 1:
                match = format_.pattern.match("\n".join([*before[len(before) - wanted + 1 :], line]))
                if match is not None:
                    return format_, match
        return found


def _rarest(choices: Sequence[tuple[str, ...]]) -> list[str]:
    """For each format the one of its literals that fewest formats share, the longer one where they tie; or "".

    Literals of one or two characters stand in most lines, so they are taken last.
    """
    shared = Counter(text for texts in choices for text in set(texts))
    return [min(texts, key=lambda text: (len(text) < 3, shared[text], -len(text)), default="") for texts in choices]


class _Index:
    """Formats by one text each that a matching line must hold, in matching order."""

    def __init__(self, formats: Sequence[Format], texts: Sequence[str]) -> None:
        self.by_text: dict[str, list[tuple[int, Format]]] = {}
        self.always: list[tuple[int, Format]] = []
        for rank, (format_, text) in enumerate(zip(formats, texts, strict=True)):
            (self.by_text.setdefault(text, []) if text else self.always).append((rank, format_))
        self._always = [format_ for _, format_ in self.always]
        self._one = {text: self._ordered([text]) for text in self.by_text}

    def _ordered(self, texts: Sequence[str]) -> list[Format]:
        ranked = [*self.always]
        for text in texts:
            ranked += self.by_text[text]
        return [format_ for _, format_ in sorted(ranked, key=lambda entry: entry[0])]

    def of(self, texts: Sequence[str]) -> list[Format]:
        """The candidates when the line holds `texts`, each at most once."""
        if not texts:
            return self._always
        return self._one[texts[0]] if len(texts) == 1 else self._ordered(texts)


class _Literals:
    """The prefilter over pyahocorasick: one pass over the line finds every literal in it."""

    def __init__(self, formats: Sequence[Format]) -> None:
        import ahocorasick  # type: ignore[import-not-found]  # a C extension without stubs

        self._index = _Index(formats, _rarest([format_.pattern.literals for format_ in formats]))
        automaton: Any = ahocorasick.Automaton()
        for text in self._index.by_text:
            automaton.add_word(text, text)
        if self._index.by_text:
            automaton.make_automaton()
        self._iter: Callable[[str], Any] = automaton.iter if self._index.by_text else lambda _line: ()

    def candidates(self, line: str) -> Sequence[Format]:
        hits = [text for _, text in self._iter(line)]
        return self._index.of(hits if len(hits) < 2 else list(set(hits)))


class _Words:
    """The prefilter of the standard library: words of the line that are words of a format."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._index = _Index(formats, _rarest([format_.pattern.keys for format_ in formats]))
        self._known = self._index.by_text.keys()

    def candidates(self, line: str) -> Sequence[Format]:
        return self._index.of(list(self._known & set(_WORDS.findall(line))))
