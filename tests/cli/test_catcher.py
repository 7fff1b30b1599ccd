"""The demo's mail server: every mail is kept and shown, and shown as text only."""

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx2
import pytest
from aiosmtpd.smtp import SMTP

from cli.catcher import MailDirectory, create_page


@pytest.fixture
def mails(tmp_path: Path) -> MailDirectory:
    return MailDirectory(tmp_path / "mail")


@pytest.fixture
async def smtp_port(mails: MailDirectory) -> AsyncIterator[int]:
    def session() -> SMTP:
        return SMTP(mails, enable_SMTPUTF8=True, hostname="localhost")

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def page(mails: MailDirectory) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=create_page(mails))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def a_mail(subject: str = "Document approved", html: str = "<p>Fine</p>") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "cardflow@localhost", "ada@localhost", subject
    mail["Message-ID"] = "<1@localhost>"
    mail.set_content("Grüße")
    mail.add_alternative(html, subtype="html")
    return mail


async def send(mail: EmailMessage, port: int) -> None:
    await aiosmtplib.send(mail, hostname="127.0.0.1", port=port, start_tls=False)


async def test_a_mail_is_listed_with_its_parts(smtp_port: int, page: httpx2.AsyncClient) -> None:
    await send(a_mail(), smtp_port)

    (caught,) = (await page.get("/api/messages")).json()

    assert caught["to"] == "ada@localhost"
    assert caught["subject"] == "Document approved"
    assert caught["message_id"] == "<1@localhost>"
    assert caught["text"].strip() == "Grüße"
    assert caught["html"].strip() == "<p>Fine</p>"


async def test_the_newest_comes_first(smtp_port: int, page: httpx2.AsyncClient) -> None:
    for subject in ("first", "second"):
        await send(a_mail(subject), smtp_port)

    answer = (await page.get("/api/messages")).json()

    assert [mail["subject"] for mail in answer] == ["second", "first"]
    listed = (await page.get("/")).text
    assert listed.index("second") < listed.index("first")


async def test_a_mail_is_shown_as_text_whatever_it_holds(
    smtp_port: int, page: httpx2.AsyncClient
) -> None:
    await send(a_mail("<b>Hi</b>", html="<script>alert(1)</script>"), smtp_port)
    (caught,) = (await page.get("/api/messages")).json()

    shown = await page.get(f"/messages/{caught['id']}")

    assert "<script>" not in shown.text
    assert "&lt;script&gt;alert(1)" in shown.text
    assert "<b>Hi" not in shown.text + (await page.get("/")).text
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_mails_survive_a_restart_in_one_file_each(
    smtp_port: int, mails: MailDirectory, tmp_path: Path
) -> None:
    await send(a_mail(), smtp_port)

    assert [path.suffix for path in (tmp_path / "mail").iterdir()] == [".eml"]
    assert MailDirectory(tmp_path / "mail").newest() == mails.newest()


async def test_a_mail_in_an_unknown_charset_is_shown_all_the_same(
    page: httpx2.AsyncClient, tmp_path: Path
) -> None:
    head = b"Subject: odd\r\nContent-Type: text/plain; charset=x-unheard-of\r\n\r\nhello \xff"
    (tmp_path / "mail/1.eml").write_bytes(head)

    assert "hello" in (await page.get("/messages/1")).text


@pytest.mark.parametrize("name", ["0", "../../etc/passwd", "..%2f..%2fetc%2fpasswd"])
async def test_only_mails_can_be_asked_for(page: httpx2.AsyncClient, name: str) -> None:
    assert (await page.get(f"/messages/{name}")).status_code == 404


async def test_another_name_for_this_machine_is_refused(page: httpx2.AsyncClient) -> None:
    assert (await page.get("/", headers={"Host": "evil.example"})).status_code == 400


async def test_an_empty_list_says_so(page: httpx2.AsyncClient) -> None:
    assert "None yet." in (await page.get("/")).text
    assert "font" in (await page.get("/style.css")).text
