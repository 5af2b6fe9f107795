"""docs/redbook.md has every row with its word, and what it links to shows what it says.

The last tests are of behaviours that no other part's tests look at: several servers on one machine, and who asks for a
host's name.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.harness import Cluster, wait_for
from tests.repo.checkout import ROOT

PAGE = ROOT / "docs" / "redbook.md"
WORDS = ("done", "differently", "later", "not applicable")
ROWS = 79

_ROW = re.compile(r"^\| (\d+) \| (.+?) \| \*\*(.+?)\*\* \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"\[`(test_\w+)`\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Row:
    """One behaviour of the redbook. `tests`: names and the files that they are said to be in, as they are linked."""

    number: int
    says: str
    word: str
    here: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        return _TEST.findall(self.here)


def rows(text: str) -> list[Row]:
    return [Row(int(number), says, word, here) for number, says, word, here in _ROW.findall(text)]


def functions(path: Path) -> set[str]:
    """The test functions of a file; none when it is not there."""
    if not path.is_file():
        return set()
    found = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def wrong(text: str, folder: Path) -> list[str]:
    """What is not right with the page; `folder` is where its links begin."""
    table = rows(text)
    found = []
    if [row.number for row in table] != list(range(1, ROWS + 1)):
        found.append(f"rows are not 1 to {ROWS} in order: {[row.number for row in table]}")
    for row in table:
        if row.word not in WORDS:
            found.append(f"row {row.number}: {row.word!r} is none of {', '.join(WORDS)}")
        if row.word == "done" and not row.tests and "](" not in row.here:
            found.append(f"row {row.number}: done, and nothing shows it")
        found += [
            f"row {row.number}: {name} is not in {file}"
            for name, file in row.tests
            if name not in functions(folder / file)
        ]
    return found


def test_every_row_has_its_word_and_its_tests_exist() -> None:
    assert wrong(PAGE.read_text(), PAGE.parent) == []


def test_the_page_counts_right() -> None:
    text = PAGE.read_text()
    counts = Counter(row.word for row in rows(text))
    said = re.search(r"^(\d+) are done, (\d+) differently, (\d+) later, (\d+) not applicable\.", text, re.MULTILINE)
    assert said is not None
    assert [int(number) for number in said.groups()] == [counts[word] for word in WORDS]


def test_only_figures_go_without_a_test() -> None:
    """What is done is shown by a test; row 15 alone is about measurements."""
    assert [row.number for row in rows(PAGE.read_text()) if row.word == "done" and not row.tests] == [15]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| 7 |", "| 8 |", "rows are not 1 to 79"),
        ("| 1 | says | **done**", "| 1 | says | **planned**", "'planned' is none of done"),
        ("`test_here`", "`test_gone`", "test_gone is not in test_x.py"),
        ("(test_x.py)", "(test_y.py)", "test_here is not in test_y.py"),
        ("[`test_here`](test_x.py)", "it is so", "nothing shows it"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "test_x.py").write_text("def test_here() -> None: ...\n")
    text = "\n".join(f"| {number} | says | **done** | [`test_here`](test_x.py) |" for number in range(1, ROWS + 1))
    assert wrong(text, tmp_path) == []
    assert any(said in one for one in wrong(text.replace(old, new, 1), tmp_path))


def test_the_group_starts_with_what_the_server_needs() -> None:
    """Redbook 5.3.3, 6.1.4: disk, address, server. Pacemaker starts the members of a group from left to right."""
    text = (ROOT / "packaging" / "pacemaker" / "opentec.crm").read_text()
    assert re.findall(r"^group \w+ (.*)$", text, re.MULTILINE) == ["storage address server adapter"]


def asks_for_the_host(tree: ast.AST) -> bool:
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    return bool(names & {"gethostname", "getfqdn", "uname", "nodename"})


def test_the_host_s_name_is_asked_in_one_place() -> None:
    source = ROOT / "src" / "opentec"
    found = [
        path.relative_to(source) for path in source.rglob("*.py") if asks_for_the_host(ast.parse(path.read_text()))
    ]
    assert found == [Path("commands/post.py")]


@pytest.mark.parametrize("text", ["socket.gethostname()", "os.uname()", "from socket import getfqdn\ngetfqdn()"])
def test_who_asks_for_the_host_is_found(text: str) -> None:
    assert asks_for_the_host(ast.parse(text))


def post(cluster: Cluster, message: str) -> None:
    done = cluster.tec("post", "-m", message, "Load_Event", "TEST")
    assert done.returncode == 0, done.stderr


def messages(cluster: Cluster) -> list[str]:
    done = cluster.tec("list", "--json", "--class", "Load_Event", check=True)
    return [json.loads(line)["msg"] for line in done.stdout.splitlines()]


@pytest.mark.acceptance
def test_two_servers_on_one_machine(tmp_path: Path) -> None:
    """Two logical servers, one port, an address for each; one is stopped three times, and the other notices nothing."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with Cluster(tmp_path / "one") as one, Cluster(tmp_path / "two", host="127.0.0.2") as two:
        shutil.rmtree(two.runtime)
        two.runtime = one.runtime  # as for two servers of one user
        two.environment["TEC_RUNTIME_DIR"] = str(one.runtime)
        two.ports["black"] = one.ports["black"]
        two.settings["nodes.black"]["listen"] = f"127.0.0.2:{one.ports['black']}"
        two.configure()
        one.start()
        two.start()
        post(one, "for one")
        post(two, "for two")
        wait_for("each has its own", lambda: (messages(one), messages(two)) == (["for one"], ["for two"]))
        before = wait_for("the other is well", lambda: (s := two.status("black")) and s["healthy"] and s)
        for _ in range(3):
            one.stop()
        assert one.left() == []
        after = two.status("black")
        assert after is not None
        for status in (before, after):
            assert (status["epoch"], status["healthy"]) == (1, True)
        pids = [[process["pid"] for process in status["processes"].values()] for status in (before, after)]
        assert pids[0] == pids[1]
        post(two, "still here")
        two.stop()
