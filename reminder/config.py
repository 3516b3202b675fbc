"""The settings: their names, defaults and valid values, read from a mapping of the environment."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar
from urllib.parse import quote

from reminder.errors import ConfigError

_DAY = 86_400
_SHOWN_LENGTH = 60

_MONGODB = ('mongodb://', 'mongodb+srv://')
_DATABASES = ('sqlite:///', *_MONGODB)
_NODE_SETTINGS = ('DB_HOST', 'DB_PORT', 'DB_NAME', 'DB_USER', 'DB_PASSWORD', 'DB_AUTHSOURCE')
_HOST = r'(?:[\w.%-]+|\[[\w.:%]+\])'
_HOSTS = rf'{_HOST}(?::\d+)?(?:,{_HOST}(?::\d+)?)*'
_MONGODB_URL = re.compile(rf'(mongodb(?:\+srv)?://)(?:[^@/?#]*@)?({_HOSTS}(?:/[^@/?#]*)?)(?:\?[^@]*)?')
_DATABASE_NAME = re.compile(r'[^\s/\\."$*<>:|?]{1,63}')

_WHOLE_NUMBER = re.compile(r'\d{1,9}', re.ASCII)
_NUMBER = re.compile(r'\d{1,9}(\.\d{1,9})?', re.ASCII)
_ORIGIN = re.compile(r'[a-z][a-z0-9+.-]*://[^\s/?#@]+|null')

_SHORTEST_SECRET = 32
"""Bytes: a key of HS256 has to be at least as long as its hash (RFC 7518 section 3.2)."""
_BCRYPT = re.compile(r'\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}')
"""Up to a cost that takes some seconds of a processor."""
_PUBLIC_KEY = re.compile(r'-----BEGIN PUBLIC KEY-----\s[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----')

Default = TypeVar('Default')


@dataclass(frozen=True)
class Config:
    """The settings of one server.

    `database_url` may hold a password: show `database_for_logs` instead. `cors_origins` are let in beside the
    server's own origin, `('*',)` means all. `ping_interval`, `ping_timeout` and `recovery_window` are seconds.
    `retention_days` is None where events are kept for good. `log_level` is a name of the logging module's.
    `command_rate_limit` is commands a second of one connection, 0 for any number. `trusted_proxies` is how many proxies
    stand before the server. Tokens are verified with `auth_secret` (HS256) or `auth_public_key` (PEM), and have to name
    `auth_audience` and `auth_issuer` where these are set; where both keys are None, everybody may do everything.
    `admin_ui_username` and `admin_ui_password`, a bcrypt hash, let the Socket.IO Admin UI in; None where nobody is.
    `warnings` are what the operator should know of these settings, one line each.
    """

    port: int
    host: str
    database_url: str = field(repr=False)
    cors_origins: tuple[str, ...]
    ping_interval: float
    ping_timeout: float
    recovery_window: float
    replay_limit: int
    retention_days: int | None
    max_connections: int
    command_rate_limit: int
    trusted_proxies: int
    auth_secret: str | None = field(repr=False)
    auth_public_key: str | None = field(repr=False)
    auth_audience: str | None
    auth_issuer: str | None
    admin_ui_username: str | None
    admin_ui_password: str | None = field(repr=False)
    log_level: str
    log_format: str
    warnings: tuple[str, ...]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` holds. An empty value counts as unset.

        Raises `ConfigError` for the first wrong one. Values that may hold a password are not repeated in it.
        """
        settings = _Settings(environ)
        host = settings.text('HOST') or '127.0.0.1'
        database_url = _database_url(settings)
        auth_secret, auth_public_key = _auth_keys(settings)
        admin_ui_username, admin_ui_password = _admin_ui(settings)
        return cls(
            port=settings.whole_number('PORT', 3000, 0, 65_535),
            host=host,
            database_url=database_url,
            cors_origins=_cors_origins(settings),
            ping_interval=settings.seconds('PING_INTERVAL', 25, 0.001),
            ping_timeout=settings.seconds('PING_TIMEOUT', 20, 0.001),
            recovery_window=settings.seconds('RECOVERY_WINDOW', 300, 0),
            replay_limit=settings.whole_number('REPLAY_LIMIT', 10_000, 1, 1_000_000),
            retention_days=settings.whole_number('RETENTION_DAYS', None, 1, 36_500),
            max_connections=settings.whole_number('MAX_CONNECTIONS', 20_000, 1, 1_000_000),
            command_rate_limit=settings.whole_number('COMMAND_RATE_LIMIT', 100, 0, 1_000_000),
            trusted_proxies=settings.whole_number('TRUSTED_PROXIES', 0, 0, 10),
            auth_secret=auth_secret,
            auth_public_key=auth_public_key,
            auth_audience=settings.text('AUTH_AUDIENCE') or None,
            auth_issuer=settings.text('AUTH_ISSUER') or None,
            admin_ui_username=admin_ui_username,
            admin_ui_password=admin_ui_password,
            log_level=settings.one_of('LOG_LEVEL', ('info', 'debug', 'warning', 'error', 'critical')).upper(),
            log_format=settings.one_of('LOG_FORMAT', ('text', 'json')),
            warnings=_warnings(settings, database_url, host, bool(auth_secret or auth_public_key)),
        )

    @property
    def database_for_logs(self) -> str:
        """`database_url` without user, password and options; no more than its kind where it is malformed."""
        kind = self.database_url.partition('://')[0]
        if kind == 'sqlite':
            return self.database_url
        parts = _MONGODB_URL.fullmatch(self.database_url)
        return ''.join(parts.groups()) if parts else f'{kind}://...'


