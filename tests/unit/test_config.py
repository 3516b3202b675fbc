"""The settings: defaults, valid and wrong values, and that no password is ever shown."""

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reminder.config import Config
from reminder.errors import ConfigError

SECRET = 'c2VjcmV0' * 4
KEY = (
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----'
)
NODE = {'DB_HOST': 'localhost', 'DB_PORT': '27017', 'DB_NAME': 'event_schedule'}


def failure(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    text = str(caught.value)
    assert '\n' not in text
    return text


def database(environ: dict[str, str]) -> str:
    return Config.from_env(environ).database_url


def test_without_settings_a_server_runs_on_this_machine_alone() -> None:
    assert dataclasses.asdict(Config.from_env({})) == {
        'port': 3000,
        'host': '127.0.0.1',
        'database_url': 'sqlite:///reminder.db',
        'cors_origins': (),
        'ping_interval': 25,
        'ping_timeout': 20,
        'recovery_window': 300,
        'replay_limit': 10_000,
        'retention_days': None,
        'max_connections': 20_000,
        'command_rate_limit': 100,
        'trusted_proxies': 0,
        'auth_secret': None,
        'auth_public_key': None,
        'auth_audience': None,
        'auth_issuer': None,
        'admin_ui_username': None,
        'admin_ui_password': None,
        'log_level': 'INFO',
        'log_format': 'text',
        'warnings': (),
    }


@pytest.mark.parametrize('empty', ['', ' ', '\t\n'])
def test_an_empty_value_counts_as_unset(empty: str) -> None:
    names = [
        *'PORT HOST DATABASE_URL MONGODB_URI DB_HOST DB_PORT DB_NAME DB_USER DB_PASSWORD DB_AUTHSOURCE DYNO'.split(),
        *'CORS_ORIGINS PING_INTERVAL PING_TIMEOUT RECOVERY_WINDOW REPLAY_LIMIT RETENTION_DAYS'.split(),
        *'MAX_CONNECTIONS COMMAND_RATE_LIMIT TRUSTED_PROXIES LOG_LEVEL LOG_FORMAT'.split(),
        *'AUTH_SECRET AUTH_PUBLIC_KEY AUTH_AUDIENCE AUTH_ISSUER ADMIN_UI_USERNAME ADMIN_UI_PASSWORD'.split(),
    ]
    assert Config.from_env(dict.fromkeys(names, empty)) == Config.from_env({})


@pytest.mark.parametrize(
    ('name', 'value', 'field', 'expected'),
    [
        ('PORT', '8080', 'port', 8080),
        ('PORT', '0', 'port', 0),
        ('PORT', ' 65535 ', 'port', 65_535),
        ('HOST', '::1', 'host', '::1'),
        ('PING_INTERVAL', '0.3', 'ping_interval', 0.3),
        ('PING_INTERVAL', '10', 'ping_interval', 10),
        ('PING_TIMEOUT', '0.001', 'ping_timeout', 0.001),
        ('RECOVERY_WINDOW', '0', 'recovery_window', 0),
        ('RECOVERY_WINDOW', '86400', 'recovery_window', 86_400),
        ('REPLAY_LIMIT', '1', 'replay_limit', 1),
        ('RETENTION_DAYS', '30', 'retention_days', 30),
        ('MAX_CONNECTIONS', '1000000', 'max_connections', 1_000_000),
        ('COMMAND_RATE_LIMIT', '0', 'command_rate_limit', 0),
        ('COMMAND_RATE_LIMIT', '2500', 'command_rate_limit', 2500),
        ('TRUSTED_PROXIES', '10', 'trusted_proxies', 10),
        ('AUTH_SECRET', f' {SECRET} ', 'auth_secret', SECRET),
        ('AUTH_SECRET', 'ä' * 16, 'auth_secret', 'ä' * 16),
        ('AUTH_PUBLIC_KEY', KEY, 'auth_public_key', KEY),
        ('AUTH_PUBLIC_KEY', KEY.replace('\n', '\\n') + '\\n', 'auth_public_key', KEY),
        ('AUTH_PUBLIC_KEY', KEY.replace('\n', '\r\n'), 'auth_public_key', KEY.replace('\n', '\r\n')),
        ('LOG_LEVEL', 'Debug', 'log_level', 'DEBUG'),
        ('LOG_FORMAT', 'JSON', 'log_format', 'json'),
        ('CORS_ORIGINS', '*', 'cors_origins', ('*',)),
        ('CORS_ORIGINS', 'https://App.example', 'cors_origins', ('https://app.example',)),
        (
            'CORS_ORIGINS',
            'http://localhost:8080, capacitor://localhost,,null,http://[::1]:80',
            'cors_origins',
            ('http://localhost:8080', 'capacitor://localhost', 'null', 'http://[::1]:80'),
        ),
    ],
)
def test_a_value_is_taken(name: str, value: str, field: str, expected: object) -> None:
    config = Config.from_env({name: value})
    assert config == dataclasses.replace(Config.from_env({}), **{field: expected})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('name', 'values', 'expected'),
    [
        ('PORT', 'http -1 65536 3000.0 3_000 0x10 1e3 ٣٠٠٠ 99999999999999999999', 'a whole number from 0 to 65535'),
        ('PING_INTERVAL', '0 -1 nan inf 1e3 0.0001 86401 25s .5', 'a number of seconds from 0.001 to 86400'),
        ('PING_TIMEOUT', '0 -1 nan inf 1e3 0.0001 86401 25s 5.', 'a number of seconds from 0.001 to 86400'),
        ('RECOVERY_WINDOW', '-1 x 86400.1', 'a number of seconds from 0 to 86400'),
        ('REPLAY_LIMIT', '0 -1 none 1000001', 'a whole number from 1 to 1000000'),
        ('RETENTION_DAYS', '0 -1 0.5 forever', 'a whole number from 1 to 36500'),
        ('MAX_CONNECTIONS', '0 -1 many', 'a whole number from 1 to 1000000'),
        ('COMMAND_RATE_LIMIT', '-1 0.5 100/s unlimited 1000001', 'a whole number from 0 to 1000000'),
        ('TRUSTED_PROXIES', '-1 11 10.0.0.1 yes', 'a whole number from 0 to 10'),
        ('LOG_LEVEL', 'loud 10', 'one of info, debug, warning, error, critical'),
        ('LOG_FORMAT', 'xml', 'one of text, json'),
        ('CORS_ORIGINS', 'app.example https://app.example/ https://a,* *,* http:// https://a?b', '* or origins'),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(name: str, values: str, expected: str) -> None:
    for value in values.split():
        error = failure({name: value})
        assert error.startswith(f'{name} is {value!r}, but has to be {expected}')


def test_a_wrong_value_stays_on_one_short_line() -> None:
    assert len(failure({'PORT': 'x\n' * 100_000})) < 300


@pytest.mark.parametrize('name', ['PORT', 'CORS_ORIGINS', 'PING_TIMEOUT', 'LOG_LEVEL', 'DB_HOST', 'DB_NAME', 'DB_PORT'])
def test_a_wrong_value_that_may_hold_a_password_is_not_repeated(name: str) -> None:
    error = failure(NODE | {name: 'https://user:secret@host/path'})
    assert error.startswith(f'{name} has to be ')
    assert 'secret' not in error


def test_the_database_is_chosen_in_order() -> None:
    environ = NODE.copy()
    assert database(environ) == 'mongodb://localhost:27017/event_schedule'
    environ['MONGODB_URI'] = 'mongodb+srv://cluster.example/events'
    assert database(environ) == 'mongodb+srv://cluster.example/events'
    environ['DATABASE_URL'] = 'sqlite:////var/lib/reminder.db'
    assert database(environ) == 'sqlite:////var/lib/reminder.db'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('DATABASE_URL', 'postgres://user:secret@host/db'),
        ('DATABASE_URL', 'secret'),
        ('DATABASE_URL', 'sqlite:///'),
        ('DATABASE_URL', 'sqlite://secret.db'),
        ('DATABASE_URL', 'mongodb://'),
        ('MONGODB_URI', 'sqlite:///secret.db'),
        ('MONGODB_URI', 'http://user:secret@host'),
    ],
)
def test_a_url_of_another_kind_is_named_and_not_repeated(name: str, value: str) -> None:
    error = failure({name: value})
    assert error.startswith(f'{name} has to be a URL that begins with ')
    assert 'mongodb+srv://' in error
    assert 'secret' not in error


