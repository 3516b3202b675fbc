"""Commands of every shape, names and times that mean something elsewhere, and more commands than anybody can take."""

import json
from typing import Any

from tests.hostile.raw import SPAN, Link, Target, command, pour, text

LATER = {'time': '2999-01-01 00:00', 'timeZone': 'UTC'}
HUGE = 'x' * 65_000
INJECTIONS = [
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    '") OR 1=1 --',
    '%s %d {0} {name}',
    '${jndi:ldap://evil.example}',
    '$where: sleep(1000)',
    '{"$gt":""}',
    '../../etc/passwd',
    '<script>alert(1)</script>',
    'a\r\ntime=2026-01-01T00:00:00.000Z level=info logger=reminder.forged message=forged',
    '\x1b[2J\x07\x00\x7f\u2028\u202e\ufeff',
    'x' * 1_000,
    '💥' * 1_000,
]
"""Names like any other."""
NO_TEXT: list[Any] = [None, True, 0, -1, 1.5, [], ['x'], {}, {'$gt': ''}, {'$ne': None}, {'$where': 'sleep(1)'}, [[[]]]]


def ask(link: Link, message: Any) -> dict[str, Any]:
    """The answer to a command."""
    link.send_packet(command(message, 1))
    envelope: dict[str, Any]
    (envelope,) = json.loads(link.read_packet('431')[3:])
    return envelope


def assert_failure(answer: dict[str, Any], error: str) -> None:
    """Whether a command failed with that error, and said no more."""
    assert answer.keys() == {'status', 'error'} and answer['status'] == 'failure', answer
    assert error in answer['error'] and len(answer['error']) < 500, answer


def messages_of_every_type(target: Target) -> None:
    link = target.client()
    for _ in target.lasting(SPAN / 2):
        for message in (*NO_TEXT, '', HUGE, {'command': None}, {'command': ''}):
            assert_failure(ask(link, message), 'Invalid message passed')
        for name in (*NO_TEXT[1:], HUGE, 'scheduleevent', '__class__', '_schedule_event', 'run', *INJECTIONS):
            assert_failure(ask(link, {'command': name}), 'un-recognized command')
        for data in (*NO_TEXT, HUGE):
            assert_failure(ask(link, {'command': 'scheduleEvent', 'data': data}), "'eventName' is required")
            assert ask(link, {'command': 'getAllTimeZones', 'data': data})['status'] == 'success'
            assert ask(link, {'command': 'getStatus', 'data': data})['status'] == 'success'
        for packet in ('["command"]', '["command",1,2,3]', '["command",{},"x"]', '["Command",{}]'):
            link.send_packet(f'42{packet}')


def fields_of_every_type(target: Target) -> None:
    """A name that is text is kept as it is, whatever it would mean to a database, a log or a page."""
    link = target.client()

    def schedule(**fields: Any) -> dict[str, Any]:
        return ask(link, {'command': 'scheduleEvent', 'data': {'eventName': 'x', **LATER, **fields}})

    for _ in target.lasting(SPAN / 2):
        for value in (*NO_TEXT, ''):
            assert_failure(schedule(eventName=value), "'eventName' is required")
        for value in NO_TEXT:
            assert_failure(schedule(timeZone=value), "'timeZone' is required")
            assert_failure(schedule(time=value), "'time' is required")
        for value in (*NO_TEXT, ''):
            assert_failure(ask(link, {'command': 'getStatus', 'data': {'_id': value}}), "'_id' is required")
        for value in (*INJECTIONS, HUGE, '', '\ud800'):
            assert_failure(schedule(timeZone=value), 'is invalid')
            assert_failure(schedule(time=value), 'is invalid')
        for value in (*INJECTIONS, HUGE, '\ud800'):
            assert_failure(ask(link, {'command': 'getStatus', 'data': {'_id': value}}), 'is not found')
        for name in (HUGE, 'x' * 1_001):
            assert_failure(schedule(eventName=name), 'is longer than 1000 characters')
        for name in ('\ud800', 'x\udfffx', '\udc00\ud800'):
            assert_failure(schedule(eventName=name), 'surrogate')
        for name in INJECTIONS:
            answer = schedule(eventName=name)
            assert answer['response']['name'] == name, answer
            status = ask(link, {'command': 'getStatus', 'data': {'_id': answer['response']['_id']}})
            assert status['response']['event']['name'] == name


def commands_whose_answers_nobody_takes(target: Target) -> None:
    """Large answers, on one connection and on 50."""
    flood = text(command({'command': 'getAllTimeZones'}, 1)) * 1_000
    pour(target.clients(1), flood, 0.5)
    pour(target.clients(50), flood)


def commands_without_end(target: Target) -> None:
    """Schedules on 50 connections, which read their answers."""
    data = {'eventName': 'x' * 500, **LATER}
    pour(target.clients(50), text(command({'command': 'scheduleEvent', 'data': data}, 1)) * 500, read=True)


def questions_without_end(target: Target) -> None:
    """What the database has to be asked for, on 50 connections."""
    data = {'_id': 'f' * 24}
    pour(target.clients(50), text(command({'command': 'getStatus', 'data': data}, 1)) * 500, read=True)


def commands_by_post(target: Target) -> None:
    """As many as one POST takes, on 20 sessions of which none is polled."""
    body = b'\x1e'.join([b'4' + text_of({'command': 'getAllTimeZones'})] * 4_999)
    for sid in [target.session() for _ in range(20)]:
        target.post(sid, b'40')
        link = target.link()
        link.send(f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: victim\r\n'.encode())
        link.send(f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
    for _ in target.lasting(0.5):
        target.ask('GET', '/healthz')


def text_of(message: Any) -> bytes:
    return command(message, 1)[1:].encode()
