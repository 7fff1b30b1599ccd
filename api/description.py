"""The OpenAPI description, made true where the framework's guess is not."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import ProblemDocument, public_problems

REF = "#/components/schemas/{model}"
NOT_OURS = ("HTTPValidationError", "ValidationError")  # our 422 is a problem document
TOO_LARGE = {"413": public_problems(413)[413]}


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
    for item in found["paths"].values():
        for operation in item.values():
            if "requestBody" in operation:  # every router has a limit: api/app.py
                operation["responses"].update(TOO_LARGE)
    problem = ProblemDocument.model_json_schema(ref_template=REF)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDocument"] = problem
    return found
