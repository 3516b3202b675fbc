"""The plain HTTP endpoints beside Socket.IO."""

from collections.abc import Iterator

import pytest
import requests

from tests.server import Server


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp('http')) as server:
        yield server.start()


@pytest.mark.parametrize('path', ['/healthz', '/readyz'])
def test_a_server_that_works_is_alive_and_ready(server: Server, path: str) -> None:
    assert requests.get(server.url + path, timeout=5).status_code == 200


def test_the_front_page_is_a_page(server: Server) -> None:
    answer = requests.get(server.url, timeout=5)
    assert answer.status_code == 200
    assert answer.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert '<title>Reminders</title>' in answer.text


@pytest.mark.parametrize('path', ['/', '/healthz', '/readyz'])
def test_head_is_get_without_a_body(server: Server, path: str) -> None:
    answer = requests.head(server.url + path, timeout=5)
    assert (answer.status_code, answer.text) == (200, '')


@pytest.mark.parametrize('path', ['/nothing', '/healthz/', '/socket.io', '/../etc/passwd', '/%00', '/socket.iox/'])
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    assert requests.get(server.url + path, timeout=5).status_code == 404


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH'])
@pytest.mark.parametrize('path', ['/', '/healthz', '/readyz'])
def test_other_methods_are_not_allowed(server: Server, path: str, method: str) -> None:
    answer = requests.request(method, server.url + path, timeout=5)
    assert answer.status_code == 405
    assert {'GET', 'HEAD'} <= {allowed.strip() for allowed in answer.headers['Allow'].split(',')}


def test_answers_do_not_tell_the_software_versions(server: Server) -> None:
    headers = requests.get(server.url, timeout=5).headers
    assert 'Server' not in headers or not any(character.isdigit() for character in headers['Server'])