@pytest.mark.parametrize(
    ('more', 'url'),
    [
        ({}, 'mongodb://localhost:27017/event_schedule'),
        ({'DB_PORT': ''}, 'mongodb://localhost:27017/event_schedule'),
        ({'DB_PORT': '27018', 'DB_HOST': '10.0.0.7'}, 'mongodb://10.0.0.7:27018/event_schedule'),
        ({'DB_HOST': '::1'}, 'mongodb://[::1]:27017/event_schedule'),
        ({'DB_HOST': '[::1]'}, 'mongodb://[::1]:27017/event_schedule'),
        ({'DB_NAME': 'Ereignisse-ä%'}, 'mongodb://localhost:27017/Ereignisse-%C3%A4%25'),
        ({'DB_AUTHSOURCE': 'admin'}, 'mongodb://localhost:27017/event_schedule'),
        (
            {'DB_USER': 'ann', 'DB_PASSWORD': 'x', 'DB_AUTHSOURCE': 'admin'},
            'mongodb://ann:x@localhost:27017/event_schedule?authSource=admin',
        ),
        (
            {'DB_USER': 'ann', 'DB_PASSWORD': 'x'},
            'mongodb://ann:x@localhost:27017/event_schedule?authSource=event_schedule',
        ),
        (
            {'DB_USER': 'a:b@c', 'DB_PASSWORD': 'p/w?#%&+ ü', 'DB_AUTHSOURCE': 'a&b'},
            'mongodb://a%3Ab%40c:p%2Fw%3F%23%25%26%2B%20%C3%BC@localhost:27017/event_schedule?authSource=a%26b',
        ),
    ],
)
def test_the_settings_of_the_node_server_make_a_url(more: dict[str, str], url: str) -> None:
    assert database(NODE | more) == url


