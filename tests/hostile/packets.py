"""Engine.IO and Socket.IO packets that their documents do not know, and known ones in numbers that nobody needs."""

import json

from tests.hostile.raw import SPAN, Gone, Link, Target, command, pour, text
from tests.wire import BINARY, FIN, frame

MAX_POST = 1_000_000
MAX_POST_PACKETS = 5_000
POLICY = 1008
PLACEHOLDER = '{"_placeholder":true,"num":0}'
DEEP = 65_000
EMPTY: tuple[object, ...] = ([], {}, '')
"""What may be taken for nothing at all."""
MALFORMED = [
    *('abc', '0', '2', '2probe', '5', '7', '9', '/', '\x00', '٣', ' 40', '3probe', '1x', '6x'),
    *('4', '4abc', '47', '49', '4-1', '4\x00', '4٣["command",{}]'),
    *('42', '42{}', '42"command"', '42[]', '42[1]', '42[null]', '42[{}]', '42["command"', '42["command",]', '42[""]x'),
    *('421', '42-1["command"]', '42 ["command"', '42/x,["command",{}]', '42/x["command",{}]', '42٣["command",{}]'),
    *('40[]', '40"x"', '401', '40{', '40{}{}', '41{}', '411', '43[1]', '43', '431', '431{}', '44', '44{}', '44"x"'),
    *(f'42["{name}"]' for name in ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener')),
    *('45["command",{}]', '45-["command",{}]', '451-', '451-[]', '45-1-["a"]', '46["a"]', '461-["a"]', '451-["a"]x'),
    *(f'45{count}-["command",{PLACEHOLDER}]' for count in ('1000', '9' * 20, '-1', '1.5', '1e3', '٣')),
    *(f'42["command",{number}]' for number in ('NaN', 'Infinity', '-Infinity', '01', '+1', '.5', '0x1', '--1')),
    *('42["command",' + '9' * 10_000 + ']', '42["command",' + '-' + '9' * 60_000 + ']'),
    *('42' + '9' * 21 + '["command",{}]', '42' + '9' * 60_000 + '["command",{}]'),
    *('42' + '[' * DEEP, '42["command",' + '[' * DEEP, '42' + '{"a":' * (DEEP // 5), '40' + '{"a":' * (DEEP // 5)),
    *('42["command",' + '[' * (DEEP // 2 - 10) + ']' * (DEEP // 2 - 10) + ']', '42["command","' + '\\ud8' + '"]'),
]
"""Each ends the session of a client that has connected, at once."""
STRANGE = [
    *('42["command",' + '[' * depth + ']' * depth + ']' for depth in (10, 100, 500)),
    *('42["command",' + number + ']' for number in ('9' * 4_000, '1e308', '1e-400', '0.' + '1' * 60_000, '-0')),
    '42["command",{"command":"scheduleEvent","data":' + '[' * 400 + ']' * 400 + '}]',
    '42["command"' + ',1' * 30_000 + ']',
    '42["command",{' + ','.join(f'"{number}":{number}' for number in range(4_000)) + '}]',
    '42["command",{' + ','.join(['"command":"x"'] * 4_000) + '}]',
    '42["command","' + '\\u0000' * 10_000 + '"]',
    '42["' + 'x' * 65_000 + '"]',
    '42["nobody listens",{}]',
    '42/,["command",{}]',
    '439["nobody asked"]',
]
"""Each is JSON and a packet, and ends nothing."""


def still_answers(link: Link) -> bool:
    """Whether the client that this link is has not been given up by the server."""
    link.send_packet(command({}, 77))
    link.read_packet('4377[')
    return True


def malformed_packets(target: Target) -> None:
    for number in target.lasting(1.2):
        link = target.client()
        link.send_packet(MALFORMED[number % len(MALFORMED)])
        assert link.close_code() == POLICY, MALFORMED[number % len(MALFORMED)][:50]
        link.close()


def json_that_is_strange(target: Target) -> None:
    """Deep, long, repeated; with and without an acknowledgement."""
    link = target.client()
    for number in target.lasting():
        link.send_packet(STRANGE[number % len(STRANGE)])
        if number % len(STRANGE) == 0:
            assert still_answers(link)


def ids_that_are_huge(target: Target) -> None:
    link = target.client()
    for number in target.lasting():
        id = (10**20 - 1, 10**19, 2**63, 2**64, 0)[number % 5]
        link.send_packet(command({}, id))
        assert link.read_packet(f'43{id}[')
    links = target.clients(20)
    pour(links, text('43' + '9' * 20 + '[1]') * 1_000, 0.3)


def placeholders(target: Target) -> None:
    """Attachments that are announced and sent, as no command takes any; announced and not sent; not announced."""
    many = json.dumps(['command', *[json.loads(PLACEHOLDER)] * 1_500])
    link = target.client()
    for _ in range(5):
        link.send_packet(f'4599-1{many}')
        link.send(*[frame(FIN | BINARY, bytes(65_536))] * 20, frame(FIN | BINARY) * 79)
        assert still_answers(link)
    for packets in (text(f'452-["command",{PLACEHOLDER}]') + text(command({})), frame(FIN | BINARY, bytes(65_536))):
        other = target.client()
        other.send(packets)
        assert other.close_code() == POLICY
    pour(target.clients(20), text(f'45999-{many}') + frame(FIN | BINARY) * 999)


def connects_that_are_repeated(target: Target) -> None:
    for _ in target.lasting(SPAN / 2):
        link = target.client()
        link.send_packet('40')
        assert link.close_code() == POLICY
        link.close()
    link = target.client()
    for _ in target.lasting(SPAN / 2):
        link.send(text('41') + text('40'))
        link.read_packet('40')
    pour(target.clients(10), (text('41') + text('40')) * 500, 0.5)


def namespaces_that_are_unknown(target: Target) -> None:
    link = target.websocket()
    for number in target.lasting(SPAN / 2):
        for name in (f'/{number}', '/' + 'x' * 60_000, '/admin?token=1', '/' + '\x00\r\n', '/💥'):
            link.send_packet(f'40{name},')
            assert link.read_packet(f'44{name.partition("?")[0]},') == (
                f'44{name.partition("?")[0]},{{"message":"Invalid namespace"}}'
            )
    pour(target.clients(20), b''.join(text(f'40/{number},') for number in range(1_000)), SPAN / 2)


def payloads_of_every_type(target: Target) -> None:
    """CONNECT says who one is and where one left off; whatever it says is answered, by a place or by a refusal."""
    huge = 'x' * 60_000
    for payload in (
        *({'since': since} for since in (0, True, *EMPTY, huge, '9' * 5_000, 'null', '9999-12-31T23:59:59Z')),
        *({'since': since} for since in ('f' * 24, "' OR 1=1 --", {'$gt': ''}, '2' * 16 + '.1.', '1-01-01T00:00Z')),
        *({'offset': offset, 'pid': 'me'} for offset in (0, *EMPTY, huge, '0' * 16 + '.' + '9' * 15 + '.')),
        *({'offset': '0' * 16 + '.1.', 'pid': pid} for pid in (0, *EMPTY, huge, '../../x', 'a\r\nb', '\x00')),
        *({'token': token} for token in (0, *EMPTY, huge, 'a.b.c')),
        {str(number): number for number in range(4_000)},
    ):
        link = target.websocket()
        link.send_packet('40' + json.dumps(payload))
        assert link.read_packet('4')[:3] in ('40{', '44{')
        link.close()


def posts_that_are_too_much(target: Target) -> None:
    """More packets than are taken, more bytes, packets that are none."""
    for body, status in (
        (b'\x1e'.join([b'3'] * (MAX_POST_PACKETS + 1)), 400),
        (b'\x1e' * MAX_POST, 400),
        (b'4' * MAX_POST, 400),
        (b'4' * (MAX_POST + 1), 413),
        (b'\xff' * 1_000, 400),
        (b'b' + b'!' * 1_000, 400),
    ):
        for _ in target.lasting(0.15):
            sid = target.session()
            assert target.post(sid, body).status == status, (body[:10], status)
            assert target.get(sid).status == 400 or status == 413


def polls_of_one_session(target: Target) -> None:
    """Two at a time, and some of sessions that are none."""
    for number in target.lasting():
        sid = target.session()
        first, second = target.link(), target.link()
        for link in (first, second):
            link.send(f'GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: victim\r\n\r\n'.encode())
        assert sorted((first.read_reply().status, second.read_reply().status)) == [200, 400]
        for stranger in (sid, 'nobody', '', "'", '%00', '../' * 20, 'x' * 5_000, f'{number}'):
            assert target.get(stranger).status == 400
            assert target.post(stranger, b'40').status == 400
        first.close()
        second.close()


def upgrades_that_race(target: Target) -> None:
    """Probes that outdo each other, say the wrong word, or come while packets are posted."""
    for _ in target.lasting():
        sid = target.session()
        first = target.websocket(sid=sid)
        second = target.websocket(sid=sid)
        assert first.close_code() == POLICY  # outdone
        second.send_packet('2probe')
        assert second.read_packet('3probe')
        assert is_refused(target, sid)
        assert target.post(sid, b'40').status == 200
        assert target.get(sid) == (200, b'6')
        second.send_packet('5')
        assert second.read_packet('40{')
        assert is_refused(target, sid) and target.get(sid).status == target.post(sid, b'3').status == 400
        for word in ('5', '40', '2probe' * 1_000, '3probe'):
            third = target.websocket(sid=target.session())
            third.send_packet(word)
            assert third.close_code() == POLICY
            third.close()
        second.send(text('2probe') + text('5'))
        assert second.close_code() == POLICY
        first.close()
        second.close()


def is_refused(target: Target, sid: str) -> bool:
    """Whether no other WebSocket is let to a session."""
    try:
        target.websocket(sid=sid).close()
    except AssertionError as error:
        return b' 400 ' in error.args[0]
    except Gone:
        return False
    return False
