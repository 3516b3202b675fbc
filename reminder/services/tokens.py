"""Tokens: JSON Web Tokens (RFC 7519) that say what somebody may do, verified and made.

The kind of the key decides the algorithm, never the token itself (RFC 8725 section 3.1). Whether a token has expired is
decided by the clock that is passed in, so what the library thinks of the time is turned off.
"""

import logging
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from reminder.config import Config
from reminder.errors import ConfigError, InvalidInput, NotAuthenticated
from reminder.services.channels import is_channel
from reminder.services.identity import EVERYBODY, SCOPES, Identity

logger = logging.getLogger(__name__)

MAX_TOKEN = 8_192
"""Characters of a token; as much as servers take in a header, where tokens are elsewhere."""
LEEWAY = 30_000
"""ms that an issuer's clock may be ahead of ours (`nbf`, `iat`). `exp` has none: it ends the connection."""

_LIBRARY_OPTIONS: Any = {'verify_exp': False, 'verify_nbf': False, 'verify_iat': False}
_INVALID = 'token is not valid'


class Tokens:
    """What lets clients in, by the settings of one server."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for a key that is none, or too weak."""
        self._key: Any = None
        self._algorithms: list[str] = []
        if config.auth_secret is not None:
            self._key, self._algorithms = _secret(config.auth_secret), ['HS256']
        elif config.auth_public_key is not None:
            self._key = _public_key(config.auth_public_key)
            self._algorithms = _algorithms(self._key)
        self._audience, self._issuer = config.auth_audience, config.auth_issuer

    def identify(self, token: object, now: int) -> Identity:
        """Who has that token (any JSON value); everybody on a server that asks for none.

        Raises NotAuthenticated. Only those whose signature is genuine are told more than that a token is not valid.
        """
        if self._key is None:
            return EVERYBODY
        if token is None or token == '':
            raise NotAuthenticated('token is missing')
        if not isinstance(token, str) or not token.isascii() or len(token) > MAX_TOKEN:
            raise NotAuthenticated(_INVALID)
        return _identity(self._verify(token), now)

    def _verify(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature is genuine and that was made for this server."""
        try:
            return jwt.decode(
                token,
                self._key,
                self._algorithms,
                _LIBRARY_OPTIONS,
                audience=self._audience,
                issuer=self._issuer,
            )
        except jwt.InvalidAudienceError:
            reason = 'token is for another audience'
        except jwt.InvalidIssuerError:
            reason = 'token is from another issuer'
        except jwt.MissingRequiredClaimError as error:
            reason = f"token has no '{error.claim}'"
        except jwt.PyJWTError as error:
            # Its text may hold parts of the token.
            logger.debug('a token is refused: %(error)s', {'event': 'token_refused', 'error': type(error).__name__})
            reason = _INVALID
        raise NotAuthenticated(reason)


def make_token(config: Config, identity: Identity, now: int, private_key: bytes | None = None) -> str:
    """A token that lets `identity` in, until it expires, at a server with these settings.

    It is signed with AUTH_SECRET, or with `private_key` (PEM), which has to belong to AUTH_PUBLIC_KEY; raises
    ConfigError where that is not so.
    """
    claims = {
        'sub': identity.subject,
        'scope': ' '.join(sorted(identity.scopes)),
        'channels': None if identity.channels is None else sorted(identity.channels),
        'aud': config.auth_audience,
        'iss': config.auth_issuer,
        'iat': now // 1000,
        'exp': identity.expires and identity.expires // 1000,
    }
    key, algorithm = _signing(config, private_key)
    token = jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)
    try:
        Tokens(config).identify(token, now)
    except InvalidInput:
        raise ConfigError('the private key does not belong to AUTH_PUBLIC_KEY') from None
    return token


def _signing(config: Config, private_key: bytes | None) -> tuple[Any, str]:
    """What to sign with, and its algorithm."""
    if config.auth_secret is not None:
        if private_key is not None:
            raise ConfigError('tokens are signed with AUTH_SECRET, which is set, and not with a private key')
        return _secret(config.auth_secret), 'HS256'
    if config.auth_public_key is None:
        raise ConfigError('neither AUTH_SECRET nor AUTH_PUBLIC_KEY is set: the server asks for no tokens')
    if private_key is None:
        raise ConfigError('AUTH_PUBLIC_KEY verifies tokens; to sign one takes its private key (--private-key FILE)')
    try:
        key: Any = load_pem_private_key(private_key, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):  # the first: it is encrypted
        raise ConfigError('the private key has to be one in PEM form, without a passphrase') from None
    algorithms = _algorithms(key.public_key())
    if not algorithms:
        raise ConfigError('the private key does not belong to AUTH_PUBLIC_KEY')
    return key, algorithms[0]


def _secret(text: str) -> bytes:
    """AUTH_SECRET as a key; what is no text is as it was in the environment."""
    secret = text.encode(errors='surrogateescape')
    try:
        jwt.get_algorithm_by_name('HS256').prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigError('AUTH_SECRET has to be a secret of your own, and no key in PEM, SSH or JWK form') from None
    return secret


def _public_key(text: str) -> Any:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError('AUTH_PUBLIC_KEY is damaged, or of a kind that is not known') from None
    if not _algorithms(key):
        raise ConfigError(
            'AUTH_PUBLIC_KEY has to be an RSA key of at least 2048 bits, an EC key on P-256, P-384 or P-521, or an '
            'Ed25519 or Ed448 key'
        )
    return key


def _algorithms(key: object) -> list[str]:
    """The algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1) that tokens of this public key may be signed by."""
    match key:
        case rsa.RSAPublicKey(key_size=size) if size >= 2_048:
            return ['RS256', 'RS384', 'RS512']
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return ['ES256']
        case ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return ['ES384']
        case ec.EllipticCurvePublicKey(curve=ec.SECP521R1()):
            return ['ES512']
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return ['EdDSA']
    return []


def _identity(claims: dict[str, Any], now: int) -> Identity:
    """Who the claims are about. Raises NotAuthenticated where they do not hold now, or allow nothing."""
    expires = _instant(claims, 'exp')
    if expires is None:
        raise NotAuthenticated("token has no 'exp'")
    if expires <= now:
        raise NotAuthenticated('token has expired')
    if any((_instant(claims, name) or 0) > now + LEEWAY for name in ('nbf', 'iat')):
        raise NotAuthenticated('token is not valid yet')
    scopes = SCOPES & (_words(claims.get('scope')) or frozenset())
    if not scopes:
        raise NotAuthenticated(f"token has none of the scopes {', '.join(sorted(SCOPES))} in its 'scope'")
    return Identity(scopes, claims.get('sub'), expires, _channels(claims))


def _instant(claims: dict[str, Any], name: str) -> int | None:
    """A NumericDate (RFC 7519 section 2) in ms; None where there is none. Raises NotAuthenticated for other things."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise NotAuthenticated(f"token's '{name}' has to be a number of seconds since 1970")
    return int(value * 1000)


def _channels(claims: dict[str, Any]) -> frozenset[str] | None:
    """The channels that a token names; None, which allows any, where it names none. Raises NotAuthenticated."""
    if 'channels' not in claims:
        return None
    channels = _words(claims['channels'])
    if channels is None or not all(map(is_channel, channels)):
        raise NotAuthenticated("token's 'channels' has to be a list of names of channels")
    return channels


def _words(claim: object) -> frozenset[str] | None:
    """The words of a claim: in a text (RFC 8693 section 4.2), or a list, as some issuers have it; None for neither."""
    words = claim.split() if isinstance(claim, str) else claim
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return frozenset(words)
