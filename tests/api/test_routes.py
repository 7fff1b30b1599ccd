"""What is true of every route, whoever wrote it."""

import re

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from api.app import create_agent_app, create_app
from api.auth import anybody
from api.routing import requirements
from cardflow.settings import Settings

SETTINGS = Settings()
PEOPLE, AGENTS = create_app(SETTINGS), create_agent_app(SETTINGS)
PROBLEM = "application/problem+json"


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Return every route, as it is after its router was included."""
    contexts = iter_route_contexts(app.routes)
    return [c for c in contexts if isinstance(c.original_route, APIRoute)]


def is_open(dependant: Dependant) -> bool:
    return dependant.call is anybody or any(is_open(inner) for inner in dependant.dependencies)


def operations(app: FastAPI):
    """Yield every operation of the description: method, path, and what is said of it."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            yield pytest.param(method.upper(), path, operation, id=f"{method.upper()} {path}")


GUARDED = [
    (method, route.path)
    for route in routes_of(PEOPLE)
    for method in sorted(route.methods)
    if not is_open(route.dependant)
]


@pytest.mark.parametrize("route", routes_of(PEOPLE), ids=lambda r: f"{sorted(r.methods)} {r.path}")
def test_every_route_declares_a_permission_or_that_it_is_open(route):
    declared = list(requirements(route.dependant))

    assert bool(declared) != is_open(route.dependant)


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_stranger_is_turned_away_before_the_body_is_read(anonymous, method, path):
    async def never():
        raise AssertionError("the body was read")
        yield b""

    address = re.sub(r"\{[^}]*\}", "1", path)
    content = never() if method in {"POST", "PUT", "PATCH"} else None
    answer = await anonymous.request(method, address, content=content)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("method", "path", "operation"), [*operations(PEOPLE), *operations(AGENTS)]
)
def test_every_operation_tells_its_problems(method, path, operation):
    told = {int(status) for status in operation["responses"] if int(status) >= 400}

    for status in told:
        assert PROBLEM in operation["responses"][str(status)]["content"], status
    assert 500 in told
    if "requestBody" in operation and path != "/pki/ocsp":
        assert {413, 422} <= told
    if (method, path) in GUARDED:
        assert {401, 403, 422, 503} <= told
        assert operation["security"]


@pytest.mark.parametrize("app", [PEOPLE, AGENTS], ids=["people", "agents"])
def test_operations_have_names_of_their_own(app):
    names = [operation.values[2]["operationId"] for operation in operations(app)]

    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z_]+", name) for name in names), names


def test_every_post_of_a_signed_in_person_takes_an_idempotency_key():
    for parameter in operations(PEOPLE):
        method, path, operation = parameter.values
        if method == "POST" and (method, path) in GUARDED:
            headers = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"]
            assert "Idempotency-Key" in headers, path


def test_the_description_holds_no_shape_that_is_never_sent():
    text = str(PEOPLE.openapi())

    assert "HTTPValidationError" not in text
    assert "ProblemDocument" in text


async def test_neither_door_answers_for_the_other(anonymous, app):
    ours = {route.path for route in routes_of(PEOPLE)}
    theirs = {route.path for route in routes_of(AGENTS)}

    assert not ours & theirs
    for path in theirs:
        for method in ("GET", "POST", "PUT"):
            assert (await anonymous.request(method, path)).status_code == 404


async def test_the_description_is_served(anonymous):
    answer = await anonymous.get("/openapi.json")

    assert answer.json()["info"]["title"] == "Cardflow"
