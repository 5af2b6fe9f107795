"""`tec rulebase check`, `load`, `current` and `diff`: whether a rule base is right, and which one rules."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible, warn
from opentec.commands.rulebase_names import Places, Target

if TYPE_CHECKING:
    from opentec.events.errors import SourceError
    from opentec.rules.comparison import Difference
    from opentec.rules.rulebase import RuleBase
    from opentec.server.instance import Instance

_TRIES: Final = 3  # answers of reception that may be lost to its end before the command gives up
_TRIAL: Final = 60.0  # seconds that reception may take to try a rule base
_POLL: Final = 0.2
_LONGEST: Final = 3600.0
_MARGIN: Final = 10.0  # seconds that an answer may take beyond what was asked to wait

_Optional = Annotated[
    str | None,
    typer.Argument(metavar="[RB]", help="A name, a path, or a hash.  [default: the folder that tec_server.toml names]"),
]


def check(rule_base: _Optional = None, directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """Compile a rule base and say everything that is wrong with it. Nothing is written.

    Exit status 0 it compiles, 2 it does not, 3 no such rule base.
    """
    base = _compiled(Places(directory).find(rule_base), json)
    counts = _counts(base)
    if json:
        say_json({"name": base.name, "hash": base.content_hash, **counts, "errors": 0})
    else:
        said = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items())
        say(f"{visible(base.name)} ({base.content_hash[:12]}) compiles: {said}")


def load(
    rule_base: _Optional = None,
    at_restart: Annotated[
        bool, typer.Option("--at-restart", help="Only check it now; the next `tec start` activates it.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait until it rules.")
    ] = 30.0,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Activate a rule base, classes and all, without a restart. What does not compile is never activated.

    Events that were received before are processed by the rules before, later ones by the new. What rules hold stays.
    With the hash of a snapshot an earlier one comes back. Exit status 0 it rules, or waits for the next start,
    2 it does not compile, 3 refused, 4 no server, 5 durable, but not applied within --wait.
    """
    from opentec.rules import snapshots

    places = Places(directory, required=True)
    instance = places.instance
    assert instance is not None
    target = places.find(rule_base)
    _require_owner(instance)
    before = snapshots.read_mark(instance.rule_bases, snapshots.CURRENT)
    content_hash = _snapshot(target, instance, json)
    base = _loaded(instance, content_hash)
    report: dict[str, Any] = {"name": base.name, "hash": content_hash, **_counts(base)}
    if at_restart or _rests(instance):
        snapshots.write_mark(instance.rule_bases, snapshots.WAITING, content_hash)
        if not at_restart and not json:
            warn("the server is stopped")
        _report(json, "waiting", "waits for the next `tec start`", report, base, instance, before)
        return
    answer = _ask(instance, content_hash)
    # whoever asks again hears that it is active already: then what ruled before this command counts
    before = answer["before"] if answer["before"] != content_hash else before
    if answer["position"] is None and before == content_hash:
        _report(json, "unchanged", "is active already", report, base, instance, before)
        return
    from opentec.events.records import name_of

    position = name_of(answer["position"]) if answer["position"] is not None else ""
    report["position"] = position or None
    where = f" from {position} on" if position else ""
    ruling = _wait_until_applied(instance, answer["after"], min(wait, _LONGEST))
    if not ruling:
        _report(json, "durable", f"is durable{where}, and does not rule yet", report, base, instance, before)
        raise typer.Exit(Status.NOT_YET)
    if ruling != content_hash:
        raise Failure(
            f"{ruling[:12]} rules, not {visible(base.name)}: another one was loaded meanwhile, or the rule process "
            "could not run it; the log of tec_reception says more",
            Status.REFUSED,
        )
    _report(json, "active", f"rules{where}", report, base, instance, before)


