"""The rules and the dashboard in docker/: as their programs want them, about metrics that there are, and documented."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import schedule_event
from tests.faults import ClockedServer
from tests.metrics import scrape_until
from tests.server import ROOT, missing, wall
from tests.wire import SocketIO

PROMETHEUS = ROOT / 'docker' / 'prometheus'
RULES = PROMETHEUS / 'rules.yml'
DASHBOARD = ROOT / 'docker' / 'grafana' / 'dashboards' / 'event-reminder.json'
METRIC = re.compile(r'\b(?:reminder|process)_\w+')
ALERT = re.compile(r'- alert: (\w+)')
RUNBOOK = re.compile(r'runbook: (\S+)')


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> str:
    """What promtool says, which must find nothing wrong."""
    program = shutil.which('promtool') or missing('promtool')
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> list[str]:
    """The queries of the dashboard, with values in the place of its variables."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())['panels']
    found = [target['expr'] for panel in panels for target in panel.get('targets', ())]
    return [one.replace('$__rate_interval', '1m').replace('$instance', '.*') for one in found]


def test_rules_and_settings_are_valid() -> None:
    assert f'{len(ALERT.findall(RULES.read_text()))} rules found' in promtool('check', 'rules', 'rules.yml')
    promtool('check', 'config', 'prometheus.yml')


def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() -> None:
    promtool('test', 'rules', 'rules_test.yml')
    tested = (PROMETHEUS / 'rules_test.yml').read_text()
    for alert in ALERT.findall(RULES.read_text()):
        assert tested.count(f'alertname: {alert}') == 2, f'{alert} is not tested both ways'


def test_each_alert_says_what_to_do() -> None:
    text = (ROOT / 'docs' / 'alerts.rst').read_text()
    alerts = ALERT.findall(RULES.read_text())
    assert re.findall(r'^(Reminder\w+)\n~+$', text, re.M) == alerts
    assert RUNBOOK.findall(RULES.read_text()) == [f'docs/alerts.rst#{alert.lower()}' for alert in alerts]
    operations = (ROOT / 'docs' / 'operations.rst').read_text()
    assert re.findall(r'^`(Reminder\w+) <alerts.rst#(\w+)>`_$', operations, re.M) == [
        (alert, alert.lower()) for alert in alerts
    ]


def test_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = [{'record': f'panel:{number}', 'expr': expr} for number, expr in enumerate(expressions())]
    (tmp_path / 'rules.yml').write_text(json.dumps({'groups': [{'name': 'dashboard', 'rules': rules}]}))
    assert f'{len(rules)} rules found' in promtool('check', 'rules', 'rules.yml', folder=tmp_path)


@pytest.fixture(scope='module')
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The names that a server exposes to which a little has happened."""
    with ClockedServer(tmp_path_factory.mktemp('alerts'), '2026-03-01 10:00:10').start() as server:
        with SocketIO(server.url) as client:
            message = schedule_event('x', wall(server.next_minute()))
            client.send(f'421{json.dumps(["command", message])}')
            assert client.read_message().startswith('431')
        server.set_clock(server.next_minute() - 30_500)
        yield scrape_until(server.url, lambda found: 'reminder_pending_events' in found.names).names


@pytest.mark.parametrize('text', [RULES.read_text(), '\n'.join(expressions())], ids=['rules', 'dashboard'])
def test_there_is_each_metric_that_is_asked_for(exposed: set[str], text: str) -> None:
    assert set(METRIC.findall(text)) - exposed == set()
    assert len(set(METRIC.findall(text))) > 10


def test_the_dashboard_shows_each_metric(exposed: set[str]) -> None:
    shown = set(METRIC.findall('\n'.join(expressions())))
    beside = {'reminder_clients_limit', 'process_virtual_memory_bytes', 'process_start_time_seconds'}
    parts = re.compile(r'_(bucket|count|sum)$')
    assert {parts.sub('', name) for name in exposed} - {parts.sub('', name) for name in shown} == beside


def test_panels_lie_beside_each_other_under_names_of_their_own() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard['panels']
    assert len({panel['id'] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel['gridPos']
        columns, rows = range(place['x'], place['x'] + place['w']), range(place['y'], place['y'] + place['h'])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel['title']
        taken |= cells
    variables = {variable['name'] for variable in dashboard['templating']['list']}
    assert {'datasource', 'instance'} == variables
