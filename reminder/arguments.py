"""The command line's arguments: what they are called, what they may be, and what `--help` says of them."""

import argparse
import json
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

from reminder import __version__
from reminder.services.channels import RULE, is_channel
from reminder.services.identity import LISTEN, SCHEDULE, SCOPES

DEFAULT_SCOPES = (LISTEN, SCHEDULE)
"""What a token allows where nothing else is asked for. Not argparse's default, to which it would add what is."""

EXAMPLES = """\
examples:
  event-reminder serve
  event-reminder schedule 'Stand-up' --wait
  event-reminder schedule 'Stand-up' --at '2030-01-31 09:30' --zone Europe/Berlin
  event-reminder schedule 'Stand-up' --at '2030-01-31 09:30' --repeat 'FREQ=WEEKLY;BYDAY=MO,TH'
  event-reminder list --to 12h
  event-reminder update 6560f3c2a1b2c3d4e5f60718 --at '2030-01-31 10:00'
  event-reminder cancel 6560f3c2a1b2c3d4e5f60718
  event-reminder history --since 2h
  event-reminder listen --url https://reminders.example.com
  event-reminder timezones america/
  event-reminder status
  event-reminder export events.ics
  event-reminder import holidays.ics --dry-run
  event-reminder token --scope listen --expires 30d
"""
RESULT_NOTE = (
    'A table on a terminal, with times in its zone; else, or with --json, what the server sent, one JSON value a line. '
    'Notices, warnings and failures go to standard error.'
)
FORMATS = ('jsonl', 'ics')
TIME_NOTE = "as '2030-01-31 09:30' in this machine's zone, 2030-01-31T08:30Z, or 90m (s, m, h, d) from now"


