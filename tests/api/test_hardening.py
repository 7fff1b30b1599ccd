"""What ASVS 5.0 asks of every web application, where no other test sees to it."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from api import __main__ as process
from api.app import create_agent_app, create_app
from api.client_certificates import Proxied
from api.routing import transaction
from api.shapes import In
from api.web.entrance import local
from cardflow.db.tables import Person
from cardflow.model import Role
from cardflow.settings import Settings
from tests.api.conftest import ORIGIN, PASSWORD, client_of
from tests.api.test_routes import AGENTS, PEOPLE, routes_of

BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
SAFE = {"GET", "HEAD", "OPTIONS"}


def secure(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": "https://cards.example.org"})


async def test_every_cookie_is_bound_to_our_host_and_to_https(settings, register):
    await register("holly")
    app = create_app(secure(settings))
    given = {"login": "holly", "password": PASSWORD}
    async with app.router.lifespan_context(app), client_of(app, headers=BROWSER) as client:
        signed_in = await client.post("/sign-in", data=given)
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        signed_out = await client.post("/sign-out", headers={"Cookie": cookie})

    cookies = [
        *signed_in.headers.get_list("set-cookie"),
        *signed_out.headers.get_list("set-cookie"),
    ]
    assert {line.partition("=")[0] for line in cookies} == {
        "__Host-cardflow",
        "__Host-cardflow-notice",
    }
    for line in cookies:
        assert "Secure" in line
        assert "Path=/" in line
        assert "SameSite=lax" in line
        assert "Domain" not in line
        assert "HttpOnly" in line or "Max-Age=0" in line


async def test_where_people_come_from_is_told_to_nobody_else(anonymous):
    for path in ("/sign-in", "/static/own/cardflow.js", "/api/v1/me"):
        answer = await anonymous.get(path)

        assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("app", [PEOPLE, AGENTS], ids=["people", "agents"])
def test_no_address_takes_a_secret(app):
    dependants = [route.dependant for route in routes_of(app)]
    names = {p.name for d in dependants for p in (*d.path_params, *d.query_params)}

    assert "token_id" in names or app is AGENTS
    assert {
        n for n in names if re.search(r"(^|_)(password|token|secret|pin|passphrase)$", n)
    } == set()


def test_nothing_is_kept_that_would_let_somebody_in_without_a_factor():
    kept = set(Person.model_fields)

    assert "password_hash" in kept
    assert {name for name in kept if re.search("hint|question|answer|recovery", name)} == set()


async def test_what_a_browser_keeps_of_us_goes_with_the_sign_in(sign_in):
    holly = await sign_in("holly")

    answer = await holly.delete("/api/v1/session")

    assert answer.headers["clear-site-data"] == '"cache", "storage"'


async def test_whoever_is_turned_away_is_logged_with_what_they_wanted(sign_in, caplog):
    holly = await sign_in("holly")
    with caplog.at_level(logging.WARNING, "api.observing"):
        await holly.post("/api/v1/people?name=Mallory", json={})
        await holly.get("/api/v1/me", headers={"Authorization": "Bearer cfs_wrong"})

    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("POST /api/v1/people -> 403")
    assert f"by {holly.headers['x-person']} from 127.0.0.1" in first
    assert second.startswith("GET /api/v1/me -> 401")
    assert "by nobody from 127.0.0.1" in second
    assert "Mallory" not in first
    assert "cfs_" not in second


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
async def test_only_the_methods_that_are_needed_are_answered(anonymous, method):
    answer = await anonymous.request(method, "/api/v1/people")

    assert answer.status_code == 405


@pytest.mark.parametrize("folder", ["/static/", "/static/vendor/", "/static/own", "/docs/../"])
async def test_no_folder_is_listed(anonymous, folder):
    answer = await anonymous.get(folder, follow_redirects=False)

    assert answer.status_code in (303, 401, 404)
    assert "cardflow.js" not in answer.text


async def test_every_text_says_its_character_set(anonymous):
    seen = []
    for path in (
        "/sign-in",
        "/docs/",
        "/static/own/cardflow.js",
        "/static/own/cardflow.css",
        "/nowhere",
    ):
        answer = await anonymous.get(path, headers=BROWSER)
        seen.append(answer.headers["content-type"])

    assert all(kind.startswith("text/") and "charset=utf-8" in kind for kind in seen), seen


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "x"],
)
def test_nobody_is_sent_to_another_host(elsewhere):
    assert local(elsewhere) == "/"
    assert local("/cards?view=all") == "/cards?view=all"


@pytest.mark.parametrize("path", ["/sign-in", "/account/password"])
async def test_passwords_are_hidden_and_may_come_from_a_manager(sign_in, anonymous, path):
    client = anonymous if path == "/sign-in" else await sign_in("holly")
    page = (await client.get(path, headers=BROWSER)).text

    fields = re.findall(r"<input[^>]*password[^>]*>", page)
    assert fields
    for field in fields:
        assert 'type="password"' in field
        assert re.search(r'autocomplete="(current|new)-password"', field)
        assert "onpaste" not in field


@pytest.mark.parametrize("path", ["/account", "/cards", "/account/password"])
async def test_every_page_of_somebody_signed_in_offers_to_sign_out(sign_in, path):
    holly = await sign_in("holly", Role.HOLDER)

    page = (await holly.get(path, headers=BROWSER)).text

    assert 'action="/sign-out"' in page


async def test_no_other_site_is_let_read_an_answer(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    answers = [
        await ada.get("/api/v1/people", headers=foreign),
        await ada.request("OPTIONS", "/api/v1/people", headers=foreign),
    ]

    assert [name for a in answers for name in a.headers if name.startswith("access-control")] == []
    assert answers[1].status_code == 405


def writes(dependant: Dependant) -> bool:
    return dependant.call is transaction or any(writes(inner) for inner in dependant.dependencies)


@pytest.mark.parametrize("app", [PEOPLE, AGENTS], ids=["people", "agents"])
def test_what_a_link_can_ask_for_changes_nothing(app):
    looking = [route for route in routes_of(app) if route.methods <= SAFE]

    assert [route.path for route in looking if writes(route.dependant)] == []
    assert any(writes(route.dependant) for route in routes_of(PEOPLE))


# Temporal's own messages, which it may add fields to; nothing of them is kept.
ANOTHERS_PROTOCOL = {"/codec/decode"}


def test_every_body_is_a_closed_shape():
    bodies = {
        field.field_info.annotation
        for route in routes_of(PEOPLE)
        if route.path not in ANOTHERS_PROTOCOL
        for field in route.dependant.body_params
        if isinstance(field.field_info.annotation, type)
        and issubclass(field.field_info.annotation, BaseModel)
    }

    assert len(bodies) > 10
    assert [shape for shape in bodies if not issubclass(shape, In)] == []
    assert [shape for shape in bodies if shape.model_config.get("extra") != "forbid"] == []


async def test_a_value_counts_only_where_it_belongs(sign_in):
    ada = await sign_in("ada", Role.ADMIN)
    ada.cookies.set("limit", "1")

    by_cookie = await ada.get("/api/v1/people", headers={"limit": "1"})
    by_query = await ada.post("/api/v1/people?login=x&name=X", json={})
    twice = await ada.get("/api/v1/people?limit=100000&limit=1000000")

    assert by_cookie.json()["items"]
    assert by_query.status_code == 422
    assert twice.status_code == 422


def test_the_agent_door_takes_forward_secrecy_and_nothing_older_than_tls_1_2(settings):
    options = {
        "ssl_certfile": settings.door_certificate_file,
        "ssl_keyfile": settings.door_key_file,
    }
    config = process._config(create_agent_app(settings), ssl_ciphers=process.CIPHERS, **options)
    config.load()

    ciphers = config.ssl.get_ciphers()
    assert config.ssl.minimum_version.name in ("TLSv1_2", "TLSv1_3")
    assert len(ciphers) >= 4
    for cipher in ciphers:
        assert cipher["aead"]
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-")


@pytest.fixture
async def heard(app) -> AsyncIterator[tuple[int, list[str]]]:
    """Yield the port of a door as it is served, and every path that reached the application."""
    paths: list[str] = []

    async def listening(scope, receive, send):
        if scope["type"] == "http":
            paths.append(scope["path"])
            await app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as server:
        door = process.Door(process._config(listening))
        door.config.lifespan = "off"
        serving = asyncio.create_task(door.serve([server]))
        yield server.getsockname()[1], paths
        door.should_exit = True
        await serving


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
NO_LENGTH = {
    "two content lengths": b"Content-Length: 0\r\nContent-Length: 38\r\n\r\n",
    "a hidden chunked": b"Content-Length: 38\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 38\r\n\r\n",
    "a length with a sign": b"Content-Length: +38\r\n\r\n",
}
# RFC 9112 6.3: with both, the transfer encoding alone counts; its end is the request's end.
BOTH = b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


async def answered(port: int, headers: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"DELETE /sign-in HTTP/1.1\r\nHost: localhost\r\n" + headers + SMUGGLED)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("headers", NO_LENGTH.values(), ids=NO_LENGTH)
async def test_no_second_request_hides_in_the_body_of_a_first(heard, headers):
    port, paths = heard

    answer = await answered(port, headers)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert paths == []


async def test_where_both_lengths_are_given_the_transfer_encoding_counts(heard):
    port, paths = heard

    await answered(port, BOTH)

    assert paths == ["/sign-in", "/healthz"]


@pytest.mark.parametrize(
    ("proxies", "sender", "seen"),
    [
        ("", "203.0.113.9", "203.0.113.9"),
        ("172.30.70.10", "172.30.70.10", "198.51.100.7"),
        ("172.30.70.10", "203.0.113.9", "203.0.113.9"),
    ],
)
async def test_an_address_is_believed_from_our_proxy_alone(
    *, settings, app, caplog, proxies, sender, seen
):
    door = Proxied(app, settings.model_copy(update={"proxy_addresses": proxies}))
    transport = httpx2.ASGITransport(app=door, client=(sender, 40000))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        with caplog.at_level(logging.WARNING, "api.observing"):
            await client.get("/api/v1/me", headers={"X-Forwarded-For": "198.51.100.7"})

    assert f"from {seen}" in caplog.records[-1].getMessage()