@settings(deadline=None)
@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_pymongo_reads_user_and_password_as_they_were_given(user: str, password: str) -> None:
    from pymongo.uri_parser import parse_uri

    user, password = user.strip() or 'u', password.strip() or 'p'
    parts = parse_uri(database(NODE | {'DB_USER': user, 'DB_PASSWORD': password, 'DB_AUTHSOURCE': 'admin'}))
    assert (parts['username'], parts['password']) == (user, password)
    assert (parts['nodelist'], parts['database']) == ([('localhost', 27017)], 'event_schedule')
    assert parts['options']['authSource'] == 'admin'


@pytest.mark.parametrize(
    ('environ', 'names'),
    [
        ({'DB_HOST': 'localhost'}, ['DB_NAME']),
        ({'DB_NAME': 'events'}, ['DB_HOST']),
        ({'DB_PORT': '27017'}, ['DB_HOST']),
        ({'DB_PASSWORD': 'secret'}, ['DB_HOST']),
        (NODE | {'DB_PORT': '0'}, ['DB_PORT']),
        (NODE | {'DB_PORT': 'secret@x'}, ['DB_PORT']),
        (NODE | {'DB_HOST': 'a/b'}, ['DB_HOST']),
        (NODE | {'DB_NAME': 'a b'}, ['DB_NAME']),
        (NODE | {'DB_NAME': 'a/b'}, ['DB_NAME']),
        (NODE | {'DB_USER': 'ann'}, ['DB_USER', 'DB_PASSWORD']),
        (NODE | {'DB_PASSWORD': 'secret'}, ['DB_USER', 'DB_PASSWORD']),
    ],
)
def test_half_a_database_of_the_node_server_is_an_error(environ: dict[str, str], names: list[str]) -> None:
    error = failure(environ)
    assert all(name in error for name in names)
    assert 'secret' not in error


