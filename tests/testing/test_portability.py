"""`tec test`, `tec lint`, `tec rulebase check` and `diff` run wherever Python runs: on laptops with macOS or Windows.

Here is neither, so they run in a Python from which everything is taken that only Linux or Unix have, where text files
must be opened with their encoding, and on a checkout with the line ends of Windows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opentec.shipped import shipped

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# The rest of the standard library is imported first where it needs what is taken away and has another way on Windows.
ELSEWHERE = """
import sys, warnings
import selectors, subprocess, tempfile

for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "readline", "setproctitle"):
    sys.modules[name] = None

import os, signal, socket

for module, names in (
    (os, "fork forkpty register_at_fork geteuid getuid getegid getgid getgroups setuid setgid setsid "
         "getpgid killpg O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_CLOEXEC O_NOCTTY O_SYNC O_DSYNC O_PATH fchmod fchown "
         "chown lchown fdatasync posix_fallocate posix_fadvise pread preadv pwrite pwritev sendfile wait3 wait4 waitid "
         "uname getloadavg sched_getaffinity sched_setaffinity mkfifo mknod nice sync statvfs fstatvfs "
         "pidfd_open memfd_create splice eventfd openpty ttyname getxattr setxattr"),
    (signal, "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGSTOP SIGCONT SIGPIPE SIGQUIT pthread_sigmask alarm "
             "setitimer sigwait siginterrupt pause"),
    (socket, "AF_UNIX AF_NETLINK SCM_RIGHTS"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

warnings.filterwarnings("error", category=EncodingWarning, module=r"opentec\\.")

from opentec.commands.main import main

for line in sys.stdin.read().splitlines():
    try:
        main(line.split("|"))
    except SystemExit as ended:
        print(f"== {ended.code or 0}: {line}", flush=True)
"""


def run(folder: Path, *commands: str, **environment: str) -> str:
    """Run `tec` commands, words separated by |, in one Python; what they print, with a line for each exit status."""
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", ELSEWHERE],
        input="\n".join(commands),
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    shutil.copytree(EXAMPLES / "first-rule-base", folder)
    return folder


def test_the_commands_of_a_laptop_run_without_what_unix_has(base: Path) -> None:
    shutil.copytree(EXAMPLES / "user-predicates", base.parent / "user")
    default = Path(str(shipped("rules", "default")))
    out = run(
        base,
        "test|--cov|--junit|junit.xml|--annotations|gitlab",
        "test|--lf",
        "test|../user",
        f"test|{default / 'tests' / 'storm.yaml'}|--profile",
        "test|gone",
        "rulebase|check|.",
        "rulebase|check|gone",
        f"rulebase|diff|.|{default}",
        "lint|.",
        "version",
    )
    statuses = [line for line in out.splitlines() if line.startswith("== ")]
    assert [line.split()[1] for line in statuses] == ["0:", "0:", "0:", "0:", "2:", "0:", "3:", "0:", "0:", "0:"], out
    assert "3 passed" in out
    assert "Traceback" not in out
    assert "unexpected error" not in out
    assert (base / "junit.xml").exists() and (base / "gl-code-quality-report.json").exists()


def test_the_line_ends_of_windows_change_nothing(base: Path) -> None:
    plain = run(base, "test", "rulebase|check|.", "test|tests/backup.yaml:20")
    for path in base.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    found = run(base, "test", "rulebase|check|.", "test|tests/backup.yaml:20")
    # the content hash is one of bytes
    assert [line for line in found.splitlines() if "compiles" not in line] == [
        line for line in plain.splitlines() if "compiles" not in line
    ]
    assert "== 0: rulebase|check|." in found


def test_a_pipe_that_is_not_utf_8_gets_everything(base: Path) -> None:
    path = base / "tests" / "backup.yaml"
    text = path.read_text(encoding="utf-8").replace("name: a good backup", "name: 良い a good backup", 1)
    path.write_text(text, encoding="utf-8")
    out = run(base, "test", PYTHONIOENCODING="cp1252")
    assert "ok    \\u826f\\u3044 a good backup" in out
    out = run(base, "test|--json", PYTHONIOENCODING="cp1252")
    names = [json.loads(line).get("name", "") for line in out.splitlines() if line.startswith("{")]
    assert any("良い a good backup" in name for name in names)


def test_what_needs_linux_is_listed_and_says_so(base: Path) -> None:
    out = run(base, "--help", "start")
    assert "== 0: --help" in out
    assert "== 1: start" in out
    assert "this command needs Linux" in out
