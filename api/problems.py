"""Our errors as problem documents (RFC 9457): what is wrong, with which field, and what helps."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolIsFull
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
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

CLASH = "it clashes with something stored at the same moment; look again"
REF = "#/components/schemas/{model}"  # how a description names its shapes
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

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


Shown = Callable[[Request, Problem], Response]


def install_problems(app: FastAPI, shown: Shown) -> None:
    """Have every error of ``app`` answered in one form."""
    told: tuple[tuple[type[Exception], Callable[[Any], Problem]], ...] = (
        *((kind, problem_of) for kind in NOT_DONE),
        (RequestValidationError, _invalid),
        (ClientDisconnect, _gone),
        (HTTPException, _http),
        (Exception, _bug),
    )
    for kind, answer in told:
        app.exception_handler(kind)(_answering(answer, shown))


# What a form that was refused, or could not be carried out now, is shown again for.
NOT_DONE = (
    Problem,
    CardflowError,
    ValidationError,
    IntegrityError,
    DataError,
    RPCError,
    OperationalError,
    InterfaceError,
    PoolIsFull,
)


def problem_of(error: Exception) -> Problem:
    """Return what one of the errors in ``NOT_DONE`` is told as."""
    match error:
        case Problem():
            return error
        case CardflowError():
            return _expected(error)
        case ValidationError():
            return _typed(error)
        case IntegrityError():
            return _clash(error)
        case DataError():
            return _unstorable(error)
    return _down(error)


def _answering(
    problem_of: Callable[[Any], Problem], shown: Shown
) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status == 405:  # noqa: PLR2004 HTTP's own number
            problem.headers["Allow"] = ", ".join(_methods_at(request))
        return shown(request, problem)

    return answer


def _methods_at(request: Request) -> list[str]:
    """Return what an address takes, by all routes that answer at it (RFC 9110 10.2.1)."""

    # To try each method at every route would cost more than most requests do.
    routes = request.app.router.routes
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]

    def is_taken(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in here)

    return [method for method in METHODS if is_taken(method)]


def as_document(_request: Request, problem: Problem) -> Response:
    """Return the response that says ``problem`` to a program."""
    return render(problem)


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


def _expected(error: CardflowError) -> Problem:
    if isinstance(error, Refused):
        return refused(error.objections)
    if not error.retryable:
        return _bug(error)
    log.warning("not available: %s", error)
    return Problem(503, str(error), headers={"Retry-After": RETRY_AFTER_SECONDS})


def _invalid(error: RequestValidationError) -> Problem:
    found = [
        FieldProblem(field=".".join(map(str, entry["loc"])), reason=str(entry["msg"]))
        for entry in error.errors()
    ]
    return Problem(422, "; ".join(f"{entry.field}: {entry.reason}" for entry in found), *found)


def _typed(error: ValidationError) -> Problem:
    """Tell what was typed wrong; any other shape of ours that is wrong is a bug."""
    from api.shapes import In  # it knows what goes in

    if error.title not in {shape.__name__ for shape in In.__subclasses__()}:
        return _bug(error)
    found = [
        FieldProblem(field=".".join(map(str, entry["loc"])), reason=str(entry["msg"]))
        for entry in error.errors(include_input=False, include_url=False)
    ]
    return Problem(422, "; ".join(f"{entry.field}: {entry.reason}" for entry in found), *found)


def _http(error: HTTPException) -> Problem:
    status = error.status_code if error.status_code in TITLES else 400
    detail = TITLES[status][1] if status == 404 else error.detail  # noqa: PLR2004 HTTP's own number
    return Problem(status, detail, headers=dict(error.headers or {}))


def _gone(_error: ClientDisconnect) -> Problem:
    """Whoever asked went away meanwhile: nobody hears this, and it is no failure of ours."""
    return Problem(400, "the connection ended before the request did")


def _clash(_error: IntegrityError) -> Problem:
    return refused([CLASH])


def _unstorable(error: DataError) -> Problem:
    """What PostgreSQL will not have; SQLite takes texts of any length, and a NUL in them."""
    log.warning("the database refused a value: %s", type(error.orig).__name__)
    return Problem(422, "a text is too long, or holds a character that cannot be stored")


def _down(error: Exception) -> Problem:
    log.warning("a collaborator does not answer: %s", type(error).__name__)
    detail = "a part of the system does not answer; try again in a moment"
    return Problem(503, detail, headers={"Retry-After": RETRY_AFTER_SECONDS})


def _bug(error: Exception) -> Problem:
    log.error("a request failed", exc_info=error)
    return Problem(500, "the failure is in our log under this request's id")
