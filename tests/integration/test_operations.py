"""What docs/operations.rst says to operators: its unit, its manifest, and what a restore does."""

import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.clients import Clients
from tests.documents import Block, blocks
from tests.faults import ClockedServer, reminders, schedule_many
from tests.server import ROOT, Server, millis, missing

pytestmark = pytest.mark.long

DOCUMENT = (ROOT / 'docs' / 'operations.rst').read_text()


def the_block(kind: str) -> Block:
    (block,) = (block for block in blocks(DOCUMENT) if block.kind == kind)
    return block


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if not shutil.which('systemd-analyze'):
        missing('systemd-analyze')
    unit, program = tmp_path / 'event-reminder.service', '/opt/event-reminder/bin/event-reminder'
    text = the_block('ini').text
    assert f'ExecStart={program} serve\n' in text
    unit.write_text(text.replace(program, shutil.which('env') or ''))  # it looks whether the program is there
    verified = subprocess.run(['systemd-analyze', 'verify', '--man=no', unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, '')


def test_the_manifest_is_one_and_fits_the_server(tmp_path: Path) -> None:
    try:
        import kubernetes_validate
        import yaml
    except ImportError:
        missing('kubernetes-validate')
    objects = {one['kind']: one for one in yaml.safe_load_all(the_block('yaml').text)}
    for one in objects.values():
        kubernetes_validate.validate(one, desired_version='1.33', strict=True)

    # Then what refers to something finds it
    pod = objects['Deployment']['spec']['template']
    for selector in (
        objects['Deployment']['spec']['selector']['matchLabels'],
        objects['PodDisruptionBudget']['spec']['selector']['matchLabels'],
        objects['Service']['spec']['selector'],
        pod['spec']['topologySpreadConstraints'][0]['labelSelector']['matchLabels'],
    ):
        assert selector == pod['metadata']['labels']
    (container,) = pod['spec']['containers']
    assert container['envFrom'] == [{'secretRef': {'name': objects['Secret']['metadata']['name']}}]
    ((path,),) = (rule['http']['paths'] for rule in objects['Ingress']['spec']['rules'])
    service = objects['Service']
    assert path['backend']['service'] == {
        'name': service['metadata']['name'],
        'port': {'name': service['spec']['ports'][0]['name']},
    }

    # Then its settings are settings, and it does not start with the secret that everybody can read
    settings = objects['Secret']['stringData'] | {one['name']: one['value'] for one in container['env']}
    server = Server(tmp_path, **settings)
    server.start(ready=None)
    assert server.exit_code() != 0
    assert 'AUTH_SECRET has to be at least' in server.stderr()


def test_a_restore_does_what_it_says(tmp_path: Path, connect: Clients) -> None:
    # Given a backup of a running server, with one event delivered and two to come, one of them cancelled later
    first, second, third = (millis(f'2026-03-01 10:{minute}:00') for minute in ('01', '02', '04'))
    with ClockedServer(tmp_path, '2026-03-01 10:00:50') as server:
        server.start()
        client = connect(server.url)
        names = [('past', first), ('between', second), ('to come', third), ('cancelled', third)]
        past, between, to_come, cancelled = (schedule_many(server.url, [name], due)[0] for name, due in names)
        server.set_clock(first - 1_000)
        client.wait_for_reminder(past['_id'])
        while client.command({'command': 'getStatus'})['response']['delivered'] < past['time']:
            time.sleep(0.02)  # which is noted after the reminders are written
        with closing(sqlite3.connect(tmp_path / 'events.db')) as database:
            database.execute('VACUUM INTO ?', [str(tmp_path / 'backup.db')])

        # And a minute more, with an event that is in the backup; one is new, and one is cancelled
        client.command({'command': 'cancelEvent', 'data': {'_id': cancelled['_id']}})
        lost = schedule_many(server.url, ['lost'], third)[0]
        server.set_clock(second - 1_000)
        client.wait_for_reminder(between['_id'])
        client.wait(lambda _: len(client.messages('cursor')) == 3)  # one when it connected, one after each minute
        (place,) = client.messages('cursor')[-1]

        # When the backup takes the place of the database
        server.terminate()
        shutil.copy(tmp_path / 'backup.db', tmp_path / 'events.db')
        server.start()

        # Then what fell due since comes again to who has no place, and not to who has one, who is told of no gap
        stranger, returning = connect(server.url), connect(server.url, auth={'since': place})
        stranger.wait_for_reminder(between['_id'])
        returning.wait(lambda event: event.get('name') == 'replayed')
        assert returning.messages('replayed') == [[{'count': 0, 'complete': True}]]

        # Then what was done since is undone
        answer = stranger.command({'command': 'getEvent', 'data': {'_id': lost['_id']}})
        assert answer == {'status': 'failure', 'error': f'_id={lost["_id"]!r} is not found'}
        server.set_clock(third - 1_000)
        for one, received in ((stranger, [between, to_come, cancelled]), (returning, [to_come, cancelled])):
            one.wait_for_reminder(cancelled['_id'])
            assert reminders(one) == received