def parser() -> argparse.ArgumentParser:
    """The parser; what it finds names the command in `command`."""
    top = argparse.ArgumentParser(
        prog='event-reminder',
        description='Keeps events and reminds every connected Socket.IO client when their minute comes.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = top.add_subparsers(dest='command', required=True, metavar='COMMAND')

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
    common.add_argument('--json', action='store_true', help='on a terminal, too, print what the server sent, as JSON')

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
        description="Lists the names of the server's time zones, one a line; with --json they are one JSON list.",
        epilog='example: event-reminder timezones america/',
    )
    timezones.add_argument('filter', nargs='?', default='', metavar='FILTER', help='only names that contain this text')

    schedule = commands.add_parser(
        'schedule',
        parents=[common],
        help='schedule an event',
        description=f'Schedules an event, of which all clients are reminded at its minute. {RESULT_NOTE}',
        epilog="example: event-reminder schedule 'Stand-up' --at '2030-01-31 09:30' --zone Europe/Berlin --wait",
    )
    schedule.add_argument('name', metavar='NAME', help='what the event is called')
    schedule.add_argument('--at', metavar="'YYYY-MM-DD HH:mm'", help='when, in that zone (default: the next minute)')
    schedule.add_argument('--zone', metavar='ZONE', help="an IANA time zone (default: this machine's)")
    _add_details(schedule)
    schedule.add_argument(
        '--key',
        default=argparse.SUPPRESS,
        metavar='TEXT',
        help='what makes it the same event when the same is scheduled again',
    )
    schedule.add_argument('--wait', action='store_true', help='stay until the reminder has come, and print it too')

    listen = commands.add_parser(
        'listen',
        parents=[common],
        help='print reminders as they come',
        description='Prints reminders as they come, until Ctrl-C. Where the connection is lost it waits for the server '
        f'and then prints what came meanwhile. {RESULT_NOTE}',
        epilog='example: event-reminder listen --state ~/.reminders | jq -r .name',
    )
    listen.add_argument(
        '--state',
        type=Path,
        metavar='FILE',
        help='keep the place in FILE, and begin with what came since last time',
    )

    listen.add_argument(
        '--channel', action='append', default=[], metavar='NAME', help='and what is for that channel (may be repeated)'
    )

    pending = commands.add_parser(
        'list',
        parents=[common],
        help='list what is pending',
        description=f'Lists pending events in the order in which they are due. {RESULT_NOTE}',
        epilog='example: event-reminder list --to 12h --channel team/a',
    )
    pending.add_argument('--channel', metavar='NAME', help='what is for that channel or for everybody (default: all)')
    pending.add_argument('--from', dest='begin', metavar='TIME', help=f'from then on; {TIME_NOTE}')
    pending.add_argument('--to', dest='end', metavar='TIME', help='up to then')
    pending.add_argument('--limit', type=_count, default=100, metavar='N', help='at most so many (default: 100)')
    pending.add_argument('--series', action='store_true', help='what is repeated, in place of single events')

    cancel = commands.add_parser(
        'cancel',
        parents=[common],
        help='cancel an event or a series',
        description=f'Cancels what is pending: an event, one of a series, or a series with all of it. {RESULT_NOTE}',
        epilog='example: event-reminder cancel 6560f3c2a1b2c3d4e5f60718',
    )
    cancel.add_argument('id', metavar='ID', help='its _id')

    update = commands.add_parser(
        'update',
        parents=[common],
        argument_default=argparse.SUPPRESS,
        help='change an event or a series',
        description=f'Changes what is pending; what is not said stays as it is. {RESULT_NOTE}',
        epilog="example: event-reminder update 6560f3c2a1b2c3d4e5f60718 --at '2030-01-31 10:00'",
    )
    update.add_argument('id', metavar='ID', help='its _id')
    update.add_argument('--name', dest='eventName', metavar='NAME', help='what it is called')
    update.add_argument('--at', dest='time', metavar="'YYYY-MM-DD HH:mm'", help='when, in its zone or that of --zone')
    update.add_argument('--zone', dest='timeZone', metavar='ZONE', help='an IANA time zone')
    _add_details(update, can_be_removed=True)

    history = commands.add_parser(
        'history',
        parents=[common],
        help='list what was delivered',
        description=f'Lists the reminders that were delivered, in their order. {RESULT_NOTE}',
        epilog='example: event-reminder history --since 2h | jq -r .name',
    )
    history.add_argument('--channel', metavar='NAME', help='what was for that channel or for everybody (default: all)')
    history.add_argument(
        '--since',
        metavar='OFFSET|ID|TIME',
        help=f'what came after an offset or a reminder, or from a time on (default: 24h); {TIME_NOTE}',
    )
    history.add_argument('--limit', type=_count, default=100, metavar='N', help='at most so many (default: 100)')

    status = commands.add_parser(
        'status',
        parents=[common],
        help='say how the server stands, or an event',
        description=f"Says how far the server's log is closed and delivered, how many clients there are and what comes "
        f'next; with ID, when that event is due and whether it was delivered. {RESULT_NOTE}',
        epilog='example: event-reminder status 6560f3c2a1b2c3d4e5f60718',
    )
    status.add_argument('id', nargs='?', metavar='ID', help="an event's _id")

    export = commands.add_parser(
        'export',
        help='write what is pending to a file',
        description='Writes the series and the pending events of the database that "serve" would use, and none of it '
        'changes; servers may run meanwhile. JSON lines hold all that is kept of them, iCalendar what other programs '
        'can read.',
        epilog='example: event-reminder export | DATABASE_URL=mongodb://db/event-reminder event-reminder import -',
    )
    export.add_argument('file', nargs='?', type=Path, default=Path('-'), metavar='FILE|-', help='(default: -)')
    export.add_argument('--format', choices=FORMATS, help="(default: as FILE's name ends, else jsonl)")
    export.add_argument('--all', action='store_true', help='also what was delivered')

    incoming = commands.add_parser(
        'import',
        help='read events from a file',
        description='Keeps the events and series of a file in the database that "serve" would use; servers may run '
        'meanwhile. What is there already stays as it is, so the same can be imported again. What cannot be read or '
        'kept is named, and the exit code is 1 then.',
        epilog='example: event-reminder import holidays.ics --zone Europe/Berlin',
    )
    incoming.add_argument('file', type=Path, metavar='FILE|-')
    incoming.add_argument('--format', choices=FORMATS, help='(default: as it begins)')
    incoming.add_argument(
        '--zone', metavar='ZONE', help="of a calendar's days and times that name none (default: this machine's)"
    )
    incoming.add_argument('--dry-run', action='store_true', help='only count what would be kept')

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
        action='extend',
        metavar='SCOPES',
        help=f'what it allows: {", ".join(sorted(SCOPES))}, with commas between them or one by one '
        f'(default: {",".join(DEFAULT_SCOPES)})',
    )
    token.add_argument(
        '--channel',
        type=_channel,
        action='append',
        metavar='NAME',
        help='a channel that it lets see, and no others but what is for everybody (may be repeated; default: all)',
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
    return top


def _add_details(command: argparse.ArgumentParser, can_be_removed: bool = False) -> None:
    """What events have that not all have; there is nothing of what is not said."""
    command.add_argument(
        '--repeat',
        default=argparse.SUPPRESS,
        metavar='RRULE',
        help='how it is repeated (RFC 5545), as in FREQ=WEEKLY;BYDAY=MO,WE',
    )
    for name, metavar, kind, text in (
        ('channel', 'NAME', str, 'who is reminded: those who listen to that channel'),
        ('payload', 'JSON', _json, 'what clients get along with it'),
    ):
        either = command.add_mutually_exclusive_group()
        either.add_argument(f'--{name}', type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text)
        if can_be_removed:
            either.add_argument(
                f'--no-{name}',
                dest=name,
                action='store_const',
                const=None,
                default=argparse.SUPPRESS,
                help=f'take the {name} away',
            )


def _count(text: str) -> int:
    if not re.fullmatch(r'[1-9]\d{0,8}', text, re.ASCII):
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1 on')
    return int(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON') from None


def _refuse(constant: str) -> None:
    """Python's JSON knows NaN and Infinity, others' does not."""
    raise ValueError(constant)


def _scopes(text: str) -> frozenset[str]:
    scopes = frozenset(re.split(r'[,\s]+', text))
    if not scopes <= SCOPES:
        raise argparse.ArgumentTypeError(f'{text!r} has to be of {", ".join(sorted(SCOPES))}')
    return scopes


def _channel(text: str) -> str:
    if not is_channel(text):
        raise argparse.ArgumentTypeError(RULE)
    return text


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
