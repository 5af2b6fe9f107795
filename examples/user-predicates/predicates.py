"""Predicates of this rule base. docs/user-predicates.md says what they may and may not do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address, ip_network
from zoneinfo import ZoneInfo

from opentec.rules import EventView, Seconds, predicate

# a table is part of this file, and so of the rule base's content hash
SITES = {
    "hamburg": [ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")],
    "lisbon": [ip_network("10.2.0.0/16")],
}
ON_CALL = {"hamburg": ["anke", "jens"], "lisbon": ["rui"]}
BERLIN = ZoneInfo("Europe/Berlin")


@predicate
def site(address: str) -> str | None:
    """The site that an address belongs to; none when it is of nobody's, or no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return next((name for name, networks in SITES.items() if any(found in network for network in networks)), None)


@predicate
def office_hours(now: Seconds) -> bool:
    """Holds from Monday to Friday between 8 and 18 o'clock, in Berlin."""
    local = datetime.fromtimestamp(now, BERLIN)
    return local.weekday() < 5 and 8 <= local.hour < 18


@predicate
def on_call(site: str) -> Iterator[str]:
    """Everyone who is on call for a site, the first one first."""
    yield from ON_CALL.get(site, [])


@predicate
def headline(event: EventView, site: str) -> str:
    """What an operator reads first."""
    again = f", {event['repeat_count'] + 1} times" if event["repeat_count"] else ""
    return f"login failed on {event['hostname']} from {site}{again}"
