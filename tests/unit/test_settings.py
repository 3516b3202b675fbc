"""Settings from the environment and from `.env`."""

from pathlib import Path

import pytest

from reminder.errors import ConfigError
from reminder.settings import read_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_comes_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / '.env').write_text("HOST=0.0.0.0\nPORT='4000'\nDB_PASSWORD=a${HOME}$b#c\nnonsense\n")
    monkeypatch.setenv('PORT', '5000')
    monkeypatch.delenv('HOST', raising=False)
    settings = read_settings()
    assert (settings['HOST'], settings['PORT']) == ('0.0.0.0', '5000')
    assert settings['DB_PASSWORD'] == 'a${HOME}$b#c'
    assert 'nonsense' not in settings


def test_without_a_file_it_is_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PORT', '5000')
    assert read_settings()['PORT'] == '5000'


def test_a_file_that_is_no_text_is_a_wrong_setting(folder: Path) -> None:
    (folder / '.env').write_bytes(b'PORT=\xff')
    with pytest.raises(ConfigError, match=r'^\.env cannot be read'):
        read_settings()
