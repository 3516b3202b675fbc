"""What guides show and no test can run is so all the same."""

import re

import pytest

from reminder.services.fields import rule_of, zone_of
from tests.server import ROOT

ARCHITECTURE = (ROOT / 'docs' / 'architecture.rst').read_text()
MODULES = re.findall('^``((?!reminder/)[a-z_/.]+)`` ', ARCHITECTURE, re.M)
PATHS = re.findall('``((?:reminder|tests|scripts)/[a-z_/.]*)``', ARCHITECTURE)
RULES = re.findall('^``(FREQ=.*?)``', (ROOT / 'docs' / 'howto' / 'repeat.rst').read_text(), re.M)


@pytest.mark.parametrize('rule', RULES)
def test_a_rule_in_the_table_is_one(rule: str) -> None:
    assert rule_of(rule, '2030-02-04 09:30', zone_of('Europe/Berlin'))


def test_rules_are_found() -> None:
    assert len(RULES) >= 8


@pytest.mark.parametrize('path', [*(f'reminder/{name}' for name in MODULES), *PATHS])
def test_what_the_architecture_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_modules_are_found() -> None:
    assert len(MODULES) > 20
    assert len(PATHS) > 10
