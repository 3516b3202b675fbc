"""Origins: of which sites pages may talk to the server, by the CORS protocol (Fetch standard, section 3.2)."""

import re
from collections.abc import Iterable, Mapping

ANY = '*'
KEPT = '600'
"""Seconds for which a browser may keep the answer to its question."""
_DEFAULT_PORT = re.compile(r':(80|443)$')


class Origins:
    """The server's own origin, and the others that are let in."""

    def __init__(self, others: Iterable[str]) -> None:
        """`others` are in lower case; '*' among them means any."""
        self._others = frozenset(others)

    def allow(self, environ: Mapping[str, str]) -> bool:
        """Whether the page that a request (WSGI) comes from, if any, may talk to the server.

        Same origin means the same host and port: TLS may end at a proxy, so the scheme says nothing.
        """
        origin = environ.get('HTTP_ORIGIN')
        if origin is None or ANY in self._others or origin.lower() in self._others:
            return True
        host = _host(environ.get('HTTP_HOST', ''))
        return host != '' and _host(origin.partition('://')[2]) == host

    def headers(self, environ: Mapping[str, str], methods: str) -> list[tuple[str, str]]:
        """What an answer to that request tells the browser, where `methods` may be used."""
        origin = environ.get('HTTP_ORIGIN')
        if origin is None or not self.allow(environ):
            return []
        if ANY in self._others:
            headers = [('Access-Control-Allow-Origin', ANY)]
        else:
            headers = [
                ('Access-Control-Allow-Origin', origin),
                ('Access-Control-Allow-Credentials', 'true'),
                ('Vary', 'Origin'),
            ]
        if environ['REQUEST_METHOD'] == 'OPTIONS':
            headers += [
                ('Access-Control-Allow-Methods', methods),
                ('Access-Control-Allow-Headers', environ.get('HTTP_ACCESS_CONTROL_REQUEST_HEADERS', 'content-type')),
                ('Access-Control-Max-Age', KEPT),
            ]
        return headers


def _host(authority: str) -> str:
    """A host and port for comparison: in lower case, without a port that some scheme has by default."""
    return _DEFAULT_PORT.sub('', authority.lower())
