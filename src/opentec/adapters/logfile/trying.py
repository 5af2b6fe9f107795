"""Trying format files on lines without sending anything: what `tec adapter try` shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from opentec.adapters.conf import AdapterConf
from opentec.adapters.filters import passes
from opentec.adapters.logfile.fmt import DISCARD, Context, Format
from opentec.adapters.logfile.matcher import Matcher
from opentec.adapters.logfile.pattern import Pattern, PatternError, Token, pattern_of, tokenize
from opentec.adapters.logfile.text import line_text

Verdict = Literal["event", "discarded", "filtered", "unmatched"]
LINE_LIMIT: Final = 1 << 20  # bytes of a line that are read at once


class Tried(NamedTuple):
    """What becomes of one line. `place` is `file:line` of the format that decided, or of the nearest one; `why` says
    for an unmatched line how near that was."""

    number: int
    line: str
    verdict: Verdict
    class_name: str
    place: str
    slots: dict[str, str]
    why: str


def try_file(conf: AdapterConf, formats: Sequence[Format], path: Path) -> Iterator[Tried]:
    """Run the lines of a file through the formats. Raises OSError."""
    with path.open("rb") as file:
        yield from try_lines(conf, formats, iter(lambda: file.readline(LINE_LIMIT), b""), str(path))


def try_lines(conf: AdapterConf, formats: Sequence[Format], lines: Iterable[bytes], name: str) -> Iterator[Tried]:
    """As `try_file`, for lines of the file `name`."""
    matcher = Matcher(formats)
    explainer: Explainer | None = None
    context = Context(conf.label_host, conf.adapter_hostname, name)
    before: list[str] = []
    for number, raw in enumerate(lines, 1):
        line, _ = line_text(raw.removesuffix(b"\n"), conf.event_max_size)
        found = matcher.find(line, before)
        if matcher.window > 1:
            consumed = found is not None and found[0].pattern.lines > 1
            before = [] if consumed else [*before, line][1 - matcher.window :]
        if found is None:
            explainer = explainer or Explainer(formats)
            place, why = explainer.explain(line)
            yield Tried(number, line, "unmatched", "", place, {}, why)
        elif found[0].discards:
            yield Tried(number, line, "discarded", DISCARD, found[0].place, {}, "")
        else:
            format_ = found[0]
            slots = format_.slots_of(found[1], line, context)
            is_sent = passes(conf.filters, conf.filter_mode, format_.class_name, slots)
            yield Tried(number, line, "event" if is_sent else "filtered", format_.class_name, format_.place, slots, "")


class Explainer:
    """Says which format comes nearest to a line that none matches, and where the line leaves it."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._formats: list[tuple[Format, list[Token]]] = []
        self._patterns: dict[tuple[Token, ...], Pattern] = {}  # formats share their beginnings
        for format_ in formats:
            try:
                tokens = tokenize(format_.pattern.source)
            except PatternError:
                continue  # a REGEX has no parts to compare
            if tokens[0].is_specifier and format_.pattern.lines == 1:
                self._formats.append((format_, tokens))

    def explain(self, line: str) -> tuple[str, str]:
        """Place of the nearest format, or "", and a sentence."""
        best, best_end, best_rest = None, 0, ""
        for format_, tokens in self._formats:
            end, count = self._matched(line, tokens)
            if end > best_end:
                best, best_end, best_rest = format_, end, "".join(token.text for token in tokens[count:]).strip()
        if best is None:
            return "", "no format begins as this line does"
        if best_end >= len(line):
            return best.place, f"{best.class_name} expects {best_rest!r} where the line ends"
        here = line[best_end:][:40]
        return best.place, f"{best.class_name} expects {best_rest or 'its end'!r} where the line has {here!r}"

    def _matched(self, line: str, tokens: list[Token]) -> tuple[int, int]:
        """How far into the line, and how many tokens, the beginning of a format matches."""
        end = matched = 0
        for count in range(1, len(tokens) + 1):
            if tokens[count - 1].kind == "blank":
                continue  # alone it would hide that the word in front of it is whole
            key = tuple(tokens[:count])
            pattern = self._patterns.get(key)
            if pattern is None:
                pattern = self._patterns[key] = pattern_of(list(key), "", end="")
            match = pattern.match(line)
            if match is None:
                break
            end, matched = match.end(), count
        return end, matched
