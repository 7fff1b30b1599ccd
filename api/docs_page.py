"""The API's description as a page: Swagger UI from our own files, nothing from elsewhere."""

import os
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES = Path(__file__).parent / "web" / "static" / "docs"
# Swagger UI sets style attributes on its own elements; scripts come from our files only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def show_description(app: FastAPI) -> None:
    """The page is at ``/docs/``; it holds nothing that ``/openapi.json`` does not tell anybody."""
    app.mount("/docs", _Page(directory=FILES, html=True), name="docs")


class _Page(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Content-Security-Policy"] = POLICY
        return response
