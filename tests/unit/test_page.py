"""The page's files, as a WSGI application by itself."""

import re

import pytest
from werkzeug.test import Client, TestResponse

from reminder.web import Web, page


@pytest.fixture
def client() -> Client:
    return Client(Web(page.routes()))


def text(answer: TestResponse) -> str:
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def references(client: Client) -> set[str]:
    """All files that the page leads to, from one to the next."""
    found, seen = {'static/' + name for name in re.findall(r'"static/([^"]+)"', text(client.get('/')))}, set[str]()
    while found - seen:
        one = (found - seen).pop()
        seen.add(one)
        found |= {'static/' + name for name in re.findall(r"from '\./([^']+)'", text(client.get(f'/{one}')))}
    return found


def test_all_that_the_page_leads_to_is_there_and_nothing_else(client: Client) -> None:
    rules = {rule.rule for rule in page.routes()}
    assert {f'/{name}' for name in references(client)} | {'/'} == rules
    types = {name: client.get(f'/{name}').content_type for name in references(client)}
    assert types['static/main.js'] == 'text/javascript; charset=utf-8'
    assert types['static/style.css'] == 'text/css; charset=utf-8'
    assert types['static/icon.svg'].startswith('image/svg+xml')


def test_nothing_inline_and_nothing_from_elsewhere(client: Client) -> None:
    html = text(client.get('/'))
    assert not re.search(r'<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|https?:', html)
    policy = client.get('/').headers['Content-Security-Policy']
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert 'unsafe' not in policy
    for name in references(client):
        if name.endswith('.js'):
            assert not re.search(
                r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(', text(client.get(f'/{name}'))
            )


def test_it_is_kept_and_asked_for_whether_it_is_still_the_same(client: Client) -> None:
    answer = client.get('/')
    assert answer.headers['Cache-Control'] == 'no-cache'
    again = client.get('/', headers={'If-None-Match': answer.headers['ETag']})
    assert (again.status_code, again.get_data()) == (304, b'')
    assert client.get('/static/style.css').headers['ETag'] != answer.headers['ETag']
    assert client.get('/', headers={'If-None-Match': '"another"'}).status_code == 200


def test_the_client_alone_is_for_pages_of_all_origins(client: Client) -> None:
    shared = [name for name in references(client) if 'Access-Control-Allow-Origin' in client.get(f'/{name}').headers]
    assert shared == ['static/socket.js']
    assert client.get('/static/socket.js').headers['Access-Control-Allow-Origin'] == '*'
    assert 'import' not in re.sub(r'/\*.*?\*/', '', text(client.get('/static/socket.js')), flags=re.DOTALL)


@pytest.mark.parametrize('path', ['/static/', '/static/page.py', '/static/../page.py', '/static/%2e%2e/page.py'])
def test_nothing_else_is_read(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
