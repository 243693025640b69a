"""Where a callback may go: the form of its URL, and which addresses may be connected to.

A URL comes from a client and is called by us, from inside our network: whatever only we can
reach must stay out of its reach (server-side request forgery).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Characters of a URL at most.
MAX_URL = 2_048
#: RFC 3986 without user names, fragments and anything that two parsers may read in two
#: ways: what is judged here is what libcurl connects to.
_URL = re.compile(
    r"""(?P<scheme>https?)://
        (?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])
        (?::(?P<port>\d{1,5}))?
        (?P<rest>(?:/[\w.~!$&'()*+,;=:@%/-]*)?(?:\?[\w.~!$&'()*+,;=:@%/?-]*)?)""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
#: A last label that makes a host a number to some resolvers: ``127.1``, ``2130706433``, ``0x7f.1``.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)

#: Of IPv6 only this is given out as public addresses.
_GLOBAL = IPv6Network("2000::/3")
#: Not public, or a way to an address that is not, whatever `ipaddress` of this Python says.
_NEVER = tuple(ip_network(text) for text in (
    "100.64.0.0/10",     # carrier-grade NAT; a cloud's metadata service at 100.100.100.200
    "168.63.129.16/32",  # Azure's, which is public by its number only
    "192.0.0.0/24",      # protocol assignments
    "192.88.99.0/24",    # 6to4 relays
    "2001::/23",         # protocol assignments: Teredo embeds an IPv4 address, ORCHID is no address
    "2001:db8::/32", "3fff::/20",  # documentation
    "2002::/16",         # 6to4 embeds an IPv4 address
))


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A URL whose form is sound."""

    url: str
    secure: bool
    #: the name or the address, without brackets, in lower case
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The host where it is an address by itself."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def origin(self) -> str:
        """The URL without path and query, which may hold secrets: for logs and answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


def parse(url: str, allowed: Sequence[Network] = ()) -> Target:
    """The target that ``url`` names; raises `ValueError`, one line for the client.

    A host that is an address is judged, a name when it is resolved. ``allowed`` networks
    need be neither public nor https.
    """
    if len(url) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("must be https://host[:port]/path in ASCII, without user name or fragment")
    secure = match["scheme"].lower() == "https"
    port = int(match["port"]) if match["port"] else 443 if secure else 80
    target = Target(url=url, secure=secure, host=match["host"].strip("[]").lower(), port=port)
    if not 0 < port < 65_536:
        raise ValueError(f"has no port {port}")
    last = target.host.rstrip(".").rpartition(".")[2]
    if target.address is not None:
        why = refusal(target.address, secure=secure, allowed=allowed)
    elif _NUMBER.fullmatch(last) or match["host"].startswith("[") or not last:
        why = "has a host that is neither a name nor an address"
    else:
        why = None if secure or allowed else "must be https"
    if why is not None:
        raise ValueError(why)
    return target


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """``10.0.0.0/8`` and its like; raises `ValueError`."""
    return tuple(ip_network(text) for text in texts)


def host(url: str) -> str:
    """The host of a URL that `parse` has taken before."""
    match = _URL.fullmatch(url)
    return match["host"].lower() if match else ""


def refusal(address: Address, *, secure: bool, allowed: Iterable[Network]) -> str | None:
    """Why ``address`` may not be called; None: it may."""
    if any(address in network for network in allowed):
        return None
    if not public(address):
        return "has an address that is not public"
    return None if secure else "must be https"


def public(address: Address) -> bool:
    """Whether the address is one machine's on the public internet, and embeds no other.

    Sources: IANA's special-purpose address registries (RFC 6890). IPv4-mapped and NAT64
    addresses lie outside 2000::/3, like everything local.
    """
    if isinstance(address, IPv6Address) and (address not in _GLOBAL or address.scope_id):
        return False
    special = (address.is_private or address.is_loopback or address.is_link_local
               or address.is_multicast or address.is_reserved or address.is_unspecified)
    return not special and address.is_global and not any(address in network for network in _NEVER)
