"""Which rule base a word on the command line means: a path, a name, or the hash of a snapshot.

A name is an entry of the instance's `rulebases/`, a folder or a link to one; besides, the folder that
`server.rule_base` configures has its own name, `Default` is the rule base that ships, and `current` the active
snapshot.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from opentec.commands.cli import Failure, Status
from opentec.events.names import nearest, shown
from opentec.server.errors import InstanceError
from opentec.server.instance import Instance, find_instance

CURRENT: Final = "current"
SHIPPED: Final = "Default"  # TEC's name of it
_NAME: Final = re.compile(r"\w[\w.-]{0,63}")
_LIKE_A_HASH: Final = re.compile(r"[0-9a-f]{6,64}")


class Target(NamedTuple):
    """A rule base; `content_hash` of a snapshot, which nobody edits, else ""."""

    name: str
    folder: Path
    content_hash: str = ""


class Places:
    """Where rule bases are, as seen from one command."""

    def __init__(self, directory: Path | None, *, required: bool = False) -> None:
        """`directory` as -d gives it; without an instance only paths are known, unless one is `required`."""
        self.instance: Instance | None = None
        try:
            self.instance = find_instance(directory)
        except InstanceError:
            if directory is not None or required:
                raise

    @property
    def configured(self) -> Path | None:
        """The folder that `tec start` reads."""
        if self.instance is None:
            return None
        section = self.instance.raw_config().get("server", {})
        return self.instance.directory / str(
            section.get("rule_base", "rules") if isinstance(section, dict) else "rules"
        )

    @property
    def named(self) -> Path:
        """The folder of names. Raises Failure where there is no instance."""
        if self.instance is None:
            raise Failure(
                "a name belongs to an instance: -d DIR or TEC_DIR says which; or write a path, with a '/' in it",
                Status.USAGE,
            )
        return self.instance.directory / "rulebases"

    def names(self) -> dict[str, Path]:
        """Every name, with its folder."""
        found: dict[str, Path] = {}
        if self.instance is not None:
            if self.configured is not None and _NAME.fullmatch(self.configured.name):
                found[self.configured.name] = self.configured
            if self.named.is_dir():
                entries = [path for path in self.named.iterdir() if _NAME.fullmatch(path.name)]
                found |= {path.name: path for path in sorted(entries)}
        found.setdefault(SHIPPED, shipped_rule_base())
        return found

    def find(self, word: str | None) -> Target:
        """The rule base that `word` means, None: the configured one. Raises Failure with what may have been meant."""
        if word is None:
            if self.configured is None:
                raise Failure("name a rule base: there is no instance, -d DIR or TEC_DIR names one", Status.USAGE)
            return Target(self.configured.name, self.configured)
        if is_path(word):
            return Target(word, Path(word))
        names = self.names()
        if word in names:
            return Target(word, names[word])
        found = self._snapshot(word)
        if found is not None:
            return found
        if Path(word).is_dir():
            return Target(word, Path(word))
        near = nearest(word, names)
        hint = f"did you mean {near!r}?" if near else f"the names are {', '.join(names)}; a path has a '/' in it"
        raise Failure(f"there is no rule base {shown(word)}; {hint}", Status.REFUSED)

    def _snapshot(self, word: str) -> Target | None:
        if self.instance is None:
            return None
        from opentec.rules import snapshots

        rule_bases = self.instance.rule_bases
        if word == CURRENT:
            content_hash: str | None = snapshots.read_mark(rule_bases, snapshots.CURRENT)
            if not content_hash:
                raise Failure(
                    "no rule base was active yet; `tec start` or `tec rulebase load` make one", Status.REFUSED
                )
        else:
            content_hash = snapshots.find_snapshot(rule_bases, word)
        if not content_hash:
            return None
        return Target(content_hash[:12], rule_bases / content_hash, content_hash)

    def editable(self, word: str) -> Target:
        """As `find`, for a rule base that is to be changed; raises Failure for the shipped one and for snapshots."""
        target = self.find(word)
        why = ""
        if target.content_hash:
            why = "it is a snapshot of a rule base that was loaded"
        elif target.folder.resolve() == shipped_rule_base().resolve():
            why = "it ships with opentec"
        if why:
            raise Failure(f"{word} is not changed: {why}; `tec rulebase copy {word} NAME` makes one of your own")
        return target

    def new(self, word: str, path: Path | None) -> Path:
        """Where a rule base that is to be called `word` goes: `path`, else where the word says. Raises Failure."""
        if is_path(word):
            if path is not None:
                raise Failure(f"{word} is a path; with --path DIR a name is given to it", Status.USAGE)
            return Path(word)
        if (
            not _NAME.fullmatch(word)
            or _LIKE_A_HASH.fullmatch(word)
            or word.casefold() in (CURRENT, SHIPPED.casefold())
        ):
            raise Failure(
                f"{shown(word)} is no name for a rule base: letters, digits, '_', '.' and '-', and not {CURRENT}, "
                f"{SHIPPED}, or what looks like a hash",
                Status.USAGE,
            )
        if word in self.names():
            raise Failure(f"there is a rule base {word} already, {self.names()[word]}", Status.REFUSED)
        return path if path is not None else self.named / word

    def register(self, word: str, folder: Path) -> None:
        """Give a folder elsewhere a name."""
        if is_path(word) or folder == self.named / word:
            return
        self.named.mkdir(exist_ok=True)
        (self.named / word).symlink_to(folder.resolve())

    def delete(self, word: str) -> str:
        """Delete a named rule base, or the name alone where the folder is elsewhere; says what was done."""
        if is_path(word):
            raise Failure(f"{word} is a path; delete the folder itself", Status.USAGE)
        target = self.editable(word)
        if target.folder.parent != self.named:
            raise Failure(f"{word} is not deleted: it is not in {self.named}")
        if target.folder.is_symlink():
            folder = target.folder.resolve()
            target.folder.unlink()
            return f"the name {word} is gone; {folder} stays"
        if (target.folder / ".git").exists():
            raise Failure(
                f"{target.folder} is under version control; delete the folder itself when that is what you want"
            )
        shutil.rmtree(target.folder)
        return f"{target.folder} is deleted"


def is_path(word: str) -> bool:
    """A word with a `/` in it, or `.` or `..`, is a path and never a name."""
    return "/" in word or word in (".", "..")


def shipped_rule_base() -> Path:
    from opentec.shipped import shipped

    return shipped("rules", "default")
