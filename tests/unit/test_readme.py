"""README.rst says what is so: its examples are the files in `examples/`, its settings are Config's."""

import re
import textwrap
from pathlib import Path

import pytest

from reminder.config import Config

ROOT = Path(__file__).parents[2]
README = (ROOT / 'README.rst').read_text()


@pytest.mark.parametrize('name', ['client.mjs', 'client.py'])
def test_the_examples_are_included_word_for_word(name: str) -> None:
    example = (ROOT / 'examples' / name).read_text()
    assert textwrap.indent(example, '    ') in README


def test_the_examples_are_ten_liners() -> None:
    for example in (ROOT / 'examples').iterdir():
        lines = [line for line in example.read_text().splitlines() if line]
        assert len(lines) <= 11, example.name


@pytest.mark.parametrize('target', re.findall(r'<([\w./-]+)>`_|^\.\. image:: (.+)', README, re.M))
def test_a_link_leads_to_a_file(target: tuple[str, str]) -> None:
    assert (ROOT / ''.join(target)).is_file()


class Recorder(dict[str, str]):
    """An empty environment that records what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.asked.add(name)
        return default


def test_the_table_lists_just_the_settings_that_exist_with_their_defaults() -> None:
    environ = Recorder()
    config = Config.from_env(environ)

    header = re.search(r'^(setting +)(default +)meaning$', README, re.M)
    assert header
    default = slice(len(header[1]), len(header[1] + header[2]))
    rows = re.findall(r'^``[A-Z_]+``.*', README[header.end() :], re.M)
    documented = {row.split('``')[1]: row[default].strip() for row in rows}

    assert documented.keys() == environ.asked - {'DYNO'}  # which is set by the machine, not by people
    for name, shown in documented.items():
        value = getattr(config, name.lower(), None)
        if isinstance(value, str | int | float):
            assert shown == str(value).lower()
