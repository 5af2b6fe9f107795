"""`wrb`: TEC's command for rule bases (tec.md 5, tec-2.md 5), in words of `tec rulebase`.

Its options are sub-commands; each becomes a command line of `tec rulebase`, so both do the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, NoReturn

from opentec.commands.cli import Failure, Status, run_app, say, warn
from opentec.commands.main import COMMANDS, build
from opentec.events.names import nearest, shown

TARGET: Final = "EventServer"  # the one rule base target there is
_COMMON: Final = {"-d": 1, "--dir": 1, "--json": 0, "--debug": 0}
_PLACE: Final = {"-before": "--before", "-after": "--after"}


class _Form(NamedTuple):
    """How a sub-command is written here; `options` lead to their names, those in `flags` have no value."""

    command: str
    words: tuple[str, ...]  # what stands behind it
    options: Mapping[str, str] = MappingProxyType({})
    flags: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # words for `tec rulebase` in any case


FORMS: Final = {
    "-crtrb": _Form("create", ("RB",), {"-path": "--path"}),
    "-cprb": _Form("copy", ("RB", "NEW"), {"-path": "--path"}),
    "-delrb": _Form("delete", ("RB",)),
    "-lsrb": _Form("list", (), more=("--names",)),
    "-imprbclass": _Form("import-class", ("FILE", "RB"), _PLACE),
    "-delrbclass": _Form("delete-class", ("NAME", "RB")),
    "-lsrbclass": _Form("classes", ("RB",)),
    "-imprbrule": _Form("import-rule", ("FILE", "RB")),
    "-delrbrule": _Form("delete-rule", ("RULESET", "RB")),
    "-lsrbrule": _Form("rules", ("RB",)),
    "-imptgtrule": _Form("activate-rule", ("RULESET", TARGET, "RB"), _PLACE),
    "-deltgtrule": _Form("deactivate-rule", ("RULESET", TARGET, "RB")),
    "-lstgtrule": _Form("rules", (TARGET, "RB"), more=("--active",)),
    "-comprules": _Form("check", ("RB",), {"-profile": "", "-trace": ""}, ("-profile", "-trace")),
    "-loadrb": _Form("load", ("RB",), {"-use": ""}, ("-use",)),
    "-lscurrb": _Form("current", (), {"-path": "--path"}, ("-path",)),
}
# what TEC has besides, and why it is not here
_ABSENT: Final = {
    **dict.fromkeys(
        ("-crtrp", "-delrp", "-lsrp", "-imprprule", "-delrprule", "-lsrprule"),
        "there are no rule packs: a rule set is a file of a rule base",
    ),
    **dict.fromkeys(("-crttgt", "-deltgt", "-lstgt"), f"there is one rule base target, {TARGET}"),
    **dict.fromkeys(
        ("-imptgtdata", "-deltgtdata", "-lstgtdata", "-imprbdata", "-delrbdata"),
        "data files lie in the folder of the rule base: put them there",
    ),
    "-profile": "rules are not profiled by compiling them otherwise; `wrb -comprules` checks them",
    "-trace": "rules need not be compiled for a trace: `tec trace on CLASS` begins one at any time",
}


def arguments_of(given: Sequence[str]) -> list[str]:
    """The words of `tec` that mean what `given` means to wrb; raises Failure with USAGE."""
    common, rest = _take_common(list(given))
    if not rest:
        raise Failure("which sub-command? `wrb --help` lists them", Status.USAGE)
    name, *words = rest
    form = FORMS.get(name)
    if form is None:
        raise _usage(f"{shown(name)} is no sub-command", name)
    found: list[str] = []
    options: list[str] = list(form.more)
    use = False
    while words:
        word = words.pop(0)
        if word not in form.options:
            if word.startswith("-") and len(word) > 1:
                raise _usage(f"{name} has no option {word}", word, form)
            found.append(word)
        elif word in _ABSENT:
            raise _usage(_ABSENT[word], "")
        elif word in form.flags:
            use = use or word == "-use"
            options += [form.options[word]] if form.options[word] else []
        elif not words:
            raise _usage(f"{word} needs a value", "", form)
        else:
            options += [form.options[word], words.pop(0)]
    if name == "-loadrb" and not use:
        options.append("--at-restart")  # as TEC: without -use it is active from the next start on (tec-2.md 5)
    return ["rulebase", form.command, *options, *common, "--", *_words(name, form, found, options)]


def _take_common(words: list[str]) -> tuple[list[str], list[str]]:
    common, rest = [], []
    while words:
        word = words.pop(0)
        if word in _COMMON:
            common += [word, *words[: _COMMON[word]]]
            del words[: _COMMON[word]]
        else:
            rest.append(word)
    return common, rest


def _words(name: str, form: _Form, found: list[str], options: list[str]) -> list[str]:
    if name == "-cprb" and len(found) == 1 and "--path" in options:
        # `-cprb -path P RB`: the copy is called as its folder
        found = [found[0], options[options.index("--path") + 1].rstrip("/").rpartition("/")[2]]
    if len(found) != len(form.words):
        raise _usage(f"{name} takes {' '.join(form.words) or 'no words'}, not {' '.join(found) or 'none'}", "", form)
    kept = []
    for wanted, word in zip(form.words, found, strict=True):
        if wanted != TARGET:
            kept.append(word)
        elif word != TARGET:
            raise _usage(f"{shown(word)}: {_ABSENT['-crttgt']}", "")
    return kept


def _usage(message: str, word: str, form: _Form | None = None) -> Failure:
    if word in _ABSENT:
        return Failure(f"{word}: {_ABSENT[word]}", Status.USAGE)
    near = nearest(word, tuple(form.options) if form is not None else tuple(FORMS)) if word else ""
    hint = f"did you mean {near}?" if near else "`wrb --help` lists what there is" if word else ""
    return Failure(f"{message}; {hint}" if hint else message, Status.USAGE)


def usage() -> str:
    """The sub-commands, one a line, each with what it is in `tec rulebase`."""
    lines = []
    for name, form in FORMS.items():
        options = [
            f"[{option}]" if option in form.flags else f"[{option} {'DIR' if option == '-path' else 'NAME'}]"
            for option in form.options
            if option not in _ABSENT
        ]
        line = " ".join([name, *form.words[:1], *options, *form.words[1:]])
        lines.append(f"  wrb {line:<63} tec rulebase {form.command}")
    common = "  -d DIR, --json and --debug as everywhere; `tec rulebase COMMAND --help` says more"
    return "\n".join(["Usage: wrb SUB-COMMAND ...", "", *lines, "", common])


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `wrb`."""
    given = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(given):
        say(usage())
        sys.exit(Status.OK)
    try:
        words = arguments_of(given)
    except Failure as error:
        warn(f"wrb: {error}")
        sys.exit(error.status)
    run_app(build([name for name in COMMANDS if name.startswith("rulebase ")]), "wrb", words)