def test_on_a_machine_that_forgets_its_files_a_database_is_required() -> None:
    assert 'DATABASE_URL' in failure({'DYNO': 'web.1'})
    assert 'lost each day' in failure({'DYNO': 'web.1'})


def test_on_a_machine_that_forgets_its_files_an_explicit_file_is_taken_with_a_warning() -> None:
    config = Config.from_env({'DYNO': 'web.1', 'DATABASE_URL': 'sqlite:///reminder.db'})
    assert config.database_url == 'sqlite:///reminder.db'
    (warning,) = config.warnings
    assert 'lost each day' in warning
    assert '\n' not in warning


@pytest.mark.parametrize('more', [{'DATABASE_URL': 'mongodb://host/db'}, {'MONGODB_URI': 'mongodb://host/db'}, NODE])
def test_on_a_machine_that_forgets_its_files_mongodb_is_fine(more: dict[str, str]) -> None:
    assert Config.from_env({'DYNO': 'web.1'} | more).warnings == ()


class TestAuthentication:
    def test_a_token_is_verified_with_one_key(self) -> None:
        error = failure({'AUTH_SECRET': SECRET, 'AUTH_PUBLIC_KEY': KEY})
        assert error.startswith('AUTH_SECRET and AUTH_PUBLIC_KEY are both set')

    @pytest.mark.parametrize(
        'secret', ['S3CRET', 'S3CRET-' + 24 * 'x', 'S3CRET-ä' + 22 * 'x', '\udcff' + 30 * 'S3CRET'[:1]]
    )
    def test_a_short_secret_is_named_and_not_repeated(self, secret: str) -> None:
        error = failure({'AUTH_SECRET': secret})
        assert error.startswith('AUTH_SECRET has to be at least 32 bytes long')
        assert secret not in error

    @pytest.mark.parametrize(
        'key',
        [
            'S3CRET',
            '/etc/S3CRET.pem',
            KEY.replace('PUBLIC', 'S3CRET PRIVATE'),
            KEY.replace('PUBLIC', 'RSA PUBLIC'),
            f'{KEY}\n{KEY}',
            f'S3CRET{KEY}',
            KEY.replace('-----END PUBLIC KEY-----', ''),
            KEY.replace('MCow', 'S3CRET\\t'),
        ],
    )
    def test_what_is_no_public_key_is_named_and_not_repeated(self, key: str) -> None:
        error = failure({'AUTH_PUBLIC_KEY': key})
        assert error.startswith('AUTH_PUBLIC_KEY has to be the text of a public key in PEM form')
        assert 'S3CRET' not in error

    @pytest.mark.parametrize('name', ['AUTH_AUDIENCE', 'AUTH_ISSUER'])
    def test_a_claim_that_no_token_is_looked_at_for_is_an_error(self, name: str) -> None:
        assert failure({name: 'x'}).startswith(f'{name} is set, but without AUTH_SECRET or AUTH_PUBLIC_KEY')
        config = Config.from_env({name: 'https://id.example/ ', 'AUTH_SECRET': SECRET})
        assert getattr(config, name.lower()) == 'https://id.example/'


