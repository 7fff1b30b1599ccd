"""A port whose TLS asks for the card's certificate itself, where no proxy does that for us."""

import asyncio
import ssl
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.by_card import authorities
from api.client_certificates import SHOWN
from api.state import State


class CardProtocol(H11Protocol):
    """HTTP whose requests know the certificate that TLS was shown: uvicorn itself has no way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, once the handshake is over."""
        super().connection_made(transport)
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.app: Any = _showing(self.app, tls.getpeercert(binary_form=True))


def _showing(app: ASGIApp, certificate: bytes | None) -> ASGIApp:
    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        state = {**scope.get("state", {}), SHOWN: certificate}
        await app({**scope, "state": state}, receive, send)

    return shown


async def card_tls(state: State) -> ssl.SSLContext:
    """Return TLS that asks everybody for a certificate of the organisation's, and lets all in.

    Who shows none gets a page that says what to do, instead of the browser's own error.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(state.settings.card_certificate_file, state.settings.card_key_file)
    tls.verify_mode = ssl.CERT_OPTIONAL
    known = [one.public_bytes(Encoding.PEM).decode() for one in await authorities(state)]
    tls.load_verify_locations(cadata="".join(known))
    tls.num_tickets = 0  # each visit proves the card's presence anew
    return tls


async def card_options(state: State) -> dict[str, Any]:
    """Return how uvicorn serves that port."""
    tls = await card_tls(state)
    return {"http": CardProtocol, "ssl_context_factory": lambda _config, _default: tls}
