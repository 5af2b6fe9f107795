"""A folder of BAROC files to a class table; every error of the run is found, not only the first.

Files are read in the order of `.load_classes` (tec.md 2.2): a class comes after its parent, an enumeration before
its first use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opentec.events.baroc import (
    ClassDeclaration,
    EnumerationDeclaration,
    Facet,
    SlotDeclaration,
    Source,
    Word,
    parse_all,
)
from opentec.events.classes import ROOT, ClassTable, EventClass
from opentec.events.errors import SourceError, SourceErrors
from opentec.events.image import BASE_SLOTS
from opentec.events.names import nearest, shown
from opentec.events.slots import (
    BASIC_TYPES,
    INT32_MAX,
    INT32_MIN,
    BadValueError,
    Enumeration,
    Slot,
    SlotType,
    Value,
    make_converter,
    neutral_default,
)

FACETS: Final = ("default", "dup_detect", "parse")
LOAD_ORDER: Final = ".load_classes"
_FIRST: Final = ("root.baroc", "tec.baroc")
_TYPES_HINT: Final = f"write a type after the colon: {', '.join(BASIC_TYPES)}, an enumeration, or LIST_OF one of them"
# members that rules and commands of the server name
_NEEDED: Final = {"STATUS": ("OPEN", "ACK", "CLOSED"), "SEVERITY": ("HARMLESS", "WARNING", "CRITICAL", "FATAL")}


def load_classes(folder: Path) -> ClassTable:
    """The classes of a rule base: `folder` is its TEC_CLASSES folder, or the rule base that holds one.

    Reads the files that `.load_classes` names, one a line, in that order; one that only its comments name is left out,
    one that is not named at all is an error. Without that file all *.baroc by name, root and tec first. Raises
    SourceErrors.
    """
    if (folder / "TEC_CLASSES").is_dir():
        folder = folder / "TEC_CLASSES"
    resolver = Resolver()
    for path in _files(folder, resolver.errors):
        text = _read(path, resolver.errors)
        if text is not None:
            resolver.add_text(text, str(path))
    return resolver.table(str(folder))


def classes_of(text: str, file: str = "<text>") -> ClassTable:
    """The classes of one BAROC text that holds everything from EVENT on; for tools and tests. Raises SourceErrors."""
    resolver = Resolver()
    resolver.add_text(text, file)
    return resolver.table(file)


def _files(folder: Path, errors: list[SourceError]) -> list[Path]:
    order = folder / LOAD_ORDER
    text = _read(order, errors) if order.exists() else None
    if text is None:
        found = sorted(folder.glob("*.baroc"), key=lambda path: (path.name not in _FIRST, path.name))
        if not found and not errors:
            errors.append(
                SourceError(
                    "no class files here", file=str(folder), line=1, column=1, hint=f"expected *.baroc or {LOAD_ORDER}"
                )
            )
        return found
    source = Source(text, str(order))
    files: list[Path] = []
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        path = folder / name
        if path in files:
            errors.append(source.error(f"{name} is named twice", number, 1, "remove one of the lines"))
        elif not path.is_file():
            near = nearest(name, sorted(other.name for other in folder.glob("*.baroc")))
            hint = f"did you mean {near}?" if near else f"the files of {folder} are listed here, one a line"
            errors.append(source.error(f"there is no file {shown(name)} in {folder}", number, 1, hint))
        else:
            files.append(path)
    # a class file that is forgotten here would be noticed only when its events are rejected
    for path in sorted(set(folder.glob("*.baroc")) - set(files)):
        if path.name not in text:
            what = f"{path.name} lies in {folder}, but is not named here"
            hint = "add a line with it; a comment line with its name leaves it out"
            errors.append(source.error(what, max(text.count("\n"), 1), 1, hint))
    return files


def _read(path: Path, errors: list[SourceError]) -> str | None:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as wrong:
        message, line, column = f"cannot be read: {wrong.strerror}", 1, 1
    except UnicodeDecodeError as wrong:
        before = data[: wrong.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"byte 0x{data[wrong.start]:02x} is not UTF-8; save the file as UTF-8"
    errors.append(SourceError(message, file=str(path), line=line, column=column))
    return None


class Resolver:
    """Gives declarations their meaning, in order; collects errors and goes on after each."""

    def __init__(self) -> None:
        self.errors: list[SourceError] = []
        self._classes: dict[str, EventClass] = {}
        self._enums: dict[str, Enumeration] = {}
        self._places: dict[str, str] = {}
        # names that exist but whose declaration is wrong: what refers to them is not reported as well
        self._broken: set[str] = set()
        # errors that a declaration further on explains better: the name, and the error's index
        self._unknown: list[tuple[str, int]] = []

    def add_text(self, text: str, file: str) -> None:
        """Add the declarations of one file."""
        parsed = parse_all(text, file)
        self.errors += parsed.errors
        self._broken |= parsed.broken
        for declaration in parsed.declarations:
            name = declaration.name
            where = self._places.get(name.text)
            if where or name.text in BASIC_TYPES:
                what = f"first defined in {where}; remove one of the two" if where else "it is the name of a basic type"
                self.errors.append(declaration.source.at(name, f"{name.text!r}: names have already been defined", what))
                continue
            self._places[name.text] = f"{file}:{name.line}"
            if isinstance(declaration, EnumerationDeclaration):
                self._add_enumeration(declaration)
            else:
                self._add_class(declaration)

    def table(self, place: str) -> ClassTable:
        """The table of everything added; raises SourceErrors when there was an error."""
        self._hint_at_order()
        root = self._classes.get(ROOT)
        if root is None and ROOT not in self._broken and not self.errors:
            hint = "root.baroc, which defines it, comes first"
            self.errors.append(SourceError(f"class {ROOT} is not defined", file=place, line=1, column=1, hint=hint))
        elif root is not None:
            self._require("class", ROOT, [slot for slot in BASE_SLOTS if slot not in root.slots])
            for name, needed in _NEEDED.items():
                members = self._enums[name].members if name in self._enums else {}
                self._require("enumeration", name, [member for member in needed if member not in members])
        if self.errors:
            files = {error.file: number for number, error in reversed([*enumerate(self.errors)])}
            raise SourceErrors(sorted(self.errors, key=lambda error: (files[error.file], error.line, error.column)))
        return ClassTable(self._classes.values(), self._enums.values())

    def _require(self, what: str, name: str, missing: list[str]) -> None:
        missing = [part for part in missing if part not in self._broken]
        if missing and name not in self._broken:
            file, _, line = self._places.get(name, self._places[ROOT]).rpartition(":")
            message = f"{what} {name} lacks what the server needs: {', '.join(missing)}"
            hint = "compare it with the root.baroc that is shipped"
            self.errors.append(SourceError(message, file=file, line=int(line), column=1, hint=hint))

    def _hint_at_order(self) -> None:
        for name, index in self._unknown:
            if name in self._places:
                old = self.errors[index]
                hint = f"it is defined later, in {self._places[name]}: definitions come before their first use"
                self.errors[index] = SourceError(
                    old.message,
                    file=old.file,
                    line=old.line,
                    column=old.column,
                    source_line=old.source_line,
                    hint=hint,
                )

    def _add_enumeration(self, declaration: EnumerationDeclaration) -> None:
        members: dict[str, int] = {}
        for number, name in declaration.members:
            try:
                value = int(number.text)
            except ValueError:
                value = INT32_MAX + 1
            if not INT32_MIN <= value <= INT32_MAX:
                self._error(declaration, number, f"{shown(number.text)} is not an integer of 32 bits")
            elif name.text in members:
                self._error(declaration, name, f"member {name.text!r} is given twice")
            elif value in members.values():
                other = next(member for member, taken in members.items() if taken == value)
                self._error(declaration, number, f"the number {value} is that of {other!r} already")
            else:
                members[name.text] = value
        if members:
            self._enums[declaration.name.text] = Enumeration(declaration.name.text, members)
        else:
            self._broken.add(declaration.name.text)

    def _add_class(self, declaration: ClassDeclaration) -> None:
        name = declaration.name.text
        parent = self._parent(declaration)
        if parent is None and name != ROOT:
            self._broken.add(name)
            return
        slots: dict[str, Slot] = {}
        seen: set[str] = set()
        for entry in declaration.slots:
            if entry.name.text in seen:
                self._error(declaration, entry.name, f"slot {entry.name.text!r} is defined twice in class {name}")
                continue
            seen.add(entry.name.text)
            if entry.name.text == "class":
                self._error(
                    declaration, entry.name, "a slot cannot be named 'class': it is how an event's class is asked"
                )
                continue
            slot = self._slot(declaration, entry, parent)
            if slot is not None:
                slots[slot.name] = slot
        self._classes[name] = EventClass(name, parent, slots.values(), self._enums)

    def _parent(self, declaration: ClassDeclaration) -> EventClass | None:
        word = declaration.parent
        if word is None:
            if declaration.name.text != ROOT:
                self._error(
                    declaration, declaration.name, f"class {declaration.name.text} has no parent", f"ISA {ROOT}"
                )
            return None
        if declaration.name.text == ROOT:
            self._error(declaration, word, f"{ROOT} is the class that all others inherit from; it has no parent")
            return None
        found = self._classes.get(word.text)
        if found is None and word.text not in self._broken:
            near = nearest(word.text, (*self._classes, *self._broken))
            self._unknown.append((word.text, len(self.errors)))
            self._error(
                declaration,
                word,
                f"the parent {word.text!r} of class {declaration.name.text} is not defined",
                f"did you mean {near!r}?" if near else "",
            )
        return found

    def _slot(self, declaration: ClassDeclaration, entry: SlotDeclaration, parent: EventClass | None) -> Slot | None:
        name = entry.name.text
        inherited = parent.slots.get(name) if parent else None
        type_ = self._type(declaration, entry, parent)
        if type_ is None:
            return None
        enumeration = self._enums[type_.enumeration] if type_.enumeration else None
        slot = Slot(
            name,
            type_,
            inherited.default if inherited else neutral_default(type_, enumeration),
            inherited.dup_detect if inherited else False,
            inherited.parse if inherited else True,
            inherited.declared_in if inherited else declaration.name.text,
        )
        given: set[str] = set()
        changed: dict[str, Value | bool] = {}
        for facet in entry.facets:
            if facet.name.text not in FACETS:
                near = nearest(facet.name.text, FACETS)
                hint = f"did you mean {near!r}?" if near else f"the facets are {', '.join(FACETS)}"
                self._error(declaration, facet.name, f"slot {name!r} has an unknown facet {facet.name.text!r}", hint)
            elif facet.name.text in given:
                self._error(declaration, facet.name, f"facet {facet.name.text!r} of slot {name!r} is given twice")
            else:
                given.add(facet.name.text)
                self._facet(declaration, slot, facet, changed)
        return Slot(
            name,
            type_,
            changed.get("default", slot.default),
            bool(changed.get("dup_detect", slot.dup_detect)),
            bool(changed.get("parse", slot.parse)),
            slot.declared_in,
        )

    def _type(
        self, declaration: ClassDeclaration, entry: SlotDeclaration, parent: EventClass | None
    ) -> SlotType | None:
        inherited = parent.slots.get(entry.name.text) if parent else None
        word = entry.type
        name = entry.name.text
        if word is None:
            if inherited is None and name not in self._broken:
                near = nearest(name, parent.slots) if parent else ""
                self._error(
                    declaration,
                    entry.name,
                    f"slot {name!r} has no type, and no parent of class {declaration.name.text} defines it",
                    f"did you mean {near!r}?" if near else _TYPES_HINT,
                )
            return inherited.type if inherited else None
        for kind in BASIC_TYPES:
            if word.text == kind:
                type_ = SlotType(kind, None, entry.is_list)
                break
        else:
            if word.text not in self._enums:
                if word.text not in self._broken:
                    near = nearest(word.text, (*BASIC_TYPES, *self._enums))
                    self._unknown.append((word.text, len(self.errors)))
                    self._error(
                        declaration,
                        word,
                        f"the type {word.text!r} of slot {name!r} is not defined",
                        f"did you mean {near!r}?" if near else "",
                    )
                return None
            type_ = SlotType("ENUM", word.text, entry.is_list)
        if inherited is not None and inherited.type != type_:
            self._error(
                declaration,
                word,
                f"slot {name!r} is {inherited.type} in class {inherited.declared_in} and cannot become {type_}",
                "leave the type out to change only its facets",
            )
            return None
        return type_

    def _facet(self, declaration: ClassDeclaration, slot: Slot, facet: Facet, changed: dict[str, Value | bool]) -> None:
        name, value = facet.name.text, facet.value
        if name == "default":
            enumeration = self._enums[slot.type.enumeration] if slot.type.enumeration else None
            text = [word.text for word in value] if isinstance(value, list) else value.text
            try:
                changed[name] = make_converter(slot.type, enumeration)(text)
            except BadValueError as bad:
                hint = f"did you mean {bad.suggestion!r}?" if bad.suggestion else ""
                self._error(declaration, facet.name, f"the default of slot {slot.name!r}: {bad}", hint)
            return
        answer = value.text.lower() if isinstance(value, Word) else ""
        if answer not in ("yes", "no"):
            self._error(declaration, facet.name, f"facet {name!r} of slot {slot.name!r} is either yes or no")
            return
        changed[name] = answer == "yes"

    def _error(
        self, declaration: ClassDeclaration | EnumerationDeclaration, word: Word, message: str, hint: str = ""
    ) -> None:
        self.errors.append(declaration.source.at(word, message, hint))
