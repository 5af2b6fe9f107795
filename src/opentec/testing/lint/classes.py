"""L101 and L103: classes and enumerations that nothing uses. L104: inactive rule files. L502: descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from opentec.events.classes import ROOT
from opentec.rules.ast import Atom, Term, Text
from opentec.rules.rulebase_sources import CLASSES, RULES
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Model, all_terms, filter_terms

# what these files define is the server's own, and every rule base's
_BASE: Final = (f"{CLASSES}/root.baroc", f"{CLASSES}/tec.baroc")
_QUOTED_OR_COMMENT: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|#[^\n]*")
_DECLARED: Final = re.compile(r"\b(TEC_CLASS\s*:|ENUMERATION)\s*(\w+)")
_WORD: Final = re.compile(r"\w+")


def check_classes(model: Model, texts: Mapping[str, str], tests: str) -> Iterator[Diagnostic]:
    """What is declared in the class files and used nowhere. `tests` is the text of all test files.

    A class is used where a rule or a test names it or a class above it, EVENT left out, or one that inherits from it.
    """
    named = {name for site in model.sites if site.body is not None for name in _names(all_terms([site.body]))}
    for _, rule in model.rules:
        named.update(_names(all_terms(filter_terms(rule.event))))
    named |= set(_WORD.findall(tests))
    named.discard(ROOT)
    used = {above for name in named & model.heirs.keys() for above in model.table.ancestors[name]}
    used |= {heir for name in named & model.heirs.keys() for heir in model.heirs[name]}
    enumerations = {slot.type.enumeration for cls in model.table.classes.values() for slot in cls.slots.values()}
    for word, name, place in _declarations(texts):
        if place[0] in _BASE:
            continue
        if word == "ENUMERATION":
            if name not in enumerations:
                yield found("L103", place, f"no slot has the enumeration {name}", "take it out")
        elif name not in used:
            hint = "take it out; if an adapter sends it, a test should, too"
            yield found("L101", place, f"no rule, test or other class uses class {name}", hint)


def check_rule_files(model: Model, present: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Rule files among those that are there by name, that TEC_RULES/rule_sets does not name."""
    active = {rule_set.file for rule_set in model.base.rule_sets}
    for file in sorted(present.keys() - active):
        if file.startswith(f"{RULES}/") and file.endswith(".rls"):
            name = file.removeprefix(f"{RULES}/").removesuffix(".rls")
            yield found("L104", (file, 1, 1), f"rule set {name} is not active", f"name it in {RULES}/rule_sets")


def check_descriptions(model: Model) -> Iterator[Diagnostic]:
    """Rules that do not say what they are for."""
    for _, rule in model.written:
        if not rule.description:
            kind = rule.source_kind or rule.kind
            yield found("L502", rule.place, f"{kind} {rule.name!r} has no description", "add description: '...',")


def _names(terms: Iterable[Term]) -> Iterator[str]:
    return (term.value for term in terms if isinstance(term, (Atom, Text)))


def _declarations(texts: Mapping[str, str]) -> Iterator[tuple[str, str, tuple[str, int, int]]]:
    for file, text in texts.items():
        if file.endswith(".baroc"):
            blank = _QUOTED_OR_COMMENT.sub(lambda quoted: " " * len(quoted[0]), text)
            for declared in _DECLARED.finditer(blank):
                start = declared.start(2)
                line = blank.count("\n", 0, start) + 1
                yield declared[1].rstrip(" :\t\n"), declared[2], (file, line, start - blank.rfind("\n", 0, start))
