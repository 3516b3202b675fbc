"""The OpenAPI document: valid, and what it says of the HTTP door is so, as a program finds that tries it all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from reminder.specification import openapi
from tests.faults import ClockedServer
from tests.server import missing
from tests.tokens import SECRET, token

CLOCK = '2026-03-01 10:00:05'
SCHEMATHESIS = Path(sys.executable).parent / 'schemathesis'
UNTRIED = ['--exclude-path', '/api/reminders/stream']
"""A stream that does not end; other tests read it."""
UNCHECKED = ['--exclude-checks', 'positive_data_acceptance']
"""Data of the right form may be refused: a time is past, an `_id` is nobody's."""


def test_it_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(json.loads(openapi.document())).iter_errors()) == []


@pytest.mark.parametrize('part', ['info', 'paths', 'security', 'servers'])
def test_an_invalid_one_would_be_noticed(part: str) -> None:
    document = json.loads(openapi.document()) | {part: {'nothing': {'get': 5}}}
    assert list(OpenAPIV31SpecValidator(document).iter_errors())


@pytest.mark.long
@pytest.mark.parametrize('settings', [{}, {'AUTH_SECRET': SECRET}], ids=['for everybody', 'with tokens'])
def test_schemathesis_finds_nothing(tmp_path: Path, settings: dict[str, str]) -> None:
    if not SCHEMATHESIS.exists():
        missing('schemathesis')
    with ClockedServer(tmp_path, CLOCK, COMMAND_RATE_LIMIT='0', **settings) as server:
        server.start()
        header = ['--header', f'Authorization: Bearer {token(server.now(), aud=None, iss=None)}'] if settings else []
        program = [str(SCHEMATHESIS), 'run', f'{server.url}/openapi.json']
        options = [*UNTRIED, *UNCHECKED, *header, '--max-examples', '40', '--seed', '1', '--no-color']
        answer = subprocess.run([*program, *options], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert answer.returncode == 0, answer.stdout[-8_000:]
        assert server.status('/readyz') == 200
        assert 'Traceback' not in server.log()
