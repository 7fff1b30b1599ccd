"""What a provider, a thief or a stranger may try at the sign-in: each is refused by name.

The tables are the list: class, source, what is tried, and what our log says of it.
"""

import json
import re
import time
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

import httpx2
import pytest
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode
from sqlalchemy import select
from sqlmodel import col

from api.provider import Provider
from api.sealing import SIGN_IN, Sealer
from cardflow.db.tables import AuditEntry, Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.secret_files import write_secret
from cardflow.sql import transaction
from tests.api.conftest import client_of
from tests.api.ways import hostile
from tests.api.ways.hostile import CLIENT, ISSUER, SECRET, Liar

CORE, LOGOUT = "OpenID Connect Core 1.0", "Back-Channel Logout 1.0"
HOUR = 3_600


@pytest.fixture(scope="module")
def settings(one_house):
    """Return the settings of an installation whose people sign in at the liar's."""
    secret = one_house.state_dir / "secrets" / "oidc"
    write_secret(secret, SECRET.encode())
    return one_house.model_copy(
        update={
            "oidc_issuer": ISSUER,
            "oidc_name": "the liar",
            "oidc_client_id": CLIENT,
            "oidc_client_secret_file": secret,
            "oidc_match_claim": "preferred_username",
        }
    )


@pytest.fixture(scope="module")
async def app(settings, shared_door):
    """Yield the people's door, running; Hilda is registered."""
    app, given = shared_door
    given[:] = [settings]
    async with app.router.lifespan_context(app):
        person = Person(
            id=new_id(), login="hilda", name="Hilda", roles=[Role.HOLDER], created_at=utc_now()
        )
        async with transaction(app.state.cardflow.sessions) as session:
            session.add(person)
        yield app


@pytest.fixture(scope="module")
def key() -> RSAKey:
    """Return the provider's key."""
    return RSAKey.generate_key(2048, {"kid": "one"})


@pytest.fixture
def liar(app, settings, key) -> Liar:
    """Return the provider, reached without a network."""
    liar = Liar(key)
    provider = Provider(settings, httpx2.ASGITransport(app=liar.app))
    app.state.cardflow = replace(app.state.cardflow, provider=provider)
    return liar


@pytest.fixture
async def browser(app):
    """Yield a browser."""
    async with client_of(app, headers={"Accept": "text/html"}) as client:
        yield client


async def back_from(liar: Liar, browser: httpx2.AsyncClient, path="/sign-in/provider") -> str:
    """Return the address at which the browser comes back."""
    answer = await browser.get(path)
    assert answer.status_code == 303, answer.text
    return liar.agrees(answer.headers["location"])


async def is_in(browser: httpx2.AsyncClient) -> bool:
    return (await browser.get("/api/v1/me")).is_success


async def test_the_same_provider_telling_the_truth_is_believed(liar, browser):
    answer = await browser.get(await back_from(liar, browser))

    assert answer.status_code == 303
    assert await is_in(browser)


def claims(**changes):
    return {"change_claims": lambda given: given.update(changes)}


def signing(sign):
    return {"sign": sign}


