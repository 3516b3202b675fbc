"""What guides show and no test can run is so all the same."""

import re

import pytest

from reminder.services.fields import rule_of, zone_of
from tests.server import ROOT

RULES = re.findall('^``(FREQ=.*?)``', (ROOT / 'docs' / 'howto' / 'repeat.rst').read_text(), re.M)


@pytest.mark.parametrize('rule', RULES)
def test_a_rule_in_the_table_is_one(rule: str) -> None:
    assert rule_of(rule, '2030-02-04 09:30', zone_of('Europe/Berlin'))


def test_rules_are_found() -> None:
    assert len(RULES) >= 8
