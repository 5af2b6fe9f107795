"""A syslog of six machines, made up: the same lines for the same seed.

What a log server collects on an ordinary bad day: logins and attacks, jobs, services that fail and come back, network
links and file servers that go and return, and much that means nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

START: Final = datetime(2026, 3, 1, 6, 25)
HOSTS: Final = ("web1", "web2", "db1", "mail1", "build1", "gate1")
PEOPLE: Final = ("anna", "bela", "carlos", "dunja", "emre")
GUESSED: Final = ("admin", "test", "oracle", "ubuntu", "ftpuser", "nagios")
UNITS: Final = {
    "nginx.service": "web server",
    "postfix.service": "mail transport agent",
    "indexer.service": "full text index of the shop",
    "backup-agent.service": "nightly backup agent",
    "queue-worker.service": "background jobs of the shop",
}
JOBS: Final = (
    ("root", "/usr/local/sbin/rotate-reports"),
    ("root", "test -x /usr/sbin/anacron || run-parts /etc/cron.hourly"),
    ("www-data", "/srv/shop/bin/expire-carts"),
    ("backup", "/opt/backup/bin/mark-changes --all"),
)
ADMIN_COMMANDS: Final = ("/usr/bin/systemctl status nginx", "/usr/bin/apt-get update", "/usr/bin/less /var/log/syslog")


@dataclass
class Sample:
    """`problems` counts what fails in these lines and recovers before they end."""

    lines: list[bytes]
    problems: int


@dataclass
class _Maker:
    wanted: int
    chance: random.Random
    lines: list[bytes] = field(default_factory=list)
    problems: int = 0
    moment: datetime = START
    # number of the line at which something comes back: what it is, and its line
    returns: dict[tuple[str, str], tuple[int, str, str]] = field(default_factory=dict)

    def add(self, host: str, program: str, text: str) -> None:
        self.moment += timedelta(milliseconds=self.chance.randrange(1, 900))
        self.lines.append(
            f"{self.moment:%b} {self.moment.day:2} {self.moment:%H:%M:%S} {host} {program}: {text}".encode()
        )
        self._come_back()

    def _come_back(self) -> None:
        for what, (at, program, line) in self.returns.items():
            if at <= len(self.lines):
                del self.returns[what]
                self.problems += len(self.lines) < self.wanted
                self.add(what[0], program, line)  # which looks for the next one
                return

    def fails(self, host: str, part: str, program: str, failure: str, recovery: str) -> None:
        """`part` of `host` fails now and comes back some lines later, unless it is down already."""
        if (host, part) not in self.returns:
            self.returns[host, part] = (len(self.lines) + self.chance.randrange(30, 400), program, recovery)
            self.add(host, program, failure)

    def pid(self) -> int:
        return self.chance.randrange(400, 32768)

    def host(self) -> str:
        return self.chance.choice(HOSTS)


def _attack(make: _Maker) -> None:
    host, chance = make.host(), make.chance
    source = f"203.0.113.{chance.randrange(1, 30)}"
    for _ in range(chance.choice((2, 4, 8, 25))):
        program, port = f"sshd[{make.pid()}]", chance.randrange(30000, 61000)
        if chance.random() < 0.5:
            user = chance.choice(GUESSED)
            make.add(host, program, f"Invalid user {user} from {source} port {port}")
            make.add(host, program, f"input_userauth_request: invalid user {user} [preauth]")
            make.add(host, program, "pam_unix(sshd:auth): check pass; user unknown")
            make.add(host, program, f"Failed password for invalid user {user} from {source} port {port} ssh2")
        else:
            make.add(host, program, f"Failed password for root from {source} port {port} ssh2")
            make.add(host, program, f"Received disconnect from {source} port {port}:11: Bye Bye [preauth]")


def _login(make: _Maker) -> None:
    host, user, program = make.host(), make.chance.choice(PEOPLE), f"sshd[{make.pid()}]"
    source, port = f"10.20.0.{make.chance.randrange(10, 60)}", make.chance.randrange(30000, 61000)
    make.add(host, program, f"Accepted publickey for {user} from {source} port {port} ssh2")
    make.add(host, program, f"pam_unix(sshd:session): session opened for user {user}(uid=1000) by (uid=0)")
    if make.chance.random() < 0.6:
        _as_root(make, host, user)
    make.add(host, program, f"Disconnected from user {user} {source} port {port}")
    make.add(host, program, f"pam_unix(sshd:session): session closed for user {user}")


def _as_root(make: _Maker, host: str, user: str) -> None:
    chance = make.chance
    tail = f"TTY=pts/{chance.randrange(4)} ; PWD=/home/{user} ; USER=root ; COMMAND={chance.choice(ADMIN_COMMANDS)}"
    match chance.randrange(6):
        case 0:
            make.add(host, f"su[{make.pid()}]", f"FAILED SU (to root) {user} on pts/1")
            make.add(host, f"su[{make.pid()}]", f"(to root) {user} on pts/1")
        case 1:
            make.add(host, "sudo", f"{user} : 1 incorrect password attempt ; {tail}")
        case 2:
            make.add(host, "sudo", f"{user} : command not allowed ; {tail}")
        case _:
            make.add(host, "sudo", f"{user} : {tail}")


def _job(make: _Maker) -> None:
    host, (user, command) = make.host(), make.chance.choice(JOBS)
    program = f"CRON[{make.pid()}]"
    make.add(host, program, f"pam_unix(cron:session): session opened for user {user}(uid=0) by (uid=0)")
    make.add(host, program, f"({user}) CMD ({command})")
    if make.chance.random() < 0.03:
        make.add(host, program, f"({user}) error (grandchild #{make.pid()} failed with exit status 1)")
    make.add(host, program, f"pam_unix(cron:session): session closed for user {user}")


def _service(make: _Maker) -> None:
    host, unit = make.host(), make.chance.choice(tuple(UNITS))
    if (host, unit) in make.returns:
        return
    make.add(
        host, "systemd[1]", f"{unit}: Main process exited, code=exited, status={make.chance.randrange(1, 4)}/FAILURE"
    )
    make.fails(host, unit, "systemd[1]", f"{unit}: Failed with result 'exit-code'.", f"Started {unit} - {UNITS[unit]}.")
    make.add(host, "systemd[1]", f"{unit}: Scheduled restart job, restart counter is at {make.chance.randrange(1, 6)}.")


def _link(make: _Maker) -> None:
    card = f"eth{make.chance.randrange(2)}"
    up = f"{card}: link up, 1000Mbps, full-duplex"
    make.fails(make.host(), card, "kernel", f"{card}: link down", up)


def _file_server(make: _Maker) -> None:
    server = make.chance.choice(("nas1", "nas2"))
    make.fails(
        make.host(), server, "kernel", f"nfs: server {server} not responding, still trying", f"nfs: server {server} OK"
    )


def _kernel(make: _Maker) -> None:
    host, chance = make.host(), make.chance
    match chance.randrange(4):
        case 0:
            victim = chance.choice(("java", "php-fpm", "convert"))
            make.add(host, "kernel", f"Out of memory: Killed process {make.pid()} ({victim}) total-vm:{make.pid()}88kB")
        case 1:
            make.add(host, "kernel", f"convert[{make.pid()}]: segfault at 0 ip 00007f1c2a51 sp 00007ffd1b20 error 4")
        case 2:
            make.add(host, "kernel", f"I/O error, dev sdb, sector {make.pid()}40 op 0x0:(READ) flags 0x0")
        case 3:
            make.add(host, "kernel", "CPU0: Core temperature above threshold, cpu clock throttled (total events = 7)")


def _noise(make: _Maker) -> None:
    host, chance = make.host(), make.chance
    match chance.randrange(5):
        case 0:
            client = f"unknown[198.51.100.{chance.randrange(1, 250)}]"
            make.add(host, f"postfix/smtpd[{make.pid()}]", f"connect from {client}")
            make.add(host, f"postfix/smtpd[{make.pid()}]", f"disconnect from {client}")
        case 1:
            make.add(
                host,
                f"dhclient[{make.pid()}]",
                f"bound to 10.20.1.{chance.randrange(250)} -- renewal in {make.pid()} s",
            )
        case 2:
            make.add(host, f"chronyd[{make.pid()}]", f"Selected source 10.20.0.{chance.randrange(1, 4)}")
        case 3:
            make.add(host, f"shop[{make.pid()}]", f"order {make.pid()} paid, basket of {chance.randrange(1, 30)}")
        case 4:
            make.add(host, f"shop[{make.pid()}]", "Traceback (most recent call last):")
            # what a program writes over several lines comes without time and host
            make.lines.append(f'  File "/srv/shop/basket.py", line {chance.randrange(20, 300)}, in total'.encode())
            make.lines.append(b"KeyError: 'price'")


SCENES: Final[tuple[tuple[Callable[[_Maker], None], int], ...]] = (
    (_attack, 7),
    (_login, 14),
    (_job, 26),
    (_service, 7),
    (_link, 3),
    (_file_server, 3),
    (_kernel, 4),
    (_noise, 36),
)


def sample(count: int, seed: int = 1) -> Sample:
    """`count` lines without their newlines."""
    make = _Maker(count, random.Random(seed))
    scenes, weights = zip(*SCENES, strict=True)
    while len(make.lines) < count:
        make.chance.choices(scenes, weights)[0](make)
    return Sample(make.lines[:count], make.problems)


def repeated(lines: list[bytes], at_least: int) -> Iterator[bytes]:
    """All of `lines`, as often as it takes to reach `at_least` (then cut there), at least once."""
    times = max(1, -(-at_least // max(1, len(lines))))
    for number in range(times):
        yield from lines if number == 0 else lines[: at_least - number * len(lines)]
