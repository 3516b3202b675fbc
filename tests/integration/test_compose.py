"""docker/compose.yaml without Docker: read by the library that Docker Compose itself reads it with, and looked through.

And docker/haproxy.cfg, by HAProxy. Whether containers come up is seen by CI on GitHub, which has Docker.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.server import ROOT, missing

READER = 'github.com/compose-spec/compose-go/v2/cmd@v2.16.2'
DOCKER = ROOT / 'docker'
PROFILES = {
    None: {'server', 'mongodb'},
    'scale': {'proxy', 'replica-set', *(f'{name}-{number}' for name in ('server', 'mongodb') for number in (1, 2, 3))},
    'watch': {'prometheus', 'grafana'},
}

Service = dict[str, Any]


@pytest.fixture(scope='module')
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Service]:
    """All services, as Compose reads them; the specification's schema and its rules are kept, or this fails."""
    if not shutil.which('go'):
        missing('Go')
    folder = tmp_path_factory.mktemp('compose-go')
    built = subprocess.run(
        ['go', 'install', READER], env=os.environ | {'GOBIN': str(folder)}, capture_output=True, text=True
    )
    if built.returncode:
        missing(f'compose-go ({built.stderr.strip()})')
    read = subprocess.run(
        [folder / 'cmd', '-format', 'json', 'compose.yaml'], cwd=DOCKER, capture_output=True, text=True
    )
    assert read.returncode == 0, read.stderr
    services: dict[str, Service] = json.loads(read.stdout)['services']
    return services


def test_each_profile_has_its_services(services: dict[str, Service]) -> None:
    found: dict[str | None, set[str]] = {}
    for name, service in services.items():
        (profile,) = service.get('profiles', [None])
        found.setdefault(profile, set()).add(name)
    assert found == PROFILES


def test_nobody_else_reaches_a_port_unless_a_setting_says_so(services: dict[str, Service]) -> None:
    open_at = {name: [port['host_ip'] for port in one['ports']] for name, one in services.items() if one.get('ports')}
    assert open_at == {name: ['127.0.0.1'] for name in ('server', 'proxy', 'prometheus', 'grafana')}
    # The reader takes nothing from the environment.
    settable = re.findall(r'"\$\{PUBLISH:-127\.0\.0\.1\}:(\d+):', (DOCKER / 'compose.yaml').read_text())
    assert settable == ['3000', '8080']


def test_what_a_service_waits_for_is_started_with_it_and_can_be_waited_for(services: dict[str, Service]) -> None:
    for name, service in services.items():
        for other, wait in service.get('depends_on', {}).items():
            assert services[other].get('profiles') in (None, service.get('profiles')), name
            if wait['condition'] == 'service_healthy':
                assert is_watched(services[other]), other
            else:
                assert (wait['condition'], services[other]['restart']) == ('service_completed_successfully', 'no')


def test_what_goes_on_is_watched_and_restarted(services: dict[str, Service]) -> None:
    for name, service in services.items():
        if name != 'replica-set':
            assert is_watched(service), name
            assert service['restart'] == 'unless-stopped'


def is_watched(service: Service) -> bool:
    """Whether the service, or the image that is built for it, says how its health is seen."""
    if 'healthcheck' in service:
        return True
    build = service.get('build')
    return build is not None and '\nHEALTHCHECK ' in Path(build['context'], build['dockerfile']).read_text()


def test_what_is_mounted_from_here_is_here(services: dict[str, Service]) -> None:
    mounts = [mount for service in services.values() for mount in service.get('volumes', ())]
    sources = {Path(mount['source']) for mount in mounts if mount['type'] == 'bind'}
    assert DOCKER / 'haproxy.cfg' in sources
    assert [source for source in sources if not source.exists()] == []


def test_a_server_may_do_no_more_than_it_has_to(services: dict[str, Service]) -> None:
    for name in ('server', 'server-1', 'server-2', 'server-3', 'proxy'):
        service = services[name]
        assert (service['read_only'], service['cap_drop']) == (True, ['ALL'])
        assert service['security_opt'] == ['no-new-privileges:true']


def test_only_servers_behind_the_proxy_believe_it(services: dict[str, Service]) -> None:
    believed = {name: service.get('environment', {}).get('TRUSTED_PROXIES') for name, service in services.items()}
    assert {name for name, number in believed.items() if number == 1} == {'server-1', 'server-2', 'server-3'}
    assert not any('ports' in services[name] for name in ('server-1', 'server-2', 'server-3'))


def test_the_proxy_understands_its_file(services: dict[str, Service]) -> None:
    if not shutil.which('haproxy'):
        missing('haproxy')
    environment = services['proxy']['environment']
    backends = {name: address for name, address in environment.items() if name != 'LISTEN'}
    assert backends == {f'SERVER_{number}': f'server-{number}:3000' for number in (1, 2, 3)}
    here = environment | dict.fromkeys(backends, '127.0.0.1:3000')
    checked = subprocess.run(
        ['haproxy', '-c', '-f', DOCKER / 'haproxy.cfg'], env=os.environ | here, capture_output=True, text=True
    )
    assert checked.returncode == 0 and 'WARNING' not in checked.stderr, checked.stderr
