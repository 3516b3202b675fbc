"""Socket.IO packets, by the protocol document of revision 5: what is taken, what is refused, what is sent."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reminder.websocket.server import Packet

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR = range(5)
PLACEHOLDER = {'_placeholder': True, 'num': 0}
RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']


def decode(text: str) -> tuple[int, str, int | None, Any]:
    packet = Packet(encoded_packet=text)
    return packet.packet_type, packet.namespace, packet.id, packet.data


@pytest.mark.parametrize(
    ('text', 'packet'),
    [
        ('0', (CONNECT, '/', None, None)),
        ('0{}', (CONNECT, '/', None, {})),
        ('0{"since":"x"}', (CONNECT, '/', None, {'since': 'x'})),
        ('0/,', (CONNECT, '/', None, None)),
        ('0/,{}', (CONNECT, '/', None, {})),
        ('0/admin', (CONNECT, '/admin', None, None)),
        ('0/admin,', (CONNECT, '/admin', None, None)),
        ('0/admin,{"sid":"1"}', (CONNECT, '/admin', None, {'sid': '1'})),
        ('0/admin?token=1,', (CONNECT, '/admin', None, None)),
        ('0/?token=1,{}', (CONNECT, '/', None, {})),
        ('0/admin?path=/a?b,{}', (CONNECT, '/admin', None, {})),
        ('0/a/b[c]{"d"},', (CONNECT, '/a/b[c]{"d"}', None, None)),
        ('1', (DISCONNECT, '/', None, None)),
        ('1/admin,', (DISCONNECT, '/admin', None, None)),
        ('2["command"]', (EVENT, '/', None, ['command'])),
        ('2[""]', (EVENT, '/', None, [''])),
        ('2["command",{"a":"x"},[2.5,null,true]]', (EVENT, '/', None, ['command', {'a': 'x'}, [2.5, None, True]])),
        ('20["command"]', (EVENT, '/', 0, ['command'])),
        ('213["command",1]', (EVENT, '/', 13, ['command', 1])),
        ('29007199254740993["command"]', (EVENT, '/', 9_007_199_254_740_993, ['command'])),
        ('2/admin,456["command"]', (EVENT, '/admin', 456, ['command'])),
        ('2["\\u00fc \u00fc \U0001f600"]', (EVENT, '/', None, ['\u00fc \u00fc \U0001f600'])),
        ('2["command","51-[]"]', (EVENT, '/', None, ['command', '51-[]'])),
        ('31[]', (ACK, '/', 1, [])),
        ('3/admin,13["bar"]', (ACK, '/admin', 13, ['bar'])),
    ],
)  # fmt: skip
def test_what_the_document_knows_is_taken(text: str, packet: tuple[int, str, int | None, Any]) -> None:
    assert decode(text) == packet


@pytest.mark.parametrize(
    ('text', 'packet', 'attachments'),
    [
        ('50-["command"]', (EVENT, '/', None, ['command']), 0),
        ('50-["command",{"_placeholder":true,"num":0}]', (EVENT, '/', None, ['command', PLACEHOLDER]), 0),
        ('51-["command",{"_placeholder":true,"num":0}]', (EVENT, '/', None, ['command', b'']), 1),
        (
            '52-["command",{"a":{"_placeholder":1,"num":0},"b":[{"_placeholder":true,"num":1}]}]',
            (EVENT, '/', None, ['command', {'a': {'_placeholder': 1, 'num': 0}, 'b': [b'']}]),
            2,
        ),
        ('5999-/admin,7["command"]', (EVENT, '/admin', 7, ['command']), 999),
        ('61-13[{"_placeholder":true,"num":0}]', (ACK, '/', 13, [b'']), 1),
    ],
)
def test_of_a_binary_packet_its_attachments_are_counted(
    text: str, packet: tuple[int, str, int | None, Any], attachments: int
) -> None:
    assert decode(text) == packet
    assert Packet(encoded_packet=text).attachment_count == attachments


@pytest.mark.parametrize(
    'text',
    [
        # no type, or one that a client may not send
        ' ', 'x', '[', '-1', '+2["a"]', '7', '9["a"]', '\u0662["a"]', '\u00b2["a"]', ' 2["a"]', '4', '4{"message":"x"}',
        # binary packets
        '5["a"]', '5-["a"]', '5-1-["a"]', '51["a"]', '51000-["a"]', '59999999999-["a"]', '5\u0663-["a"]', '21-["a"]',
        '51-["a",{"_placeholder":true}]', '51-["a",{"_placeholder":true,"num":1}]', '51-["a",NaN]',
        '51-["a",{"_placeholder":true,"num":-1}]', '51-["a",{"_placeholder":true,"num":"0"}]',
        '51-["a",{"_placeholder":true,"num":true}]', '51-[{"_placeholder":true,"num":0}]',
        '01-{}', '51-', '51-{}', '51-[1]', '51-["connect"]', '61-["a"]', '61-1{}', '61-1', '71-["a"]', '51-1-["a"]',
        # CONNECT
        '0[]', '0null', '0"x"', '01', '01{}', '0{', '0{}{}', '0/admin,[]', '0?a=1', '0admin,{}',
        # DISCONNECT
        '1{}', '1[]', '1null', '11', '1/admin,{}',
        # EVENT
        '2', '21', '2{}', '2null', '2"command"', '2[]', '2[1]', '2[null]', '2[["a"]]', '2[{}]', '2[true]', '2["a"',
        '2["a"]]', '2["a"]["b"]', '2["a"]1', '2-1["a"]', '21.5["a"]', '2 1["a"]', '2["a",]', "2['a']", '2/admin["a"]',
        *(f'2["{name}"]' for name in RESERVED), *(f'21["{name}",{{}}]' for name in RESERVED),
        # ids: ASCII digits, and not too many
        '2\u0663["a"]', '2\u00b2["a"]', '21\u0663["a"]', '2' + '1' * 21 + '["a"]', '2' + '1' * 5000 + '["a"]',
        # ACK
        '3', '31', '3[]', '31{}', '31null', '31"x"',
        # JSON
        '2["a",NaN]', '2["a",Infinity]', '2["a",-Infinity]', '0{"since":NaN}', '2["a",undefined]', '2["a",\'x\']',
        '2["a",01]', '2["a","\n"]', '2["a",' + '9' * 5000 + ']', '2["a",.5]', '2["a","\\ud8"]',
    ],
    ids=lambda text: ascii(text[:24]),
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


@pytest.mark.parametrize('text', ['2' + '[' * 60_000, '0' + '{"a":' * 10_000])
def test_json_that_is_deep_and_does_not_end_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode(text)


def test_json_that_is_deep_is_refused_unless_python_reads_it() -> None:
    text = '["a",' + '[' * 60_000 + ']' * 60_001
    try:
        read = json.loads(text)
    except RecursionError:  # before 3.14
        with pytest.raises(RecursionError):
            decode(f'2{text}')
    else:
        assert decode(f'2{text}')[3] == read


def test_no_characters_are_no_packet() -> None:
    with pytest.raises(ValueError):
        Packet().decode('')


@pytest.mark.parametrize(
    ('packet', 'text'),
    [
        (Packet(CONNECT, {'sid': 'a', 'pid': 'b'}), '0{"sid":"a","pid":"b"}'),
        (Packet(CONNECT_ERROR, {'message': 'no'}, '/admin'), '4/admin,{"message":"no"}'),
        (Packet(EVENT, ['eventReminder', {'name': 'x'}], '/'), '2["eventReminder",{"name":"x"}]'),
        (Packet(ACK, [{'status': 'success'}], '/', 0), '30[{"status":"success"}]'),
        (Packet(ACK, [1], '/admin', 12), '3/admin,12[1]'),
        (Packet(ACK, [], '/', 7), '37[]'),
    ],
)
def test_what_is_sent_is_what_the_document_says(packet: Packet, text: str) -> None:
    assert packet.encode() == text


def test_bytes_are_not_taken_for_something_to_attach() -> None:
    with pytest.raises(TypeError):
        Packet(EVENT, ['a', b'x']).encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
namespaces = st.just('/') | st.text('abc/[{"1', min_size=1).map('/{}'.format)
ids = st.integers(0, 10**15 - 1)


@settings(deadline=None)  # this machine may be busy
@given(
    st.builds(
        Packet, st.just(EVENT), st.lists(values).map(lambda rest: ['command', *rest]), namespaces, st.none() | ids
    )
    | st.builds(Packet, st.just(ACK), st.lists(values), namespaces, ids)
    | st.builds(Packet, st.just(CONNECT), st.none() | st.dictionaries(st.text(), values), namespaces)
)
def test_what_is_sent_can_be_read(packet: Packet) -> None:
    assert decode(packet.encode()) == (packet.packet_type, packet.namespace, packet.id, packet.data)


pieces = st.sampled_from(
    [*'0123456789-,/?[]{}":\n\u0663\ud800', '42', '"command"', '["command",{}]', '/admin,', '_placeholder', 'NaN']
)


@settings(deadline=None)  # this machine may be busy
@given(st.text() | st.lists(pieces).map(''.join))
@example('2["\\ud800"]')
@example('2/\n,["a"]')
@example('0/a\n')
def test_any_text_is_a_packet_or_a_value_error(text: str) -> None:
    packet = Packet()
    try:
        packet.decode(text)
    except (ValueError, RecursionError):
        return
    assert packet.packet_type in (CONNECT, DISCONNECT, EVENT, ACK)
    assert packet.namespace.startswith('/')
    assert '?' not in packet.namespace
    if packet.packet_type == EVENT:
        assert packet.data is not None
        assert isinstance(packet.data[0], str) and packet.data[0] not in RESERVED
