"""Event streams that are slow, or many: the log is their queue, and they harm nobody."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Clients, Driver
from tests.faults import ClockedServer, reminders, schedule_many
from tests.streams import Stream, closing_all, listen, stream_url

pytestmark = [pytest.mark.long, pytest.mark.measures]

CLOCK = '2026-03-01 10:00:30'
KINDS = ['js', 'python']
CROWD = 200
REMINDERS = 5_000
NAME = 'x' * 995
"""Each stream is due 6 MB."""
UNREAD = 40
PATIENCE = 2.0
"""PING_TIMEOUT (s) of the server that does not wait long."""
MEBIBYTE = 1_048_576
SETTLE = 1.0
"""Seconds in which anything that comes too much would have come."""


def test_slow_streams_cost_no_memory_hold_up_nobody_and_catch_up(tmp_path: Path, driver: Driver) -> None:
    settings = {'COMMAND_RATE_LIMIT': '0', 'PING_INTERVAL': '120', 'PING_TIMEOUT': '120'}
    with ClockedServer(tmp_path, CLOCK, **settings).start() as server:
        # Given streams that read nothing beside quick ones
        due = server.next_minute(margin=20)
        events = schedule_many(server.url, [f'{number:05}{NAME}' for number in range(REMINDERS)], due)
        quick = [listen(driver, kind, server.url) for kind in KINDS]
        unread = [Stream(stream_url(server.url), {}, room=65_536) for _ in range(UNREAD)]
        with closing_all(*quick):
            before = server.memory()
            # When they are all due as much
            server.set_clock(due - 1_500)
            quick[0].wait(lambda event: event.get('args') == [events[0]])
            late = (server.now() - due) / 1000
            for client in quick:
                client.wait_for_reminder(events[-1]['_id'], within=60)
                assert reminders(client) == events
            growth = (server.memory() - before) / MEBIBYTE
            print(f'{late:.2f} s late, {growth:.1f} MiB more')
            # Then the quick ones have it soon, and nothing but a few pages waits in memory
            assert late < 1
            assert growth < 40
            # When the others read on / Then they have all of it
            for stream in unread:
                got: list[Any] = []
                while len(got) < REMINDERS:
                    name, data = stream.read_event()
                    if name == 'eventReminder':
                        got.append(json.loads(data))
                assert got == events
                stream.close()


def test_a_stream_that_takes_nothing_ends_and_its_client_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = {'COMMAND_RATE_LIMIT': '0', 'PING_INTERVAL': '60', 'PING_TIMEOUT': str(PATIENCE)}
    with ClockedServer(tmp_path, CLOCK, **settings).start() as server:
        due = server.next_minute(margin=20)
        events = schedule_many(server.url, [f'{number:05}{NAME}' for number in range(REMINDERS)], due)
        stream, slow = (Stream(stream_url(server.url), {}, room=65_536) for _ in range(2))
        server.set_clock(due - 1_500)

        # Given one that takes nothing, and one that takes a little again and again
        begin = time.monotonic()
        taken = 0
        while time.monotonic() - begin < 3 * PATIENCE:
            taken += len(slow.socket.recv(20_000))
            time.sleep(0.1)
        assert 0 < taken < 2 * MEBIBYTE

        # Then the former has ended, within what was sent before
        got = []
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                name, data = stream.read_event()
                if name == 'eventReminder':
                    got.append(json.loads(data))
        assert 0 < len(got) < REMINDERS
        # And goes on where it was; the other one was left alone
        again = Stream(stream_url(server.url), {'Last-Event-ID': stream.id})
        while len(got) < REMINDERS:
            name, data = again.read_event()
            if name == 'eventReminder':
                got.append(json.loads(data))
        assert got == events
        while taken < REMINDERS * len(NAME):
            piece = slow.socket.recv(MEBIBYTE)
            assert piece
            taken += len(piece)


def test_a_crowd_of_streams_and_of_other_clients_gets_one_batch(tmp_path: Path, driver: Driver) -> None:
    with ClockedServer(tmp_path, CLOCK, COMMAND_RATE_LIMIT='0').start() as server, Clients(lambda: driver) as connect:
        others = [connect(server.url) for _ in range(CROWD)]
        streams = [listen(driver, 'js', server.url) for _ in range(CROWD)]
        with closing_all(*streams):
            due = server.next_minute(margin=10)
            events = schedule_many(server.url, map(str, range(50)), due)
            server.set_clock(due - 1_500)
            for client in (*streams, *others):
                client.wait_for_reminder(events[-1]['_id'], within=30)
            time.sleep(SETTLE)
            for client in (*streams, *others):
                assert reminders(client) == events
            assert f'50 reminders to {2 * CROWD} clients' in server.log()
