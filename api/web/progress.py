"""Long work from a form: it tells how far it is where a script listens, else it just answers."""

import json
from collections.abc import AsyncIterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.web.render import go

LINES = "application/jsonl"

Steps = AsyncIterator[tuple[int, int]]  # how much is done, of how much


async def carried_out(request: Request, steps: Steps, path: str, notice: str = "") -> Response:
    """Carry the work out and send the browser on; a script is told of every step."""
    if LINES in request.headers.get("accept", ""):
        return StreamingResponse(_lines(steps, path), media_type=LINES)
    async for _ in steps:
        pass
    return go(request, path, notice)


async def _lines(steps: Steps, path: str) -> AsyncIterator[str]:
    async for done, of in steps:
        yield json.dumps({"done": done, "of": of}) + "\n"
    yield json.dumps({"go": path}) + "\n"
