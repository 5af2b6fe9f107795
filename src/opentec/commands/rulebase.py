"""`tec rulebase create`, `copy`, `delete`, `list`, and what changes the sources of one (TEC's wrb, tec.md 5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from opentec.commands.cli import Debug, Directory, Failure, Json, Status, say, say_json, visible
from opentec.commands.rulebase_names import Places, Target, shipped_rule_base
from opentec.commands.shown import utc

RuleBaseName = Annotated[str, typer.Argument(metavar="RB", help="A rule base: a name, or a path with a '/' in it.")]
OfPath = Annotated[
    Path | None,
    typer.Option("--path", metavar="DIR", help="Make it in DIR, and give that the name.  [default: rulebases/NAME]"),
]
RuleSetName = Annotated[str, typer.Argument(metavar="RULESET", help="A rule set, as `tec rulebase rules` prints it.")]
Before = Annotated[
    str,
    typer.Option("--before", metavar="NAME", show_default=False, help="Before this one.  [default: as the last one]"),
]
After = Annotated[
    str,
    typer.Option("--after", metavar="NAME", show_default=False, help="Behind this one.  [default: as the last one]"),
]


def create(
    rule_base: RuleBaseName,
    path: OfPath = None,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a rule base with the classes that every server needs, and no rules.

    Exit status 0 made, 1 something is there already, 2 not a name.
    """
    from opentec.rules import management

    places = Places(directory)
    folder = places.new(rule_base, path)
    management.create(folder, shipped_rule_base() / "TEC_CLASSES")
    places.register(rule_base, folder)
    _done(json, f"made {folder}", rule_base=rule_base, path=str(folder))


