"""Changing, cancelling, repeating and listing, with the official clients and two server processes on one database."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from reminder.models.event import iso
from tests.clients import Client, Clients
from tests.faults import (
    ClockedServer,
    Pipeline,
    Reminder,
    mongodb_for,
    reminders,
    schedule_many,
    wait_until_back,
)
from tests.mongodb import Ferret
from tests.server import MINUTE, wall

pytestmark = pytest.mark.long

CLOCK = '2026-03-01 10:00:20'
SETTLE = 0.7
"""Seconds in which anything that comes twice would have come."""
KINDS = ['js-4.8', 'python', 'js-3.1']


class Pair:
    """Two servers on one database, whose clocks go together."""

    def __init__(self, servers: Sequence[ClockedServer], database: Ferret | None) -> None:
        self.servers = servers
        self.database = database

    def now(self) -> int:
        return self.servers[0].now()

    def skip_to(self, instant: int) -> None:
        """Sets the clocks of all (ms, UTC), running or not."""
        # A server goes by the database's clock where that differs from its own.
        if self.database is not None:
            self.database.stop()
        for server in self.servers:
            server.set_clock(instant)
        if self.database is not None:
            self.database.start(self.servers[0].ahead)

    def come_to(self, minute: int) -> None:
        """Lets a minute (ms, UTC) begin."""
        self.skip_to(minute - 1_500)
        self.servers[0].wait_until(minute)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            if server.running:
                server.kill()


@pytest.fixture(params=['sqlite', 'mongodb'])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    folders = [tmp_path / name for name in ('one', 'two', 'database')]
    for folder in folders:
        folder.mkdir()
    one, two = (ClockedServer(folder, CLOCK, COMMAND_RATE_LIMIT='0') for folder in folders[:2])
    if request.param == 'sqlite':
        two.settings['DATABASE_URL'] = one.settings['DATABASE_URL']
        with Pair([one.start(), two.start()], None) as pair:
            yield pair
    else:
        with mongodb_for([one, two], folders[2]) as database, Pair([one.start(), two.start()], database) as pair:
            yield pair


def ask(client: Client, command: str, **data: Any) -> Any:
    """The response to a command that succeeds."""
    answer = client.command({'command': command, 'data': data})
    assert answer['status'] == 'success', answer
    return answer['response']


def wait_for_reminders(client: Client, count: int) -> None:
    client.wait(lambda _: len(reminders(client)) >= count, within=20)


def wanted(name: str, due: int, **more: Any) -> dict[str, Any]:
    return {'eventName': name, 'time': wall(due), 'timeZone': 'UTC', **more}


def received(client: Client) -> list[tuple[Any, Any]]:
    """The names and times of the reminders that a client got, in order."""
    return [(reminder['name'], reminder['time']) for reminder in reminders(client)]


def test_what_is_done_on_one_server_holds_on_the_other(pair: Pair, connect: Clients) -> None:
    # Given clients of all kinds on both servers
    here, there = ([connect(server.url, kind) for kind in KINDS] for server in pair.servers)
    due = pair.now() // MINUTE * MINUTE + 2 * MINUTE
    expected: list[tuple[str, int]] = []

    for one, other in zip(here, reversed(there), strict=True):
        # When one schedules
        payload = {'é': [1, None, {'x': 'ü'}]}
        kept = ask(one, 'scheduleEvent', **wanted('kept', due, payload=payload, key=f'key of {id(one)}'))
        lost, moved, renamed = (ask(one, 'scheduleEvent', **wanted(name, due)) for name in ('lost', 'moved', 'old'))
        series = ask(one, 'scheduleEvent', **wanted('series', due, repeat='FREQ=MINUTELY;COUNT=3'))

        # Then the other finds it
        again = ask(other, 'scheduleEvent', **wanted('kept', due, payload=payload, key=f'key of {id(one)}'))
        assert again == kept
        assert kept['payload'] == payload
        full = {**kept, 'localTime': wall(due), 'timeZone': 'UTC'}
        assert ask(other, 'getEvent', _id=kept['_id']) == {**full, 'state': 'pending'}
        assert ask(other, 'getStatus', _id=kept['_id'])['event'] == {**kept, 'state': 'pending'}
        listed = ask(other, 'listEvents', limit=1_000)['events']
        assert full in listed
        assert series in ask(other, 'listSeries')['series']
        assert ask(other, 'getEvent', _id=series['_id']) == series

        # When the other changes it
        assert ask(other, 'cancelEvent', _id=lost['_id'])['state'] == 'cancelled'
        assert ask(other, 'updateEvent', _id=moved['_id'], time=wall(due + MINUTE))['time'] == iso(due + MINUTE)
        assert ask(other, 'updateEvent', _id=renamed['_id'], eventName='new', payload=[1])['name'] == 'new'
        (first,) = (event for event in listed if event.get('series') == series['_id'])
        assert ask(other, 'cancelEvent', _id=first['_id'])['state'] == 'cancelled'

        # Then the first finds that
        assert ask(one, 'getEvent', _id=lost['_id'])['state'] == 'cancelled'
        assert 'is cancelled' in one.command({'command': 'updateEvent', 'data': {'_id': lost['_id']}})['error']
        ids = {event['_id'] for event in ask(one, 'listEvents', limit=1_000)['events']}
        assert {kept['_id'], moved['_id'], renamed['_id']} <= ids and not ids & {lost['_id'], first['_id']}
        expected += [('kept', due), ('new', due), ('moved', due + MINUTE), ('series', due + MINUTE)]
        ended = ask(one, 'scheduleEvent', **wanted('ended', due, repeat='FREQ=MINUTELY'))
        assert ask(other, 'cancelEvent', _id=ended['_id'])['occurrences'] == []
        expected.append(('series', due + 2 * MINUTE))

    # When those minutes come
    for minute in (due, due + MINUTE, due + 2 * MINUTE):
        pair.come_to(minute)
    for client in here + there:
        wait_for_reminders(client, len(expected))
    time.sleep(SETTLE)

    # Then all clients were reminded of the same, once, in the same order
    (told,) = {json.dumps(reminders(client)) for client in here + there}
    assert sorted(received(here[0])) == sorted((name, iso(minute)) for name, minute in expected)
    for client in here + there:
        assert json.dumps(ask(client, 'getReminders', since=iso(due - 1))['reminders']) == told
        assert ask(client, 'listSeries')['series'] == []
        assert ask(client, 'getEvent', _id=reminders(client)[0]['_id'])['state'] == 'delivered'


def test_series_come_once_each_in_order_whoever_dies(pair: Pair, connect: Clients) -> None:
    # Given a series with an occurrence each minute, scheduled on one of the servers
    one, two = pair.servers
    mine, yours = (connect(server.url) for server in pair.servers)
    first = pair.now() // MINUTE * MINUTE + MINUTE
    series = ask(mine, 'scheduleEvent', **wanted('tea', first, repeat='FREQ=MINUTELY'))

    def minutes(client: Client, count: int) -> list[str]:
        """The times of the first `count` reminders, once there are so many."""
        wait_for_reminders(client, count)
        assert {reminder['series'] for reminder in reminders(client)} == {series['_id']}
        return [reminder['time'] for reminder in reminders(client)]

    def due(count: int) -> list[str]:
        return [iso(first + number * MINUTE) for number in range(count)]

    pair.come_to(first)
    assert minutes(mine, 1) == minutes(yours, 1) == due(1)

    # When one of them is killed, and three minutes later comes back
    one.kill()
    pair.skip_to(first + 3 * MINUTE + 500)
    assert minutes(yours, 4) == due(4)
    one.start()

    # Then who waited for it missed nothing
    assert wait_until_back(mine)['recovered'] is True
    assert minutes(mine, 4) == due(4)

    # When both are killed, and come back two minutes later
    one.kill()
    two.kill()
    pair.skip_to(first + 5 * MINUTE + 500)
    one.start()
    two.start()

    # Then everybody gets what fell due meanwhile
    assert wait_until_back(mine, 2)['recovered'] is True
    assert wait_until_back(yours)['recovered'] is True
    assert minutes(mine, 6) == minutes(yours, 6) == due(6)

    # When the next minute comes
    pair.come_to(first + 6 * MINUTE)

    # Then nothing came twice
    assert minutes(mine, 7) == minutes(yours, 7) == due(7)
    time.sleep(SETTLE)
    assert minutes(mine, 7) == minutes(yours, 7) == due(7)


def test_fifty_clients_that_send_the_same_key_at_once_get_the_same_event(pair: Pair, connect: Clients) -> None:
    clients = [connect(server.url, kind) for kind in ['js-4.8'] * 20 + ['python'] * 5 for server in pair.servers]
    due = pair.now() // MINUTE * MINUTE + 5 * MINUTE
    for command, kind, more in (('listEvents', 'events', {}), ('listSeries', 'series', {'repeat': 'FREQ=DAILY'})):
        data = wanted('tea', due, key=kind, payload=[1], **more)
        acks = [client.ask('command', {'command': 'scheduleEvent', 'data': data}) for client in clients]
        answers = [client.answer(ack, within=30) for client, ack in zip(clients, acks, strict=True)]
        assert answers[0]['status'] == 'success' and answers == [answers[0]] * 50
        for client in clients[:2]:
            (one,) = ask(client, command)[kind]
            assert one['_id'] == answers[0]['response']['_id']


# -- racing the tick ----------------------------------------------------------------------------------------------

BOTH = 4
"""Of so many events one is changed on both servers."""
PACES = {'sqlite': (1_000, 1.2, 100), 'mongodb': (300, 3.0, 8)}
"""By how quick the test's database is: how many events can be changed, in how many seconds before their minute, and
how many changes are under way at a time on each server."""
OVERTIME = 1_000
"""ms after the beginning of the minute in which further changes are tried."""


class Race:
    """Changes that are asked for around the closing of a minute, and what became of each event."""

    def __init__(self, pair: Pair, count: int) -> None:
        self.pair = pair
        self.due = pair.now() // MINUTE * MINUTE + 2 * MINUTE
        self.events = schedule_many(pair.servers[0].url, [f'{number:04}' for number in range(count)], self.due)
        self._changes = [
            ('cancelEvent', {}),
            ('updateEvent', {'eventName': 'renamed'}),
            ('updateEvent', {'time': wall(self.due + MINUTE)}),
        ]
        self.answers: dict[str, list[tuple[int, dict[str, Any]]]] = {event['_id']: [] for event in self.events}
        """For each event the kinds of change that were asked for (0: cancel, 1: rename, 2: move) with the answers."""

    def run(self, seconds: float, window: int) -> None:
        """Asks both servers for changes, evenly from so many seconds before the minute on, until all events were
        tried or the minute is over for long; reads all answers."""
        begin = self.due - int(1000 * seconds)
        with Pipeline(self.pair.servers[0].url) as one, Pipeline(self.pair.servers[1].url) as two:
            asked: list[tuple[Pipeline, int, str, int]] = []
            for number, event in enumerate(self.events):
                if self.pair.now() > self.due + OVERTIME:
                    break
                if number % 20 == 0:
                    self.pair.servers[0].wait_until(begin + (self.due - begin) * number // len(self.events))
                pipelines = [(one, number), (two, number + number // 12)]
                for pipeline, kind in pipelines if number % BOTH == 0 else pipelines[number % 2 :][:1]:
                    pipeline.read_answers(until=window)
                    command, change = self._changes[kind % 3]
                    message = {'command': command, 'data': {'_id': event['_id'], **change}}
                    asked.append((pipeline, pipeline.ask(message), event['_id'], kind % 3))
            one.read_answers()
            two.read_answers()
            for pipeline, number, id, kind in asked:
                self.answers[id].append((kind, pipeline.answered[number]))

    def allowed(self, event: Reminder) -> list[Reminder | None]:
        """What an event may have become, by the answers (None: cancelled)."""
        answers = self.answers[event['_id']]
        done = {kind for kind, answer in answers if answer['status'] == 'success'}
        # What the database did not answer in time may have been done, and may not.
        unknown = {kind for kind, answer in answers if 'unavailable' in answer.get('error', '')}
        found: list[Reminder | None] = []
        for kinds in {frozenset(done | one) for one in (set(), *({kind} for kind in unknown), unknown)}:
            name = {'name': 'renamed'} if 1 in kinds else {}
            moved = {'time': iso(self.due + MINUTE)} if 2 in kinds else {}
            found.append(None if 0 in kinds else event | name | moved)
        return found

    def errors(self) -> Counter[str]:
        """Why changes failed, without the ids, and how often."""
        answers = [answer for answers in self.answers.values() for _, answer in answers]
        return Counter(re.sub("^_id='.*' ", '', answer['error']) for answer in answers if 'error' in answer)

    def summary(self) -> str:
        answers = [one for answers in self.answers.values() for one in answers]
        done = [sum(kind == one and answer['status'] == 'success' for kind, answer in answers) for one in range(3)]
        return f'{len(answers)} asked for; cancelled, renamed, moved: {done}; failures: {dict(self.errors())}'


def test_changes_that_race_the_tick_are_made_or_refused_and_never_both(pair: Pair, connect: Clients) -> None:
    # Given as many events of one minute as the database is fast enough for, and clients of both servers
    count, seconds, window = PACES['mongodb' if pair.database else 'sqlite']
    race = Race(pair, count)
    clients = [connect(server.url, kind) for server in pair.servers for kind in KINDS]

    # When they are cancelled, renamed and moved on both servers while the minute is closed
    pair.skip_to(race.due - int(1000 * seconds) - 1_500)
    race.run(seconds, window)
    pair.come_to(race.due + MINUTE)
    last = ask(clients[0], 'scheduleEvent', **wanted('last', race.due + 2 * MINUTE))
    pair.come_to(race.due + 2 * MINUTE)
    for client in clients:
        client.wait_for_reminder(last['_id'])
    print(race.summary())

    # Then all clients of both servers were reminded of the same, each event once, in order
    told = reminders(clients[0])
    assert [reminder['time'] for reminder in told] == sorted(reminder['time'] for reminder in told)
    assert [client for client in clients if reminders(client) != told] == []
    of = {reminder['_id']: reminder for reminder in told}
    assert len(of) == len(told)

    # Then each is what its answers say
    wrong = [
        (event, race.answers[event['_id']], of.get(event['_id']))
        for event in race.events
        if of.get(event['_id']) not in race.allowed(event)
    ]
    assert not wrong, (len(wrong), wrong[:3])

    # Then there was a race: some were in time, and some too late
    kinds = {(kind, answer['status']) for answers in race.answers.values() for kind, answer in answers}
    assert len(kinds) == 6, race.summary()


SERIES = {'sqlite': 90, 'mongodb': 30}


def test_changes_of_series_that_race_the_tick_lose_nothing_and_say_what_comes(pair: Pair, connect: Clients) -> None:
    # Given series that are due each minute, and a client of each server
    due = pair.now() // MINUTE * MINUTE + 2 * MINUTE
    count = SERIES['mongodb' if pair.database else 'sqlite']
    more = {'repeat': 'FREQ=MINUTELY'}
    clients = [connect(server.url) for server in pair.servers]
    ids = [ask(clients[0], 'scheduleEvent', **wanted('old', due, **more))['_id'] for _ in range(count)]

    # When they are renamed and ended, on either server, until their minute is over
    pair.skip_to(due - 4_500)
    answers: list[dict[str, Any]] = []
    with Pipeline(pair.servers[0].url) as one, Pipeline(pair.servers[1].url) as two:
        if pair.database:
            one.wait_longer(15)
            two.wait_longer(15)
        for number, id in enumerate(ids):
            pair.servers[0].wait_until(due - 3_000 + 3_100 * number // count)
            pipeline = (one, two)[number // 2 % 2]
            change = {'command': 'updateEvent', 'data': {'_id': id, 'eventName': 'new'}}
            asked = pipeline.ask({'command': 'cancelEvent', 'data': {'_id': id}} if number % 2 else change)
            pipeline.read_answers(until=5)
            answers.append({'from': pipeline, 'number': asked})
        for pipeline in (one, two):
            pipeline.read_answers()
    for minute in (1, 2):
        pair.come_to(due + minute * MINUTE)
    last = ask(clients[0], 'scheduleEvent', **wanted('last', due + 3 * MINUTE))
    pair.come_to(due + 3 * MINUTE)
    for client in clients:
        client.wait_for_reminder(last['_id'])

    # Then both were reminded of the same, at each minute of each series that lasts once
    told, others = ([one for one in reminders(client) if one['time'] < last['time']] for client in clients)
    assert others == told
    times = [iso(due + minute * MINUTE) for minute in range(3)]
    near = unknown = 0
    for number, (id, answer) in enumerate(zip(ids, answers, strict=True)):
        answer = answer['from'].answered[answer['number']]
        if pair.database and 'unavailable' in answer.get('error', ''):
            unknown += 1  # what the database did not answer in time may have been done, and may not
            continue
        assert answer['status'] == 'success', answer
        of = [(one['time'], one['name']) for one in told if one.get('series') == id and one['time'] in times]
        was_near = times[0] in answer.get('warning', '')
        near += was_near
        if number % 2:
            assert of == [(times[0], 'old')] * len(of) and len(of) <= 1, (answer, of)
            assert of or not was_near, (answer, of)
        else:
            assert [time for time, _ in of] == times, (answer, of)
            assert {name for _, name in of[1:]} == {'new'}, (answer, of)
            assert of[0][1] == 'old' or not was_near, (answer, of)
    assert 0 < near < count
    assert unknown <= count // 10
