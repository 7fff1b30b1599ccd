"""The server's agent door, as seen from here: signed requests over TLS with a pinned root."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import VERSION
from cardflow import httpsig
from cardflow.device_keys import DUE
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect

JSON = "application/json"
PATIENCE_SECONDS = 15.0
KEPT_SECONDS = 60  # that an idle connection is kept: a new one costs more than a report
CLOCKS_AGREE_WITHIN = timedelta(seconds=5)


class Answer:
    """What the server said: a status, and what its JSON holds."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.ok = response.is_success
        self.body = _object_in(response)

    @property
    def problem(self) -> str:
        """The problem's short name (RFC 9457 ``type``, after the last slash or colon)."""
        return str(self.body.get("type", "")).replace(":", "/").rpartition("/")[2]

    @property
    def detail(self) -> str:
        return str(self.body.get("detail", ""))[:500] or f"the server answered {self.status}"


class Door:
    """A connection to one server; every request is signed with the device key."""

    def __init__(self, server: str, root_file: Path, key: Ed25519PrivateKey, keyid: str) -> None:
        self._server = origin(server)
        self._key = key
        self._keyid = keyid
        self.key_is_due = False  # the server says that the device key grows old
        self._ahead = timedelta()  # of our clock; the server's counts
        self._client = httpx2.AsyncClient(
            verify=_trusting(root_file),
            trust_env=False,
            limits=httpx2.Limits(keepalive_expiry=KEPT_SECONDS),
            headers={"User-Agent": f"cardflow-agent/{VERSION}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """Sign every request from now on with this key."""
        self._key = key
        self.key_is_due = False

    def now(self) -> datetime:
        """Return the server's time, as far as it is known here; our clock is never set."""
        return datetime.now(UTC) - self._ahead

    async def send(
        self, method: str, path: str, message: Any = None, *, patience: float = PATIENCE_SECONDS
    ) -> Answer:
        """Return the server's answer, or raise ``Unavailable`` when there is none."""
        response = await self._send(method, path, message, patience)
        if response.status_code == httpx2.codes.UNAUTHORIZED and self._learn_time(response):
            response = await self._send(method, path, message, patience)
        self.key_is_due |= response.headers.get(DUE) == "due"
        if response.is_server_error or response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            raise Unavailable(f"the server answered {response.status_code}")
        return Answer(response)

    async def _send(self, method: str, path: str, message: Any, patience: float) -> httpx2.Response:
        body = b"" if message is None else json.dumps(message).encode()
        url = self._server + path
        headers = httpsig.sign(
            method, url, body, JSON, key=self._key, keyid=self._keyid, now=self.now()
        )
        try:
            with effect(_named(method, path)):
                return await self._client.request(
                    method, url, content=body, headers=headers, timeout=patience
                )
        except (httpx2.HTTPError, ssl.SSLError) as error:  # a broken record comes as it is
            why = f"{type(error).__name__}: {error}"[:200]
            raise Unavailable(f"the server does not answer ({why})") from error

    def _learn_time(self, response: httpx2.Response) -> bool:
        """Note how far our clock is off, from an answer that TLS vouches for; True if it was."""
        try:
            theirs = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return False
        before, self._ahead = self._ahead, datetime.now(UTC) - theirs.astimezone(UTC)
        return abs(self._ahead - before) > CLOCKS_AGREE_WITHIN


def _named(method: str, path: str) -> str:
    """Return the failpoint of a request: ``agent.put_presence`` and the like."""
    return f"agent.{method.lower()}_{path.partition('?')[0].rpartition('/')[2]}"


def origin(server: str) -> str:
    """Return the server's origin, or refuse what is not one; plain HTTP is none here."""
    parts = urlsplit(server.strip())
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme != "https" or not parts.hostname or any(rest):
        raise Refused(f"the server is named like https://cards.example, not {server[:100]!r}")
    return f"https://{parts.netloc.lower()}"


def _trusting(root_file: Path) -> ssl.SSLContext:
    """Return TLS settings that trust the pinned root and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=root_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"{root_file} is no readable PEM file with a TLS root") from error
    return context


def _object_in(response: httpx2.Response) -> dict[str, Any]:
    try:
        found = response.json() if response.content else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
