"""What every answer carries and what no request may be: pure ASGI, so streams pass unbuffered."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, Shown

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class SecurityHeaders:
    """Answers are not sniffed, framed, cached or shared unless a route says otherwise."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app, self._https = app, https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, adding)

    def _add(self, headers: MutableHeaders) -> None:
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("Cache-Control", "no-store")
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if self._https:
            headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"


class CrossOriginProtection:
    """Refuses what another site makes a browser send (Fetch Metadata, else Origin)."""

    def __init__(self, app: ASGIApp, *, trusted: Collection[str], shown: Shown) -> None:
        self._app, self._trusted, self._shown = app, frozenset(trusted), shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless a browser says that it comes from elsewhere."""
        if scope["type"] == "http" and scope["method"] not in SAFE and self._is_foreign(scope):
            detail = "the request comes from another site"
            problem = Problem(403, detail, slug="cross-origin")
            await self._shown(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._trusted:
            return False
        if site is not None:
            return site not in ("same-origin", "none")
        # Without either header it is no browser; the bearer token or cookie is judged as ever.
        return origin is not None and urlsplit(origin).netloc != headers.get("host")


class ProblemWhenTooLarge:
    """Says our way what the framework's body limit says in plain text."""

    def __init__(self, app: ASGIApp, *, shown: Shown) -> None:
        self._app, self._shown = app, shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a plain 413 becomes a problem document."""
        replaced = False

        async def replacing(message: Message) -> None:
            nonlocal replaced
            if _is_plain_413(message):
                replaced = True
                detail = "the request's body is larger than this address takes"
                await self._shown(Request(scope), Problem(413, detail))(scope, receive, send)
            elif not replaced:
                await send(message)

        await self._app(scope, receive, replacing)


def _is_plain_413(message: Message) -> bool:
    if message["type"] != "http.response.start" or message["status"] != 413:  # noqa: PLR2004
        return False
    content_type = Headers(raw=message["headers"]).get("content-type", "")
    return content_type.startswith("text/plain")
