"""Requests that the server makes by itself: to addresses looked at, short in time and in size."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from cardflow.errors import Refused
from cardflow.outbound import PORTS, Outbound

LONGEST_ANSWER = 1024 * 1024  # bytes
PATIENCE_SECONDS = 10.0  # for a whole answer, from looking the name up to the last byte
REDIRECTS = range(300, 400)


def http_client(
    outbound: Outbound,
    *,
    tls: ssl.SSLContext | None = None,
    seconds: float = PATIENCE_SECONDS,
    limit: int = LONGEST_ANSWER,
) -> httpx2.AsyncClient:
    """Return a client that raises ``Barred`` for what must not be connected to or believed."""
    transport = Checked(outbound, tls=tls, seconds=seconds, limit=limit)
    return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=seconds)


class Barred(httpx2.TransportError):
    """We do not go there, or do not take what comes from there."""


class Checked(httpx2.AsyncBaseTransport):
    """Sends each request to an address that was looked at, under the name that was asked for."""

    def __init__(
        self,
        outbound: Outbound,
        *,
        tls: ssl.SSLContext | None = None,
        seconds: float = PATIENCE_SECONDS,
        limit: int = LONGEST_ANSWER,
    ) -> None:
        self._outbound, self._seconds, self._limit = outbound, seconds, limit
        self._inner = httpx2.AsyncHTTPTransport(
            verify=tls or ssl.create_default_context(), trust_env=False
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer, if it is one that may be read."""
        until = asyncio.get_running_loop().time() + self._seconds
        request.headers["Accept-Encoding"] = "identity"  # a small answer could become a huge one
        async with _heard(until):
            response = await self._sent(request)
        if objection := _objection_to(response):
            await response.aclose()
            raise Barred(f"{request.url.host} {objection}")
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 it is asynchronous
        response.stream = _Short(response.stream, request.url.host, until, self._limit)
        return response

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        host, port = _service(request.url)
        failed: httpx2.ConnectError | None = None
        try:
            addresses = await self._outbound.addresses(host, port)
        except Refused as refusal:
            raise Barred(str(refusal)) from refusal
        for address in addresses:
            try:
                return await self._inner.handle_async_request(_pinned(request, host, address))
            except httpx2.ConnectError as error:
                failed = error
        raise failed or httpx2.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class _Short(httpx2.AsyncByteStream):
    """An answer's bytes, up to a limit of time and size."""

    def __init__(self, stream: httpx2.AsyncByteStream, host: str, until: float, limit: int) -> None:
        self._stream, self._host, self._until, self._limit = stream, host, until, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes, or raise when there are too many or they come too slowly."""
        size, chunks = 0, aiter(self._stream)
        while True:
            async with _heard(self._until):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            size += len(chunk)
            if size > self._limit:
                raise Barred(f"{self._host} answers with more than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._stream.aclose()


@asynccontextmanager
async def _heard(until: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(until):
            yield
    except ssl.SSLError as error:  # a broken record; httpx lets it through as it is
        raise httpx2.ReadError(str(error)) from error
    except TimeoutError as error:
        raise httpx2.ReadTimeout("the answer takes too long") from error


def _service(url: httpx2.URL) -> tuple[str, int]:
    if url.scheme not in PORTS or not url.host:
        raise Barred(f"{url.scheme or 'no scheme'}: only http and https are spoken")
    if url.userinfo:
        raise Barred(f"{url.host}: an address must not carry a name or a password")
    return url.host, PORTS[url.scheme] if url.port is None else url.port


def _pinned(request: httpx2.Request, host: str, address: str) -> httpx2.Request:
    # The Host header is set already; the certificate is checked for the name, not the address.
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


def _objection_to(response: httpx2.Response) -> str:
    if response.status_code in REDIRECTS:
        return "answers with a redirect, which is not followed"
    if response.headers.get("content-encoding", "identity") != "identity":
        return "answers in an encoding that was not asked for"
    return ""
