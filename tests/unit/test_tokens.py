"""Tokens: who is let in as whom, who is not and why, and how they are made."""

import logging
import re
import time
from collections.abc import Set
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import example, given
from hypothesis import strategies as st

from reminder.config import Config
from reminder.errors import ConfigError, InvalidInput
from reminder.services.identity import EVERYBODY, SCOPES, Identity
from reminder.services.tokens import LEEWAY, MAX_TOKEN, Tokens, make_token
from tests.tokens import (
    AUDIENCE,
    ED448,
    ISSUER,
    SECRET,
    SIGNERS,
    claims,
    confused,
    private_pem,
    public_pem,
    refused,
    segment,
    signed,
    token,
)

NOW = 1_900_000_000_000
"""Far from what any clock shows: a look at one would be noticed."""
HOUR = 3_600_000
SETTINGS = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}


def config(**settings: str) -> Config:
    return Config.from_env(settings)


@pytest.fixture(scope='module')
def tokens() -> Tokens:
    return Tokens(config(**SETTINGS))


class TestWhoIsLetIn:
    def test_a_good_token_says_who_somebody_is(self, tokens: Tokens) -> None:
        assert tokens.identify(token(NOW), NOW) == Identity(SCOPES, 'ann', NOW + HOUR)

    def test_without_a_key_it_is_everybody_whatever_they_say(self) -> None:
        everybody = Tokens(config())
        for nonsense in (None, '', 'x', 5, token(NOW)):
            assert everybody.identify(nonsense, NOW) is EVERYBODY
        assert EVERYBODY.scopes == SCOPES

    @pytest.mark.parametrize('scope', ['listen', ' listen  openid\tlisten ', ['listen'], ['openid', 'listen']])
    def test_scopes_are_words_or_a_list_and_others_are_left_out(self, tokens: Tokens, scope: object) -> None:
        assert tokens.identify(token(NOW, scope=scope), NOW).scopes == {'listen'}

    @pytest.mark.parametrize(
        ('claim', 'channels'),
        [
            (['a', 'users/42', 'a'], {'a', 'users/42'}),
            ('a  users/42', {'a', 'users/42'}),
            ([], set()),
            ('', set()),
        ],
    )
    def test_channels_are_a_list_or_words(self, tokens: Tokens, claim: object, channels: Set[str]) -> None:
        assert tokens.identify(token(NOW, channels=claim), NOW).channels == channels

    def test_without_a_claim_of_channels_it_allows_any(self, tokens: Tokens) -> None:
        assert tokens.identify(token(NOW), NOW).channels is None

    def test_it_need_not_say_who_somebody_is_nor_since_when_it_holds(self, tokens: Tokens) -> None:
        assert tokens.identify(token(NOW, sub=None, iat=None), NOW).subject is None

    @pytest.mark.parametrize('audience', [AUDIENCE, [AUDIENCE], ['others', AUDIENCE]])
    def test_this_server_may_be_one_audience_of_several(self, tokens: Tokens, audience: object) -> None:
        assert tokens.identify(token(NOW, aud=audience), NOW).scopes == SCOPES

    def test_without_an_audience_of_its_own_a_server_takes_none_of_others(self) -> None:
        tokens = Tokens(config(AUTH_SECRET=SECRET))
        assert tokens.identify(token(NOW, aud=None), NOW).scopes == SCOPES  # its issuer is nothing that was asked for
        with pytest.raises(InvalidInput, match='token is for another audience'):
            tokens.identify(token(NOW), NOW)

    @pytest.mark.parametrize('name', ['nbf', 'iat'])
    def test_an_issuers_clock_may_be_a_little_ahead(self, tokens: Tokens, name: str) -> None:
        allowed = (NOW + LEEWAY) // 1000
        assert tokens.identify(token(NOW, **{name: allowed}), NOW).scopes == SCOPES
        with pytest.raises(InvalidInput, match='token is not valid yet'):
            tokens.identify(token(NOW, **{name: allowed + 1}), NOW)

    def test_it_holds_until_the_very_instant_of_its_expiry(self, tokens: Tokens) -> None:
        for expiry in (NOW / 1000 + 0.25, NOW // 1000 + 1):
            identity = tokens.identify(token(NOW, exp=expiry), NOW)
            assert identity.expires == int(expiry * 1000)
            assert not identity.has_expired(identity.expires - 1)
            assert identity.has_expired(identity.expires)

    @pytest.mark.parametrize('later', [0, 24 * 365 * 30])
    def test_no_other_clock_is_looked_at(self, tokens: Tokens, later: int, monkeypatch: pytest.MonkeyPatch) -> None:
        now = NOW - 24 * 365 * 50 * HOUR + later * HOUR
        assert abs(now / 1000 - time.time()) > 365 * 86_400
        assert tokens.identify(token(now, nbf=now // 1000), now).expires == now + HOUR


class TestWhoIsNot:
    @pytest.mark.parametrize(('wrong', 'reason'), [pytest.param(*rest, id=name) for name, *rest in refused(NOW)])
    def test_a_wrong_token_is_refused_with_a_reason(self, tokens: Tokens, wrong: object, reason: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            tokens.identify(wrong, NOW)
        assert str(caught.value).startswith(reason)

    def test_they_are_many(self) -> None:
        assert len(list(refused(NOW))) > 60

    def test_reasons_are_for_those_whose_token_is_genuine(self, tokens: Tokens) -> None:
        """Given tokens that are wrong in every way and signed with another secret, none is told what is wrong."""
        for changes in ({'exp': 0}, {'exp': None}, {'aud': 'x'}, {'iss': 'x'}, {'nbf': 2**34}, {'scope': ''}):
            forged = signed({'alg': 'HS256'}, claims(NOW, **changes), b'x' * 32)
            with pytest.raises(InvalidInput, match=r'^token is not valid$'):
                tokens.identify(forged, NOW)

    def test_nothing_of_a_token_is_in_the_log(self, tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            for _, wrong, _ in refused(NOW):
                with pytest.raises(InvalidInput):
                    tokens.identify(wrong, NOW)
        assert {record.getMessage() for record in caplog.records} >= {'a token is refused: InvalidSignatureError'}
        for record in caplog.records:
            assert record.levelno == logging.DEBUG
            assert re.fullmatch(r'a token is refused: [A-Z][A-Za-z]+Error', record.getMessage())

    def test_one_of_the_greatest_length_is_let_in(self, tokens: Tokens) -> None:
        longest = max(
            (token(NOW, jti='x' * n) for n in range(5_900, 6_200)), key=lambda one: len(one) <= MAX_TOKEN and len(one)
        )
        assert MAX_TOKEN - 4 < len(longest) <= MAX_TOKEN
        assert tokens.identify(longest, NOW).scopes == SCOPES

    @given(st.text() | st.from_regex(r'[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}') | st.binary().map(segment))
    def test_any_text_is_refused_in_the_same_way(self, text: str) -> None:
        with pytest.raises(InvalidInput, match=r'^token is (not valid|missing)$'):
            Tokens(config(**SETTINGS)).identify(text, NOW)

    @given(
        st.dictionaries(
            st.sampled_from('alg typ kid crit b64 jwk zip cty'.split()),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.sampled_from(['HS256', 'none', 'RS256', '']),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=4,
            ),
        ),
    )
    @example({'alg': 'HS256'})
    def test_no_header_makes_it_fail(self, header: dict[str, Any]) -> None:
        """Given any header over claims that are genuinely signed, then it is let in by HS256, or refused."""
        try:
            identity = Tokens(config(**SETTINGS)).identify(signed(header, claims(NOW)), NOW)
        except InvalidInput as error:
            assert str(error) == 'token is not valid'
        else:
            assert header['alg'] == 'HS256'
            assert identity.scopes == SCOPES

    @given(
        st.dictionaries(
            st.sampled_from('sub scope aud iss exp nbf iat jti'.split()),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=4,
            ),
        ),
    )
    @example({'exp': 1e308})
    @example({'exp': -(2**70), 'nbf': 2**70})
    def test_no_claim_makes_it_fail(self, changes: dict[str, Any]) -> None:
        body = claims(NOW) | changes
        try:
            identity = Tokens(config(**SETTINGS)).identify(signed({'alg': 'HS256'}, body), NOW)
        except InvalidInput as error:
            assert str(error).startswith('token')
        else:
            assert identity.expires is not None
            assert identity.expires > NOW
            assert identity.scopes <= SCOPES


@pytest.mark.parametrize(('algorithm', 'signer'), [*SIGNERS.items(), ('EdDSA', ED448)])
class TestPublicKeys:
    def test_its_private_key_signs(self, algorithm: str, signer: Any) -> None:
        tokens = Tokens(config(AUTH_PUBLIC_KEY=public_pem(signer)))
        genuine = jwt.encode(claims(NOW, aud=None), signer, algorithm)
        assert tokens.identify(genuine, NOW).subject == 'ann'
        assert Tokens(config(AUTH_PUBLIC_KEY=public_pem(signer).replace('\n', '\\n'))).identify(genuine, NOW)

    def test_nothing_else_does(self, algorithm: str, signer: Any) -> None:
        tokens = Tokens(config(AUTH_PUBLIC_KEY=public_pem(signer)))
        others = [*confused(signer, NOW), ('a secret', token(NOW)), ('none', jwt.encode(claims(NOW), '', 'none'))]
        others += [
            (name, jwt.encode(claims(NOW), other, name)) for name, other in SIGNERS.items() if other is not signer
        ]
        for name, forged in others:
            with pytest.raises(InvalidInput, match=r'^token is not valid$'):
                print(name, tokens.identify(forged, NOW))


def test_another_key_of_the_same_kind_signs_nothing() -> None:
    tokens = Tokens(config(AUTH_PUBLIC_KEY=public_pem(SIGNERS['ES256'])))
    other = jwt.encode(claims(NOW, aud=None), ec.generate_private_key(ec.SECP256R1()), 'ES256')
    with pytest.raises(InvalidInput, match=r'^token is not valid$'):
        tokens.identify(other, NOW)


def test_an_rsa_key_takes_longer_hashes_but_no_other_padding() -> None:
    tokens = Tokens(config(AUTH_PUBLIC_KEY=public_pem(SIGNERS['RS256'])))
    for algorithm in ('RS384', 'RS512'):
        assert tokens.identify(jwt.encode(claims(NOW, aud=None), SIGNERS['RS256'], algorithm), NOW)
    with pytest.raises(InvalidInput, match=r'^token is not valid$'):
        tokens.identify(jwt.encode(claims(NOW, aud=None), SIGNERS['RS256'], 'PS256'), NOW)


def test_keys_that_are_weak_or_sign_no_tokens_end_the_start() -> None:
    for weak in (
        rsa.generate_private_key(65_537, 1_024),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(1_024),
    ):
        with pytest.raises(ConfigError, match=r'^AUTH_PUBLIC_KEY has to be an RSA key of at least 2048 bits') as caught:
            Tokens(config(AUTH_PUBLIC_KEY=public_pem(weak)))
        assert '\n' not in str(caught.value)


def test_a_damaged_public_key_ends_the_start() -> None:
    pem = public_pem(SIGNERS['ES256'])
    with pytest.raises(ConfigError, match=r'^AUTH_PUBLIC_KEY is damaged'):
        Tokens(config(AUTH_PUBLIC_KEY=pem[:60] + pem[64:]))


@pytest.mark.parametrize(
    'key',
    [
        public_pem(SIGNERS['ES256']),
        private_pem(SIGNERS['ES256']),
        'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPRn8AYHFQWM7LzpfZUVKRWkHdBLtMjhCKJhtsxUUF8R me@example',
        '{"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}',
    ],
)
def test_a_key_is_no_secret(key: str) -> None:
    with pytest.raises(ConfigError, match=r'^AUTH_SECRET has to be a secret of your own') as caught:
        Tokens(config(AUTH_SECRET=key))
    assert key not in str(caught.value)


def test_a_secret_may_be_any_bytes() -> None:
    raw = b'\xff\xfe' * 16
    tokens = Tokens(config(AUTH_SECRET=raw.decode(errors='surrogateescape')))
    assert tokens.identify(jwt.encode(claims(NOW, aud=None), raw, 'HS256'), NOW).subject == 'ann'


class TestMaking:
    @pytest.mark.parametrize('channels', [None, frozenset[str](), frozenset({'a', 'users/42'})])
    @pytest.mark.parametrize('subject', [None, 'ann', '世界'])
    def test_what_is_made_is_let_in(self, tokens: Tokens, subject: str | None, channels: frozenset[str] | None) -> None:
        identity = Identity(frozenset({'listen', 'manage'}), subject, NOW + HOUR, channels)
        made = make_token(config(**SETTINGS), identity, NOW + 999)
        assert tokens.identify(made, NOW) == identity
        assert jwt.get_unverified_header(made) == {'alg': 'HS256', 'typ': 'JWT'}

    @pytest.mark.parametrize(('algorithm', 'signer'), [*SIGNERS.items(), ('EdDSA', ED448)])
    def test_a_private_key_makes_them_for_its_public_one(self, algorithm: str, signer: Any) -> None:
        settings = config(AUTH_PUBLIC_KEY=public_pem(signer))
        identity = Identity(frozenset({'listen'}), None, NOW + HOUR)
        made = make_token(settings, identity, NOW, private_pem(signer).encode())
        assert Tokens(settings).identify(made, NOW) == identity
        assert jwt.get_unverified_header(made)['alg'] == algorithm

    @pytest.mark.parametrize(
        ('settings', 'key', 'expected'),
        [
            ({}, None, 'neither AUTH_SECRET nor AUTH_PUBLIC_KEY is set'),
            (SETTINGS, private_pem(SIGNERS['ES256']).encode(), 'tokens are signed with AUTH_SECRET'),
            ({'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])}, None, 'to sign one takes its private key'),
            ({'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])}, b'nonsense', 'has to be one in PEM form'),
            (
                {'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])},
                public_pem(SIGNERS['ES256']).encode(),
                'has to be one in PEM form',
            ),
            (
                {'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])},
                SIGNERS['ES256'].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b'x')),
                'without a passphrase',
            ),
            *(
                (
                    {'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])},
                    private_pem(other).encode(),
                    'does not belong to AUTH_PUBLIC_KEY',
                )
                for other in (
                    SIGNERS['ES384'],
                    ec.generate_private_key(ec.SECP256R1()),
                    ec.generate_private_key(ec.SECP256K1()),
                )
            ),
        ],
    )
    def test_without_the_right_key_none_is_made(
        self, settings: dict[str, str], key: bytes | None, expected: str
    ) -> None:
        with pytest.raises(ConfigError, match=expected) as caught:
            make_token(config(**settings), Identity(SCOPES, None, NOW + HOUR), NOW, key)
        assert '\n' not in str(caught.value)
