"""Signing in with the card over real TLS: behind Debian's nginx with our configuration, and direct.

nginx decides nothing here that is relied on: what it lets through is judged again.
"""

import asyncio
import shutil
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from cryptography.x509.oid import ExtendedKeyUsageOID
from fastapi import FastAPI

from api.card_door import card_options
from api.client_certificates import Proxied
from cli.ports import free_ports
from tests.api.ways.conftest import CLIENT_AUTH, Authority, CardInHand
from tests.api.ways.test_card import escaped, let_in, rfc9440
from tests.ca.making import a_key
from tests.deployment.proxy import configuration, nginx
from tests.waiting import until

pytestmark = pytest.mark.openssl


@asynccontextmanager
async def serving(app: object, port: int, **options: object):
    """Serve an ASGI application on loopback."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        port=port,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        **options,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started, what="the door is open")
    yield
    server.should_exit = True
    await task


@pytest.fixture
def settings(settings):
    """Return the settings of an installation whose cards sign people in, at ports of its own."""
    api, card, plain, pages = free_ports(4)
    return settings.model_copy(
        update={
            "api_port": api,
            "card_port": card,
            "door_port": pages,
            "catcher_port": plain,
            "card_sign_in": "proxy",
            "card_header": "x-ssl-client-cert",
            "proxy_addresses": "127.0.0.1",
            "card_sign_in_url": f"https://localhost:{card}",
            "card_certificate_file": settings.door_certificate_file,
            "card_key_file": settings.door_key_file,
        }
    )


def configured(settings, here: Path) -> str:
    """Return the configuration of a proxy with the card's port, before one API."""
    tls = here / "tls"
    tls.mkdir()
    for name, file in (("tls", "door"), ("tls-key", "door-key")):
        shutil.copy(settings.state_dir / "secrets" / f"{file}.pem", tls / f"{name}.pem")
    chain = [
        (settings.ca_dir / "public" / f"{name}.pem").read_text() for name in ("issuing", "root")
    ]
    (tls / "card-ca.pem").write_text("".join(chain))
    ports = {"80": settings.catcher_port, "443": settings.door_port, "8444": settings.card_port}
    return configuration(here, ports, [settings.api_port] * 2, card=True)


@pytest.fixture(name="nginx")
async def running(app: FastAPI, settings, tmp_path: Path):
    """Yield Debian's nginx before the people's door."""
    async with (
        serving(Proxied(app, settings), settings.api_port),
        nginx(tmp_path, configured(settings, tmp_path)) as process,
    ):
        yield process


async def shown(settings, card: CardInHand | None = None, *, port=0, headers=()) -> httpx2.Response:
    """Return the answer to whoever opens the card's port, with a card or without."""
    tls = ssl.create_default_context(cafile=str(settings.door_root_file))
    if card:
        tls.load_cert_chain(*card.files(settings.state_dir))
    url = f"https://localhost:{port or settings.card_port}/sign-in/card"
    async with httpx2.AsyncClient(verify=tls, trust_env=False) as client:
        return await client.get(url, headers=[("Accept", "text/html"), *headers])


async def test_behind_nginx_a_card_signs_its_holder_in_and_nothing_else_does(
    nginx, settings, hand, ca, register
):
    good, revoked = await hand("hilda"), await hand("ben", certificate="revoked")
    key, other = a_key(), Authority.new()
    server = [ExtendedKeyUsageOID.SERVER_AUTH]
    foreign = CardInHand(other.issue(key, CLIENT_AUTH), key)

    assert let_in(await shown(settings, good))
    refused = {
        "no card": await shown(settings),
        "a header without a card": await shown(settings, headers=[escaped(good)]),
        "the other header without a card": await shown(settings, headers=[rfc9440(good)]),
        "a header at the pages' port": await shown(
            settings, port=settings.door_port, headers=[escaped(good)]
        ),
        "a revoked card": await shown(settings, revoked),
        "a revoked card with another's header": await shown(
            settings, revoked, headers=[escaped(good)]
        ),
        "somebody else's CA": await shown(settings, foreign),
        "an expired certificate": await shown(settings, CardInHand(other.issue(key, days=-1), key)),
        "a server's certificate": await shown(settings, CardInHand(other.issue(key, server), key)),
    }

    assert [name for name, answer in refused.items() if let_in(answer)] == []
    assert {answer.status_code for answer in refused.values()} == {400, 403}
    assert "no card was shown" in refused["no card"].text
    assert "this certificate is revoked" in refused["a revoked card"].text


async def test_a_stranger_beside_the_proxy_is_not_believed(app, settings, hand):
    """Whoever reaches the people's door itself, from another address than the proxy's."""
    good = await hand("hilda")
    elsewhere = settings.model_copy(update={"proxy_addresses": "127.0.0.9"})
    async with serving(Proxied(app, elsewhere), settings.api_port), httpx2.AsyncClient() as client:
        url = f"http://127.0.0.1:{settings.api_port}/sign-in/card"
        answer = await client.get(url, headers=[("Accept", "text/html"), escaped(good)])

    assert (answer.status_code, let_in(answer)) == (403, False)


async def test_without_a_proxy_our_own_port_asks_for_the_card(app, settings, hand):
    good, revoked = await hand("hilda"), await hand("ben", certificate="revoked")
    key, other = a_key(), Authority.new()
    foreign = CardInHand(other.issue(key, CLIENT_AUTH), key)

    async with serving(app, settings.card_port, **await card_options(app.state.cardflow)):
        answer = await shown(settings, good)
        without = await shown(settings, headers=[escaped(good), rfc9440(good)])
        over = await shown(settings, revoked)
        with pytest.raises((httpx2.HTTPError, ssl.SSLError)):
            await shown(settings, foreign)

    assert let_in(answer)
    assert "no card was shown" in without.text
    assert "this certificate is revoked" in over.text
