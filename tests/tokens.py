"""Keys and tokens for tests: those that a server takes, and a list of those that it must not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = 'a secret of the tests, as long as the longest hash that a token may be signed with'
AUDIENCE = 'reminders'
ISSUER = 'https://id.example/'

SIGNERS: dict[str, Any] = {
    'RS256': rsa.generate_private_key(65_537, 2_048),
    'ES256': ec.generate_private_key(ec.SECP256R1()),
    'ES384': ec.generate_private_key(ec.SECP384R1()),
    'ES512': ec.generate_private_key(ec.SECP521R1()),
    'EdDSA': ed25519.Ed25519PrivateKey.generate(),
}
ED448 = ed448.Ed448PrivateKey.generate()
"""The other kind of key that signs by EdDSA."""


def public_pem(signer: Any) -> str:
    """The public key of a private one, as AUTH_PUBLIC_KEY takes it."""
    public = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(public.decode())


def confused(signer: Any, now: int) -> Iterator[tuple[str, str]]:
    """Tokens signed by HMAC with what everybody knows: the public key, in each form that a server may have it in."""
    public, pem = signer.public_key(), public_pem(signer)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name, secret in (('text', pem.encode()), ('line', pem.strip().encode()), ('DER', der), ('nothing', b'')):
        yield f'HS256 with the key as {name}', signed({'alg': 'HS256'}, claims(now), secret)


def private_pem(signer: Any) -> str:
    return str(signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def segment(value: object) -> str:
    """A part of a token: JSON, or bytes as they are, in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(',', ':')).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()


def signed(header: object, claims: object, secret: str | bytes = SECRET) -> str:
    """A token of any header and claims, signed by HMAC-SHA256 past all libraries' checks."""
    text = f'{segment(header)}.{segment(claims)}'
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f'{text}.{segment(hmac.digest(key, text.encode(), hashlib.sha256))}'


