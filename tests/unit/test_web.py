"""The plain HTTP endpoints, as a WSGI application by itself."""

import json
import logging
from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug import Request, Response
from werkzeug.exceptions import Forbidden
from werkzeug.routing import Rule
from werkzeug.test import Client

from reminder.web import Web, probes
from tests.logs import logging_to_stderr, parse

Answer = tuple[str, dict[str, str], bytes]
Ask = Callable[..., Answer]

ASYNCAPI = '{"title": "Ü"}'.encode()


@pytest.fixture
def problems() -> dict[str, str]:
    """What keeps the server from being ready; a test may add to it."""
    return {}


@pytest.fixture
def ask(problems: dict[str, str]) -> Ask:
    """Asks for a path, with the standard library's check of the WSGI contract in between."""

    def ask(path: str, method: str = 'GET', **headers: str) -> Answer:
        answer: list[Any] = []
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': '',
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '3000',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': _Input(),
            'wsgi.errors': _Errors(),
            'wsgi.multithread': False,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
            **headers,
        }
        application: Callable[..., Any] = validator(Web(probes.routes(lambda: problems, {'/asyncapi.json': ASYNCAPI})))
        body = application(environ, lambda status, headers, exc=None: answer.extend((status, headers)))
        try:
            return answer[0], dict(answer[1]), b''.join(body)
        finally:
            body.close()

    return ask


class _Input:
    read = readline = readlines = lambda self, *_: b''

    def __iter__(self) -> Any:
        return iter(())


class _Errors:
    write = writelines = flush = lambda self, *_: None


def test_it_is_alive_whatever_its_problems(ask: Ask, problems: dict[str, str]) -> None:
    problems['database'] = 'does not answer'
    status, headers, body = ask('/healthz')
    assert (status, headers['Content-Type'], body) == ('200 OK', 'text/plain; charset=utf-8', b'ok\n')


def test_it_is_ready_without_problems(ask: Ask) -> None:
    status, headers, body = ask('/readyz')
    assert (status, headers['Content-Type'], json.loads(body)) == (
        '200 OK',
        'application/json; charset=utf-8',
        {'ready': True},
    )


def test_it_is_not_ready_with_problems_and_says_which(ask: Ask, problems: dict[str, str]) -> None:
    problems |= {'database': 'does not answer', 'scheduler': 'does not tick'}
    status, _, body = ask('/readyz')
    assert status[:3] == '503'
    assert json.loads(body) == {'ready': False, 'database': 'does not answer', 'scheduler': 'does not tick'}


def test_the_document_about_the_protocol_is_handed_out_as_it_is(ask: Ask) -> None:
    status, headers, body = ask('/asyncapi.json')
    assert (status, headers['Content-Type'], body) == ('200 OK', 'application/json; charset=utf-8', ASYNCAPI)


@pytest.mark.parametrize('path', ['/healthz', '/readyz', '/asyncapi.json', '/nothing'])
def test_head_has_the_headers_of_get_and_no_body(ask: Ask, path: str) -> None:
    status, headers, body = ask(path)
    alone = ask(path, 'HEAD')
    assert headers.pop('X-Request-Id') != alone[1].pop('X-Request-Id')
    assert alone == (status, headers, b'')
    assert headers['Content-Length'] == str(len(body))


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])
def test_other_methods_are_refused_where_there_is_something(ask: Ask, method: str) -> None:
    status, headers, _ = ask('/healthz', method)
    assert (status[:3], set(headers['Allow'].split(', '))) == ('405', {'GET', 'HEAD'})
    assert ask('/nothing', method)[0][:3] == '404'


@pytest.mark.parametrize('path', ['/healthz/', '//healthz/', '/HEALTHZ', '/readyz?', '/\xc3\xbc'])
def test_paths_are_exact(ask: Ask, path: str) -> None:
    assert ask(path)[0][:3] == '404'


@pytest.mark.parametrize('path', ['/healthz', '/readyz', '/nothing'])
def test_nothing_is_kept_by_caches_or_taken_for_another_type(ask: Ask, path: str) -> None:
    _, headers, _ = ask(path)
    assert (headers['Cache-Control'], headers['X-Content-Type-Options']) == ('no-store', 'nosniff')


def test_a_request_is_called_in_the_log_as_its_answer_says(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger('reminder.test')

    def answer(request: Request) -> Response:
        logger.warning('asked')
        return Response()

    with logging_to_stderr():
        web = Web([Rule('/', endpoint=answer)])
        client = Client(web)
        names = [client.get('/').headers['X-Request-Id'], client.get('/').headers['X-Request-Id']]
        logger.warning('not asked')
    told = [parse(line).get('request') for line in capsys.readouterr().err.splitlines()]
    assert told == [*names, None]
    assert len(set(names)) == 2


def test_what_is_refused_is_told_in_the_log_with_its_reason_and_without_its_query(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(request: object) -> Response:
        raise Forbidden("scope 'manage' is required")

    with logging_to_stderr('DEBUG'):
        id = Client(Web([Rule('/metrics', endpoint=refuse)])).get('/metrics?token=secret').headers['X-Request-Id']
    (line,) = capsys.readouterr().err.splitlines()
    told = parse(line)
    assert (told['level'], told['event'], told['request']) == ('debug', 'refused', id)
    assert (told['method'], told['path'], told['status']) == ('GET', '/metrics', '403')
    assert told['error'] == "scope 'manage' is required"
    assert 'secret' not in line


@pytest.mark.parametrize('given', ['7', 'a-proxy.names_it-so', 'x' * 64])
def test_a_proxy_may_name_a_request(ask: Ask, given: str) -> None:
    assert ask('/healthz', HTTP_X_REQUEST_ID=given)[1]['X-Request-Id'] == given


@pytest.mark.parametrize('given', ['', 'x' * 65, 'a b', 'a=b', 'a\nb', 'ü', '"'])
def test_what_is_no_name_is_not_taken_for_one(ask: Ask, given: str) -> None:
    assert ask('/healthz', HTTP_X_REQUEST_ID=given)[1]['X-Request-Id'] != given
