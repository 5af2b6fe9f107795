"""The tec_server.toml that `tec init` writes: every key with its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TEXT: Final = """\
# The configuration of one event server, read when it starts. `tec config check` says what is wrong with it.
# A key that is commented out has the value shown.

[server]
# Logical name of the server, whatever node it runs on. The repository is made for it: do not change it afterwards.
name = "{name}"
# Folder with TEC_CLASSES and TEC_RULES, relative to this directory.
# rule_base = "rules"

# The nodes that may run this server, one section each, named [nodes.NAME]. With two, the second is the hot standby.
# listen: HOST:PORT for events. Beyond 127.0.0.1 events travel unencrypted and anyone who reaches the port may send.
{nodes}
# The reception log, and what comes into it.
[rx]
# Bytes of one segment.
# segment_size = 16777216
# Days, and bytes, of committed segments that are kept.
# retain_days = 7.0
# retain_size = 2147483648
# Bytes of the log at which sockets are no longer read.
# limit = 10737418240
# Percent of the disk that the log leaves free.
# free_percent = 5.0
# Bytes of one event's text; a longer one is recorded as rejected, with its first KiB.
# max_event = 65536
# Connections at a time; more are told to come again.
# max_connections = 1000
# Events of one sender that may be under way unacknowledged.
# window = 256
# Bytes waiting to be made durable at which sockets pause.
# backlog = 8388608
# Seconds after which a connection that sends nothing is closed.
# idle_limit = 86400.0

# The repository.
[rim]
# SQLite file, relative to this directory.
# path = "rim/tec.db"
# SQLite's locks are not sound on network file systems; true takes that risk.
# allow_network_fs = false

# Lease and failover.
[ha]
# How often the active node beats, and after how long without a beat the standby takes over:
# slow 2 and 10 s, normal 0.6 and 3 s, fast 0.2 and 1 s.
# heartbeat = "normal"
# Seconds of your own in place of these two, 0 = these; beat must be less than a third of ttl.
# beat = 0.0
# ttl = 0.0
# Seconds that the disk may take to make records durable before the node gives way; 0 = never. auto: two thirds of the
# time to live where there is a second node, and never where there is none.
# disk_limit = "auto"
# Folders on this node's own disks: where one cannot be written, the node gives way and does not take over.
# local_disks = []
# What ends a stale server on another host that holds the repository, as an argument list without a shell. {{node}},
# {{pid}}, {{epoch}} and {{address}} are replaced. It must end with 0 only when that server can write no more.
# fence_command = []
# Seconds that it may take.
# fence_limit = 60.0

# The rule process. What changes results belongs to the rule base, not here.
[rules]
# auto (durable-rules where its self-test passes), durable-rules or indexed.
# selector = "auto"
# Effects that may wait for their commit before the rule process stops reading.
# window = 20000
# Records of one transaction at most.
# batch = 1000

# What leaves the server: programs, tasks (tasks.toml beside this file), and events for other servers.
[tasks]
# Programs at a time.
# concurrency = 4
# Seconds after which a program is ended; a task of tasks.toml may have its own.
# time_limit = 300.0
# Bytes of its output that are kept.
# output_limit = 4096
# Days that ended programs, tasks and forwarded events are kept in the outbox.
# retain_days = 7.0
# Events that may wait for one destination; beyond it the oldest fail.
# forward_limit = 100000

# How tec_master watches the other four processes.
[supervision]
# Seconds without a sign of life after which a process is killed and started again.
# hang_after = 10.0
# Seconds without a commit, with events waiting, after which the server is unhealthy.
# stuck_after = 30.0
# Seconds that one transaction may take before the server is unhealthy.
# transaction_after = 10.0
# Seconds for which the backlog may grow without ever being empty before the server is unhealthy.
# growing_after = 600.0
# Restarts of one process within a minute after which the server gives up.
# restarts = 20
"""


def server_toml(name: str, nodes: Mapping[str, str]) -> str:
    """The text of tec_server.toml. `nodes`: node name -> HOST:PORT."""
    sections = "".join(f'[nodes.{node}]\nlisten = "{listen}"\n\n' for node, listen in nodes.items())
    return _TEXT.format(name=name, nodes=sections)
