"""Signing in with the card: which certificate opens the door, and from whom it is believed.

TLS itself is in test_tls.py; here the requests are as a proxy, or a stranger, makes them.
"""

import base64
from dataclasses import replace
from urllib.parse import quote

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from api.client_certificates import Proxied
from cardflow.ca import RevocationReason
from cardflow.db.tables import Card, Certificate
from cardflow.model import CardState, new_id
from cardflow.secret_files import write_secret
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate
from tests.api.ways.conftest import CLIENT_AUTH, Authority, CardInHand, put
from tests.build import of_version_60
from tests.ca.making import a_key

PROXY, STRANGER = "192.0.2.10", "203.0.113.5"  # RFC 5737
PROOF = "the proxy's own secret"
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def settings(one_house):
    """Return the settings of an installation behind a proxy that ends TLS."""
    write_secret(one_house.state_dir / "secrets" / "proxy", PROOF.encode())
    return one_house.model_copy(update={"card_sign_in": "proxy", "proxy_addresses": PROXY})


@pytest.fixture(scope="module")
async def running(settings, shared_door):
    """Yield the people's door, running."""
    app, given = shared_door
    given[:] = [settings]
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def app(running, own):
    """Yield the door with the settings of one test."""
    state = running.state.cardflow
    given = dict(own)
    if given.pop("proven", False):
        given["proxy_secret_file"] = state.settings.state_dir / "secrets" / "proxy"
    set_anew(running, **given)
    yield running
    running.state.cardflow = state


def set_anew(app, **changes: object) -> None:
    """Leave the running door with other settings."""
    state = app.state.cardflow
    app.state.cardflow = replace(state, settings=state.settings.model_copy(update=changes))


@pytest.fixture
def own():
    """Return settings of this test's own."""
    return {}


@pytest.fixture
def visit(app):
    """Return what asks to be signed in with headers, from an address."""

    async def ask(headers=(), *, by=PROXY, path="/sign-in/card") -> httpx2.Response:
        settings = app.state.cardflow.settings
        transport = httpx2.ASGITransport(app=Proxied(app, settings), client=(by, 1))
        async with httpx2.AsyncClient(transport=transport, base_url=settings.public_url) as client:
            return await client.get(path, headers=[*PAGE.items(), *headers])

    return ask


def rfc9440(card: CardInHand) -> tuple[str, str]:
    return "Client-Cert", f":{base64.b64encode(card.der).decode()}:"


def odd(card: CardInHand) -> str:
    return f":{base64.b64encode(of_version_60(card.der)).decode()}:"


def escaped(card: CardInHand) -> tuple[str, str]:
    return "X-SSL-Client-Cert", quote(card.pem)


def let_in(answer: httpx2.Response) -> bool:
    return answer.status_code == 303 and "cardflow" in answer.headers.get("set-cookie", "")


async def test_a_card_signs_its_holder_in(visit, hand, app):
    card = await hand("hilda")

    answer = await visit([rfc9440(card)], path="/sign-in/card?next=/cards")

    assert let_in(answer)
    assert answer.headers["location"] == "http://localhost:8000/cards"


@pytest.mark.parametrize("own", [{"card_header": "x-ssl-client-cert"}])
async def test_nginxs_own_header_does_as_well(visit, hand):
    card = await hand("hilda")

    assert let_in(await visit([escaped(card)]))


NOT_PASSED_ON = [
    ("a stranger", {"by": STRANGER}, {}),
    ("a stranger who says that a proxy sent him", {"by": STRANGER}, {"X-Forwarded-For": PROXY}),
    ("this machine itself", {"by": "127.0.0.1"}, {}),
    ("nobody in particular", {"by": ""}, {}),
]


@pytest.mark.parametrize(
    ("by", "more"), [row[1:] for row in NOT_PASSED_ON], ids=[row[0] for row in NOT_PASSED_ON]
)
async def test_a_certificate_is_believed_from_the_proxy_only(visit, hand, caplog, by, more):
    card = await hand("hilda")

    answer = await visit([rfc9440(card), *more.items()], **by)

    assert not let_in(answer)
    assert answer.status_code == 403
    assert "no proxy of ours" in caplog.text


@pytest.mark.parametrize("own", [{"proven": True}])
@pytest.mark.parametrize(
    ("proof", "opens"),
    [([PROOF], True), ([], False), (["another"], False), ([PROOF, PROOF], False)],
    ids=["its secret", "none", "another", "twice"],
)
async def test_where_the_proxy_has_a_secret_it_must_show_it(visit, hand, proof, opens):
    card = await hand("hilda")

    answer = await visit([rfc9440(card), *(("X-Cardflow-Proxy", one) for one in proof)])

    assert let_in(answer) is opens


UNREADABLE = [
    ("no value", lambda _card: [("Client-Cert", "")]),
    ("two of them", lambda card: [rfc9440(card), rfc9440(card)]),
    ("no byte sequence", lambda card: [("Client-Cert", base64.b64encode(card.der).decode())]),
    ("no base64", lambda _card: [("Client-Cert", ":%%%:")]),
    ("no certificate", lambda _card: [("Client-Cert", ":AAAA:")]),
    ("a version that there is not", lambda card: [("Client-Cert", odd(card))]),
    ("far too long", lambda _card: [("Client-Cert", f":{'A' * 40_000}:")]),
    ("the other header", lambda card: [escaped(card)]),
    ("a chain alone", lambda card: [("Client-Cert-Chain", rfc9440(card)[1])]),
]


