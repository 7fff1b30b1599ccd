"""Who stands before us when somebody else ends TLS: pure ASGI, before anything else looks.

A certificate in a header is believed only from the proxies that settings name; from everybody else
it is thrown away, so nothing further in can mistake it.
"""

import base64
import binascii
import hmac
import logging
from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from cardflow.errors import Refused
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.x509.reading import UNREADABLE

CARRIERS = (b"client-cert", b"client-cert-chain", b"x-ssl-client-cert")
PROOF = b"x-cardflow-proxy"
LONGEST = 16_384  # of a header's value
SHOWN = "client_certificate"  # where it is kept in the scope's state, DER

log = logging.getLogger(__name__)


class Proxied:
    """Takes from the named proxies what they say of the client, and from nobody else."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._inner, self._settings = app, settings
        proxies = settings.proxy_addresses
        # uvicorn names ASGI's messages more closely than Starlette does.
        self._app: Any = ProxyHeadersMiddleware(app, proxies) if proxies else app  # type: ignore[arg-type]

    @cached_property
    def _proof(self) -> bytes:
        file = self._settings.proxy_secret_file
        return read_secret(file).strip() if file else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without the headers that only a proxy may set."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trusted = self._is_proxy(scope)
        given = [value for name, value in scope["headers"] if name in CARRIERS]
        shown = self._certificate(scope) if trusted else None
        if given and not trusted:
            log.warning("a client certificate in a header is ignored: no proxy of ours sent it")
        headers = [pair for pair in scope["headers"] if pair[0] not in (*CARRIERS, PROOF)]
        state = {**scope.get("state", {}), SHOWN: shown}
        # Without the proof nothing that the request says of whom it comes from is believed.
        inner = self._app if trusted else self._inner
        await inner({**scope, "headers": headers, "state": state}, receive, send)

    def _is_proxy(self, scope: Scope) -> bool:
        address = scope["client"][0] if scope.get("client") else ""
        if not self._settings.proxy_addresses or address not in self._app.trusted_hosts:
            return False
        shown = [value for name, value in scope["headers"] if name == PROOF]
        return not self._proof or (
            len(shown) == 1 and hmac.compare_digest(shown[0].strip(), self._proof)
        )

    def _certificate(self, scope: Scope) -> bytes | None:
        """Return the one certificate in the one header that is agreed upon (RFC 9440 2.4)."""
        wanted = self._settings.card_header.encode()
        values = [value for name, value in scope["headers"] if name == wanted]
        if self._settings.card_sign_in != "proxy" or len(values) != 1 or not values[0].strip():
            return None
        try:
            return _rfc9440(values[0]) if wanted == b"client-cert" else _escaped(values[0])
        except (*UNREADABLE, Refused):
            log.warning("the proxy's header %s cannot be read", self._settings.card_header)
            return None


def shown_certificate(connection: HTTPConnection) -> bytes | None:
    """Return the certificate, DER, whose key the client proved to have when TLS began."""
    found = connection.scope.get("state", {}).get(SHOWN)
    return found if isinstance(found, bytes) else None


def _rfc9440(value: bytes) -> bytes:
    """Return the DER of a structured field's byte sequence (RFC 8941 3.3.5)."""
    value = value.strip()
    if len(value) > LONGEST or not (value.startswith(b":") and value.endswith(b":")):
        raise ValueError
    try:
        return base64.b64decode(value[1:-1], validate=True)
    except binascii.Error:
        raise ValueError from None


def _escaped(value: bytes) -> bytes:
    """Return the DER of nginx's ``$ssl_client_escaped_cert``, URL-encoded PEM."""
    if len(value) > LONGEST:
        raise ValueError
    return x509.load_pem_x509_certificate(unquote_to_bytes(value)).public_bytes(Encoding.DER)
