"""Two Pacemaker nodes on one machine: each in network, mount, process, IPC and host name namespaces of its own.

Needs root and the programs of NEEDED; nothing of the machine's own is changed: agents and configuration are mounted
over it inside the nodes only. What a run made is gone when it ends: namespaces, processes, files.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.faults.harness import ROOT, Late, wait_for

NEEDED: Final = (
    *("corosync", "pacemakerd", "crm", "fence_heuristics_ping", "ip", "ping", "unshare", "nsenter"),
    *("losetup", "mkfs.ext4", "fuser"),
)
NODES: Final = ("black", "brown")
NETWORK: Final = "10.99.0"
SERVICE: Final = f"{NETWORK}.100"
CLIENT: Final = f"{NETWORK}.254"
TOKEN: Final = 1000  # ms until corosync misses a node
PATIENCE: Final = 60.0

_COROSYNC: Final = """\
totem {
  version: 2
  cluster_name: opentec
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: %d
}
nodelist {
%s}
quorum {
  provider: corosync_votequorum
  two_node: 1
  wait_for_all: 0
}
logging {
  to_logfile: yes
  logfile: /var/log/cluster/corosync.log
  to_syslog: no
  timestamp: hires
}
"""
_MEMBER: Final = "  node {\n    ring0_addr: %s.%d\n    name: %s\n    nodeid: %d\n  }\n"

_INIT: Final = """\
#!/bin/sh
# the first process of the node NAME, whose files are in HOME; DISK is mounted by the cluster manager only
name=$1 home=$2 lab=$3 disk=$4
mount --make-rprivate /
umount "$disk"
hostname "$name"
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/resource-agents /run/pacemaker
chown hacluster:haclient /run/pacemaker
mkdir -p /var/lib/pacemaker /var/lib/corosync /var/log/cluster /var/log/pacemaker
mount --bind "$home/etc" /etc/corosync
mount --bind "$home/pacemaker" /var/lib/pacemaker
mount --bind "$home/corosync" /var/lib/corosync
mount --bind "$home/log" /var/log/pacemaker
mount --bind "$home/log" /var/log/cluster
mount -t overlay overlay -o "lowerdir=$lab/resource.d:/usr/lib/ocf/resource.d" /usr/lib/ocf/resource.d
mount -t overlay overlay -o "lowerdir=$lab/sbin:/usr/sbin" /usr/sbin
export OCF_ROOT=/usr/lib/ocf
corosync -f >"$home/corosync.out" 2>&1 &
n=0
until corosync-quorumtool -s >/dev/null 2>&1 || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.1; done
pacemakerd -f >"$home/pacemakerd.out" 2>&1 &
exec sleep infinity
"""

# asks the process outside to end a node, and believes it only when it says so
_FENCE: Final = """\
#!/bin/sh
action=reboot plug=
for word in "$@"; do case $word in --action=*) action=${word#*=} ;; --plug=*) plug=${word#*=} ;; esac; done
if [ $# -eq 0 ]; then
	while read -r line; do
		case $line in action=*) action=${line#*=} ;; plug=* | port=* | nodename=*) plug=${line#*=} ;; esac
	done
fi
case $action in
metadata)
	cat <<'END'
<?xml version="1.0" ?>
<resource-agent name="fence_lab" shortdesc="ends a node of the laboratory">
<longdesc>Asks a process outside of the nodes to end one.</longdesc><vendor-url></vendor-url>
<parameters>
<parameter name="action" unique="0" required="1">
<getopt mixed="-o, --action=[action]"/><content type="string" default="reboot"/>
<shortdesc lang="en">action</shortdesc></parameter>
<parameter name="plug" unique="0" required="0" obsoletes="port"><getopt mixed="-n, --plug=[id]"/>
<content type="string"/><shortdesc lang="en">node</shortdesc></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/>
<action name="status"/><action name="list"/>
<action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
END
	;;
list) printf 'black\\nbrown\\n' ;;
off | reboot)
	request=LAB/fence/$plug.$$
	: >"$request.new" && mv "$request.new" "$request" || exit 1
	n=0
	while [ -e "$request" ]; do n=$((n + 1)); [ $n -lt 500 ] || exit 1; sleep 0.02; done
	;;
