"""How requests are seen: an id that the answer carries, one log line each, and metrics."""

import logging
import secrets
import time

from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

REQUESTS = Counter(
    "cardflow_http_requests", "Answered requests.", ["operation", "method", "status"]
)
SECONDS = Histogram("cardflow_http_request_seconds", "Time until an answer began.", ["operation"])
TURNED_AWAY = (401, 403, 429)
QUIET = frozenset({"show_liveness", "show_readiness", "show_metrics"})

log = logging.getLogger(__name__)


class Observed:
    """Pure ASGI, the outermost: everything that happens inside carries the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = secrets.token_hex(8), time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                _note(scope, message["status"], time.perf_counter() - started)
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self._app(scope, receive, noting)


def _note(scope: Scope, status: int, seconds: float) -> None:
    operation = _operation(scope)
    REQUESTS.labels(operation, scope["method"], str(status)).inc()
    SECONDS.labels(operation).observe(seconds)
    level = logging.DEBUG if operation in QUIET else logging.INFO
    if status in TURNED_AWAY:
        level = logging.WARNING
    # Never the query: it may name people.
    words = "%s %s -> %s in %.0f ms, by %s from %s"
    log.log(level, words, scope["method"], scope["path"], status, seconds * 1000, *_who(scope))


def _who(scope: Scope) -> tuple[str, str]:
    """Return who asked, by the id of the person or agent, and from which address."""
    state = scope.get("state", {})
    who = getattr(state.get("caller"), "id", "") or state.get("agent_id", "nobody")
    return who, (scope.get("client") or ("nowhere",))[0]


def _operation(scope: Scope) -> str:
    """Return the operation's name: addresses hold ids, and metrics must stay few."""
    route = scope.get("route")
    return getattr(route, "operation_id", None) or getattr(route, "name", None) or "none"