def current(
    path: Annotated[bool, typer.Option("--path", help="Print the path of its snapshot only.")] = False,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which rule base is active.

    Exit status 0, 3 none was active yet.
    """
    places = Places(directory, required=True)
    target = places.find("current")
    if path:
        say(str(target.folder))
        return
    assert places.instance is not None
    base = _loaded(places.instance, target.content_hash)
    if json:
        say_json({"name": base.name, "hash": base.content_hash, "path": str(target.folder), **_counts(base)})
    else:
        say(f"{visible(base.name)} ({base.content_hash[:12]})")


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A name, a path, a hash, or `current`.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same, of the rule base to compare it with.")],
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what rule base B does otherwise than A: classes, rule sets, rules, settings.

    Comments, layout and places do not count. Exit status 0 whatever it finds, 2 one of them does not compile, 3 there
    is no such rule base.
    """
    from opentec.rules.comparison import compare

    places = Places(directory)
    targets = places.find(before), places.find(after)
    old, new = (_compiled(target, json) for target in targets)
    found = compare(old, new, (targets[0].folder, targets[1].folder))
    for one in found:
        say_json(_as_data(one)) if json else say(visible(str(one)))
    if not found and not json:
        same = old.content_hash == new.content_hash
        say("the same" if same else "no difference but in comments and layout")


def _compiled(target: Target, json: bool) -> RuleBase:
    """The rule base, checked; with errors, prints them all and raises Failure."""
    from opentec.events.errors import SourceErrors
    from opentec.rules.rulebase import RuleBaseError, load_compiled, load_rule_base

    try:
        if target.content_hash:
            return load_compiled(target.folder.parent, target.content_hash)
        return load_rule_base(target.folder)
    except SourceErrors as errors:
        raise _wrong(errors.errors, target, json) from errors
    except RuleBaseError as error:
        raise Failure(str(error), Status.USAGE) from error


def _wrong(errors: list[SourceError], target: Target, json: bool) -> Failure:
    for error in errors:
        if json:
            place = {"file": error.file, "line": error.line, "column": error.column}
            say_json({"error": error.message, "hint": error.hint, **place})
        else:
            warn("\n".join(map(visible, str(error).split("\n"))))
    count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
    return Failure(f"rule base {visible(target.name)} does not compile: {count}", Status.USAGE)


def _snapshot(target: Target, instance: Instance, json: bool) -> str:
    """The hash of the snapshot of a rule base, made when there is none; raises Failure."""
    from opentec.events.errors import SourceErrors
    from opentec.rules.rulebase import RuleBaseError, snapshot
    from opentec.rules.snapshots import note_wanted

    try:
        content_hash = target.content_hash or snapshot(target.folder, instance.rule_bases)
        note_wanted(instance.rule_bases, content_hash)
        return content_hash
    except SourceErrors as errors:
        raise _wrong(errors.errors, target, json) from errors
    except RuleBaseError as error:
        raise Failure(str(error), Status.USAGE) from error


def _loaded(instance: Instance, content_hash: str) -> RuleBase:
    from opentec.rules.rulebase import RuleBaseError, load_compiled

    try:
        return load_compiled(instance.rule_bases, content_hash)
    except RuleBaseError as error:
        raise Failure(str(error), Status.REFUSED) from error


def _require_owner(instance: Instance) -> None:
    """A snapshot is read, and its code run, by the server's user: nobody else's belongs there."""
    owner = instance.rule_bases.stat().st_uid
    if os.geteuid() != owner:
        import pwd

        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise Failure(f"{instance.rule_bases} belongs to {name}: run the command as that user", Status.REFUSED)


def _rests(instance: Instance) -> bool:
    """Is the server stopped, so that nobody takes over either?"""
    from opentec.commands.link import is_stopped, standing_by
    from opentec.ha import marks

    return is_stopped(instance) and (marks.stopped(instance.ha) or not standing_by(instance))


def _ask(instance: Instance, content_hash: str) -> dict[str, Any]:
    """Reception's answer. When it ends before it answers, ask its successor: asking twice activates once."""
    from opentec.commands.link import connect
    from opentec.server.errors import Elsewhere, NotRunning

    tries = 0
    while True:
        try:
            with connect(instance, "reception.sock", timeout=_TRIAL) as control:
                answer: dict[str, Any] = control.call("activate", content_hash)
                return answer
        except Elsewhere:
            raise
        except NotRunning as error:
            tries += 1
            if tries > _TRIES:
                raise NotRunning(
                    f"{error}; whether the rule base is active now, `tec rulebase current` says"
                ) from error
            time.sleep(_POLL)


def _wait_until_applied(instance: Instance, after: int, wait: float) -> str:
    """The rule base that rules once `after` is committed, "" when that does not come in time."""
    from opentec.commands.link import connect
    from opentec.server.errors import NotRunning

    end = time.monotonic() + wait
    while True:
        left = max(0.0, end - time.monotonic())
        try:
            with connect(instance, "dispatch.sock", timeout=left + _MARGIN, patience=left) as control:
                return str(control.call("applied", [after, left]) or "")
        except NotRunning:  # in the moment in which it is started again
            if time.monotonic() >= end:
                return ""
            time.sleep(_POLL)


def _report(
    json: bool, result: str, said: str, report: dict[str, Any], base: RuleBase, instance: Instance, before: str
) -> None:
    found = _differences(instance, before, base)
    if json:
        say_json({"result": result, **report, "before": before or None, "changes": [_as_data(one) for one in found]})
        return
    counts = f"{report['rule_sets']} rule sets, {report['rules']} rules"
    say(f"rule base {visible(base.name)} ({base.content_hash[:12]}) {said}: {counts}")
    for one in found:
        say(f"  {visible(str(one))}")


def _differences(instance: Instance, before: str, base: RuleBase) -> list[Difference]:
    """What is new against the one before; nothing where that is gone."""
    from opentec.rules.comparison import compare
    from opentec.rules.rulebase import RuleBaseError, load_compiled

    if not before or before == base.content_hash:
        return []
    try:
        old = load_compiled(instance.rule_bases, before)
        return compare(old, base, (instance.rule_bases / before, instance.rule_bases / base.content_hash))
    except (RuleBaseError, OSError) as error:
        warn(f"what is new cannot be said: {error}")
        return []


def _counts(base: RuleBase) -> dict[str, int]:
    rules = sum(len(one.rules) for one in base.rule_sets)
    return {"classes": len(base.classes.classes), "rule_sets": len(base.rule_sets), "rules": rules}


def _as_data(one: Difference) -> dict[str, Any]:
    return {"kind": one.kind, "change": one.what, "name": one.name, "details": list(one.details)}