NOW = int(time.time())
LIES = [
    ("another nonce", f"{CORE} 3.1.3.7 (11)", claims(nonce="another"), "nonce"),
    ("no nonce", f"{CORE} 3.1.3.7 (11)", claims(nonce=None), "nonce"),
    ("another issuer's token", f"{CORE} 3.1.3.7 (2)", claims(iss="https://evil.example"), "iss"),
    ("no issuer", f"{CORE} 2", claims(iss=None), "iss"),
    ("for another client", f"{CORE} 3.1.3.7 (3)", claims(aud="another"), "aud"),
    ("for nobody", f"{CORE} 2", claims(aud=None), "aud"),
    ("for several, given to none", f"{CORE} 3.1.3.7 (4)", claims(aud=[CLIENT, "b"]), "azp"),
    ("given to another client", f"{CORE} 3.1.3.7 (5)", claims(azp="another"), "azp"),
    ("expired", f"{CORE} 3.1.3.7 (9)", claims(exp=NOW - HOUR), "expired"),
    ("never expires", f"{CORE} 2", claims(exp=None), "exp"),
    ("from the future", f"{CORE} 3.1.3.7 (10)", claims(iat=NOW + HOUR), "future"),
    ("long ago", f"{CORE} 3.1.3.7 (10)", claims(iat=NOW - HOUR), "iat"),
    ("about nobody", f"{CORE} 2", claims(sub=None), "sub"),
    ("about too long a name", f"{CORE} 2", claims(sub="x" * 300), "sub"),
    ("about a number", f"{CORE} 2", claims(sub=7), "sub"),
    (
        "signed in last week",
        f"{CORE} 3.1.3.7 (13)",
        claims(auth_time=NOW - 200 * HOUR),
        "auth_time",
    ),
    ("will sign in tomorrow", f"{CORE} 2", claims(auth_time=NOW + 24 * HOUR), "auth_time"),
    (
        "another access token",
        f"{CORE} 3.1.3.8",
        claims(at_hash="MTIzNDU2Nzg5MDEyMzQ1Ng"),
        "at_hash",
    ),
    ("not signed", "RFC 8725 2.1", signing(hostile.unsigned), "signature"),
    ("public key as secret", "RFC 8725 2.1", signing(hostile.with_the_public_key), "signature"),
    ("our secret as key", "RFC 8725 3.1", signing(hostile.with_the_clients_secret), "signature"),
    ("another key", "RFC 7515 5.2", signing(hostile.with_another_key), "signature"),
    ("its own key", "RFC 7515 4.1.3", signing(hostile.with_a_key_of_its_own), "signature"),
    ("an unknown key", "RFC 7515 4.1.4", signing(hostile.with_an_unknown_key), "signature"),
    (
        "something critical",
        "RFC 7515 4.1.11",
        signing(hostile.with_something_critical),
        "signature",
    ),
    ("no token at all", "RFC 7515 7.1", signing(lambda *_: "nonsense"), "signature"),
    (
        "no ID token",
        f"{CORE} 3.1.3.3",
        {"change_tokens": lambda tokens: tokens.pop("id_token")},
        "no ID token",
    ),
    (
        "somebody else's claims",
        f"{CORE} 5.3.2",
        {"change_userinfo": lambda info: info.update(sub="ben-there")},
        "another subject",
    ),
]


@pytest.mark.parametrize(
    ("lie", "reason"), [(row[2], row[3]) for row in LIES], ids=[row[0] for row in LIES]
)
async def test_a_token_that_lies_is_not_believed(liar, browser, caplog, lie, reason):
    for name, value in lie.items():
        setattr(liar, name, value)

    answer = await browser.get(await back_from(liar, browser))

    assert answer.status_code == 401
    assert re.search(reason, caplog.text)
    assert not await is_in(browser)


def without(name):
    return lambda back: re.sub(rf"&{name}=[^&]*", "", back)


def with_(name, value):
    return lambda back: re.sub(rf"{name}=[^&]*", f"{name}={value}", back)


ANSWERS = [
    ("another state", "RFC 6749 10.12", with_("state", "another"), "state"),
    ("no state", "RFC 6749 10.12", without("state"), "state"),
    ("another issuer's answer (mix-up)", "RFC 9207 2.4", with_("iss", "https://evil.org"), "iss"),
    ("no issuer, though promised", "RFC 9207 2.4", without("iss"), "iss"),
    ("an error instead of a code", "RFC 6749 4.1.2.1", with_("code", "&error=access_denied"), ""),
]


