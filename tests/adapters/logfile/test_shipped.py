"""The shipped formats, against the shipped classes and against what programs really write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from opentec.adapters.conf import AdapterConf, read_conf
from opentec.adapters.logfile.fmt import Format, read_formats
from opentec.adapters.logfile.trying import try_file, try_lines
from opentec.events import ClassTable, load_classes
from opentec.shipped import shipped

DATA = Path(__file__).parents[4] / "shared" / "data" / "syslog"
CONF = AdapterConf("a.conf", label_host="web1", adapter_hostname="web1")


@pytest.fixture(scope="module")
def formats() -> list[Format]:
    return read_formats(shipped("adapters", "logfile", "tecad_logfile.fmt"))


@pytest.fixture(scope="module")
def classes() -> ClassTable:
    return load_classes(shipped("rules", "default", "TEC_CLASSES"))


def test_the_shipped_configuration_is_right() -> None:
    path = shipped("adapters", "logfile", "tecad_logfile.conf")
    conf = read_conf(path, node="web1", required=("ServerLocation", "NodeName", "BufEvtPath", "LogSources"))
    assert conf.format_file is not None
    assert conf.format_file.is_file()
    assert not conf.notes


def test_classes_and_slots_exist(formats: list[Format], classes: ClassTable) -> None:
    for format_ in formats:
        if not format_.discards:
            known = classes.get(format_.class_name).slots
            assert {slot for slot, _ in format_.slots} <= set(known), format_.place


LINES = [
    (
        "sshd[7]: Failed password for root from 10.0.0.9 port 22 ssh2",
        "Ssh_Login_Failure",
        {"user": "root", "port": "22"},
    ),
    (
        "sshd-session[7]: Failed password for bob from ::1 port 22 ssh2",
        "Ssh_Login_Failure",
        {"program": "sshd-session"},
    ),
    ("sshd[7]: Failed password for invalid user eve from 10.0.0.9 port 22 ssh2", "Ssh_Invalid_User", {"user": "eve"}),
    (
        "sshd[7]: Accepted publickey for bob from 10.0.0.9 port 22 ssh2: RSA x",
        "Ssh_Login_Success",
        {"method": "publickey"},
    ),
    (
        "sshd[7]: Accepted password for root from 10.0.0.9 port 22 ssh2",
        "Root_Login_Success_From",
        {"from_host": "10.0.0.9"},
    ),
    (
        "sshd[7]: Invalid user admin from 10.0.0.9 port 4",
        "Ssh_Invalid_User",
        {"user": "admin", "from_host": "10.0.0.9"},
    ),
    ("sshd[7]: Server listening on :: port 22.", "Sshd_Start", {}),
    ("sshd[7]: something new", "Logfile_Sshd", {"msg": "something new", "pid": "7"}),
    # a user's name that poses as the rest of the line gives no false address
    (
        "sshd[7]: Failed password for invalid user x from 1.1.1.1 port 1 ssh2 from 10.0.0.9 port 22 ssh2",
        "Ssh_Invalid_User",
        {},
    ),
    (
        "su[9]: FAILED SU (to root) alice on pts/0",
        "Su_Failure",
        {"from_user": "alice", "to_user": "root", "tty": "pts/0"},
    ),
    ("su: (to root) alice on pts/0", "Su_Success", {"from_user": "alice", "to_user": "root"}),
    ("su: 'su root' failed for alice on /dev/pts/1", "Su_Failure", {"from_user": "alice", "to_user": "root"}),
    (
        "sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls -l",
        "Sudo_Command",
        {"user": "alice", "to_user": "root", "command": "/bin/ls -l", "pwd": "/home/alice"},
    ),
    (
        "sudo[4]: eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
        "Sudo_Not_Allowed",
        {"user": "eve", "reason": "user NOT in sudoers"},
    ),
    (
        "sudo: eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
        "Sudo_Failure",
        {"reason": "3 incorrect password attempts"},
    ),
    (
        "CRON[3]: (root) CMD (run-parts /etc/cron.hourly)",
        "Cron_Job",
        {"user": "root", "command": "run-parts /etc/cron.hourly"},
    ),
    (
        "CRON[3]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        "Session_Opened",
        {"user": "root"},
    ),
    ("systemd[1]: Started nginx.service - A web server.", "Systemd_Unit_Started", {"unit": "nginx.service"}),
    ("systemd[1]: Started Session 4 of user bob.", "Systemd_Unit_Started", {"unit": "Session 4 of user bob"}),
    (
        "systemd[1]: nginx.service: Failed with result 'exit-code'.",
        "Systemd_Unit_Failed",
        {"unit": "nginx.service", "result": "exit-code"},
    ),
    ("systemd[1]: Failed to start nginx.service - A web server.", "Systemd_Unit_Failed", {"unit": "nginx.service"}),
    (
        "systemd[1]: nginx.service: Main process exited, code=exited, status=1/FAILURE",
        "Systemd_Unit_Exited",
        {"code": "exited"},
    ),
    ("kernel: [   12.5] usb 1-1: new device", "Kernel_Message", {"msg": "usb 1-1: new device"}),
    ("kernel: usb 1-1: new device", "Kernel_Message", {"msg": "usb 1-1: new device"}),
    (
        "kernel: [9.1] Out of memory: Killed process 12 (java) total-vm:1kB",
        "Kernel_Out_Of_Memory",
        {"process": "java", "process_id": "12"},
    ),
    ("kernel: [9.1] app[77]: segfault at 0 ip 00 sp 00 error 4", "Kernel_Segfault", {"process": "app"}),
    ("kernel: EXT4-fs error (device sda1): ext4_find_entry:1 x", "Kernel_Filesystem_Error", {"device": "sda1"}),
    ("kernel: EXT4-fs (sda1): Remounting filesystem read-only", "Kernel_Filesystem_Readonly", {"device": "sda1"}),
    (
        "kernel: [9.1] blk_update_request: I/O error, dev sdb, sector 123 op 0x0",
        "Kernel_IO_Error",
        {"device": "sdb", "sector": "123"},
    ),
    ("kernel: [9.1] e1000e 0000:00:19.0 eth0: NIC Link is Down", "Kernel_Link_Down", {"interface": "eth0"}),
    ("kernel: eth0: link up, 100Mbps", "Kernel_Link_Up", {"interface": "eth0"}),
    ("kernel: nfs: server store1 not responding, still trying", "NFS_No_Response", {"server": "store1"}),
    ("kernel: nfs: server store1 OK", "NFS_OK", {"server": "store1"}),
    (
        "login(pam_unix)[5]: authentication failure; logname=LOGIN uid=0 euid=0 tty=tty1 ruser= rhost=  user=bob",
        "Auth_Failure",
        {"service": "login", "user": "bob", "from_host": "", "tty": "tty1"},
    ),
    (
        "postfix/smtpd[8]: connect from x",
        "Logfile_Message",
        {"program": "postfix/smtpd", "pid": "8", "msg": "connect from x"},
    ),
    ("odd[a]: no number in the brackets", "Logfile_Message", {"program": "odd[a]"}),
    ("no program at all", "Logfile_Base", {"msg": "no program at all"}),
    ("sshd[7]: pam_unix(sshd:auth): check pass; user unknown", "*DISCARD*", {}),
]


@pytest.mark.parametrize(("line", "class_name", "slots"), LINES)
@pytest.mark.parametrize("date", ["Mar  1 08:00:00", "2026-03-01T08:00:00.5+00:00"])
def test_lines(
    formats: list[Format], classes: ClassTable, date: str, line: str, class_name: str, slots: dict[str, str]
) -> None:
    (tried,) = try_lines(CONF, formats, [f"{date} web9 {line}\n".encode()], "/var/log/syslog")
    if "1.1.1.1" in line:
        assert tried.slots.get("from_host") != "1.1.1.1"
        return
    assert tried.class_name == class_name
    assert slots.items() <= tried.slots.items()
    if tried.verdict == "event":
        assert (tried.slots["hostname"], tried.slots["date"], tried.slots["source"]) == ("web9", date, "LOGFILE")
        assert tried.slots["msg"]
        classes.check(tried.class_name, tried.slots)


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real logs (../shared/data/syslog) is not here")
def test_real_logs(formats: list[Format], classes: ClassTable) -> None:
    general = Counter[str]()
    lines = 0
    for path in sorted(DATA.glob("*.log")):
        for tried in try_file(CONF, formats, path):
            lines += 1
            assert tried.verdict in ("event", "discarded"), tried
            if tried.verdict == "event":
                classes.check(tried.class_name, tried.slots)
                general[tried.class_name] += tried.class_name in ("Logfile_Base", "Logfile_Message", "Logfile_Sshd")
    assert lines >= 4000
    assert sum(general.values()) < lines * 0.05
