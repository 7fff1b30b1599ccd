"""The OpenAPI description, made true where the framework's guess is not."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import REF, ProblemDocument, public_problems

NOT_OURS = ("HTTPValidationError", "ValidationError")  # our 422 is a problem document
NO_BODY = {str(status): public_problems(status)[status] for status in (400, 413)}


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
                operation["responses"].update(NO_BODY)
    _describe_forms(found["paths"], schemas)
    _describe_messages(found["paths"], schemas)
    problem = ProblemDocument.model_json_schema(ref_template=REF)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDocument"] = problem
    return found


def _describe_forms(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say of forms that they have no null, as JSON has, and no fields beside the known ones."""
    for item in paths.values():
        for operation in item.values():
            form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
            if form is not None:
                schema = schemas[form["schema"]["$ref"].rpartition("/")[2]]
                schema["additionalProperties"] = False
                schema["properties"] = {
                    name: _without_null(one) for name, one in schema["properties"].items()
                }


def _describe_messages(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Put what bodies of our own making are made of where references find it."""
    for item in paths.values():
        for operation in item.values():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                schemas.update(body["schema"].pop("$defs", {}))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kept: list[dict[str, Any]] = [
        one for one in schema.get("anyOf", ()) if one.get("type") != "null"
    ]
    if len(kept) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | kept[0]