@pytest.mark.parametrize(
    "headers", [row[1] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
async def test_a_header_that_is_not_the_one_agreed_upon_opens_nothing(visit, hand, headers):
    card = await hand("hilda")

    answer = await visit(headers(card))

    assert (answer.status_code, let_in(answer)) == (403, False)


# Certificates


async def test_a_revoked_certificate_opens_nothing(visit, hand, app):
    card = await hand("hilda", certificate="revoked")

    assert "this certificate is revoked" in (await visit([rfc9440(card)])).text


async def test_a_certificate_that_the_ca_alone_revoked_opens_nothing(visit, hand, ca):
    card = await hand("hilda")
    number = facts_of_certificate(card.pem).serial_number
    await ca.revoke(number, RevocationReason.KEY_COMPROMISE)

    assert "this certificate is revoked" in (await visit([rfc9440(card)])).text


@pytest.mark.parametrize("state", [CardState.DISABLED, CardState.REVOKED])
async def test_a_closed_card_opens_nothing(visit, hand, state):
    card = await hand("hilda", state=state)

    assert "this card is disabled or revoked" in (await visit([rfc9440(card)])).text


async def test_a_certificate_that_was_replaced_opens_nothing(visit, hand):
    card = await hand("hilda", certificate="retired")

    assert "not on the card any more" in (await visit([rfc9440(card)])).text


async def test_a_disabled_person_is_not_let_in(visit, hand, app):
    card = await hand("hilda")
    async with transaction(app.state.cardflow.sessions) as session:
        person = await session.merge(card.person)
        person.active = False

    assert "this account is disabled" in (await visit([rfc9440(card)])).text


async def test_a_certificate_that_nobody_registered_opens_nothing(visit, hand, app):
    card = await hand("hilda")
    async with transaction(app.state.cardflow.sessions) as session:
        sha256 = facts_of_certificate(card.pem).sha256
        await session.delete(await session.get_one(Certificate, (sha256, card.card_id)))

    assert "on no card that is registered here" in (await visit([rfc9440(card)])).text


async def test_a_card_that_is_nobodys_opens_nothing(visit, hand, app):
    card = await hand("hilda")
    async with transaction(app.state.cardflow.sessions) as session:
        (await session.get_one(Card, card.card_id)).holder_id = None

    assert "is nobody" in (await visit([rfc9440(card)])).text


async def test_another_cas_certificate_opens_nothing_even_on_a_registered_card(
    visit, app, register
):
    key = a_key()
    card = CardInHand(Authority.new().issue(key, CLIENT_AUTH), key, new_id(), await register("zoe"))
    await put(app, card)

    answer = await visit([rfc9440(card)])

    assert "another CA" in answer.text


SERVER_AUTH = [ExtendedKeyUsageOID.SERVER_AUTH]
OURS_BUT = [
    ("it has ended", {"days": -1, "usages": CLIENT_AUTH}, "not valid at this time"),
    ("it is for no use", {"usages": None}, "not for signing in"),
    ("it is for servers", {"usages": SERVER_AUTH}, "not for signing in"),
]


@pytest.mark.parametrize(
    ("given", "why"), [row[1:] for row in OURS_BUT], ids=[row[0] for row in OURS_BUT]
)
async def test_our_own_certificate_opens_nothing_when(visit, app, hand, given, why):
    ours, key = Authority.new("The organisation's CA"), a_key()
    trust(app, ours)
    good = await hand("hilda", ours.issue(key, CLIENT_AUTH))
    card = await hand("ben", ours.issue(key, **given))

    assert let_in(await visit([rfc9440(good)]))
    assert why in (await visit([rfc9440(card)])).text


def trust(app, authority: Authority) -> None:
    """Leave the running door with another CA for people's cards."""
    file = app.state.cardflow.settings.state_dir / "ours.pem"
    file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    set_anew(app, card_ca_file=file)


@pytest.mark.parametrize("own", [{"card_sign_in": "off"}])
async def test_where_cards_do_not_sign_in_there_is_no_such_way(visit, hand):
    card = await hand("hilda")

    answer = await visit([rfc9440(card)])
    shown = await visit(path="/sign-in")

    assert answer.status_code == 404
    assert "Sign in with your card" not in shown.text


async def test_a_sign_in_ends_with_its_card(visit, hand, app):
    card = await hand("hilda")
    cookie = (await visit([rfc9440(card)])).headers["set-cookie"].partition(";")[0]
    before = await visit([("Cookie", cookie)], path="/api/v1/me")
    async with transaction(app.state.cardflow.sessions) as session:
        (await session.get_one(Card, card.card_id)).state = CardState.DISABLED

    after = await visit([("Cookie", cookie)], path="/api/v1/me")

    assert (before.status_code, after.status_code) == (200, 401)


async def test_another_card_does_not_prove_anew_who_somebody_is(visit, hand):
    hilda, ben = await hand("hilda"), await hand("ben")
    cookie = (await visit([rfc9440(hilda)])).headers["set-cookie"].partition(";")[0]

    path = "/sign-in/card?again=true"
    own = await visit([rfc9440(hilda), ("Cookie", cookie)], path=path)
    cookie = own.headers["set-cookie"].partition(";")[0]
    other = await visit([rfc9440(ben), ("Cookie", cookie)], path=path)

    assert let_in(own)
    assert (other.status_code, let_in(other)) == (403, False)
