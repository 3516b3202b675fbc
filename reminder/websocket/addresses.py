"""Whose a connection is, and how much of the server one address may have."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

from reminder.errors import Busy

SHARE = 4
"""An address may have one part in so many of all there is."""
IPV6_SITE = 64
"""Bits of an IPv6 address that whoever has it chooses freely; so the others are what is counted under."""
LONGEST = 64
"""Characters of an address, with a zone and a port."""
UNKNOWN = 'unknown'
"""All whose address a proxy does not tell in a form that is known share one share."""


def client_address(environ: Mapping[str, str], trusted_proxies: int) -> str:
    """The address that a request came from, by whom the last `trusted_proxies` before us say they had it from.

    What stands further left in `X-Forwarded-For` a client can have written itself. Where the header holds fewer, the
    request did not come through all of them, and its leftmost is the best that is known.
    """
    peer = environ.get('REMOTE_ADDR', '')
    if not trusted_proxies:
        return peer
    forwarded = [address.strip() for address in environ.get('HTTP_X_FORWARDED_FOR', '').split(',')]
    return [*filter(None, forwarded), peer][-1 - trusted_proxies :][0]


class Shares:
    """How much of something, of which there is `total`, each address has. Not more than its share.

    This machine's own addresses have no share: who is on it is the operator, or a proxy that nobody told us of.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._share = max(1, total // SHARE)
        self._taken: Counter[str] = Counter()
        """Only those that have something; so no more than `total`."""
        self.taken = 0

    def has_room(self, address: str) -> bool:
        """Whether `address` may have one more."""
        return self.taken < self.total and self._taken[site(address)] < self._share

    def take(self, address: str) -> None:
        """Counts one more for `address`."""
        self.taken += 1
        counted = site(address)
        if counted:
            self._taken[counted] += 1

    @contextmanager
    def one_more(self, address: str) -> Iterator[None]:
        """Counts one more for `address` meanwhile. Raises Busy where it has its share."""
        if not self.has_room(address):
            raise Busy
        self.take(address)
        try:
            yield
        finally:
            self.give_back(address)

    def give_back(self, address: str) -> None:
        """Counts one less for `address`."""
        self.taken -= 1
        counted = site(address)
        if counted:
            self._taken[counted] -= 1
            if not self._taken[counted]:
                del self._taken[counted]


def site(address: str) -> str:
    """What `address`, maybe with a port, is counted under; '' where that is this machine, which has no share."""
    return _known_site(address) if len(address) <= LONGEST else UNKNOWN


@lru_cache(4096)
def _known_site(address: str) -> str:
    host = address
    if address.startswith('['):
        host = address[1:].partition(']')[0]
    elif address.count(':') == 1:
        host = address.partition(':')[0]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return UNKNOWN if address else ''
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return site(str(parsed.ipv4_mapped))
        if not parsed.is_loopback:
            return str(ipaddress.IPv6Address(int(parsed) >> IPV6_SITE << IPV6_SITE))
    return '' if parsed.is_loopback else str(parsed)
