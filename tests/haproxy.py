"""The proxy of docker/compose.yaml's profile "scale" as a process: HAProxy with the very file that is deployed."""

import csv
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import requests

from tests.server import ROOT, Server, free_port, missing


class Haproxy:
    """HAProxy before three servers; those that are left out are down."""

    def __init__(self, folder: Path, servers: Sequence[Server]) -> None:
        self._log = folder / 'haproxy.log'
        self._port = free_port()
        self._control_port = free_port()
        ports = [server.port for server in servers] + [free_port() for _ in range(3 - len(servers))]
        self._addresses = {f'SERVER_{number}': f'127.0.0.1:{port}' for number, port in enumerate(ports, 1)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._port}'

    def ready(self) -> bool:
        """Whether it has a server that is ready."""
        try:
            return requests.get(f'{self.url}/healthz', timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def wait(self, ready: bool = True, within: float = 10) -> None:
        """Waits until it has a server that is ready, or until it has none."""
        deadline = time.monotonic() + within
        while self.ready() != ready:
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def wait_for_checks(self, servers: int, within: float = 10) -> None:
        """Waits until it has seen that so many servers are ready."""
        deadline = time.monotonic() + within
        while self._statuses().count('UP') < servers:
            assert time.monotonic() < deadline, self._statuses()
            time.sleep(0.05)

    def _statuses(self) -> list[str]:
        """What it knows of each server, by its last check."""
        with socket.create_connection(('127.0.0.1', self._control_port), timeout=5) as control:
            control.sendall(b'show stat -1 4 -1\n')  # of all proxies, what is a server (4)
            lines = control.makefile().read().removeprefix('# ').splitlines()
        return [row['status'] for row in csv.DictReader(filter(None, lines))]

    def __enter__(self) -> Self:
        program = shutil.which('haproxy') or missing('haproxy')
        control = self._log.with_suffix('.cfg')
        control.write_text(f'global\n    stats socket ipv4@127.0.0.1:{self._control_port}\n')
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(
                [program, '-f', ROOT / 'docker' / 'haproxy.cfg', '-f', control],
                env=os.environ | {'LISTEN': f'127.0.0.1:{self._port}'} | self._addresses,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
