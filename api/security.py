"""What every answer carries and what no request may be: pure ASGI, so streams pass unbuffered."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
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

    def __init__(
        self,
        app: ASGIApp,
        *,
        trusted: Collection[str],
        shared: Mapping[str, str],
        shown: Shown,
    ) -> None:
        self._app, self._trusted, self._shown = app, frozenset(trusted), shown
        self._shared = shared  # path -> the one other origin that may send there

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
        if origin in self._trusted or (origin and origin == self._shared.get(scope["path"])):
            return False
        if site is not None:
            return site not in ("same-origin", "none")
        # Without either header it is no browser; the bearer token or cookie is judged as ever.
        return origin is not None and urlsplit(origin).netloc != headers.get("host")


class SharedWithOrigin:
    """Lets the pages of one other origin read the answers of one address (CORS), signed in."""

    def __init__(self, app: ASGIApp, *, shared: Mapping[str, str]) -> None:
        self._app = app
        self._shared = {path: _sharing(app, origin) for path, origin in shared.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, by way of the rules for its address where there are some."""
        await self._shared.get(scope.get("path", ""), self._app)(scope, receive, send)


def _sharing(app: ASGIApp, origin: str) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=[origin],
        allow_credentials=True,
        allow_methods=["POST"],
        allow_headers=["Content-Type", "X-Namespace"],
        max_age=0,
    )


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
