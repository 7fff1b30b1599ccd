"""The demo's mail server: accepts everything, delivers nothing, shows what came on a page.

A mail is somebody else's text: it is shown as text only, never as a page.
"""

import asyncio
import secrets
import time
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cardflow.settings import load_settings

LARGEST = 20 * 1024 * 1024
SHOWN = 200
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8885; }
pre { white-space: pre-wrap; background: #8882; padding: 1rem; }
"""
PAGES = Environment(autoescape=True)
LIST = PAGES.from_string("""<!doctype html><html lang="en"><meta charset="utf-8">
<title>Mails caught</title><link rel="stylesheet" href="/style.css"><h1>Mails caught</h1>
{% if not mails %}<p>None yet.</p>{% else %}
<table><tr><th>To<th>Subject<th>Received</tr>
{% for mail in mails %}<tr><td>{{ mail.to }}
<td><a href="/messages/{{ mail.id }}">{{ mail.subject or "(no subject)" }}</a>
<td>{{ mail.date }}</tr>{% endfor %}</table>{% endif %}</html>""")
ONE = PAGES.from_string("""<!doctype html><html lang="en"><meta charset="utf-8">
<title>{{ mail.subject }}</title><link rel="stylesheet" href="/style.css">
<p><a href="/">All mails</a></p><h1>{{ mail.subject or "(no subject)" }}</h1>
<table>{% for name, value in mail.headers %}<tr><th>{{ name }}<td>{{ value }}</tr>{% endfor %}
</table>
<h2>Text</h2><pre>{{ mail.text }}</pre>
{% if mail.html %}<h2>HTML, as source</h2><pre>{{ mail.html }}</pre>{% endif %}</html>""")


@dataclass(frozen=True)
class Mail:
    """A mail as it came."""

    id: str
    sender: str
    to: str
    subject: str
    date: str
    message_id: str
    text: str
    html: str
    headers: list[tuple[str, str]]


class MailDirectory:
    """One file per mail; file names sort by time of arrival."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd calls it
        """Keep the mail; what is answered is what the sender is told."""
        to = ", ".join(envelope.rcpt_tos)
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {to}\r\n".encode()
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        part = self._path / f"{name}.part"
        part.write_bytes(head + (envelope.original_content or b""))
        part.rename(self._path / f"{name}.eml")
        return "250 OK"

    def newest(self) -> list[Mail]:
        """Return the mails that came last, the newest first."""
        files = sorted(self._path.glob("*.eml"), reverse=True)[:SHOWN]
        return [_read(file) for file in files]

    def one(self, mail_id: str) -> Mail:
        """Return one mail, or answer that there is none."""
        known = {file.stem: file for file in self._path.glob("*.eml")}
        if mail_id not in known:
            raise HTTPException(404, "there is no such mail")
        return _read(known[mail_id])


def _read(file: Path) -> Mail:
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    headers = [(name, str(value)) for name, value in message.items()]
    found = {name.lower(): value for name, value in reversed(headers)}
    return Mail(
        id=file.stem,
        sender=found.get("from", ""),
        to=found.get("x-envelope-to", ""),
        subject=found.get("subject", ""),
        date=found.get("date", ""),
        message_id=found.get("message-id", ""),
        text=_body(message, "plain"),
        html=_body(message, "html"),
        headers=headers,
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except LookupError:  # a charset that Python does not know
        content = part.get_payload(decode=True)
        return content.decode("ascii", "replace") if isinstance(content, bytes) else ""


def create_page(mails: MailDirectory) -> Starlette:
    """Return the read-only page, and the same as JSON under ``/api/messages``."""

    def show_list(_request: Request) -> Response:
        return HTMLResponse(LIST.render(mails=mails.newest()), headers=HEADERS)

    def show_one(request: Request) -> Response:
        mail = mails.one(request.path_params["mail_id"])
        return HTMLResponse(ONE.render(mail=mail), headers=HEADERS)

    def list_json(_request: Request) -> Response:
        return JSONResponse([asdict(mail) for mail in mails.newest()], headers=HEADERS)

    def style(_request: Request) -> Response:
        return PlainTextResponse(STYLE, media_type="text/css", headers=HEADERS)

    # Only names of this machine: a page elsewhere cannot point its own name here and read along.
    names = Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1"])
    return Starlette(
        routes=[
            Route("/", show_list),
            Route("/messages/{mail_id}", show_one),
            Route("/api/messages", list_json),
            Route("/style.css", style),
        ],
        middleware=[names],
    )


async def catch(mails: MailDirectory, *, smtp_port: int, page_port: int) -> None:
    """Catch mails and show them until the process is told to end."""

    def session() -> SMTP:
        return SMTP(mails, data_size_limit=LARGEST, enable_SMTPUTF8=True, hostname="localhost")

    smtp = await asyncio.get_running_loop().create_server(session, "127.0.0.1", smtp_port)
    page = create_page(mails)
    config = uvicorn.Config(page, host="127.0.0.1", port=page_port, log_level="warning")
    async with smtp:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    chosen = load_settings()
    directory = MailDirectory(chosen.state_dir / "mail")
    asyncio.run(catch(directory, smtp_port=chosen.smtp_port, page_port=chosen.catcher_port))
