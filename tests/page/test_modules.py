"""The page's modules by themselves: their types hold, and they reckon wall times as the server does."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients import install
from tests.page.browser import FOLDER
from tests.server import ROOT

OTHERS = 6
"""Zones that may differ, as Node.js comes with a release of the data of its own, which lags behind."""


@pytest.fixture(scope='module', autouse=True)
def packages() -> None:
    install(FOLDER)


def compile(project: Path) -> 'subprocess.CompletedProcess[str]':
    compiler = FOLDER / 'node_modules' / '.bin' / 'tsc'
    return subprocess.run([compiler, '--project', project], capture_output=True, text=True, timeout=60)


def test_types_hold() -> None:
    done = compile(FOLDER / 'tsconfig.json')
    assert done.returncode == 0, done.stdout


def test_a_wrong_type_is_noticed(tmp_path: Path) -> None:
    settings = json.loads((FOLDER / 'tsconfig.json').read_text())
    (tmp_path / 'tsconfig.json').write_text(json.dumps({**settings, 'include': ['*.js']}))
    wall = (ROOT / 'reminder' / 'web' / 'static' / 'wall.js').read_text()
    (tmp_path / 'wall.js').write_text(f'{wall}\nasUTC(5)\n')
    done = compile(tmp_path / 'tsconfig.json')
    assert done.returncode != 0
    assert "'number' is not assignable to parameter of type 'string'" in done.stdout


def differing(groups: Any) -> list[str]:
    done = subprocess.run(
        ['node', FOLDER / 'wall.mjs'], input=json.dumps(groups), capture_output=True, text=True, timeout=60, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.long
def test_wall_times_mean_what_they_mean_to_the_server() -> None:
    groups = json.loads(gzip.decompress((ROOT / 'tests' / 'data' / 'timezones.json.gz').read_bytes()))['groups']
    assert len(differing(groups)) <= OTHERS
    berlin = next(group for group in groups if 'Europe/Berlin' in group['zones'])
    assert differing([{**berlin, 'zones': ['Europe/Berlin']}]) == []
    assert differing([{**berlin, 'zones': ['Europe/London']}]) == ['Europe/London']
