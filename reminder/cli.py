"""The command line `event-reminder`: its arguments and its exit codes.

Nothing heavy is imported before the arguments are known: `serve` patches the standard library first, the commands of a
client must not. Exit codes: 0; 1 the server answered a failure, cannot be reached or cannot start; 2 a wrong argument
or setting; 130 ended by Ctrl-C.
"""

import argparse
import os
import re
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reminder import __version__
from reminder.errors import ConfigError, ReminderError
from reminder.services.identity import SCOPES

if TYPE_CHECKING:
    from reminder.client import Server

EXAMPLES = """\
examples:
  event-reminder serve
  event-reminder schedule 'Stand-up' --wait
  event-reminder schedule 'Stand-up' --at '2030-01-31 09:30' --zone Europe/Berlin
  event-reminder listen --url https://reminders.example.com
  event-reminder timezones america/
  event-reminder status
  event-reminder token --scope listen --expires 30d
"""
CLIENT_NOTE = 'Results go to standard output; notices, warnings and failures to standard error.'


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command (`arguments` without the program's name; the process's own by default); returns its exit code.

    Raises `SystemExit`, as argparse does, for `--help` and for arguments that are none.
    """
    options = _parser().parse_args(arguments)
    try:
        _RUN[options.command](options)
        sys.stdout.flush()
    except ReminderError as error:
        print(f'event-reminder: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read our output has seen enough; the interpreter flushes once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _serve(_options: argparse.Namespace) -> None:
    from gevent import monkey

    monkey.patch_all()
    from reminder.serve import serve

    serve()


def _timezones(options: argparse.Namespace) -> None:
    from reminder import client

    client.timezones(_server(options), client.Output(options.json), options.filter)


def _schedule(options: argparse.Namespace) -> None:
    from reminder import client

    client.schedule(_server(options), client.Output(options.json), options.name, options.at, options.zone, options.wait)


def _listen(options: argparse.Namespace) -> None:
    from reminder import client

    client.listen(_server(options), client.Output(options.json), options.state)


def _status(options: argparse.Namespace) -> None:
    from reminder import client

    client.status(_server(options), client.Output(options.json), options.id)


def _token(options: argparse.Namespace) -> None:
    from reminder import issuer

    issuer.token(options.scope, options.expires, options.subject, options.private_key)


def _server(options: argparse.Namespace) -> 'Server':
    from reminder.client import Server

    return Server(options.url, options.token)


_RUN = {
    'serve': _serve,
    'timezones': _timezones,
    'schedule': _schedule,
    'listen': _listen,
    'status': _status,
    'token': _token,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='event-reminder',
        description='Keeps events and reminds every connected Socket.IO client when their minute comes.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        '--url',
        type=_url,
        default=os.environ.get('EVENT_REMINDER_URL', 'http://127.0.0.1:3000'),
        help='the server (default: EVENT_REMINDER_URL, else http://127.0.0.1:3000)',
    )
    common.add_argument(
        '--token',
        default=os.environ.get('EVENT_REMINDER_TOKEN') or None,
        help='what lets you in, where the server asks for it (default: EVENT_REMINDER_TOKEN, which is the better way: '
        'others on this machine may see arguments)',
    )
    common.add_argument('--json', action='store_true', help='print what the server sent, one JSON value a line')

    commands.add_parser(
        'serve',
        help='run the server',
        description='Runs the server until SIGTERM or Ctrl-C. Its settings (PORT, HOST, DATABASE_URL, ...) come from '
        'the environment and, where they are not set there, from a file .env in the working directory.',
    )

    timezones = commands.add_parser(
        'timezones',
        parents=[common],
        help='list the time zones that the server knows',
        description=f"Lists the names of the server's time zones, one a line. {CLIENT_NOTE}",
        epilog='example: event-reminder timezones america/',
    )
    timezones.add_argument('filter', nargs='?', default='', metavar='FILTER', help='only names that contain this text')

    schedule = commands.add_parser(
        'schedule',
        parents=[common],
        help='schedule an event',
        description=f'Schedules an event, of which all clients are reminded at its minute. {CLIENT_NOTE}',
        epilog="example: event-reminder schedule 'Stand-up' --at '2030-01-31 09:30' --zone Europe/Berlin --wait",
    )
    schedule.add_argument('name', metavar='NAME', help='what the event is called')
    schedule.add_argument('--at', metavar="'YYYY-MM-DD HH:mm'", help='when, in that zone (default: the next minute)')
    schedule.add_argument('--zone', metavar='ZONE', help="an IANA time zone (default: this machine's)")
    schedule.add_argument('--wait', action='store_true', help='stay until the reminder has come, and print it too')

    listen = commands.add_parser(
        'listen',
        parents=[common],
        help='print reminders as they come',
        description='Prints reminders as they come, until Ctrl-C. Where the connection is lost it waits for the server '
        f'and then prints what came meanwhile. {CLIENT_NOTE}',
        epilog='example: event-reminder listen --state ~/.reminders --json | jq -r .name',
    )
    listen.add_argument(
        '--state',
        type=Path,
        metavar='FILE',
        help='keep the place in FILE, and begin with what came since last time',
    )

    status = commands.add_parser(
        'status',
        parents=[common],
        help='say how the server stands, or an event',
        description=f"Says how far the server's log is closed and delivered, how many clients there are and what comes "
        f'next; with ID, when that event is due and whether it was delivered. {CLIENT_NOTE}',
        epilog='example: event-reminder status 6560f3c2a1b2c3d4e5f60718',
    )
    status.add_argument('id', nargs='?', metavar='ID', help="an event's _id")

    token = commands.add_parser(
        'token',
        help='make a token for a client',
        description='Makes a token that lets a client in to a server with the settings AUTH_..., which come from where '
        '"serve" takes them, and prints it.',
        epilog='example: event-reminder token --scope listen --expires 30d --subject hall',
    )
    token.add_argument(
        '--scope',
        type=_scopes,
        default='listen,schedule',
        metavar='SCOPES',
        help=f'what it allows: {", ".join(sorted(SCOPES))}, with commas between them (default: listen,schedule)',
    )
    token.add_argument(
        '--expires',
        type=_seconds,
        default='1h',
        metavar='TIME',
        help='how long it holds: a number of s, m, h or d, as in 90m (default: 1h)',
    )
    token.add_argument('--subject', metavar='NAME', help='whom it is for')
    token.add_argument(
        '--private-key', type=Path, metavar='FILE', help='what to sign with (PEM), where the server has AUTH_PUBLIC_KEY'
    )
    return parser


def _scopes(text: str) -> frozenset[str]:
    scopes = frozenset(re.split(r'[,\s]+', text))
    if not scopes <= SCOPES:
        raise argparse.ArgumentTypeError(f'{text!r} has to be of {", ".join(sorted(SCOPES))}')
    return scopes


def _seconds(text: str) -> int:
    match = re.fullmatch(r'([1-9]\d{0,5})([smhd])', text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f'{text!r} is no time of the form 90m (s, m, h or d)')
    return int(match[1]) * {'s': 1, 'm': 60, 'h': 3_600, 'd': 86_400}[match[2]]


def _url(text: str) -> str:
    try:
        parts = urllib.parse.urlsplit(text)
        well_formed = parts.scheme in ('http', 'https') and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        well_formed = False
    if not well_formed:
        raise argparse.ArgumentTypeError(f'{text!r} is no address of the form http://host:port or https://host')
    return text


if __name__ == '__main__':
    sys.exit(main())