def claims(now: int, **changes: Any) -> dict[str, Any]:
    """What a good token says at `now` (ms): it holds for an hour and allows everything; None leaves a claim out."""
    seconds = now // 1000
    good = {
        'sub': 'ann',
        'iat': seconds,
        'exp': seconds + 3_600,
        'scope': 'listen schedule manage',
        'aud': AUDIENCE,
        'iss': ISSUER,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(now: int, **changes: Any) -> str:
    """A good token, or what is changed of it, signed with SECRET."""
    return jwt.encode(claims(now, **changes), SECRET, 'HS256')


def refused(now: int) -> Iterator[tuple[str, object, str]]:
    """What a server with SECRET, AUDIENCE and ISSUER must not take: what is wrong, the token, the reason it gives."""
    good, hs256 = claims(now), {'alg': 'HS256', 'typ': 'JWT'}
    genuine = token(now)
    head, body, signature = genuine.split('.')
    seconds = now // 1000
    invalid = 'token is not valid'

    yield 'no token', None, 'token is missing'
    yield 'empty', '', 'token is missing'
    values: list[object] = [5, True, 1.5, [genuine], {'token': genuine}]
    for wrong in values:
        yield f'of type {type(wrong).__name__}', wrong, invalid
    yield 'blank', ' ', invalid
    yield 'no token at all', 'let me in', invalid
    yield 'with blanks around it', f' {genuine} ', invalid
    yield 'with a prefix', f'Bearer {genuine}', invalid
    yield 'not ASCII', f'{genuine}ä', invalid
    yield 'half a character', f'{genuine}\ud800', invalid
    yield 'with a zero byte', f'{genuine}\0', invalid
    yield 'longer than a token may be', token(now, jti='x' * 8_192), invalid

    yield 'cut in its signature', genuine[:-4], invalid
    yield 'without a signature', f'{head}.{body}.', invalid
    yield 'without the last part', f'{head}.{body}', invalid
    yield 'the header alone', head, invalid
    yield 'with a part more', f'{genuine}.{signature}', invalid
    yield 'with bits that base64 has no use for', genuine[:-1] + chr(ord(genuine[-1]) + 1), invalid
    yield 'five parts, as encrypted ones have', '.'.join([head, body, body, body, signature]), invalid
    yield 'dots alone', '..', invalid

    yield 'signed with another secret', jwt.encode(good, SECRET[::-1], 'HS256'), invalid
    yield 'signed with the empty secret', signed(hs256, good, b''), invalid
    yield 'signed with a longer hash', jwt.encode(good, SECRET, 'HS512'), invalid
    yield 'signed with a private key', jwt.encode(good, SIGNERS['RS256'], 'RS256'), invalid
    yield 'with a changed scope', f'{head}.{segment(good | {"scope": "manage"})}.{signature}', invalid
    yield 'with a changed header', f'{segment(hs256 | {"kid": "x"})}.{body}.{signature}', invalid
    yield 'unsigned', jwt.encode(good, '', 'none'), invalid
    for none in ('none', 'None', 'NONE', 'nOnE', '', None):
        yield f'unsigned, alg {none!r}, with a signature', signed({'alg': none}, good), invalid
    yield 'without an algorithm', signed({'typ': 'JWT'}, good), invalid
    yield 'with a list of algorithms', signed({'alg': ['HS256']}, good), invalid
    yield 'with its own key', signed(hs256 | {'jwk': {'kty': 'oct', 'k': segment(b'x' * 32)}}, good, b'x' * 32), invalid
    yield 'with the address of its key', signed(hs256 | {'jku': 'https://evil.example/'}, good, b'x' * 32), invalid
    yield 'with an extension that nobody knows', signed(hs256 | {'crit': ['x'], 'x': 1}, good), invalid
    yield 'with a detached payload', signed(hs256 | {'b64': False, 'crit': ['b64']}, good), invalid
    yield 'with a header that is a list', signed([], good), invalid
    yield 'with claims that are a list', signed(hs256, []), invalid
    yield 'with claims that are no JSON', signed(hs256, b'{"exp":'), invalid
    yield 'with claims that are deep', signed(hs256, b'[' * 4_000), invalid
    yield 'with a number that is too long', signed(hs256, b'{"exp":' + b'9' * 4_400 + b'}'), invalid
    yield 'with a subject that is a number', signed(hs256, claims(now, sub=5)), invalid

    yield 'expired', token(now, exp=seconds - 1), 'token has expired'
    yield 'expired just now', token(now, exp=seconds), 'token has expired'
    yield 'expired long ago', token(now, exp=0), 'token has expired'
    yield 'without an expiry', token(now, exp=None), "token has no 'exp'"
    instants: list[object] = [str(seconds + 3_600), True, [seconds + 3_600], {}, -1, 2**40, float('inf'), float('nan')]
    for wrong in instants:
        yield f'with the expiry {wrong!r}', signed(hs256, claims(now, exp=wrong)), "token's 'exp' has to be a number"
    yield 'not valid yet', token(now, nbf=seconds + 60), 'token is not valid yet'
    yield 'made in the future', token(now, iat=seconds + 60), 'token is not valid yet'
    yield 'made at a text', signed(hs256, claims(now, iat='today')), "token's 'iat' has to be a number"

    yield 'for another audience', token(now, aud='billing'), 'token is for another audience'
    yield 'for others', token(now, aud=['billing', 'reminders2']), 'token is for another audience'
    yield 'for an audience in part', token(now, aud=AUDIENCE[:-1]), 'token is for another audience'
    yield 'for a number', signed(hs256, claims(now, aud=5)), 'token is for another audience'
    yield 'for nobody', token(now, aud=None), "token has no 'aud'"
    yield 'from another issuer', token(now, iss='https://evil.example/'), 'token is from another issuer'
    yield 'from an issuer in part', token(now, iss=ISSUER[:-1]), 'token is from another issuer'
    yield 'from a list of issuers', signed(hs256, claims(now, iss=[ISSUER])), 'token is from another issuer'
    yield 'from nobody', token(now, iss=None), "token has no 'iss'"

    yield 'without a scope', token(now, scope=None), 'token has none of the scopes'
    scopes: list[object] = ['', 'openid profile', 'Listen', 'listen,schedule', [], ['openid'], ['listen', 5], 5, {}]
    for wrong in scopes:
        yield f'with the scope {wrong!r}', token(now, scope=wrong), 'token has none of the scopes'

    names: list[object] = ['team, other', 'ä', ['a b'], [''], ['x' * 129], [5], 5, True, {'team': True}]
    for wrong in names:
        yield f'with the channels {wrong!r}', token(now, channels=wrong), "token's 'channels' has to be a list"
    yield (
        'with the channels null',
        signed(hs256, claims(now) | {'channels': None}),
        "token's 'channels' has to be a list",
    )
