"""What is published works: wheel and sdist are built, installed into fresh environments, and serve."""

import os
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.server import ROOT, free_port, missing

pytestmark = pytest.mark.long

UNWANTED = ignore_patterns('.*', '*.egg-info', '__pycache__', 'build', 'dist', 'node_modules', 'venv')
"""What lies about in a work tree beside the sources."""


def run(*command: object, cwd: Path) -> str:
    """What `command` prints; fails with all of it where the command does."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if '(from versions: none)' in done.stdout:
        missing('the package index')
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope='module')
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist of a clean copy of the sources, and the wheel that is built from that sdist."""
    folder = tmp_path_factory.mktemp('packages')
    copytree(ROOT, folder / 'source', ignore=UNWANTED)
    run(sys.executable, '-m', 'build', '--outdir', folder, folder / 'source', cwd=folder)
    (sdist,), (wheel,) = folder.glob('*.tar.gz'), folder.glob('*.whl')
    return {'sdist': sdist, 'wheel': wheel}


def test_the_wheel_holds_the_whole_package_and_nothing_else(packages: dict[str, Path]) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'reminder').rglob('*')
        if path.suffix in ('.py', '.json') or path.name == 'py.typed' or path.parent.name == 'static'
    }
    with zipfile.ZipFile(packages['wheel']) as wheel:
        packed = {name for name in wheel.namelist() if '.dist-info/' not in name}
    assert packed == ours


def test_the_sdist_holds_what_its_reader_needs(packages: dict[str, Path]) -> None:
    with tarfile.open(packages['sdist']) as sdist:
        packed = {name.partition('/')[2] for name in sdist.getnames()}
    needed = 'README.rst CHANGES.rst LICENSE Procfile docker/Dockerfile examples/client.mjs scripts/run_server.py'
    assert packed >= {*needed.split(), 'tests/integration/test_packaging.py'}
    assert not any('node_modules' in name for name in packed)


@pytest.fixture(scope='module')
def environment(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with what the wheel requires."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder)
    install(folder, packages['wheel'])
    return folder


def install(environment: Path, *arguments: object) -> None:
    pip = (sys.executable, '-m', 'pip', '--python', environment / 'bin' / 'python')
    run(*pip, 'install', '--quiet', '--no-compile', *arguments, cwd=environment)


@pytest.mark.parametrize('kind', ['wheel', 'sdist'])
def test_it_installs_and_serves(kind: str, packages: dict[str, Path], environment: Path, tmp_path: Path) -> None:
    install(environment, '--force-reinstall', '--no-deps', packages[kind])
    program = environment / 'bin' / 'event-reminder'
    assert run(program, '--version', cwd=tmp_path).startswith('event-reminder ')

    url = f'http://127.0.0.1:{(port := free_port())}'
    settings = {'PATH': os.environ['PATH'], 'PORT': str(port)}
    with subprocess.Popen([program, 'serve'], cwd=tmp_path, env=settings) as server:
        try:
            wait_for(f'{url}/readyz')
            assert run(program, 'timezones', 'berlin', '--url', url, cwd=tmp_path) == 'Europe/Berlin\n'
        finally:
            server.terminate()
    assert server.returncode == 0


def wait_for(url: str) -> None:
    """Returns when a GET of `url` is answered 200, and fails after 30 s."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
