"""What counts as a plain WebSocket handshake, which the hub answers itself; all else is left to the HTTP server."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reminder.websocket.handshake import MAX_HEAD, _accept, _parse

KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
HEADERS = {
    'Host': 'example.com:3000',
    'Upgrade': 'websocket',
    'Connection': 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
}
LINE = 'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1'


def request(line: str = LINE, **headers: str | None) -> bytes:
    fields = HEADERS | {name.replace('_', '-'): value for name, value in headers.items()}
    lines = [f'{name}: {value}\r\n' for name, value in fields.items() if value is not None]
    return f'{line}\r\n{"".join(lines)}\r\n'.encode('latin-1')


def is_plain(head: bytes) -> bool:
    return _parse(head)[0] is not None


def test_the_answer_to_the_key_of_the_rfc() -> None:
    """RFC 6455 section 1.3."""
    assert _accept(KEY.encode()) == b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='


def test_a_plain_one_is_understood() -> None:
    head = request(Origin='https://example.com')
    environ, key, length = _parse(head)
    assert environ == {
        'REQUEST_METHOD': 'GET',
        'PATH_INFO': '/socket.io/',
        'QUERY_STRING': 'EIO=4&transport=websocket',
        'HTTP_UPGRADE': 'websocket',
        'HTTP_HOST': 'example.com:3000',
        'HTTP_ORIGIN': 'https://example.com',
    }
    assert (key, length) == (KEY.encode(), len(head))


def test_what_follows_it_is_not_taken() -> None:
    head = request()
    assert _parse(head + b'\x81\x80abcd')[2] == len(head)
    assert _parse(head + b'\x81\x80\r\n\r\n')[2] == len(head)


@pytest.mark.parametrize(
    'headers',
    [
        {'Upgrade': 'WebSocket'},
        {'Connection': 'keep-alive, Upgrade'},
        {'Connection': 'upgrade'},
        {'Cookie': 'a=b; c="d"', 'User-Agent': 'x (y; z)', 'Sec-WebSocket-Extensions': 'permessage-deflate; x'},
        {'Host': '[::1]:3000'},
        {'Empty': ''},
        {'Blanks': ' \t  a  b \t '},
    ],
)
def test_other_forms_are_plain(headers: dict[str, str]) -> None:
    assert is_plain(request(**headers))


def test_names_of_headers_are_compared_without_case() -> None:
    head = request()
    for name in HEADERS:
        head = head.replace(name.encode(), name.upper().encode())
    assert is_plain(head)


@pytest.mark.parametrize(
    'head',
    [
        request('POST /socket.io/?EIO=4&transport=websocket HTTP/1.1'),
        request('GET /socket.io/?EIO=4&transport=websocket HTTP/1.0'),
        request('GET /socket.io?EIO=4&transport=websocket HTTP/1.1'),
        request('GET /socket.iox/?EIO=4 HTTP/1.1'),
        request('GET http://example.com/socket.io/?EIO=4&transport=websocket HTTP/1.1'),
        request('GET /socket.io/?a b HTTP/1.1'),
        request('GET  /socket.io/?EIO=4 HTTP/1.1'),
        request('GET /socket.io/?\u00e4 HTTP/1.1'),
        request('get /socket.io/?EIO=4 HTTP/1.1'),
        request(Upgrade=None),
        request(Upgrade='h2c'),
        request(Upgrade='websocket, h2c'),
        request(Connection=None),
        request(Connection='keep-alive'),
        request(Sec_WebSocket_Version=None),
        request(Sec_WebSocket_Version='8'),
        request(Sec_WebSocket_Key=None),
        request(Sec_WebSocket_Key='AAAA'),
        request(Sec_WebSocket_Key=KEY[:-1]),
        request(Sec_WebSocket_Key=KEY + KEY),
        request(host='twice'),
        request(**{'No Token': 'x'}),
        request(**{'Space-Before-Colon ': 'x'}),
        request(**{'': 'x'}),
        request(Folded='a\r\n b'),
        request(Bare='a\rb'),
        request(Bare='a\nb'),
        request().replace(b'\r\n', b'\n'),
        request()[:-1],
        request()[:-2],
        b'',
        b'G',
        b'\x16\x03\x01\x02\x00\x01',
        b'\r\n\r\n' + request(),
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_http_server(head: bytes) -> None:
    assert not is_plain(head)


def seconds(head: bytes) -> float:
    """How long it takes to read: the best of three, as this machine may be busy."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        _parse(head)
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.mark.parametrize('value', ['a{}b', '{}\ra', 'a{}\ra', '{}b', '{}', 'a{}'])
@pytest.mark.parametrize('blank', [' ', '\t', ' \t'])
@pytest.mark.parametrize('length', [1_000, MAX_HEAD - 500])
def test_no_header_takes_long(value: str, blank: str, length: int) -> None:
    """The hub waits for it."""
    assert seconds(request(X=value.format(blank * (length // len(blank))))) < 0.02


@pytest.mark.parametrize('text', ['a:', ':', '\r', ': :', 'a', '\r\n'])
def test_no_request_takes_long(text: str) -> None:
    assert seconds(request()[:-2] + text.encode() * ((MAX_HEAD - 500) // len(text)) + b'\r\n\r\n') < 0.02


@settings(deadline=None)  # this machine may be busy
@given(st.binary(max_size=200), st.integers(0, 300))
@example(b'\xff', 60)
def test_any_bytes_raise_nothing(noise: bytes, place: int) -> None:
    head = request()
    _parse(head[:place] + noise + head[place:])
    _parse(noise)
