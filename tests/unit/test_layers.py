"""The rules of the layout: imports go one way, drivers and network stay where they are, importing has no effect."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reminder

ROOT = Path(reminder.__file__).parents[1]
LAYERS = [
    ['errors', 'logs'],
    ['config', 'settings'],
    ['models'],
    ['services'],
    ['commands', 'calendar'],
    ['scheduler', 'websocket', 'web', 'metrics'],
    ['specification'],
    ['app'],
    ['tables'],
    ['terminal'],
    ['serve', 'client', 'issuer', 'transfer', 'arguments'],
    ['cli'],
]
LAYER = {part: level for level, parts in enumerate(LAYERS) for part in parts}
DRIVERS = {
    'pymongo': 'reminder.models.mongo',
    'bson': 'reminder.models.mongo',
    'gridfs': 'reminder.models.mongo',
    'sqlite3': 'reminder.models.sqlite',
}
NETWORK = {'socketio', 'engineio', 'gevent', 'geventwebsocket'}
NETWORK_LAYER = CLOCK_LAYER = LAYER['scheduler']
CLOCK = {
    'time.time',
    'time.time_ns',
    'time.clock_gettime',
    'datetime.datetime.now',
    'datetime.datetime.utcnow',
    'datetime.datetime.today',
    'datetime.date.today',
}
PATCHING = 'gevent.monkey.patch_'
LAUNCHERS = {'reminder.cli', 'scripts.run_server'}


def sources() -> dict[str, Path]:
    files = [*(ROOT / 'reminder').rglob('*.py'), *(ROOT / 'scripts').glob('*.py')]
    return {'.'.join(file.relative_to(ROOT).with_suffix('').parts): file for file in sorted(files)}


def imports(name: str, tree: ast.AST) -> Iterator[tuple[int, str, str, str]]:
    """Of each import: its line, what it imports, the name that it binds, and what that stands for."""
    package = name.removesuffix('.__init__') if name.endswith('.__init__') else name.rpartition('.')[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition('.')[0]
                yield node.lineno, alias.name, alias.asname or first, alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parents = package.split('.')[: len(package.split('.')) - node.level + 1]
                base = '.'.join([*parents, base]).removesuffix('.')
            for alias in node.names:
                yield node.lineno, f'{base}.{alias.name}', alias.asname or alias.name, f'{base}.{alias.name}'


def dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)):
        return f'{value}.{node.attr}'
    return None


def uses(name: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and full dotted name of all that is imported, and of all that is reached through an import."""
    bound = {}
    for line, imported, called, stands_for in imports(name, tree):
        bound[called] = stands_for
        yield line, imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (found := dotted(node)):
            first, _, rest = found.partition('.')
            if first in bound:
                yield node.lineno, f'{bound[first]}.{rest}'


def offence(name: str, used: str) -> str | None:
    """Why a module must not use that dotted name; None if it may."""
    part = name.split('.')[1]
    level = LAYER.get(part, 0) if name.startswith('reminder.') else len(LAYERS)
    top, _, rest = used.partition('.')
    other = rest.partition('.')[0]
    if top == 'reminder' and other in LAYER and other != part and LAYER[other] >= level:
        return f'imports {used}: {part} lies below {other} or beside it'
    if top == 'reminder' and other not in LAYER and not other.startswith('__'):
        return f'imports {used}, which has no layer: give it one in LAYERS'
    if not name.startswith(DRIVERS.get(top, name)):
        return f'imports {used}: that driver belongs to {DRIVERS[top]} alone'
    if top in NETWORK and level < NETWORK_LAYER:
        return f'imports {used}: no network library below the doors'
    if used in CLOCK and level < CLOCK_LAYER:
        return f'reads the clock by {used}: `now` is an argument below the scheduler and the doors'
    if used.startswith(PATCHING) and name not in LAUNCHERS:
        return f'calls {used}: only the launchers patch, {" and ".join(sorted(LAUNCHERS))}'
    return None