class _Settings:
    """Typed reads of an environment; each raises `ConfigError` where the value is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        """The value without blanks around it; '' where it is unset."""
        return self._environ.get(name, '').strip()

    def whole_number(self, name: str, default: Default, least: int, most: int) -> int | Default:
        value = self.text(name)
        if not value:
            return default
        if not _WHOLE_NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise _wrong(name, value, f'a whole number from {least} to {most}')
        return int(value)

    def seconds(self, name: str, default: float, least: float) -> float:
        value = self.text(name)
        if not value:
            return default
        if not _NUMBER.fullmatch(value) or not least <= float(value) <= _DAY:
            raise _wrong(name, value, f'a number of seconds from {least} to {_DAY}')
        return float(value)

    def one_of(self, name: str, choices: Sequence[str]) -> str:
        """One of `choices`, in any letter case; the first of them where it is unset."""
        value = self.text(name)
        if not value:
            return choices[0]
        if value.lower() not in choices:
            raise _wrong(name, value, f'one of {", ".join(choices)}')
        return value.lower()


def _wrong(name: str, value: str, expected: str) -> ConfigError:
    if '@' in value:  # a URL in the wrong place, perhaps, with a password
        return ConfigError(f'{name} has to be {expected}')
    shown = value if len(value) <= _SHOWN_LENGTH else f'{value[:_SHOWN_LENGTH]}...'
    return ConfigError(f'{name} is {shown!r}, but has to be {expected}')


def _database_url(settings: _Settings) -> str:
    for name, kinds in (('DATABASE_URL', _DATABASES), ('MONGODB_URI', _MONGODB)):
        url = settings.text(name)
        if url:
            if not url.startswith(kinds) or url in kinds:
                raise ConfigError(f'{name} has to be a URL that begins with {" or ".join(kinds)}')
            return url
    if any(map(settings.text, _NODE_SETTINGS)):
        return _node_server_url(settings)
    if settings.text('DYNO'):
        raise ConfigError(
            'DATABASE_URL is not set, and on this machine (DYNO is set) the default, a file, would be lost each day: '
            'give a mongodb:// URL, or a sqlite:/// one if events may be lost'
        )
    return 'sqlite:///reminder.db'


def _node_server_url(settings: _Settings) -> str:
    """The URL that the settings of the Node.js server make."""
    host, name = settings.text('DB_HOST'), settings.text('DB_NAME')
    port = settings.whole_number('DB_PORT', 27017, 1, 65_535)
    user, password = settings.text('DB_USER'), settings.text('DB_PASSWORD')
    if ':' in host and not host.startswith('['):
        host = f'[{host}]'
    if not re.fullmatch(_HOST, host):
        raise _wrong('DB_HOST', host, "the name or address of MongoDB's machine")
    if not _DATABASE_NAME.fullmatch(name):
        raise _wrong('DB_NAME', name, 'the name of a MongoDB database')
    if bool(user) != bool(password):
        raise ConfigError('DB_USER and DB_PASSWORD have to be set both or neither')
    if not user:
        return f'mongodb://{host}:{port}/{quote(name, safe="")}'
    source = settings.text('DB_AUTHSOURCE') or name
    return (
        f'mongodb://{quote(user, safe="")}:{quote(password, safe="")}@{host}:{port}/{quote(name, safe="")}'
        f'?authSource={quote(source, safe="")}'
    )


def _cors_origins(settings: _Settings) -> tuple[str, ...]:
    value = settings.text('CORS_ORIGINS')
    origins = tuple(origin for part in value.lower().split(',') if (origin := part.strip()))
    if origins != ('*',) and not all(map(_ORIGIN.fullmatch, origins)):
        raise _wrong('CORS_ORIGINS', value, '* or origins with commas between them, each like https://host:port')
    return origins


def _auth_keys(settings: _Settings) -> tuple[str | None, str | None]:
    """The secret and the public key that tokens are verified with: one of them, or none where all are let in."""
    secret, key = settings.text('AUTH_SECRET'), settings.text('AUTH_PUBLIC_KEY')
    if secret and key:
        raise ConfigError('AUTH_SECRET and AUTH_PUBLIC_KEY are both set, but tokens are verified with one of them')
    if not (secret or key):
        for name in ('AUTH_AUDIENCE', 'AUTH_ISSUER'):
            if settings.text(name):
                raise ConfigError(f'{name} is set, but without AUTH_SECRET or AUTH_PUBLIC_KEY no token is looked at')
    if secret and len(secret.encode(errors='surrogateescape')) < _SHORTEST_SECRET:
        raise ConfigError(f'AUTH_SECRET has to be at least {_SHORTEST_SECRET} bytes long, as `openssl rand -hex 32` is')
    key = key.replace('\\n', '\n').strip()  # as files of settings hold what has several lines
    if key and not _PUBLIC_KEY.fullmatch(key):
        raise ConfigError(
            'AUTH_PUBLIC_KEY has to be the text of a public key in PEM form, from -----BEGIN PUBLIC KEY----- to its '
            'end, with line breaks or \\n between its lines'
        )
    return secret or None, key or None


def _admin_ui(settings: _Settings) -> tuple[str | None, str | None]:
    """The name and the hash of the password that the Admin UI has to know, or neither."""
    username, password = settings.text('ADMIN_UI_USERNAME'), settings.text('ADMIN_UI_PASSWORD')
    if bool(username) != bool(password):
        raise ConfigError('ADMIN_UI_USERNAME and ADMIN_UI_PASSWORD have to be set both or neither')
    if password and not _BCRYPT.fullmatch(password):
        raise ConfigError(
            'ADMIN_UI_PASSWORD has to be the bcrypt hash of a password, of a cost from 4 to 15, as '
            "`htpasswd -nBC 10 ''` prints behind the colon"
        )
    return username or None, password or None


def _warnings(settings: _Settings, database_url: str, host: str, authenticates: bool) -> tuple[str, ...]:
    warnings = []
    if settings.text('DYNO') and database_url.startswith('sqlite:'):
        warnings.append('events are kept in a file, which on this machine (DYNO is set) is lost each day')
    if not authenticates and not _is_loopback(host):
        warnings.append(
            f'HOST is {host!r}: others than this machine get here, and without AUTH_SECRET or AUTH_PUBLIC_KEY they may '
            'do everything'
        )
    return tuple(warnings)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
