"""Who a request is from: a token as `Authorization: Bearer`, which is what Socket.IO clients give as `auth.token`."""

from werkzeug import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized

from reminder.errors import InvalidInput, NotAllowed, NotAuthenticated
from reminder.services.channels import channels as parse_channels
from reminder.services.identity import Identity
from reminder.services.tokens import Tokens


def bearer(request: Request) -> str | None:
    """The token of a request, if it has one."""
    given = request.authorization
    return given.token if given is not None and given.type == 'bearer' else None


def authorized(tokens: Tokens, token: str | None, now: int, scope: str | None = None) -> Identity:
    """Who has that token. Raises Unauthorized where it lets nobody in, and Forbidden where it lacks the scope."""
    try:
        identity = tokens.identify(token, now)
    except NotAuthenticated as error:
        raise unauthorized(str(error)) from error
    if scope is not None and scope not in identity.scopes:
        raise Forbidden(f"scope '{scope}' is required")
    return identity


def unauthorized(error: str) -> Unauthorized:
    """The refusal of who has no token that holds."""
    return Unauthorized(error, www_authenticate=WWWAuthenticate('Bearer'))


def allowed_channels(request: Request, parameter: str, identity: Identity) -> frozenset[str]:
    """The channels that a request asks for: parameters of that name, each a name or several with commas between them.

    Raises BadRequest for what is no channel, and Forbidden for one that the token does not allow.
    """
    names = ','.join(request.args.getlist(parameter))
    try:
        return identity.allow(parse_channels(names.split(',') if names else None, parameter))
    except NotAllowed as error:
        raise Forbidden(str(error)) from error
    except InvalidInput as error:
        raise BadRequest(str(error)) from error