def offences(name: str, source: str) -> list[str]:
    return [f'{name}:{line} {why}' for line, used in uses(name, ast.parse(source)) if (why := offence(name, used))]


@pytest.mark.parametrize('name', sources())
def test_a_module_keeps_the_rules(name: str) -> None:
    part = name.split('.')[1]
    assert part in LAYER or not name.startswith('reminder.') or part == '__init__', f'{name} has no layer'
    assert offences(name, sources()[name].read_text()) == []


def test_all_layers_are_looked_at() -> None:
    assert {
        'reminder.errors',
        'reminder.models.store',
        'reminder.commands.changes',
        'scripts.run_server',
    } <= sources().keys()


@pytest.mark.parametrize(
    ('name', 'source', 'expected'),
    [
        ('reminder.errors', 'import reminder.config', 'errors lies below config'),
        ('reminder.models.made_up', 'from reminder.services import events', 'models lies below services'),
        ('reminder.models.made_up', 'from reminder import services', 'models lies below services'),
        ('reminder.models.made_up', 'from ..services.events import LEAD', 'models lies below services'),
        ('reminder.models.__init__', 'from ..services.events import LEAD', 'models lies below services'),
        ('reminder.services.made_up', 'def f():\n    import reminder.commands', 'made_up:2 imports'),
        ('reminder.services.made_up', 'from .. import commands as c', 'services lies below commands'),
        ('reminder.websocket.made_up', 'from reminder.scheduler import Scheduler', 'below scheduler or beside it'),
        ('reminder.scheduler.made_up', 'import reminder.web.health as health', 'scheduler lies below web'),
        ('reminder.web.made_up', 'from reminder.app import Application', 'web lies below app'),
        ('reminder.app', 'from reminder import cli', 'app lies below cli'),
        ('reminder.cli', 'import reminder.made_up', 'has no layer'),
        ('reminder.models.sqlite', 'from pymongo import MongoClient', 'reminder.models.mongo alone'),
        ('reminder.app', 'import bson', 'reminder.models.mongo alone'),
        ('reminder.models.mongo', 'import sqlite3', 'reminder.models.sqlite alone'),
        ('scripts.made_up', 'from sqlite3 import connect', 'reminder.models.sqlite alone'),
        ('reminder.models.group', 'from gevent.lock import Semaphore', 'no network library'),
        ('reminder.services.made_up', 'import gevent', 'no network library'),
        ('reminder.commands', 'from socketio import Server', 'no network library'),
        ('reminder.config', 'import engineio.payload', 'no network library'),
        ('reminder.services.made_up', 'import time\ntime.time()', 'reads the clock by time.time'),
        ('reminder.services.made_up', 'import time as t\nt.time_ns()', 'reads the clock by time.time_ns'),
        ('reminder.services.made_up', 'from time import time as now', 'reads the clock by time.time'),
        (
            'reminder.models.made_up',
            'from datetime import datetime, UTC\ndatetime.now(UTC)',
            'by datetime.datetime.now',
        ),
        ('reminder.models.made_up', 'import datetime\nread = datetime.datetime.utcnow', 'by datetime.datetime.utcnow'),
        ('reminder.models.made_up', 'from datetime import datetime as d\nd.now()', 'by datetime.datetime.now'),
        ('reminder.commands', 'import datetime as dt\nf(dt.date.today())', 'by datetime.date.today'),
        ('reminder.app', 'from gevent import monkey\nmonkey.patch_all()', 'only the launchers patch'),
        ('reminder.websocket.made_up', 'import gevent.monkey\ngevent.monkey.patch_time()', 'only the launchers patch'),
        ('reminder.serve', 'import gevent.monkey as m\nm.patch_all()', 'only the launchers patch'),
        ('scripts.made_up', 'from gevent.monkey import patch_all', 'only the launchers patch'),
    ],
)
def test_a_made_up_offender_is_found(name: str, source: str, expected: str) -> None:
    found = offences(name, source)
    assert found
    assert all(expected in text for text in found), found


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        ('reminder.config', 'from reminder.errors import ConfigError'),
        ('reminder.models.made_up', 'from . import event\nfrom .store import Store\nimport time\ntime.monotonic()'),
        ('reminder.models.mongo', 'import bson, pymongo\nfrom datetime import datetime\ndatetime.fromtimestamp(0)'),
        ('reminder.models.sqlite', 'import sqlite3'),
        ('reminder.cli', 'from reminder import __version__, client\nfrom gevent import monkey\nmonkey.patch_all()'),
        ('reminder.scheduler.clock', 'import time\ntime.time()'),
        ('reminder.websocket.made_up', 'import gevent, socketio\nfrom reminder.services import delivery'),
        ('reminder.services.made_up', 'def f(store, time):\n    return store.time.time(), time.time()'),
        ('scripts.made_up', 'from reminder.cli import main\nimport time\ntime.time()'),
    ],
)
def test_a_made_up_module_that_keeps_the_rules_is_left_alone(name: str, source: str) -> None:
    assert offences(name, source) == []


