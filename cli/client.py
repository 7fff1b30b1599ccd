"""The API as the command line sees it: JSON in, JSON out, and a sentence for every refusal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from cardflow.errors import CardflowError, Unavailable
from cardflow.model import new_id

PREFIX = "/api/v1"
TRIES = 3  # a lost connection is tried again under the same Idempotency-Key, so nothing runs twice
REMEDIES = {
    401: "sign in: cardflow login",
    403: "sign in as somebody who may: cardflow login, or --as LOGIN",
    404: "see the ids that you may use: the command named list beside this one",
    426: "install the current version",
    429: "wait a moment and try again",
    503: "see what is missing: cardflow up, or GET /readyz",
}


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field, and what to do about it."""

    field: str
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{self.field}: {self.reason}" if self.field else self.reason
        return f"{said}; {self.remedy}" if self.remedy else said


class Problem(CardflowError):
    """The API answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.slug = str(document.get("type", "")).removeprefix("urn:cardflow:problem:")
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.errors = [_field_error(error) for error in document.get("errors") or ()]
        self.remedy = REMEDIES.get(status, "")
        super().__init__("\n  ".join(self._lines()))

    def _lines(self) -> list[str]:
        more = [
            str(error) if error.reason not in self.detail else error.remedy
            for error in self.errors
            if error.reason not in self.detail or error.remedy not in self.detail
        ]
        return [self.detail, *more, *([f"→ {self.remedy}"] if self.remedy else [])]


def _field_error(error: Mapping[str, Any]) -> FieldError:
    return FieldError(*(str(error.get(key) or "") for key in ("field", "reason", "remedy")))


@dataclass(frozen=True)
class Upload:
    """A file on its way to the API."""

    name: str
    content: bytes
    media_type: str = "application/pdf"

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the file at ``path``; its type is judged by the API, from its content."""
        return cls(path.name, path.read_bytes(), "application/octet-stream")


class Api:
    """One person's way into the API."""

    def __init__(self, url: str, token: str = "", *, timeout: float = 60) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)

    def get(self, path: str, **query: Any) -> Any:
        """Return what ``path`` shows."""
        return self._json("GET", path, params=_given(query))

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page["items"]
            if not (cursor := page.get("next")):
                return

    def content(self, path: str, **query: Any) -> bytes:
        """Return the bytes at ``path``: a form, a document, a policy."""
        accept = {"Accept": query.pop("accept", "*/*")}
        return self._send("GET", path, params=_given(query), headers=accept).content

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines at ``path`` while they come."""
        try:
            with self._http.stream("GET", PREFIX + path) as response:
                if response.is_error:
                    response.read()
                    raise Problem(response.status_code, _document(response))
                yield from response.iter_lines()
        except httpx2.ConnectError as error:
            raise Unavailable(_unreachable(self.url)) from error
        except httpx2.TransportError as error:
            raise Unavailable(f"{self.url} broke off the connection; try again") from error

    def post(self, path: str, body: Any = None) -> Any:
        """Return the answer to ``body``."""
        return self._json("POST", path, json={} if body is None else body)

    def post_text(self, path: str, text: str, media_type: str) -> Any:
        """Return the answer to a whole file: TOML or CSV."""
        headers = {"Content-Type": media_type}
        return self._json("POST", path, content=text.encode(), headers=headers)

    def upload(self, path: str, file: Upload | None, fields: Mapping[str, str]) -> Any:
        """Return the answer to a form with an optional file."""
        # httpx sends multipart only where there is a file part, so plain fields are parts too.
        parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in fields.items()]
        if file:
            parts.append(("file", (file.name, file.content, file.media_type)))
        return self._json("POST", path, files=parts)

    def put(self, path: str, body: Any) -> Any:
        """Return the answer after ``path`` was replaced."""
        return self._json("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """Return the answer after ``path`` was changed."""
        return self._json("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """``path`` is gone."""
        self._send("DELETE", path)

    def close(self) -> None:
        """No connection is open any more."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _json(self, method: str, path: str, **content: Any) -> Any:
        response = self._send(method, path, **content)
        return response.json() if response.content else None

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        headers = {**content.pop("headers", {})}
        if method == "POST":
            headers["Idempotency-Key"] = new_id()
        address = path if path.startswith(("/pki", "/healthz", "/readyz")) else PREFIX + path
        response = self._try(method, address, headers=headers, **content)
        if response.is_error:
            raise Problem(response.status_code, _document(response))
        return response

    def _try(self, method: str, address: str, **content: Any) -> httpx2.Response:
        tries = TRIES if method in ("GET", "POST") else 1
        for left in reversed(range(tries)):
            try:
                return self._http.request(method, address, **content)
            except httpx2.ConnectError as error:
                raise Unavailable(_unreachable(self.url)) from error
            except httpx2.TransportError as error:
                if not left:
                    message = f"{self.url} broke off the connection ({type(error).__name__})"
                    raise Unavailable(f"{message}\n  → {REMEDIES[503]}") from error
        raise AssertionError


def _unreachable(url: str) -> str:
    return f"nothing answers at {url}\n  → start Cardflow: cardflow up, or name its address: --url"


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in (None, "", [], ())}


def _document(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {"title": f"the answer was HTTP {response.status_code} {response.reason_phrase}"}
    return document if isinstance(document, dict) else {}
