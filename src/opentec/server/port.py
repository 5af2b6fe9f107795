"""Could this node open its port? Tried before it is needed: a standby opens it at the takeover and not before."""

from __future__ import annotations

import errno
import socket

from opentec.server.config import NodeSection

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def port_trouble(name: str, node: NodeSection, *, elsewhere: bool = False) -> str:
    """Why node `name` could not listen now, for a person; "" when it could.

    `elsewhere`: the node may belong on another machine, so an address that is not this one's says nothing. The port is
    bound for a moment with SO_REUSEADDR, as asyncio binds it, and never listened on: another node that opens it
    meanwhile is not disturbed.
    """
    where = f"[nodes.{name}] listen = {node.listen}"
    try:
        found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return f"{where}: the host has no address: {error.strerror}; correct the name, or see to its resolution"
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                taken = error.errno == errno.EADDRINUSE
                why = "another program has the port" if taken else f"it cannot be opened: {error.strerror}"
                return f"{where}: {why}; free it, or give the node another one"
            if not elsewhere:
                return (
                    f"{where}: the address is not this machine's now; correct it, unless a cluster manager brings it "
                    "before this node serves"
                )
    return ""