REPORT = """
import gc, importlib, json, os, pkgutil, signal, socket, sys, threading

handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
environ = dict(os.environ)
package = importlib.import_module(sys.argv[1])
names = [found.name for found in pkgutil.walk_packages(package.__path__, f'{sys.argv[1]}.')]
for name in names:
    importlib.import_module(name)

from gevent import monkey
import logging
json.dump({
    'modules': len(names),
    'effects': {
        'threads': [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()],
        'sockets': [repr(one) for one in gc.get_objects() if isinstance(one, socket.socket) and one.fileno() >= 0],
        'patches': [name for name in ('socket', 'threading', 'time', 'ssl') if monkey.is_module_patched(name)],
        'files': [name for name in os.listdir() if not name.startswith('.coverage')],
        'signals': [number for number, handler in handlers.items() if signal.getsignal(number) is not handler],
        'environment': sorted(dict(os.environ).items() ^ environ.items()),
        'logging': [repr(handler) for handler in logging.getLogger().handlers],
    },
}, sys.stdout)
"""


def report(package: str, root: Path, folder: Path) -> Any:
    """What a fresh Python process has done after it imported all modules of `package`, with `folder` as its own."""
    folder.mkdir()
    answer = subprocess.run(
        [sys.executable, '-c', REPORT, package],
        cwd=folder,
        env=os.environ | {'PYTHONPATH': str(root)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(answer.stdout)


def test_importing_has_no_effect(tmp_path: Path) -> None:
    found = report('reminder', ROOT, tmp_path / 'folder')
    assert found['modules'] == len([name for name in sources() if name.startswith('reminder.')]) - 1
    assert not any(found['effects'].values()), found['effects']


@pytest.mark.parametrize(
    ('source', 'effect'),
    [
        ('import threading, time\nthreading.Thread(target=time.sleep, args=[9], daemon=True).start()', 'threads'),
        ('import socket\nkept = socket.socket()', 'sockets'),
        ('from gevent import monkey\nmonkey.patch_all(threading=False)', 'patches'),
        ('import sqlite3\nsqlite3.connect("reminder.db").execute("create table t (x)")', 'files'),
        ('import signal\nsignal.signal(signal.SIGTERM, print)', 'signals'),
        ('import os\nos.environ["TZ"] = "Mars/Olympus"', 'environment'),
        ('import logging\nlogging.basicConfig()', 'logging'),
    ],
)
def test_an_effect_of_importing_is_noticed(source: str, effect: str, tmp_path: Path) -> None:
    (tmp_path / 'made_up').mkdir()
    (tmp_path / 'made_up' / '__init__.py').write_text(source)
    assert report('made_up', tmp_path, tmp_path / 'folder')['effects'][effect]