@pytest.mark.parametrize(
    ("change", "reason"), [row[2:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
async def test_an_answer_that_is_not_to_our_question_is_refused(
    liar, browser, caplog, change, reason
):
    answer = await browser.get(change(await back_from(liar, browser)))

    assert answer.status_code == 401
    assert re.search(reason, caplog.text)
    assert not await is_in(browser)


async def test_an_answer_in_a_browser_that_did_not_ask_is_refused(liar, browser, app):
    """Login CSRF (RFC 6749 10.12): the attacker's own answer, sent to somebody else."""
    back = await back_from(liar, browser)
    async with client_of(app, headers={"Accept": "text/html"}) as victim:
        answer = await victim.get(back)

        assert answer.status_code == 401
        assert not await is_in(victim)


async def test_an_answer_is_good_once_even_where_the_provider_repeats_itself(liar, browser, caplog):
    back = await back_from(liar, browser)
    carried = dict(browser.cookies)
    await browser.get(back)
    browser.cookies = httpx2.Cookies(carried)

    answer = await browser.get(back)

    assert answer.status_code == 401
    assert "shown before" in caplog.text
    assert not await is_in(browser)


async def test_a_sign_in_that_took_too_long_begins_anew(liar, browser, app, caplog):
    back = await back_from(liar, browser)
    sealer = Sealer(app.state.cardflow.keys.sealing, SIGN_IN)
    name, carried = next(iter(browser.cookies.items()))
    began = json.loads(sealer.open(carried, "pending"))
    began["asked_at"] -= HOUR
    carried = sealer.seal(json.dumps(began).encode(), "pending")
    browser.cookies = httpx2.Cookies({name: carried})

    answer = await browser.get(back)

    assert answer.status_code == 401
    assert "too long" in caplog.text


async def test_a_code_is_redeemed_with_the_verifier_of_its_own_question_only(liar, browser):
    """RFC 7636: the code belongs to another question than the one that is answered."""
    await back_from(liar, browser)
    asked_before = dict(liar.asked)
    back = await back_from(liar, browser)
    liar.asked = asked_before

    answer = await browser.get(back)

    assert asked_before["code_challenge_method"] == "S256"
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("change", "reason"),
    [(claims(auth_time=None), "auth_time"), (claims(auth_time=NOW - 1_000), "too long ago")],
    ids=["unsaid", "an hour ago"],
)
async def test_proving_anew_needs_a_provider_that_says_when(liar, browser, caplog, change, reason):
    await browser.get(await back_from(liar, browser))
    liar.change_claims = change["change_claims"]

    answer = await browser.get(await back_from(liar, browser, "/sign-in/provider?again=true"))

    assert answer.status_code == 401
    assert reason in caplog.text


async def test_a_sign_in_counts_as_of_when_the_person_proved_it_there(liar, browser, app):
    """Nobody is fresh here because they were signed in there anyway."""
    liar.change_claims = lambda given: given.update(auth_time=NOW - HOUR)
    await browser.get(await back_from(liar, browser))
    liar.change_claims = lambda given: given.update(auth_time=None)
    await browser.get(await back_from(liar, browser))

    query = select(AuditEntry).where(col(AuditEntry.kind) == "signed_in")
    async with transaction(app.state.cardflow.reads) as session:
        rows = await session.scalars(query.order_by(col(AuditEntry.number).desc()).limit(2))
        unsaid, said = [json.loads(row.text)["facts"]["authenticated_at"] for row in rows]

    assert datetime.fromisoformat(said).timestamp() == NOW - HOUR
    # Taken at the worst: as old as a session may be.
    assert datetime.fromisoformat(unsaid).timestamp() < time.time() - 11 * HOUR


FALSE_FRIENDS = [
    ("calls itself otherwise", {"issuer": "https://evil.example"}),
    ("is told secrets in clear", {"token_endpoint": "http://login.example.org/token"}),
    ("is a name with a password", {"userinfo_endpoint": "https://us@login.example.org/x"}),
    ("knows no S256", {"code_challenge_methods_supported": ["plain"]}),
    ("signs with shared keys only", {"id_token_signing_alg_values_supported": ["HS256", "none"]}),
    ("has no token endpoint", {"token_endpoint": None}),
]


@pytest.mark.parametrize(
    "changes", [row[1] for row in FALSE_FRIENDS], ids=[row[0] for row in FALSE_FRIENDS]
)
async def test_a_provider_that_cannot_be_trusted_is_not_asked(liar, browser, changes):
    liar.change_metadata = lambda metadata: metadata.update(changes)

    answer = await browser.get("/sign-in/provider")

    assert answer.status_code == 503


async def test_a_provider_that_leads_elsewhere_is_not_followed(liar, browser):
    liar.redirects = True

    assert (await browser.get("/sign-in/provider")).status_code == 503


async def test_strangers_tokens_do_not_have_us_ask_for_keys_all_the_time(liar, browser):
    liar.sign = hostile.with_an_unknown_key
    for _ in range(5):
        await browser.get(await back_from(liar, browser))

    assert liar.key_questions == 1


async def test_new_keys_are_fetched_when_a_token_names_one(liar, browser, app):
    await browser.get(await back_from(liar, browser))
    liar.key = RSAKey.generate_key(2048, {"kid": "two"})
    liar.sign = hostile.with_an_unknown_key
    app.state.cardflow.provider.again_seconds = 0.0

    answer = await browser.get(await back_from(liar, browser))

    assert answer.status_code == 303


@pytest.mark.parametrize("path", ["/sign-in/provider", "/sign-in/card"])
async def test_another_site_signs_nobody_in_unasked(liar, app, browser, path):
    """The person sees our page and presses the button, or does not."""
    state = app.state.cardflow
    settings = state.settings.model_copy(update={"public_url": "https://localhost:8000"})
    app.state.cardflow = replace(state, settings=settings)

    answer = await browser.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    own = await browser.get(path, headers={"Sec-Fetch-Site": "same-origin"})

    app.state.cardflow = state
    assert (answer.status_code, "Sign in with the liar" in answer.text) == (200, True)
    assert own.status_code != 200


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "javascript:alert(1)",
    "evil.example",
    "",
]


@pytest.mark.parametrize("next", ELSEWHERE)
async def test_nobody_is_led_elsewhere_after_signing_in(liar, browser, next):
    path = f"/sign-in/provider?next={quote(next)}"

    answer = await browser.get(await back_from(liar, browser, path))

    assert answer.headers["location"] == "/"


NO_LOGOUTS = [
    ("with a nonce", f"{LOGOUT} 2.4", {"nonce": "n"}, "nonce"),
    ("without events", f"{LOGOUT} 2.4", {"events": None}, "events"),
    ("about another event", f"{LOGOUT} 2.4", {"events": {"other": {}}}, "events"),
    ("whose event is no object", f"{LOGOUT} 2.4", {"events": {hostile.EVENT: 1}}, "events"),
    ("for another client", f"{LOGOUT} 2.6", {"aud": "another"}, "aud"),
    ("for nobody", f"{LOGOUT} 2.6", {"aud": None}, "aud"),
    ("of another issuer", f"{LOGOUT} 2.6", {"iss": "https://evil.example"}, "iss"),
    ("expired", f"{LOGOUT} 2.6", {"exp": NOW - HOUR}, "exp"),
    ("that never expires", f"{LOGOUT} 2.4", {"exp": None}, "exp"),
    ("of long ago", f"{LOGOUT} 2.6", {"iat": NOW - HOUR}, "iat"),
    ("without an id", f"{LOGOUT} 2.4", {"jti": None}, "jti"),
    ("about nobody", f"{LOGOUT} 2.4", {"sub": None, "sid": None}, "sub and sid"),
    ("about something odd", f"{LOGOUT} 2.4", {"sub": ["hilda-there"]}, "sub"),
]


@pytest.mark.parametrize(
    ("changes", "reason"), [row[2:] for row in NO_LOGOUTS], ids=[row[0] for row in NO_LOGOUTS]
)
async def test_a_logout_token_that_is_none_ends_nothing(liar, browser, caplog, changes, reason):
    await browser.get(await back_from(liar, browser))

    answer = await told(browser, liar.logout_token(**changes))

    assert answer.status_code == 400
    assert reason in caplog.text
    assert await is_in(browser)


UNSIGNED = (hostile.unsigned, hostile.with_the_public_key, hostile.with_another_key)


@pytest.mark.parametrize("sign", UNSIGNED, ids=lambda sign: sign.__name__)
async def test_a_logout_token_that_the_provider_did_not_sign_ends_nothing(liar, browser, sign):
    await browser.get(await back_from(liar, browser))
    said = json.loads(urlsafe_b64decode(liar.logout_token().split(".")[1].encode()))

    answer = await told(browser, sign(liar, said))

    assert answer.status_code == 400
    assert await is_in(browser)


async def test_an_id_token_is_no_logout_token(liar, browser):
    kept = []
    liar.sign = lambda liar, given: kept.append(liar.signed(given)) or kept[-1]
    await browser.get(await back_from(liar, browser))

    assert (await told(browser, kept[-1])).status_code == 400
    assert await is_in(browser)


@pytest.mark.parametrize(
    "names", [{"sub": None}, {"sid": None}, {}], ids=["the session", "the subject", "both"]
)
async def test_a_logout_token_ends_what_it_names(liar, browser, names):
    await browser.get(await back_from(liar, browser))

    assert (await told(browser, liar.logout_token(**names))).status_code == 200
    assert not await is_in(browser)


@pytest.mark.parametrize("names", [{"sub": "ben-there", "sid": None}, {"sid": "other"}])
async def test_a_logout_token_ends_nobody_elses_sign_in(liar, browser, names):
    await browser.get(await back_from(liar, browser))

    assert (await told(browser, liar.logout_token(**names))).status_code == 200
    assert await is_in(browser)


async def test_a_logout_token_counts_once(liar, browser, caplog):
    token = liar.logout_token()
    await told(browser, token)
    await browser.get(await back_from(liar, browser))

    answer = await told(browser, token)

    assert (answer.status_code, "shown before" in caplog.text) == (400, True)
    assert await is_in(browser)


async def test_a_password_sign_in_does_not_end_by_the_providers_word(liar, sign_in):
    hilda = await sign_in("hilda2")

    await told(hilda, liar.logout_token())

    assert await is_in(hilda)


async def told(browser: httpx2.AsyncClient, token: str) -> httpx2.Response:
    """Return our answer to the provider; it comes without a browser's headers."""
    return await browser.post("/sign-in/provider/logout", data={"logout_token": token})
