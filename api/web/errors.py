"""Refusals as pages, for whoever asked with a browser."""

from urllib.parse import quote

from fastapi import Request, Response
from starlette.types import Scope

from api.auth import CODES_NEEDED
from api.problems import Problem, render
from api.web.render import page

MACHINES = ("/api/", "/agent/", "/pki/", "/docs/", "/healthz", "/readyz", "/metrics", "/openapi")
SIGN_IN = "/sign-in"
NEW_PASSWORD = "/account/password"  # noqa: S105 an address
NEW_CODES = "/account/codes"


def shown(request: Request, problem: Problem) -> Response:
    """Return the problem as a page where a person looks at pages, else as a problem document."""
    if not wants_page(request.scope):
        return render(problem)
    if problem.status == 401:  # noqa: PLR2004 HTTP's own number
        return _to(SIGN_IN, request)
    if problem.slug == "password-change-needed":
        return _to(NEW_PASSWORD, request)
    if problem.slug == CODES_NEEDED:
        return _to(NEW_CODES, request)
    answer = page(request, "problem.html", problem=problem)
    answer.headers.update(problem.headers)
    return answer


def wants_page(scope: Scope) -> bool:
    """Tell whether a browser asks for a page."""
    if scope["path"].startswith(MACHINES):
        return False
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accept


def _to(path: str, request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    safe = here if request.method == "GET" else "/"
    return Response(status_code=303, headers={"Location": f"{path}?next={quote(safe)}"})
