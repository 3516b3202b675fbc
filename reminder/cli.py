"""The command line `event-reminder`: which command is run, and its exit codes.

Nothing heavy is imported before the arguments are known: `serve` patches the standard library first, the commands of a
client must not. Exit codes: 0; 1 the server answered a failure, cannot be reached or cannot start, or some of a file
could not be imported; 2 a wrong argument or setting; 130 ended by Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reminder import arguments
from reminder.errors import ConfigError, ReminderError
from reminder.terminal import Output

if TYPE_CHECKING:
    from reminder.client import Server


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command (`words` without the program's name; the process's own by default); returns its exit code.

    Raises `SystemExit`, as argparse does, for `--help` and for arguments that are none.
    """
    options = arguments.parser().parse_args(words)
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

    client.timezones(_server(options), Output(options.json), options.filter)


def _schedule(options: argparse.Namespace) -> None:
    from reminder import client

    more = _given(options, 'repeat', 'channel', 'payload', 'key')
    client.schedule(_server(options), Output(options.json), options.name, options.at, options.zone, options.wait, more)


def _listen(options: argparse.Namespace) -> None:
    from reminder import client

    client.listen(_server(options), Output(options.json), options.state, options.channel)


def _list(options: argparse.Namespace) -> None:
    from reminder import client

    server, output = _server(options), Output(options.json)
    if not options.series:
        client.list_events(server, output, options.limit, options.channel, options.begin, options.end)
    elif options.begin or options.end:
        raise ConfigError('--from and --to are for events, not for --series')
    else:
        client.list_series(server, output, options.limit, options.channel)


def _cancel(options: argparse.Namespace) -> None:
    from reminder import client

    client.cancel(_server(options), Output(options.json), options.id)


def _update(options: argparse.Namespace) -> None:
    from reminder import client

    changes = _given(options, 'eventName', 'time', 'timeZone', 'channel', 'payload', 'repeat')
    if not changes:
        raise ConfigError('nothing is to be changed; --name, --at, --zone, --channel, --payload and --repeat say what')
    client.update(_server(options), Output(options.json), options.id, changes)


def _history(options: argparse.Namespace) -> None:
    from reminder import client

    client.history(_server(options), Output(options.json), options.limit, options.channel, options.since)


def _status(options: argparse.Namespace) -> None:
    from reminder import client

    client.status(_server(options), Output(options.json), options.id)


def _export(options: argparse.Namespace) -> None:
    from reminder import transfer

    transfer.export_events(options.file, options.format, options.all)


def _import(options: argparse.Namespace) -> None:
    from reminder import transfer

    transfer.import_events(options.file, options.format, options.zone, options.dry_run)


def _token(options: argparse.Namespace) -> None:
    from reminder import issuer

    scopes = frozenset(options.scope or arguments.DEFAULT_SCOPES)
    issuer.token(scopes, options.channel, options.expires, options.subject, options.private_key)


def _server(options: argparse.Namespace) -> 'Server':
    from reminder.client import Server

    return Server(options.url, options.token)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that are there, which may be to say None."""
    return {name: getattr(options, name) for name in names if name in options}


_RUN = {
    'serve': _serve,
    'timezones': _timezones,
    'schedule': _schedule,
    'listen': _listen,
    'list': _list,
    'cancel': _cancel,
    'update': _update,
    'history': _history,
    'status': _status,
    'export': _export,
    'import': _import,
    'token': _token,
}


if __name__ == '__main__':
    sys.exit(main())
