"""Changes, rules, payloads and lists of every shape, and more of them than anybody can take."""

import json
from typing import Any

from tests.hostile.commands import INJECTIONS, LATER, NO_TEXT, ask, assert_failure
from tests.hostile.raw import SPAN, Gone, Link, Target, command, pour, text

WEEKS = ','.join(map(str, range(1, 54)))
COSTLY = f'FREQ=YEARLY;BYWEEKNO={WEEKS};BYDAY=MO,TU,WE'
"""A rule whose COUNT is not reached, which is only found out in the end."""
RULES: list[Any] = [
    *NO_TEXT[1:],
    *INJECTIONS[:-1],
    '',
    '\ud800',
    'FREQ=SECONDLY',
    'FREQ=MINUTELY;INTERVAL=0',
    'FREQ=MINUTELY;INTERVAL=99999999999999999999',
    'FREQ=DAILY;COUNT=0',
    'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30',
    'FREQ=DAILY;UNTIL=99999999T999999Z',
    'FREQ=DAILY;FREQ=DAILY',
    f'{COSTLY};COUNT=10000',
    'FREQ=DAILY;' * 5_000,
    'FREQ=DAILY;BYHOUR=' + ','.join(['1'] * 10_000),
]


def schedule(link: Link, **fields: Any) -> dict[str, Any]:
    return ask(link, {'command': 'scheduleEvent', 'data': {'eventName': 'x', **LATER, **fields}})


def fields_of_every_type_in_changes(target: Target) -> None:
    link = target.client()
    event, series = (schedule(link, **more)['response'] for more in ({}, {'repeat': 'FREQ=DAILY'}))
    for _ in target.lasting(SPAN / 2):
        for rule in RULES:
            assert_failure(schedule(link, repeat=rule), 'repeat')
        for name in (*NO_TEXT[1:], '', 'x' * 129, 'a b', 'ü', 'a\n', '\ud800'):
            data = {'channel': name}
            for request in (
                {'command': 'scheduleEvent', 'data': {'eventName': 'x', **LATER, **data}},
                {'command': 'updateEvent', 'data': {'_id': event['_id'], **data}},
                {'command': 'updateEvent', 'data': {'_id': series['_id'], **data}},
                *({'command': name, 'data': data} for name in ('listEvents', 'listSeries')),
                {'command': 'getReminders', 'data': {'since': '2020-01-01T00:00Z', **data}},
            ):
                assert_failure(ask(link, request), 'channel')
        for key in (*NO_TEXT[1:], '', '\ud800', 'x' * 256):
            assert_failure(schedule(link, key=key), "'key'")
        for payload in ('x' * 4_095, '\ud800', {'\udfff': 1}, [0] * 2_048):
            assert_failure(schedule(link, payload=payload), "'payload'")
        for id in (*NO_TEXT, ''):
            for name in ('getEvent', 'cancelEvent', 'updateEvent'):
                assert_failure(ask(link, {'command': name, 'data': {'_id': id}}), "'_id' is required")
        for value in (*NO_TEXT[1:], *INJECTIONS, '', '\ud800'):
            for name, field in (('listEvents', 'after'), ('listEvents', 'from'), ('listEvents', 'to')):
                assert_failure(ask(link, {'command': name, 'data': {field: value}}), f"'{field}'")
            assert_failure(ask(link, {'command': 'getReminders', 'data': {'since': value}}), "'since'")
            for id in (event['_id'], series['_id']):
                if value not in INJECTIONS:
                    assert_failure(_update(link, id, eventName=value), "'eventName'")
                assert_failure(_update(link, id, timeZone=value), "'timeZone'")
                assert_failure(_update(link, id, time=value), "'time'")
        for limit in (*(value for value in NO_TEXT[1:] if value != 1), '5', 2**70, -1, 1_001, 0.5):
            for name in ('listEvents', 'listSeries', 'getReminders'):
                request = {'command': name, 'data': {'limit': limit, 'since': '2020-01-01T00:00Z'}}
                assert_failure(ask(link, request), "'limit'")
    for id in (event['_id'], series['_id']):
        assert ask(link, {'command': 'cancelEvent', 'data': {'_id': id}})['status'] == 'success'


def payloads_that_are_no_json_or_deep(target: Target) -> None:
    """What a parser takes but cannot write down again, or at another depth of its stack."""
    link = target.client()
    data = json.dumps({'eventName': 'x', **LATER, 'payload': None})
    deep = ['[' * depth + ']' * depth for depth in range(900, 1_000)]
    for _ in target.lasting(0.5):
        for payload in ('1e999', '[-1e999]', '{"x":1e999}', *deep):
            link.send_packet(f'421["command",{{"command":"scheduleEvent","data":{data.replace("null", payload)}}}]')
            try:
                answer = link.read_packet('431')
            except (Gone, AssertionError):
                link = target.client()  # it was too deep for the packet's own parser
            else:
                assert_failure(json.loads(answer[3:])[0], "'payload'")


def _update(link: Link, id: str, **fields: Any) -> dict[str, Any]:
    return ask(link, {'command': 'updateEvent', 'data': {'_id': id, **fields}})


def rules_that_cost_time(target: Target) -> None:
    """On 20 connections, more of them than are remembered."""
    data = {'eventName': 'x', 'timeZone': 'UTC'}
    requests = [
        data | {'time': f'{year}-01-01 00:00', 'repeat': f'{COSTLY};COUNT={number}'}
        for year in range(2200, 2220)
        for number in range(9_900, 10_000)
    ]
    flood = b''.join(text(command({'command': 'scheduleEvent', 'data': data}, 1)) for data in requests)
    pour(target.clients(20), flood, read=True)


def changes_of_one_event(target: Target) -> None:
    """On 50 connections, which read their answers."""
    link = target.client()
    id = schedule(link)['response']['_id']
    changes = ({'_id': id, 'eventName': str(number)} for number in range(500))
    flood = b''.join(text(command({'command': 'updateEvent', 'data': change}, 1)) for change in changes)
    pour(target.clients(50), flood, read=True)
    assert ask(link, {'command': 'getEvent', 'data': {'_id': id}})['response']['_id'] == id


def lists_without_end(target: Target) -> None:
    """Of all that is pending and was delivered, a page at a time, on 20 connections which read their answers."""
    requests = (
        {'command': 'listEvents', 'data': {'limit': 1_000}},
        {'command': 'getReminders', 'data': {'since': '1970-01-01T00:00Z', 'limit': 1_000}},
    )
    pour(target.clients(20), b''.join(text(command(request, 1)) for request in requests) * 100, read=True)
