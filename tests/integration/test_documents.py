"""The documents are true: who follows them, word for word, gets what they show."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import clients, mongodb
from tests.documents import Reader
from tests.faults import ClockedServer
from tests.page.browser import Browser
from tests.server import ROOT, Server, free_port, missing, wall

pytestmark = pytest.mark.long

NGINX = 'daemon off; pid nginx.pid; events {} http { access_log off; include reminder.conf; }'
SERVE, LISTENING = 'event-reminder serve', 'listening on http://127.0.0.1:3000'


@pytest.fixture
def server(tmp_path: Path) -> ClockedServer:
    """Not started. It is early in 2030."""
    return ClockedServer(tmp_path, clock='2030-01-31 08:59:30', DATABASE_URL='sqlite:///reminder.db')


@pytest.fixture
def reader(server: ClockedServer) -> Iterator[Reader]:
    """Who has started the server."""
    with Reader(server) as reader:
        reader.run(SERVE, LISTENING, stays=True)
        yield reader


def read(name: str) -> str:
    return (ROOT / 'docs' / name).read_text()


def test_the_tutorial_is_true(tmp_path: Path) -> None:
    with Reader(ClockedServer(tmp_path, clock='2030-01-31 08:59:30', DATABASE_URL='')) as reader:
        reader.follow(read('tutorial.rst'))


@pytest.mark.parametrize('name', ['repeat', 'resume', 'curl', 'calendar'])
def test_a_guide_is_true(reader: Reader, name: str) -> None:
    reader.follow(read(f'howto/{name}.rst'))


def test_what_operators_do_is(reader: Reader) -> None:
    if not shutil.which('sqlite3'):
        missing('sqlite3')
    reader.follow(read('operations.rst'))


def test_that_of_channels_is(reader: Reader) -> None:
    clients.install()
    (reader.folder / 'node_modules').symlink_to(ROOT / 'tests' / 'js' / 'node_modules')
    reader.follow(read('howto/channels.rst'))


def test_that_of_databases_is(tmp_path: Path) -> None:
    # In real time: pymongo's threads and faketime do not go together where nothing is patched.
    server = Server(tmp_path, DATABASE_URL='sqlite:///reminder.db')
    with mongodb.database() as url, Reader(server, **{'mongodb://127.0.0.1:27017/reminder': url}) as reader:
        reader.run(SERVE, LISTENING, stays=True)
        reader.follow(read('howto/databases.rst'))


def test_that_of_the_node_server_is(tmp_path: Path) -> None:
    with mongodb.database() as url:
        parts = urlsplit(url)
        name = parts.path.removeprefix('/')
        places = {'27017/reminder': f'{parts.port}/{name}', '27017 DB_NAME=reminder': f'{parts.port} DB_NAME={name}'}
        with Reader(Server(tmp_path, DATABASE_URL=''), **places) as reader:
            reader.follow(read('howto/node.rst'))


def test_that_of_a_page_is(server: ClockedServer) -> None:
    with Reader(server, **{'8000': str(free_port())}) as reader, closing(Browser()) as browser:
        reader.follow(read('howto/page.rst'))
        page = browser.page(reader.placed('http://127.0.0.1:8000/mine.html'))
        page.sees('text=connected')
        reader.run("event-reminder schedule 'Tea'", '...Tea...')
        server.set_clock(server.next_minute(margin=0) - 500)
        page.sees('text=Tea')


def test_that_of_the_admin_ui_is(server: ClockedServer, connect: clients.Clients) -> None:
    with Reader(server) as reader:
        reader.follow(read('howto/admin.rst'))
        admin = connect(f'{server.url}/admin', 'js-4.8', auth={'username': 'admin', 'password': 'change me'})
        admin.wait(lambda event: event.get('name') == 'server_stats')


def test_that_of_proxies_is(server: ClockedServer, connect: clients.Clients) -> None:
    # Given nginx with the file of the guide before a server
    program, port = shutil.which('nginx') or missing('nginx'), free_port()
    server.settings['TRUSTED_PROXIES'] = '1'
    (server.folder / 'nginx.conf').write_text(NGINX)
    with server, Reader(server, **{'8080': str(port)}) as reader:
        server.start()
        reader.follow(read('howto/proxy.rst'))
        nginx = subprocess.Popen([program, '-p', server.folder, '-c', 'nginx.conf', '-e', 'error.log'])
        try:
            # When clients come through it / Then they upgrade, and are reminded
            client = connect(f'http://127.0.0.1:{port}', 'js-4.8', 'upgrade')
            client.wait_for('upgrade')
            id = client.schedule('tea', wall(server.next_minute()))['_id']
            server.set_clock(server.next_minute() - 500)
            client.wait_for_reminder(id)
        finally:
            nginx.terminate()
            nginx.wait()


@pytest.mark.parametrize(
    'document',
    [
        '$ echo one\n    two',
        '$ echo one; echo two\n    one',
        '$ echo one',
        f'$ echo {"1" * 24} {"2" * 24}\n    {"3" * 24} {"3" * 24}',
        f'$ echo {"1" * 24}\n    {"3" * 24}\n    $ echo {"2" * 24}\n    {"3" * 24}',
    ],
)
def test_what_is_not_as_it_is_shown_is_noticed(document: str, tmp_path: Path) -> None:
    with Reader(Server(tmp_path)) as reader, pytest.raises(AssertionError, match='printed'):
        reader.follow(f'.. code:: console\n\n    {document}\n')
