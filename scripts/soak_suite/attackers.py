"""The process of the hostile clients: `python -m soak_suite.attackers PORT CONNECTIONS SEED`, until its input ends.

A process of its own, so that it takes no time from the honest clients' answers. Each second it says in a JSON line what
it did so far.
"""

import json
import os
import random
import re
import select
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from soak_suite.hostile import SCRIPTS, Heard, Script, deaf

HOST = '127.0.0.1'
PAUSES = (0.0, 1.6)
"""Seconds between what one connection sends: few enough that a server on a noisy core keeps up with 200 of them."""
PATIENCE = 5.0
"""Seconds until a connection is given up that takes nothing, or that is not answered at all."""
LONGEST = 20.0
"""Seconds after which a connection is left by its client, if the server keeps it."""
_SID = re.compile(rb'"sid":"([\w-]{20})"')
_CURSOR = re.compile(rb'"cursor","[0-9a-f]{16}\.([0-9]{1,14})\.')


class Attacker:
    """One hostile client, which connects again whenever it was thrown out or has had enough."""

    def __init__(self, port: int, seed: str) -> None:
        self._port = port
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        """How many connections it opened, by script, and what it sent over them."""

    def run(self) -> None:
        """Never ends."""
        while True:
            script = self._random.choice(SCRIPTS)
            with suppress(OSError), socket.create_connection((HOST, self._port), timeout=PATIENCE) as sock:
                self.done[script.__name__] += 1
                self._follow(script, sock)
            time.sleep(self._random.uniform(*PAUSES))

    def _follow(self, script: Script, sock: socket.socket) -> None:
        heard, end = Heard(), time.monotonic() + self._random.uniform(0, LONGEST)
        if script is deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the system takes megabytes for it
        for data in script(self._random, heard):
            if time.monotonic() > end:
                return
            sock.settimeout(PATIENCE)
            sock.sendall(data)
            self.done['writes'] += 1
            self.done['bytes'] += len(data)
            pause = self._random.uniform(*PAUSES)
            if script is deaf:
                time.sleep(pause)
            elif not self._listen(sock, pause, heard):
                return

    def _listen(self, sock: socket.socket, seconds: float, heard: Heard) -> bool:
        """Reads what comes within that time; False where the server has closed the connection."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                data = sock.recv(65_536)
            except TimeoutError:
                break
            if not data:
                return False
            if sid := _SID.search(data):
                heard.sid = sid[1].decode()
            if cursor := _CURSOR.search(data):
                heard.closed = int(cursor[1])
        return True


def main() -> None:
    port, connections, seed = map(int, sys.argv[1:])
    threading.excepthook = _fail
    attackers = [Attacker(port, f'{seed} {number}') for number in range(connections)]
    for attacker in attackers:
        threading.Thread(target=attacker.run, daemon=True).start()
    while not select.select([sys.stdin], [], [], 1)[0]:
        print(json.dumps(sum((attacker.done.copy() for attacker in attackers), Counter())), flush=True)


def _fail(problem: Any) -> None:
    """An error here must not pass for a server that holds out."""
    sys.excepthook(problem.exc_type, problem.exc_value, problem.exc_traceback)
    os._exit(1)


if __name__ == '__main__':
    main()
