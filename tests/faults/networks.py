"""Networks that fail between senders and nodes: in namespaces where that is permitted, else through a proxy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults import links
from tests.faults.client import Address
from tests.faults.harness import Cluster
from tests.faults.proxy import Proxy
from tests.faults.sections import Result, Say, each
from tests.faults.stage import Stage

HELD = (0.2, 2.5)  # seconds that a fault lasts; a sender waits 1 s for an acknowledgement


@contextmanager
def proxied(folder: Path, chance: random.Random) -> Iterator[tuple[Stage, list[Proxy]]]:
    """A stage whose senders and adapter reach each node through a proxy."""
    with ExitStack() as stack:
        proxies: list[Proxy] = []

        def servers(cluster: Cluster) -> list[Address]:
            proxies.extend(stack.enter_context(Proxy(server, chance)) for server in cluster.servers)
            return [proxy.address for proxy in proxies]

        yield stack.enter_context(Stage(folder, chance, servers=servers)), proxies


def heal(proxies: list[Proxy]) -> None:
    """The network is sound again."""
    for proxy in proxies:
        proxy.heal()


@contextmanager
def linked(folder: Path, chance: random.Random) -> Iterator[tuple[Stage, links.Links]]:
    """A stage whose senders and adapter live in a namespace of their own."""
    with links.Links() as link, Stage(folder, chance, host=link.here, enter=link.enter, within=link.within) as stage:
        yield stage, link


def _during(
    result: Result, stage: Stage, count: int, say: Say, begin: Callable[[], str], end: Callable[[], None]
) -> None:
    """Inflict, wait, heal, see that all goes on; nodes must not notice.

    What lies between senders and nodes is no matter of the lease, so a failover is a fault of the server, and bad.
    """

    def one(number: int) -> str:
        active, epoch = stage.cluster.wait_up(), stage.epoch()
        lasts = stage.chance.uniform(*HELD)
        told = begin()
        time.sleep(lasts)
        end()
        stage.settle()
        if (now := stage.epoch()) != epoch:
            result.bad.append(f"fault {number} ({told}, {lasts:.1f} s): a failover, epoch {epoch} to {now}")
        return f"{told}, {lasts:.1f} s, {active} serves epoch {epoch}"

    result.faults = each(count, say, result.name, one)
    result.verdict = stage.finish()


def link_cut(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """The link goes down; connections hang or break."""
    return _link("link-cut", folder, count, chance, say)


def one_way(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """What one side sends vanishes, and comes again later as TCP does; by turns either side."""
    return _link("one-way", folder, count, chance, say)


def _link(name: str, folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    result = Result(name)
    if links.missing():
        result.more["by"] = "proxy"
        with proxied(folder, chance) as (stage, proxies):

            def begin() -> str:
                way = chance.choice(("up", "down"))
                for proxy in proxies:
                    proxy.cut() if name == "link-cut" else proxy.silence(up=way == "up", down=way == "down")
                return "cut" if name == "link-cut" else way

            _during(result, stage, count, say, begin, lambda: heal(proxies))
        return result
    result.more["by"] = "namespaces"
    with linked(folder, chance) as (stage, link):

        def hurt() -> str:
            if name == "link-cut":
                link.cut()
                return "cut"
            way = chance.choice(("up", "down"))
            link.drop(way)
            return way

        _during(result, stage, count, say, hurt, link.heal)
    return result


def half_open(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Senders come back while the node still has their old connections, on which late bytes arrive afterwards."""
    result = Result("half-open", more={"by": "proxy"})
    with proxied(folder, chance) as (stage, proxies):

        def begin() -> str:
            for proxy in proxies:
                proxy.half_open()
            return "half open"

        _during(result, stage, count, say, begin, lambda: heal(proxies))
    return result


def reset(folder: Path, count: int, chance: random.Random, say: Say) -> Result:
    """Every connection is reset within a frame."""
    result = Result("reset", more={"by": "proxy"})
    with proxied(folder, chance) as (stage, proxies):

        def begin() -> str:
            return f"{sum(proxy.reset() for proxy in proxies)} connections"

        _during(result, stage, count, say, begin, lambda: None)
        result.more["resets"] = sum(proxy.resets for proxy in proxies)
        if result.more["resets"] < count:
            result.bad.append(f"only {result.more['resets']} connections were reset")
    return result
