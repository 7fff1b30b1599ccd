"""Our errors as problem documents (RFC 9457): what is wrong, with which field, and what helps."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from temporalio.service import RPCError

from cardflow.errors import CardflowError, Refused

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"

TITLES = {
    400: ("malformed", "The request cannot be read"),
    401: ("not-signed-in", "You are not signed in"),
    403: ("forbidden", "You may not do this"),
    404: ("not-found", "There is no such thing here"),
    405: ("method-not-allowed", "This address does not take that method"),
    406: ("not-acceptable", "None of the forms asked for can be given"),
    409: ("refused", "This cannot be done now"),
    410: ("over", "This is over"),
    411: ("length-required", "The request must say its length"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "This kind of content is not taken here"),
    422: ("invalid", "The request is not valid"),
    426: ("agent-too-old", "The agent must be updated"),
    429: ("too-many", "Too many attempts"),
    500: ("internal", "Something went wrong on our side"),
    503: ("unavailable", "A part of the system does not answer"),
}

log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One reason against a request."""

    field: str = ""
    reason: str
    remedy: str = ""


class ProblemDocument(BaseModel):
    """A problem document."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


class Problem(Exception):
    """An answer that is not a success; raised by routes, rendered in one place."""

    def __init__(
        self,
        status: int,
        detail: str,
        *errors: FieldProblem,
        slug: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.slug = slug or TITLES[status][0]
        self.headers = headers or {}


def not_found(what: str) -> Problem:
    """Return the answer to somebody who asks for what is not there, or not theirs to see."""
    return Problem(404, f"there is no such {what}")


def refused(objections: Sequence[str]) -> Problem:
    """Return a business no, one entry per objection."""
    return Problem(409, "; ".join(objections), *(FieldProblem(reason=o) for o in objections))


def invalid(field: str, reason: str, remedy: str = "") -> Problem:
    """Return the answer to one field that cannot be taken."""
    return Problem(
        422, f"{field}: {reason}", FieldProblem(field=field, reason=reason, remedy=remedy)
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route for signed-in people: the usual ones and ``statuses``."""
    return public_problems(401, 403, 422, 503, *statuses)


def public_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers in these ways besides success."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": TITLES[status][1], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({500, *statuses})
    }


def install_problems(app: FastAPI) -> None:
    """Have every error of ``app`` answered with a problem document."""
    app.exception_handler(Problem)(_on_problem)
    app.exception_handler(CardflowError)(_on_expected)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.exception_handler(HTTPException)(_on_http)
    app.exception_handler(IntegrityError)(_on_clash)
    for down in (RPCError, OperationalError, InterfaceError):
        app.exception_handler(down)(_on_down)
    app.exception_handler(Exception)(_on_bug)


def render(problem: Problem) -> JSONResponse:
    """Return the response that says ``problem``."""
    document = ProblemDocument(
        type=f"urn:cardflow:problem:{problem.slug}",
        title=TITLES[problem.status][1],
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    return JSONResponse(
        document.model_dump(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


async def _on_problem(_request: Request, error: Problem) -> JSONResponse:
    return render(error)


async def _on_expected(_request: Request, error: CardflowError) -> JSONResponse:
    if isinstance(error, Refused):
        return render(refused(error.objections))
    if not error.retryable:
        return await _on_bug(_request, error)
    log.warning("not available: %s", error)
    return render(Problem(503, str(error), headers={"Retry-After": RETRY_AFTER_SECONDS}))


async def _on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    found = [
        FieldProblem(field=".".join(map(str, entry["loc"])), reason=str(entry["msg"]))
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry.field}: {entry.reason}" for entry in found)
    return render(Problem(422, detail, *found))


async def _on_http(_request: Request, error: HTTPException) -> JSONResponse:
    status = error.status_code if error.status_code in TITLES else 400
    detail = TITLES[status][1] if status == 404 else error.detail  # noqa: PLR2004 HTTP's own number
    return render(Problem(status, detail, headers=dict(error.headers or {})))


async def _on_clash(_request: Request, _error: IntegrityError) -> JSONResponse:
    return render(refused(["it clashes with something stored at the same moment; look again"]))


async def _on_down(_request: Request, error: Exception) -> JSONResponse:
    log.warning("a collaborator does not answer: %s", type(error).__name__)
    detail = "a part of the system does not answer; try again in a moment"
    return render(Problem(503, detail, headers={"Retry-After": RETRY_AFTER_SECONDS}))


async def _on_bug(_request: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    return render(Problem(500, "the failure is in our log under this request's id"))