def copy(
    source: RuleBaseName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Name or path of the copy.")],
    path: OfPath = None,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a rule base with its tests. `Default` is the one that ships, `current` the active one.

    Exit status 0 copied, 1 something is there already, 2 not a name, 3 no such rule base.
    """
    from opentec.rules import management

    places = Places(directory)
    found = places.find(source)
    folder = places.new(new, path)
    management.copy(found.folder, folder)
    places.register(new, folder)
    _done(json, f"copied {found.folder} to {folder}", rule_base=new, path=str(folder))


def delete(rule_base: RuleBaseName, directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """Delete a rule base by its name. What is active stays active.

    Where the name leads to a folder elsewhere, that stays. Exit status 0 deleted, 1 it may not be, 2 not a name,
    3 no such rule base.
    """
    said = Places(directory, required=True).delete(rule_base)
    _done(json, said, rule_base=rule_base)


def list_rule_bases(
    names: Annotated[bool, typer.Option("--names", help="Only the rule bases that have a name.")] = False,
    loaded: Annotated[bool, typer.Option("--loaded", help="Only what was loaded: the snapshots.")] = False,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List rule bases by name, and what was loaded, newest first, the active one marked.

    Exit status 0.
    """
    from opentec.rules.snapshots import snapshots

    places = Places(directory, required=True)
    assert places.instance is not None
    if names or not loaded:
        for name, folder in places.names().items():
            if json:
                say_json({"kind": "name", "name": name, "path": str(folder.resolve())})
            else:
                say(f"{visible(name):<20}  {folder.resolve()}")
    if loaded or not names:
        if not json and not loaded:
            say()
        for one in snapshots(places.instance.rule_bases):
            if json:
                state = {"active": one.active, "waiting": one.waiting}
                row = {
                    "kind": "loaded",
                    "hash": one.content_hash,
                    "name": one.name,
                    "time": utc(int(one.time)),
                    **state,
                }
                say_json(row)
            else:
                mark = "*" if one.active else "+" if one.waiting else " "
                say(f"{mark} {one.content_hash[:12]}  {utc(int(one.time))}  {visible(one.name)}")


def import_class(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A BAROC file, NAME.baroc.")],
    rule_base: RuleBaseName,
    before: Before = "",
    after: After = "",
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a file of classes into a rule base. It is read last, or where --before or --after say.

    Exit status 0 copied, 1 it is there already, 2 the classes would not be right, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name = _checked(lambda: management.import_class(target.folder, file, before=before, after=after))
    _done(json, f"{name} is in {target.folder}", rule_base=rule_base, class_file=name)


def delete_class(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A class file, as `tec rulebase classes` prints it.")],
    rule_base: RuleBaseName,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete a file of classes from a rule base.

    Exit status 0 deleted, 1 there is no such file, 2 other classes need it, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name = _checked(lambda: management.delete_class(target.folder, name))
    _done(json, f"{name} is gone from {target.folder}", rule_base=rule_base, class_file=name)


def classes(rule_base: RuleBaseName, directory: Directory = None, json: Json = False, debug: Debug = False) -> None:
    """List the class files of a rule base in the order in which they are read.

    Exit status 0, 3 no such rule base.
    """
    from opentec.rules import management

    for name in management.class_files(_found(directory, rule_base).folder):
        say_json({"class_file": name}) if json else say(visible(name))


def import_rule(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A rule file, NAME.rls.")],
    rule_base: RuleBaseName,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a rule set into a rule base. `tec rulebase activate-rule` makes it active.

    Exit status 0 copied, 1 it is there already, 2 it is not written in the rule language, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name = _checked(lambda: management.import_rule(target.folder, file))
    _done(json, f"rule set {name} is in {target.folder}, and not active yet", rule_base=rule_base, rule_set=name)


def delete_rule(
    rule_set: RuleSetName,
    rule_base: RuleBaseName,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete a rule set from a rule base, and from its active ones.

    Exit status 0 deleted, 1 there is no such rule set, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name, active = management.delete_rule(target.folder, rule_set)
    said = f"rule set {name} is gone from {target.folder}" + (", it was active" if active else "")
    _done(json, said, rule_base=rule_base, rule_set=name, active=active)


def rules(
    rule_base: RuleBaseName,
    active: Annotated[bool, typer.Option("--active", help="Only those that are active.")] = False,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the rule sets of a rule base: the active ones numbered in their order, then the others.

    Exit status 0, 3 no such rule base.
    """
    from opentec.rules import management

    for entry in management.rule_sets(_found(directory, rule_base).folder):
        if active and not entry.place:
            continue
        if json:
            say_json({"rule_set": entry.name, "place": entry.place or None})
        else:
            say(f"{entry.place or '-':>3}  {visible(entry.name)}")


def activate_rule(
    rule_set: RuleSetName,
    rule_base: RuleBaseName,
    before: Before = "",
    after: After = "",
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a rule set of a rule base active, or move it before or behind another one.

    Exit status 0 done, 1 there is no such rule set, or it is active, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name = management.activate_rule(target.folder, rule_set, before=before, after=after)
    place = next(entry.place for entry in management.rule_sets(target.folder) if entry.name == name)
    _done(
        json, f"rule set {name} is number {place} of {target.folder}", rule_base=rule_base, rule_set=name, place=place
    )


def deactivate_rule(
    rule_set: RuleSetName,
    rule_base: RuleBaseName,
    directory: Directory = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a rule set of a rule base inactive. Its file stays.

    Exit status 0 done, 1 there is no such active rule set, 3 no such rule base.
    """
    from opentec.rules import management

    target = Places(directory).editable(rule_base)
    name = management.deactivate_rule(target.folder, rule_set)
    _done(json, f"rule set {name} is not active any more in {target.folder}", rule_base=rule_base, rule_set=name)


def _found(directory: Path | None, word: str) -> Target:
    return Places(directory).find(word)


def _checked(change: Callable[[], str]) -> str:
    """Make a change; raises Failure with every error where its sources are not right."""
    from opentec.events.errors import SourceErrors

    try:
        return change()
    except SourceErrors as errors:
        raise Failure(f"nothing was changed:\n{errors}", Status.USAGE) from errors


def _done(json: bool, text: str, **data: Any) -> None:
    if json:
        say_json(data)
    else:
        say(text)
