"""A provider that can be made to lie in one respect, as no provider that others wrote would."""

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64encode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

ISSUER = "https://login.example.org"
CLIENT = "cardflow"
SECRET = "the client's own secret"
EVENT = "http://schemas.openid.net/event/backchannel-logout"

Change = Callable[[dict[str, Any]], None]


def _as_it_is(_given: dict[str, Any]) -> None:
    """Leave what an honest provider says."""


@dataclass
class Liar:
    """What the provider says; a test changes one thing."""

    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    change_claims: Change = _as_it_is
    sign: Callable[["Liar", dict[str, Any]], str] = lambda liar, claims: liar.signed(claims)
    change_metadata: Change = _as_it_is
    change_userinfo: Change = _as_it_is
    change_tokens: Change = _as_it_is
    asked: dict[str, str] = field(default_factory=dict)
    redirects: bool = False
    key_questions: int = 0

    @property
    def app(self) -> Starlette:
        """The provider's endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    def agrees(self, address: str) -> str:
        """Return where a browser that was sent to ``address`` comes back to."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        return f"/sign-in/provider/answer?code=c&state={self.asked['state']}&iss={ISSUER}"

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a token as an honest provider signs it."""
        return str(jwt.encode({"alg": "RS256", "kid": "one", **header}, claims, self.key))

    def sign_rs256(self, data: bytes) -> bytes:
        """Return a bare signature."""
        return self.key.private_key.sign(data, PKCS1v15(), SHA256())

    def logout_token(self, **changes: Any) -> str:
        """Return a logout token with some claims changed; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 120,
            "jti": f"{time.monotonic_ns()}",
            "events": {EVENT: {}},
            "sub": "hilda-there",
            "sid": "session-there",
            **changes,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        return self.signed(given, typ="logout+jwt")

    async def _metadata(self, request: Request) -> Response:
        if self.redirects:
            return RedirectResponse("https://login.example.org/elsewhere")
        metadata = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.change_metadata(metadata)
        return JSONResponse(metadata)

    async def _keys(self, request: Request) -> Response:
        self.key_questions += 1
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        if create_s256_code_challenge(str(form["code_verifier"])) != self.asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "hilda-there",
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "auth_time": now,
            "nonce": self.asked["nonce"],
            "sid": "session-there",
        }
        self.change_claims(claims)
        given = {name: value for name, value in claims.items() if value is not None}
        tokens = {"access_token": "a", "token_type": "Bearer", "id_token": self.sign(self, given)}
        self.change_tokens(tokens)
        return JSONResponse(tokens)

    async def _userinfo(self, request: Request) -> Response:
        info = {"sub": "hilda-there", "preferred_username": "hilda"}
        self.change_userinfo(info)
        return JSONResponse(info)


# Ways to sign that must not be believed


def unsigned(_liar: Liar, claims: dict[str, Any]) -> str:
    """``alg: none`` (RFC 8725 2.1)."""
    return _by_hand({"alg": "none", "kid": "one"}, claims, lambda _data: b"")


def with_the_public_key(liar: Liar, claims: dict[str, Any]) -> str:
    """HS256 with what everybody knows as its key (RFC 8725 2.1)."""
    return _hs256(liar.key.as_pem(private=False), claims)


def with_the_clients_secret(_liar: Liar, claims: dict[str, Any]) -> str:
    """HS256 with a key that others than the provider have."""
    return _hs256(SECRET.encode(), claims)


def with_another_key(_liar: Liar, claims: dict[str, Any]) -> str:
    """The right key id, another key."""
    return Liar().signed(claims)


def with_a_key_of_its_own(_liar: Liar, claims: dict[str, Any]) -> str:
    """The token brings its key along (RFC 7515 4.1.3)."""
    other = Liar()
    head = {"alg": "RS256", "jwk": other.key.as_dict(private=False)}
    return _by_hand(head, claims, other.sign_rs256)


def with_an_unknown_key(liar: Liar, claims: dict[str, Any]) -> str:
    """A key id that the provider did not publish when it was asked."""
    return liar.signed(claims, kid="two")


def with_something_critical(liar: Liar, claims: dict[str, Any]) -> str:
    """A header that must be understood and is not (RFC 7515 4.1.11)."""
    head = {"alg": "RS256", "kid": "one", "crit": ["exp-at"], "exp-at": 1}
    return _by_hand(head, claims, liar.sign_rs256)


def _hs256(key: bytes, claims: dict[str, Any]) -> str:
    head = {"alg": "HS256", "kid": "one"}
    return _by_hand(head, claims, lambda data: hmac.digest(key, data, "sha256"))


def _by_hand(head: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    # Libraries refuse to make such tokens.
    parts = [urlsafe_b64encode(json.dumps(part).encode()) for part in (head, claims)]
    signed = b".".join(parts)
    return b".".join([signed, urlsafe_b64encode(sign(signed))]).decode()
