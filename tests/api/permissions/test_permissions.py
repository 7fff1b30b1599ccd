"""The permission matrix: every route, asked as everybody, answers as the table says.

The table is ``tests/api/permissions.csv``, written by hand. Nothing that decides is asked here what
it would decide: requests go in by the front, and what comes out is compared. A cell says

- ``ok`` let in, whatever then came of it; an exact status where one is meant
- ``shown`` and ``hidden`` let in, and something of the other holder's is in the answer, or is not
- ``401`` ``403`` ``404`` refused so; ``login`` ``password`` ``again`` sent to sign in, to change
  the password, or asked to prove again who they are

and its column who asks:

- ``anonymous`` nobody; ``disabled`` ``temporary`` ``stale`` people with every role: disabled, with
  a password to be changed first, signed in long ago
- ``mine`` ``foreign`` a holder, about what is theirs and about what is another holder's
- ``operator`` ``officer`` ``admin`` ``auditor`` with that role alone, about another's things
- ``service`` an API token limited to the role service, of a person who has every role; ``token``
  one that is not limited; ``everything`` that person. These three ask about their own API tokens,
  sign-ins and drafts where a path names one, ``service`` excepted; all else is another's.
"""

import csv
import re
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from api.app import create_app
from cardflow.model import Role
from cardflow.settings import Settings
from tests.api.permissions.asking import (
    Personal,
    address,
    contents,
    draft_content,
    draft_kind,
    is_page,
)
from tests.api.permissions.world import Belongings, World

TABLE = Path(__file__).parents[1] / "permissions.csv"
LONG_AGO = timedelta(minutes=20)
PERSONS = ("everything", "token", "stale", "disabled", "temporary")
SENT_TO = {"/sign-in": "login", "/account/password": "password"}
TOLD = {"password-change-needed": "password"}
PROTECTION = {
    "cache-control",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "x-content-type-options",
    "x-request-id",
}
NOT_LET_IN = {400, 401, 403, 404, 405, 500}


def rows() -> dict[str, dict[str, str]]:
    """Return the table: what is expected of each route, by column."""
    with TABLE.open() as file:
        lines = list(csv.DictReader(file))
    return {f"{line.pop('method')} {line.pop('path')}": line for line in lines}


ROWS = rows()


def routes_of(app: FastAPI) -> set[str]:
    """Return every method and path that the application answers."""
    found = iter_route_contexts(app.routes)
    known = [one for one in found if isinstance(one.original_route, APIRoute)]
    paths = [(one, re.sub(r":(id|policy)\}", "}", one.path)) for one in known]
    return {f"{method} {path}" for one, path in paths for method in one.methods}


def test_every_route_has_a_row_and_every_row_a_route():
    assert set(ROWS) == routes_of(create_app(Settings()))


def rows_by_speed() -> list:
    """Return every route; pages that are only looked at, and are nobody's own, are slow."""
    return [
        pytest.param(route, marks=pytest.mark.slow if _is_plain_page(route) else (), id=route)
        for route in ROWS
    ]


def _is_plain_page(route: str) -> bool:
    method, path = route.split(" ")
    return method == "GET" and is_page(path) and ROWS[route]["foreign"] != "404"


@pytest.mark.parametrize("route", rows_by_speed())
async def test_the_route_answers_everybody_as_the_table_says(world: World, route: str):
    expected = ROWS[route]

    found = {column: await verdict(world, route, column, expected[column]) for column in expected}

    assert found == expected


@pytest.mark.parametrize("claim", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://a.test"}])
async def test_no_route_lets_another_site_act_for_whoever_is_signed_in(world: World, claim):
    cookie = {"Cookie": f"cardflow={await world.session_of(world.people['everything'])}"}
    acting = [route for route in ROWS if not route.startswith("GET ")]

    for route in acting:
        method, path = route.split(" ")
        answer = await world.client.request(method, path, headers=cookie | claim)
        assert answer.status_code == 403, route
        assert answer.json()["type"].endswith("cross-origin"), route
    assert len(acting) > 100


async def verdict(world: World, route: str, column: str, expected: str) -> str:
    """Return what became of a request, in the words of the table."""
    of = world.hanna if column == "mine" else world.hugo
    own, headers = await credentials(world, route, column, of)
    method, path = route.split(" ")
    given = contents(route, path)
    headers |= given.pop("headers", {})
    url = address(path, of, own, world.check_id)
    answer = await world.client.request(method, url, headers=headers, **given)
    world.client.cookies.clear()
    assert set(answer.headers) >= PROTECTION, column
    return _in_words(answer, of, expected)


async def credentials(
    world: World, route: str, column: str, of: Belongings
) -> tuple[Personal, dict[str, str]]:
    """Return what is personal of whoever is asked about, and how the one who asks signs in."""
    asker = {"mine": world.hanna.person_id, "foreign": world.hanna.person_id}.get(column)
    asker = asker or world.people.get(column) or world.people["everything"]
    personal = await _personal(world, route, asker if column in PERSONS else of.person_id, of)
    if column == "anonymous":
        return personal, {}
    if column in ("service", "token"):
        roles = [Role.SERVICE] if column == "service" else list(Role)
        _, secret = await world.api_token_of(asker, *roles)
    else:
        age = LONG_AGO if column == "stale" else timedelta(0)
        secret = await world.session_of(asker, age=age)
    return personal, {"Authorization": f"Bearer {secret}"}


async def _personal(world: World, route: str, person_id: str, of: Belongings) -> Personal:
    path, sign_in, token, draft = route.split(" ")[1], "", "", ""
    if "{sign_in_id}" in path:
        sign_in = world.sign_in_id(await world.session_of(person_id))
    if "{token_id}" in path:
        token, _ = await world.api_token_of(person_id, Role.HOLDER)
    if "{draft_id}" in path:
        draft = await world.draft_of(person_id, draft_kind(path), draft_content(path, of))
    return Personal(sign_in, token, draft)


def _in_words(answer: httpx2.Response, of: Belongings, expected: str) -> str:
    if answer.status_code == 303:
        target = answer.headers["location"].partition("?")[0]
        if target in SENT_TO:
            return SENT_TO[target]
    if "insufficient_user_authentication" in answer.headers.get("www-authenticate", ""):
        return "again"
    if answer.headers.get("content-type") == "application/problem+json":
        slug = answer.json()["type"].rpartition(":")[2]
        if slug in TOLD:
            return TOLD[slug]
    status = answer.status_code
    if status in NOT_LET_IN or expected == str(status):
        return str(status)
    if expected in ("shown", "hidden"):
        return "shown" if any(word in answer.text for word in of.giveaways) else "hidden"
    return "ok"
