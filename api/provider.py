"""The OpenID provider: what it says of itself, its keys, and the two things that it is asked."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.common.urls import add_params_to_uri
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, ValidationError

from cardflow.environment import Environment
from cardflow.errors import Refused, Unavailable
from cardflow.outbound import outbound
from cardflow.outbound_http import Checked
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.startup import is_local

# Only keys that the provider alone has: no `none`, no HS256, whose key we would have too.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
    | {"EdDSA", "Ed25519"}
)
WELL_KNOWN = "/.well-known/openid-configuration"
PATIENCE_SECONDS = 10.0
KEPT_SECONDS = 3_600.0
AGAIN_SECONDS = 15.0  # a stranger's tokens with made-up key ids must not have us ask all the time
LONGEST_ANSWER = 512 * 1024

log = logging.getLogger(__name__)


class Metadata(BaseModel):
    """What we use of the provider's discovery document (OpenID Connect Discovery 1.0, 3)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every address that we, or a browser that we send, will go to."""
        asked = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)
        return asked + tuple(filter(None, (self.userinfo_endpoint, self.end_session_endpoint)))

    @property
    def algorithms(self) -> list[str]:
        """The signatures that are believed."""
        return sorted(ALGORITHMS.intersection(self.id_token_signing_alg_values_supported))

    @property
    def pushes_secret(self) -> str:
        """How our secret is shown: in the header if the provider takes it there."""
        known = self.token_endpoint_auth_methods_supported
        return "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"


@dataclass(frozen=True)
class Asked:
    """What the provider is asked to vouch for, and how this one question is told from others."""

    state: str
    nonce: str
    verifier: str
    max_age: int
    again: bool = False


@dataclass
class _Kept:
    value: Any
    at: float = field(default_factory=time.monotonic)

    def older_than(self, seconds: float) -> bool:
        return time.monotonic() - self.at > seconds


class Provider:
    """The one provider that the settings name."""

    def __init__(self, settings: Settings, transport: httpx2.AsyncBaseTransport) -> None:
        self.issuer = settings.oidc_issuer or ""
        self.name = settings.oidc_name or urlsplit(self.issuer).hostname or ""
        self.client_id = settings.oidc_client_id
        self.redirect_uri = f"{settings.public_url}/sign-in/provider/answer"
        self.again_seconds = AGAIN_SECONDS
        self._settings, self._transport = settings, transport
        self._secret = _secret(settings)
        self._metadata: _Kept | None = None
        self._keys: _Kept | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """End every connection to the provider."""
        await self._transport.aclose()

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself, or raise why it cannot be used."""
        async with self._lock:
            if self._metadata is None or self._metadata.older_than(KEPT_SECONDS):
                found = await self._fetch(self.issuer.rstrip("/") + WELL_KNOWN)
                self._metadata = _Kept(self._checked(found))
            kept: Metadata = self._metadata.value
            return kept

    async def address(self, asked: Asked) -> str:
        """Return where a browser is sent to be asked."""
        metadata = await self.metadata()
        more: dict[str, Any] = {"nonce": asked.nonce, "max_age": asked.max_age}
        if asked.again:
            more["prompt"] = "login"
            if acr := self._settings.oidc_step_up_acr:
                more["acr_values"] = acr
        async with self._client(metadata) as client:
            address, _state = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=asked.state,
                code_verifier=asked.verifier,
                **more,
            )
        return str(address)

    async def redeem(self, code: str, verifier: str) -> dict[str, Any]:
        """Return the tokens for a code; the provider gives them once, and to us only."""
        metadata = await self.metadata()
        try:
            async with self._client(metadata) as client:
                tokens = await client.fetch_token(
                    metadata.token_endpoint, code=code, code_verifier=verifier
                )
        except AuthlibBaseError as error:
            raise Refused(f"the code was not taken: {error.error}") from None
        except (httpx2.HTTPError, ValueError) as error:
            raise _silent(self.name, error) from None
        return dict(tokens)

    async def about(self, access_token: str) -> dict[str, Any]:
        """Return the claims that the provider gives at its userinfo endpoint, if it has one."""
        metadata = await self.metadata()
        if not metadata.userinfo_endpoint:
            return {}
        return await self._fetch(metadata.userinfo_endpoint, access_token)

    async def signed(self, token: str) -> jwt.Token:
        """Return a token that the provider signed, or raise Refused; its claims are unjudged."""
        metadata = await self.metadata()
        try:
            return self._decoded(token, await self._key_set(metadata), metadata)
        except InvalidKeyIdError:
            keys = await self._key_set(metadata, older_than=self.again_seconds)
        except (JoseError, ValueError) as error:
            raise Refused(f"its signature is not the provider's: {type(error).__name__}") from None
        try:
            return self._decoded(token, keys, metadata)
        except (JoseError, ValueError) as error:
            raise Refused(f"its signature is not the provider's: {type(error).__name__}") from None

    def _decoded(self, token: str, keys: KeySet, metadata: Metadata) -> jwt.Token:
        registry = JWSRegistry(algorithms=metadata.algorithms, strict_check_header=False)
        return jwt.decode(token, keys, registry=registry)

    async def farewell(self, id_token: str) -> str:
        """Return where a browser ends the provider's own session, or nothing: RP-initiated."""
        metadata = await self.metadata()
        if not metadata.end_session_endpoint:
            return ""
        told = {
            "client_id": self.client_id,
            "post_logout_redirect_uri": f"{self._settings.public_url}/sign-in",
            **({"id_token_hint": id_token} if id_token else {}),
        }
        return str(add_params_to_uri(metadata.end_session_endpoint, list(told.items())))

    def _client(self, metadata: Metadata) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            client_id=self.client_id,
            client_secret=self._secret,
            token_endpoint_auth_method=metadata.pushes_secret if self._secret else "none",
            scope=self._settings.oidc_scopes,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            transport=_Shared(self._transport),
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )

    async def _key_set(self, metadata: Metadata, older_than: float = KEPT_SECONDS) -> KeySet:
        async with self._lock:
            if self._keys is None or self._keys.older_than(older_than):
                self._keys = _Kept(_usable(await self._fetch(metadata.jwks_uri)))
            kept: KeySet = self._keys.value
            return kept

    async def _fetch(self, url: str, access_token: str = "") -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        try:
            async with httpx2.AsyncClient(
                transport=_Shared(self._transport), timeout=PATIENCE_SECONDS, trust_env=False
            ) as client:
                answer = await client.get(url, headers=headers)
            found = answer.raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise _silent(self.name, error) from None
        if not isinstance(found, dict):
            raise _silent(self.name, TypeError())
        return found

    def _checked(self, found: dict[str, Any]) -> Metadata:
        try:
            metadata = Metadata.model_validate(found)
        except ValidationError as error:
            raise _silent(self.name, error) from None
        if why := self._objection(metadata):
            log.error("the OpenID provider %s cannot be used: %s", self.issuer, why)
            raise Unavailable(f"{self.name} cannot be used to sign in; ask an administrator")
        return metadata

    def _objection(self, metadata: Metadata) -> str:
        if metadata.issuer != self.issuer:  # OpenID Connect Discovery 1.0, 4.3
            return f"it calls itself {metadata.issuer}; correct CARDFLOW_OIDC_ISSUER"
        demo = self._settings.environment is Environment.DEMO
        if open_ones := [url for url in metadata.endpoints if not is_closed(url, demo=demo)]:
            return f"{open_ones[0]} is not an https:// address"
        if "S256" not in (metadata.code_challenge_methods_supported or ("S256",)):
            return "it does not know PKCE with S256"
        return "" if metadata.algorithms else "it signs with nothing that we believe"


