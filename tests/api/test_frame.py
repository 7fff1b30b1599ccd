"""What surrounds every answer: headers, problems, limits, where a request may come from."""

import pytest
from fastapi import APIRouter, Depends
from sqlalchemy.exc import OperationalError
from temporalio.service import RPCError, RPCStatusCode

from api.app import create_app
from api.auth import anybody
from api.routing import GuardedRoute
from cardflow.errors import CardflowError, Refused, Unavailable, Unknown
from cardflow.model import Role
from cardflow.settings import Settings
from tests.api.conftest import PASSWORD, client_of, reasons

SECRET = "postgresql://cardflow:hunter2@db"


async def test_every_answer_carries_the_headers_that_protect_a_browser(anonymous):
    for answer in (await anonymous.get("/healthz"), await anonymous.get("/nowhere")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-request-id"]


async def test_https_is_made_to_stay(settings: Settings, register):
    secure = settings.model_copy(update={"public_url": "https://cards.example.org"})
    await register("holly")
    app = create_app(secure)
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.post("/api/v1/session", json={"login": "holly", "password": PASSWORD})

    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert answer.headers["set-cookie"].startswith("__Host-cardflow=")
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_another_site_cannot_act_with_a_persons_cookie(sign_in, headers):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.post("/api/v1/people", json={"login": "x", "name": "X"}, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["type"].endswith("cross-origin")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_our_own_pages_and_scripts_can_act(sign_in, headers):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.post("/api/v1/people", json={"login": "x", "name": "X"}, headers=headers)

    assert answer.status_code == 201


async def test_looking_is_not_kept_from_links_on_other_sites(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.get("/api/v1/people", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 200


async def test_a_body_that_is_too_large_or_no_json_is_a_problem(sign_in):
    ada = await sign_in("ada", Role.ADMIN)

    large = await ada.post("/api/v1/people", json={"login": "x", "name": "x" * 70_000})
    broken = await ada.post(
        "/api/v1/people", content=b"{", headers={"Content-Type": "application/json"}
    )
    untyped = await ada.post("/api/v1/people", content=b'{"login": "x", "name": "X"}')

    assert [a.status_code for a in (large, broken, untyped)] == [413, 422, 422]
    assert all(reasons(answer) for answer in (large, broken, untyped))


async def test_an_unknown_address_and_a_wrong_method_are_problems(anonymous):
    missing, wrong = await anonymous.get("/api/v1/nothing"), await anonymous.delete("/healthz")

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert reasons(missing)
    assert reasons(wrong)
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (Refused("one reason", "another reason"), 409, ["one reason", "another reason"]),
        (Unavailable("the CA does not answer"), 503, ["the CA does not answer"]),
        (Unknown("it may have happened"), 503, ["it may have happened"]),
        (RPCError("down", RPCStatusCode.UNAVAILABLE, b""), 503, None),
        (OperationalError("SELECT", {}, Exception(SECRET)), 503, None),
        (CardflowError(SECRET), 500, None),
        (ZeroDivisionError(SECRET), 500, None),
    ],
)
async def test_a_failure_is_told_without_its_secrets(settings, error, status, told):
    async def fail() -> None:
        raise error

    router = APIRouter(route_class=GuardedRoute, dependencies=[Depends(anybody)])
    router.add_api_route("/fail", fail, include_in_schema=False)
    app = create_app(settings)
    app.include_router(router)
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.get("/fail")

    assert answer.status_code == status
    assert reasons(answer) == told or told is None
    assert "hunter2" not in answer.text
    assert (status == 503) == ("retry-after" in answer.headers)


@pytest.mark.parametrize(
    "cursor", ["x", "!!!!", "cGVvcGxl", "Y2FyZHMKMDE5Mg", "/w", "x" * 201], ids=range(6)
)
async def test_a_cursor_that_this_list_did_not_give_is_refused(sign_in, cursor):
    ada = await sign_in("ada", Role.ADMIN)

    answer = await ada.get("/api/v1/people", params={"cursor": cursor})

    assert answer.status_code == 422
    assert "cursor" in answer.json()["errors"][0]["field"]


async def test_pages_follow_one_another_without_gap_or_overlap(sign_in, register):
    ada = await sign_in("ada", Role.ADMIN)
    for number in range(5):
        await register(f"holder-{number}")

    seen, cursor = [], ""
    while True:
        answer = await ada.get("/api/v1/people", params={"limit": 2, "cursor": cursor})
        seen += [person["login"] for person in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            break

    assert seen == ["ada", *(f"holder-{number}" for number in range(5))]


@pytest.mark.parametrize("limit", [0, 201, "many"])
async def test_a_page_has_a_size_within_limits(sign_in, limit):
    ada = await sign_in("ada", Role.ADMIN)

    assert (await ada.get("/api/v1/people", params={"limit": limit})).status_code == 422
