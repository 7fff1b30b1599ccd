"""Style sheets and scripts, all our own copies; their addresses change with their contents."""

import os

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.web.render import HERE

FOREVER = "public, max-age=31536000, immutable"


def serve_files(app: FastAPI) -> None:
    """The files are under ``/static/``."""
    app.mount("/static", GZipMiddleware(_Files(directory=HERE / "static")), name="static")


class _Files(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        if b"v=" in scope.get("query_string", b""):
            response.headers["Cache-Control"] = FOREVER
        return response
