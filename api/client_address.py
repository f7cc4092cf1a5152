"""Where a request comes from: the peer, or what trusted proxies say about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from api.exchange import Scope

UNKNOWN: Final = "unknown"
"""What all clients share whose address is not known: a limit on it is one for them together."""
_MOST_HOPS: Final = 20

Networks = Collection[IPv4Network | IPv6Network]
current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)
"""The connection that the running task answers; set by the application for each."""


def networks(texts: Sequence[str]) -> Networks:
    """Read networks such as `10.0.0.0/8`. Raises: ValueError."""
    return tuple(ip_network(text) for text in texts)


def client_address(scope: Scope | None, trusted: Networks) -> str:
    """Give the address of a client.

    `X-Forwarded-For` is read from its end, past the proxies that are trusted; the first that is not is the
    client. What stands before it is the client's own claim.
    """
    peer = None if scope is None else scope.get("client")
    if scope is None or not peer:
        return UNKNOWN
    address: str = peer[0]
    if not trusted or not _is_trusted(address, trusted):
        return address
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    for hop in reversed(forwarded.decode("latin-1").split(",")[-_MOST_HOPS:]):
        try:
            address = str(ip_address(hop.strip()))
        except ValueError:
            return address
        if not _is_trusted(address, trusted):
            return address
    return address


def _is_trusted(address: str, trusted: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