def provider_of(settings: Settings) -> Provider | None:
    """Return the provider that the settings name, if they do; nothing is asked of it yet."""
    if settings.oidc_issuer is None:
        return None
    return Provider(settings, Checked(outbound(settings)))


class _Shared(httpx2.AsyncBaseTransport):
    """One client's use of the transport that all share, and that outlives it."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return an answer of reasonable size, which is no redirect."""
        answer = await self._inner.handle_async_request(request)
        if answer.is_redirect or int(answer.headers.get("content-length", 0)) > LONGEST_ANSWER:
            await answer.aclose()
            raise httpx2.RemoteProtocolError("a redirect, or far too much")
        return answer


def is_closed(url: str, *, demo: bool) -> bool:
    """Tell whether nobody on the way reads what is sent there; a demo stays on this machine."""
    parts = urlsplit(url)
    local = demo and parts.scheme == "http" and is_local(parts.hostname or "")
    return bool(parts.hostname) and (parts.scheme == "https" or local) and "@" not in parts.netloc


def _secret(settings: Settings) -> str | None:
    if settings.oidc_client_secret_file is None:
        return None
    return read_secret(settings.oidc_client_secret_file).decode().strip()


def _usable(found: dict[str, Any]) -> KeySet:
    given = found.get("keys")
    keys = [key for key in given if _is_for_signatures(key)] if isinstance(given, list) else []
    try:
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise Refused(f"its keys cannot be read: {type(error).__name__}") from None


def _is_for_signatures(key: object) -> bool:
    if not isinstance(key, dict) or key.get("kty") not in ("RSA", "EC", "OKP"):
        return False
    return key.get("use", "sig") == "sig" and key.get("crv") not in ("X25519", "X448")


def _silent(name: str, error: Exception) -> Unavailable:
    log.warning("the OpenID provider does not answer as it should: %s", type(error).__name__)
    return Unavailable(f"{name} does not answer; try again in a moment")