esac
exit 0
"""


class Disk:
    """A disk that both nodes can mount, as one on a network of storage. A context manager.

    This machine has it mounted too, to look at: the file system is one for all who mount it, since they share a
    kernel. What a node has mounted it cannot unmount while one of its processes has a file open there.
    """

    def __init__(self, folder: Path, megabytes: int = 1024) -> None:
        self.folder, self._image, self._size = folder, folder.with_name(f"{folder.name}.img"), megabytes << 20
        self.device = ""

    def __enter__(self) -> Disk:
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(self._size)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.device = _run("losetup", "--find", "--show", str(self._image)).stdout.strip()
        try:
            _run("mount", self.device, str(self.folder))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.folder)], capture_output=True, check=False)
        subprocess.run(["losetup", "--detach", self.device], capture_output=True, check=False)


class Lab:
    """The nodes, their network, and who fences them. A context manager."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """`folder` is new, and of root; what the nodes write is kept there. `disk` is what both nodes can mount."""
        self.folder = folder
        self.disk = disk
        self.name = f"otp{os.getpid()}"
        self.inits: dict[str, int] = {}  # node -> its first process, as the machine sees it
        self.fenced: list[tuple[float, str]] = []
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._fencer = threading.Thread(target=self._fence_on_request, name="fencer", daemon=True)

    # -- making -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        try:
            self._make_files()
            self._make_network()
            self._fencer.start()
            for node in NODES:
                self.boot(node)
        except BaseException:
            self.close()
            raise
        return self

    def _make_files(self) -> None:
        lab = self.folder
        for name in ("fence", "sbin", "resource.d/opentec"):
            (lab / name).mkdir(parents=True)
        for source in (ROOT / "packaging" / "ocf").iterdir():
            shutil.copy2(source, lab / "resource.d" / "opentec")
        fence(lab / "sbin", lab)
        # the agent of file systems wants it, and containers often have none; the module is there, or mkfs was in vain
        _script(lab / "sbin" / "modprobe", "#!/bin/sh\nexit 0\n")
        _script(lab / "init.sh", _INIT)
        members = "".join(_MEMBER % (NETWORK, n, node, n) for n, node in enumerate(NODES, 1))
        cib = _run("cibadmin", "--empty").stdout
        for node in NODES:
            home = lab / node
            for name in ("etc", "pacemaker/cib", "pacemaker/pengine", "pacemaker/cores", "pacemaker/blackbox"):
                (home / name).mkdir(parents=True)
            for name in ("corosync", "log"):
                (home / name).mkdir()
            (home / "etc" / "corosync.conf").write_text(_COROSYNC % (TOKEN, members))
            draft = home / "pacemaker" / "cib" / "cib.xml"
            draft.write_text(cib)
            # the first election waits so long for nodes that may come; 20 s by default
            _run("crm_attribute", "-t", "crm_config", "-n", "dc-deadtime", "-v", "2s", CIB_file=str(draft))
            _run("chown", "-R", "hacluster:haclient", str(home / "pacemaker"), str(home / "log"))
            _run("chmod", "-R", "go-w", str(home))
        for path in (lab, *lab.parents):
            if not path.stat().st_mode & 0o001:
                raise Late(f"{path} is not open to other users: Pacemaker's own user must reach {lab}")

    def _make_network(self) -> None:
        _run("ip", "netns", "add", self.name)
        self.ip(None, "link", "set", "lo", "up")
        self.ip(None, "link", "add", "br0", "type", "bridge")
        self.ip(None, "addr", "add", f"{CLIENT}/24", "dev", "br0")
        self.ip(None, "link", "set", "br0", "up")
        for number, node in enumerate(NODES, 1):
            _run("ip", "netns", "add", self.netns(node))
            self.ip(None, "link", "add", f"to-{node}", "type", "veth", "peer", "eth0", "netns", self.netns(node))
            self.ip(None, "link", "set", f"to-{node}", "master", "br0", "up")
            self.ip(node, "link", "set", "lo", "up")
            self.ip(node, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            self.ip(node, "link", "set", "eth0", "up")

    def netns(self, node: str | None) -> str:
        """The network namespace of a node; None: that of the clients, with the bridge."""
        return self.name if node is None else f"{self.name}-{node}"

    def ip(self, node: str | None, *arguments: str) -> str:
        return _run("ip", "-n", self.netns(node), *arguments).stdout

    def boot(self, node: str) -> None:
        """Start a node that is not there."""
        home = self.folder / node
        command = ["ip", "netns", "exec", self.netns(node), "unshare", "-m", "-p", "-u", "-i", "-f", "--kill-child"]
        command += [str(self.folder / "init.sh"), node, str(home), str(self.folder), str(self.disk.folder)]
        with (home / "init.out").open("ab") as out:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self._children[node] = child
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        self.inits[node] = int(wait_for(f"the first process of {node}", lambda: children.read_text().split())[0])

    # -- looking and acting -------------------------------------------------------------------------------------------

    def alive(self, node: str) -> bool:
        return node in self.inits and Path(f"/proc/{self.inits[node]}").exists()

    def inside(self, node: str, *command: str, check: bool = True, timeout: float = 40) -> str:
        """Run a command in a node; gives what it printed."""
        entry = ["nsenter", "-t", str(self.inits[node]), "-n", "-m", "-p", "-u", "-i", "--", *command]
        done = subprocess.run(entry, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise Late(f"{node}: {' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def resources(self, ask: str) -> dict[str, str]:
        """Resource -> the node that `ask` sees it running on, without those that run nowhere or failed."""
        try:
            root = ElementTree.fromstring(self.inside(ask, "crm_mon", "-1", "--output-as=xml", timeout=10))
        except (Late, subprocess.TimeoutExpired, ElementTree.ParseError):
            return {}
        found = {}
        for entry in root.iter("resource"):
            at = entry.find("node")
            if entry.get("role") == "Started" and entry.get("failed") != "true" and at is not None:
                found[str(entry.get("id"))] = str(at.get("name"))
        return found

    def online(self, ask: str) -> list[str]:
        """The nodes that `ask` sees online."""
        try:
            root = ElementTree.fromstring(self.inside(ask, "crm_mon", "-1", "--output-as=xml", timeout=10))
        except (Late, subprocess.TimeoutExpired, ElementTree.ParseError):
            return []
        nodes = root.findall("./nodes/node")
        return [str(n.get("name")) for n in nodes if n.get("online") == "true" and n.get("unclean") == "false"]

    def pids(self, node: str) -> list[int]:
        """All processes of a node, as the machine sees them."""
        space = Path(f"/proc/{self.inits[node]}/ns/pid").stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if (entry / "ns" / "pid").stat().st_ino == space:
                        found.append(int(entry.name))
        return found

    def titles(self, wanted: str) -> Iterator[tuple[int, str]]:
        """Every process of the machine that has `wanted` in its command line."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    title = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
                    if wanted in title:
                        yield int(entry.name), title

    # -- the end of a node ------------------------------------------------------------------------------------------

    def crash(self, node: str) -> None:
        """The node is gone, with all its processes, at once; returns when it is. Its network namespace would keep the
        service address that a real machine loses with its power, so it is taken away."""
        pid = self.inits[node]
        with contextlib.suppress(ProcessLookupError):
            pinned = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(pinned, signal.SIGKILL)
                waiting = select.poll()
                waiting.register(pinned, select.POLLIN)
                if not waiting.poll(PATIENCE * 1000):
                    raise Late(f"{node} does not die")
            finally:
                os.close(pinned)
        self._children[node].wait(PATIENCE)
        if SERVICE in self.ip(node, "-j", "addr"):
            self.ip(node, "addr", "del", f"{SERVICE}/24", "dev", "eth0")

    def _fence_on_request(self) -> None:
        requests = self.folder / "fence"
        while not self._closing.wait(0.02):
            for request in requests.iterdir():
                node = request.name.partition(".")[0]
                if request.suffix != ".new" and node in NODES:
                    self.crash(node)
                    self.fenced.append((time.monotonic(), node))
                    request.unlink()

    def close(self) -> None:
        self._closing.set()
        if self._fencer.is_alive():
            self._fencer.join(PATIENCE)
        for node in NODES:
            if self.alive(node):
                with contextlib.suppress(subprocess.CalledProcessError):
                    self.crash(node)
        for node in (*NODES, None):
            subprocess.run(["ip", "netns", "del", self.netns(node)], capture_output=True, check=False)

    def __exit__(self, *_: object) -> None:
        self.close()


def fence(programs: Path, lab: Path) -> None:
    """Make the fencing agent fence_lab in `programs`; it asks in `lab`/fence."""
    _script(programs / "fence_lab", _FENCE.replace("LAB", str(lab)))


def missing() -> str:
    """Why this machine cannot run the laboratory; "" when it can."""
    if os.geteuid() != 0:
        return "root is needed for namespaces"
    programs = [
        name for name in NEEDED if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    ]
    if programs:
        return f"not installed: {', '.join(programs)}"
    done = subprocess.run(
        ["unshare", "-m", "-p", "-n", "-u", "-i", "-f", "true"], capture_output=True, text=True, check=False
    )
    return f"namespaces are not allowed: {done.stderr.strip()}" if done.returncode else ""


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **environment}, check=False
    )
    if done.returncode:
        raise Late(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
