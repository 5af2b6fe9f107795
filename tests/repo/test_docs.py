"""The documents keep what they say: the promise, the commands, the links; and they name no machine of ours."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT, files, project

PROMISE = (
    "An event acknowledged in acknowledged mode has exactly one disposition, and its stored effects happen exactly "
    "once, through kill -9, hang, failover and database outage. Programs run at most once. Plain EIF is as good as "
    "TCP. Power loss is covered as far as the disk honours fdatasync. Bit rot is detected and named; only the damaged "
    "record can be lost. A tailed line is never lost while its file exists; where a file's identity is in doubt "
    "(truncated and rewritten within one poll, inode reused) it may be sent twice, never dropped."
)

COMMANDS = sorted(project()["project"]["scripts"])

# Where checkouts usually lie on build machines, this checkout and its Python. Written so that this file does not match.
FORBIDDEN = {
    "a machine path": "|".join(
        [
            r"(?<![\w.*])/(work|workspace|builds|Users)/\w+",
            re.escape(f"{ROOT}/"),
            *([re.escape(sys.base_prefix)] if not sys.base_prefix.startswith("/usr") else []),
        ]
    ),
    "a registry's host": r"pypi\.(org|io)\b|pythonhosted\.org|docker\.io\b|ghcr\.io\b|quay\.io\b|npmjs\.(org|com)",
    "a registry setting": r"--(extra-)?index[-]url\b|--find[-]links\b",
}


def flowing(text: str) -> str:
    """Text without its line breaks and quote marks, as a reader reads it."""
    return re.sub(r"\s+", " ", re.sub(r"^> ?", "", text, flags=re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown text's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere; code blocks and spans are no links."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text())):
            broken.append(target)
    return broken


def offences(text: str) -> list[str]:
    return [f"{what}: {hit.group()}" for what, pattern in FORBIDDEN.items() for hit in re.finditer(pattern, text)]


def test_readme_gives_the_promise_word_for_word() -> None:
    assert PROMISE in flowing((ROOT / "README.md").read_text())


def test_readme_says_what_it_is() -> None:
    text = flowing((ROOT / "README.md").read_text())
    for words in ("independent emulation", "make demo", "make test"):
        assert words in text


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_names_every_command(command: str) -> None:
    assert f"`{command}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_page_has_every_command(command: str) -> None:
    page = ROOT / "docs" / "commands.md"
    assert re.search(rf"^#+ .*`?\b{command}\b", page.read_text(), flags=re.MULTILINE), (
        f"{command} is a console script of pyproject.toml without a heading in docs/commands.md"
    )


def test_relative_links_resolve() -> None:
    pages = [path for path in files() if path.suffix == ".md"]
    assert pages
    assert {str(page.relative_to(ROOT)): links for page in pages if (links := broken_links(page))} == {}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n[a](page.md#a-title) [b](gone.md) [c](#no-title) `[d](code.md)` [e](https://x.example)\n"
    )
    assert broken_links(page) == ["gone.md", "#no-title"]


def test_no_machine_paths_and_no_registries() -> None:
    found = {}
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if hits := offences(text):
            found[str(path.relative_to(ROOT))] = hits
    assert found == {}


@pytest.mark.parametrize("text", ["see /work" + "/main/x", "https://pypi" + ".org/simple", "pip --index" + "-url x"])
def test_a_forbidden_text_is_found(text: str) -> None:
    assert len(offences(text)) == 1


def test_changelog_begins_with_the_version_in_hand() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert first is not None
    assert first.group(1) == project()["project"]["version"].removesuffix(".dev0")
