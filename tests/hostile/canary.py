"""A well-behaved client in a process of its own: it schedules an event every 10 ms and measures each answer.

    python canary.py PORT PID

says `ready` when it has connected, goes on until its stdin ends, waits for the last answers, and prints what it saw as
one JSON object: `{asked, answered, refused, worst, waited}`, `worst` in ms. Nothing but the standard library, and no
event loop that could be late itself: what it measures is the server.

The attackers, who in the field have machines of their own, share this one's cores with the server (and so do other
tests). So `worst` is without the time for which the kernel had no core for a thread of the server (PID) or the canary
that could have run, namely for that one of them which had to wait longest; `waited` is the same answer with it.
"""

import json
import select
import socket
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

EVERY = 0.01
PATIENCE = 5.0
"""Seconds that the last answers may take."""
_MASK = bytes(4)


def unserved(*processes: str) -> dict[str, int]:
    """For how many ns each thread of these processes could have run and had no core, so far (`sched-stats.rst`)."""
    found = {}
    for task in [task for process in processes for task in Path(f'/proc/{process}/task').iterdir()]:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found[str(task)] = int((task / 'schedstat').read_text().split()[1])
    return found


class Canary:
    def __init__(self, port: int, server: str) -> None:
        self._processes = (server, 'self')
        self._socket = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(
            b'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: canary\r\nUpgrade: websocket\r\n'
            b'X-Forwarded-For: 198.51.100.1\r\n'
            b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2FuYXJ5IGNhbmFyeSBjIQ==\r\n\r\n'
        )
        self._unread = b''
        self._asked: dict[int, tuple[float, dict[str, int]]] = {}
        self.report = {'asked': 0, 'answered': 0, 'refused': 0, 'worst': 0.0, 'waited': 0.0}
        head = self._socket.recv(65_536)
        if not head.startswith(b'HTTP/1.1 101 '):
            raise ConnectionError(f'no WebSocket: {head!r}')
        self._unread = head.partition(b'\r\n\r\n')[2]
        self._connected = False
        self._send('40')
        while not self._connected:
            self._read(PATIENCE)

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._asked)

    def ask(self) -> None:
        """Schedules an event."""
        number = self.report['asked'] = int(self.report['asked']) + 1
        day = datetime.now(UTC) + timedelta(days=30)
        data = {'eventName': f'canary {number}', 'time': f'{day:%Y-%m-%d %H:%M}', 'timeZone': 'UTC'}
        self._asked[number] = time.monotonic(), unserved(*self._processes)
        self._send(f'42{number}' + json.dumps(['command', {'command': 'scheduleEvent', 'data': data}]))

    def read_until(self, end: float) -> None:
        """Takes what comes until that moment (monotonic)."""
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def _send(self, packet: str) -> None:
        payload = packet.encode()
        length = bytes((0x80 | len(payload),)) if len(payload) < 126 else b'\xfe' + len(payload).to_bytes(2, 'big')
        self._socket.sendall(b'\x81' + length + _MASK + payload)

    def _read(self, timeout: float) -> None:
        if not select.select([self._socket], [], [], timeout)[0]:
            return
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError('the server has closed the connection')
        now = time.monotonic()
        self._unread += data
        while len(self._unread) >= 2:
            length, start = self._unread[1], 2
            if length == 126:
                length, start = int.from_bytes(self._unread[2:4], 'big'), 4
            if len(self._unread) < start + length:
                break
            self._take(self._unread[start : start + length].decode(), now)
            self._unread = self._unread[start + length :]

    def _take(self, packet: str, now: float) -> None:
        if packet == '2':
            self._send('3')
        elif packet.startswith('40'):
            self._connected = True
        elif packet.startswith('43'):
            number, _, answer = packet[2:].partition('[')
            asked, before = self._asked.pop(int(number))
            waited = now - asked
            unserved_since = (delay - before.get(task, 0) for task, delay in unserved(*self._processes).items())
            took = waited - max(unserved_since) / 1e9
            if took * 1000 > self.report['worst']:
                self.report |= {'worst': round(took * 1000, 1), 'waited': round(waited * 1000, 1)}
            self.report['answered'] += 1
            self.report['refused'] += '"status":"success"' not in answer


def main() -> None:
    canary = Canary(int(sys.argv[1]), sys.argv[2])
    print('ready', flush=True)
    following = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        canary.ask()
        following = max(following + EVERY, time.monotonic())
        canary.read_until(following)
    end = time.monotonic() + PATIENCE
    while canary.waits and time.monotonic() < end:
        canary.read_until(min(end, time.monotonic() + EVERY))
    print(json.dumps(canary.report))


if __name__ == '__main__':
    main()
