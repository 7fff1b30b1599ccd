"""The OpenAPI description, made true where the framework's guess is not."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.auth import API_TOKEN_PREFIX, SESSION_PREFIX
from api.problems import ProblemDocument

REF = "#/components/schemas/{model}"
NOT_OURS = ("HTTPValidationError", "ValidationError")  # our 422 is a problem document


def describe(app: FastAPI) -> None:
    """Have ``app`` answer /openapi.json with its true description."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _describe(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in NOT_OURS:
        schemas.pop(name, None)
    problem = ProblemDocument.model_json_schema(ref_template=REF)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDocument"] = problem
    about = f"A session ({SESSION_PREFIX}...) or an API token ({API_TOKEN_PREFIX}...)."
    bearer = {"type": "http", "scheme": "bearer", "description": about}
    found["components"]["securitySchemes"] = {"bearer": bearer}
    return found