class TestAdminUI:
    HASH = '$2b$10$8Nx225ufzI9WJFtIxQzFxu5D/5061npOupvZhYjJQKasarkiOTp.u'

    def test_a_name_and_a_hash_let_it_in(self) -> None:
        config = Config.from_env({'ADMIN_UI_USERNAME': ' ann ', 'ADMIN_UI_PASSWORD': self.HASH})
        assert (config.admin_ui_username, config.admin_ui_password) == ('ann', self.HASH)
        assert self.HASH not in repr(config)

    def test_one_without_the_other_is_an_error(self) -> None:
        expected = 'ADMIN_UI_USERNAME and ADMIN_UI_PASSWORD have to be set both or neither'
        assert failure({'ADMIN_UI_USERNAME': 'ann'}) == failure({'ADMIN_UI_PASSWORD': self.HASH}) == expected

    @pytest.mark.parametrize(
        'wrong',
        [
            'S3CRET',
            HASH[:-1],
            HASH.replace('$10$', '$03$'),
            HASH.replace('$10$', '$16$'),  # it would take a minute to verify
            HASH.replace('$2b$', '$1$'),
            HASH.replace('xu5D', 'xZ5D'),  # bits that a salt does not have
        ],
    )
    def test_what_is_no_hash_is_an_error_that_does_not_repeat_it(self, wrong: str) -> None:
        error = failure({'ADMIN_UI_USERNAME': 'ann', 'ADMIN_UI_PASSWORD': wrong})
        assert error.startswith('ADMIN_UI_PASSWORD has to be the bcrypt hash of a password')
        assert wrong not in error

    def test_its_secret_is_never_shown(self) -> None:
        config = Config.from_env({'AUTH_SECRET': SECRET})
        assert SECRET not in repr(config)
        assert SECRET not in str(config)

    @pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.168.1.5', 'reminders.example.com', '128.0.0.1'])
    def test_a_server_for_others_that_asks_for_no_token_is_warned_of(self, host: str) -> None:
        (warning,) = Config.from_env({'HOST': host}).warnings
        assert 'AUTH_SECRET' in warning
        assert '\n' not in warning
        for name, value in (('AUTH_SECRET', SECRET), ('AUTH_PUBLIC_KEY', KEY)):
            assert Config.from_env({'HOST': host, name: value}).warnings == ()

    @pytest.mark.parametrize('host', ['127.0.0.1', '127.8.0.1', '::1', 'localhost'])
    def test_a_server_for_this_machine_alone_needs_no_token(self, host: str) -> None:
        assert Config.from_env({'HOST': host}).warnings == ()


@pytest.mark.parametrize(
    ('url', 'shown'),
    [
        ('sqlite:///reminder.db', 'sqlite:///reminder.db'),
        ('mongodb://localhost', 'mongodb://localhost'),
        ('mongodb://ann:secret@localhost:27017/events?authSource=secret', 'mongodb://localhost:27017/events'),
        ('mongodb://a.example:1,b.example:2/events?replicaSet=rs', 'mongodb://a.example:1,b.example:2/events'),
        ('mongodb+srv://ann:s%40cret@cluster.example/?tls=true', 'mongodb+srv://cluster.example/'),
        ('mongodb://ann:secret@[::1]:27017/events', 'mongodb://[::1]:27017/events'),
        ('mongodb://ann:se/cret@host/events', 'mongodb://...'),
        ('mongodb://ann:se?cret@host/events', 'mongodb://...'),
        ('mongodb://ann:se#cret@host/events', 'mongodb://...'),
        ('mongodb://ann:se@cret@host/events', 'mongodb://...'),
        ('mongodb://ann:secret', 'mongodb://...'),
    ],
)
def test_the_database_is_shown_without_credentials(url: str, shown: str) -> None:
    assert Config.from_env({'DATABASE_URL': url}).database_for_logs == shown


@settings(deadline=None)
@given(before=st.text('aZ0:@/?#%[]&=,. \\'), after=st.text('aZ0:@/?#%[]&=,. \\'), rest=st.sampled_from(['', '/db?a=b']))
@example(before='@', after='?', rest='')
def test_a_password_is_never_shown_however_it_is_written(before: str, after: str, rest: str) -> None:
    config = Config.from_env({'DATABASE_URL': f'mongodb://ann:{before}S3CRET{after}@host{rest}'})
    assert 'S3CRET' not in config.database_for_logs
    assert 'S3CRET' not in repr(config)
    assert 'S3CRET' not in str(config)


def test_a_config_cannot_be_changed() -> None:
    config: Any = Config.from_env({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1
