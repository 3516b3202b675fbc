"""The form of log lines, in text and in JSON, and what lines are about."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import reminder
from reminder.logs import CONNECTION, REQUEST, log_to_stderr
from tests.logs import logging_to_stderr, parse

SOURCES = Path(reminder.__file__).parent
FORGED = 'time=2030-01-01T00:00:00.000Z level=info logger=reminder.app event=stopped message=stopped'


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger, and the root logger as it was once the test is over."""
    with logging_to_stderr():
        yield logging.getLogger('reminder.test')


def read(form: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The values of the lines that were logged, tracebacks aside."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith('    ')]
    return [parse(line, form) for line in lines]


in_both_forms = pytest.mark.parametrize('form', ['text', 'json'])


def test_lines_are_text_in_utc(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr('INFO', 'text')
    logger.debug('not this')
    values = {'event': 'kept', 'count': 3, 'who': 'you and "me"', 'none': None, 'share': 0.5, 'zone': 'Zürich'}
    record = logger.makeRecord('reminder.test', logging.INFO, '', 0, 'kept %(count)d', (values,), None)
    record.created, record.msecs = 1_795_991_400.25, 250
    logger.handle(record)
    assert capsys.readouterr().err == (
        'time=2026-11-29T22:30:00.250Z level=info logger=reminder.test event=kept message="kept 3" count=3 '
        r'who="you and \"me\"" share=0.5 zone="Zürich"' + '\n'
    )


def test_lines_are_json_objects(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr('WARNING', 'json')
    try:
        raise ValueError('two\nlines')
    except ValueError:
        logger.exception('%(what)s is broken', {'event': 'broken', 'what': 'it', 'none': None, 'count': 3})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop('time').endswith('Z')
    assert entry.pop('exception').startswith('Traceback')
    expected = {'level': 'error', 'logger': 'reminder.test', 'event': 'broken', 'message': 'it is broken'}
    assert entry == expected | {'what': 'it', 'count': 3}


@in_both_forms
def test_lines_of_libraries_have_the_same_form(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    log_to_stderr('INFO', form)
    logger.warning('%s of %d', 'one', 2)
    (line,) = read(form, capsys)
    assert (line['level'], line['message']) == ('warning', 'one of 2')
    assert 'event' not in line


@pytest.mark.parametrize('level', ['INFO', 'DEBUG'])
@pytest.mark.parametrize('separator', ['\n', '\r', '\r\n', '\v', '\f', '\x1c', '\x85', '\u2028', '\u2029', '" ', ' '])
def test_no_line_and_no_value_can_be_forged_by_what_another_quotes(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], level: str, separator: str
) -> None:
    name = f'tea{separator}{FORGED}\033[2J\ud800\\'
    for form in ('text', 'json'):
        log_to_stderr(level, form)
        logger.warning('odd: %(name)s', {'event': 'odd', 'name': name})
        try:
            raise KeyError(name)
        except KeyError:
            logger.exception('broken by %s', name)
        lines = capsys.readouterr().err.splitlines()
        begun = [line for line in lines if not line.startswith('    ')]
        assert len(begun) == 2
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith(FORGED) for line in lines)
        values = [parse(line, form) for line in begun]
        assert [one['message'] for one in values] == [f'odd: {name}', f'broken by {name}']
        assert (values[0]['event'], values[0]['name'], values[0]['level']) == ('odd', name, 'warning')


@in_both_forms
def test_what_an_unexpected_error_quotes_is_told_at_debug_alone(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    for level in ('INFO', 'DEBUG'):
        log_to_stderr(level, form)
        try:
            try:
                raise KeyError('a private' + ' matter')
            except KeyError as error:
                raise ValueError('of a private' + ' matter') from error
        except ValueError:
            logger.exception('broken')
        said = capsys.readouterr().err
        assert 'Traceback' in said
        assert 'test_logs.py' in said
        assert 'ValueError' in said
        assert ('private matter' in said) == (level == 'DEBUG')


@in_both_forms
def test_lines_say_what_they_are_about(logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str) -> None:
    log_to_stderr('INFO', form)
    connection, request = CONNECTION.set('abcdefghijkl'), REQUEST.set('7')
    logger.info('first', {'event': 'first'})
    CONNECTION.reset(connection)
    logger.info('second')
    REQUEST.reset(request)
    logger.info('third')
    subjects = [(line.get('connection'), line.get('request')) for line in read(form, capsys)]
    assert subjects == [('abcdefgh', '7'), (None, '7'), (None, None)]


@in_both_forms
def test_greenlets_that_take_turns_keep_what_they_are_about(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    log_to_stderr('INFO', form)

    def work(name: str) -> None:
        for _ in range(2):  # as a greenlet that is used again
            token = CONNECTION.set(name)
            gevent.sleep(0)
            logger.info(name)
            CONNECTION.reset(token)
            logger.info('nothing')

    gevent.joinall([gevent.spawn(work, name) for name in 'abc'])
    lines = read(form, capsys)
    assert len(lines) == 12
    for line in lines:
        assert line.get('connection') == (None if line['message'] == 'nothing' else line['message'])


def calls() -> Iterator[tuple[str, ast.Call]]:
    """All calls of the server's loggers, each with where it is."""
    for file in sorted(SOURCES.rglob('*.py')):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, name = node.func.value, node.func.attr
                if isinstance(owner, ast.Name) and owner.id == 'logger' and name != 'isEnabledFor':
                    yield f'{file.relative_to(SOURCES)}:{node.lineno}', node


def events() -> dict[str, str]:
    """The events that are logged, each with where."""
    found = {}
    for where, call in calls():
        assert len(call.args) == 2 and isinstance(call.args[1], ast.Dict), f'{where} has no values by name'
        keys = [getattr(key, 'value', None) for key in call.args[1].keys]
        values = dict(zip(keys, call.args[1].values, strict=True))
        assert isinstance(values.get('event'), ast.Constant), f'{where} names no event'
        quoted = set(re.findall(r'%\((\w+)\)', call.args[0].value))  # type: ignore[attr-defined]
        assert quoted <= values.keys(), f'{where} quotes what it has no value for'
        assert not values.keys() & {'time', 'level', 'logger', 'message'}, where
        found[values['event'].value] = where  # type: ignore[attr-defined]
    return found


def test_each_line_names_its_event_and_its_values() -> None:
    assert len(events()) > 20


def test_all_events_are_documented() -> None:
    text = (SOURCES.parent / 'docs/alerts.rst').read_text().partition('\nLog lines\n')[2]
    assert sorted(events()) == sorted(re.findall(r'^   \* - ``([a-z_]+)``$', text, re.M))
