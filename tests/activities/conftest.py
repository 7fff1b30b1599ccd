"""A migrated database, and a mail relay on loopback that does as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import SMTP

from cardflow.outbound import Outbound
from cardflow.sql import create_engine, sessions_of

BESIDE = Outbound(loopback=True)  # as the demo's relay is


@dataclass
class Catcher:
    """Answers like a mail relay; keeps what it took."""

    port: int = 0
    to_sender: str = "250 OK"
    to_recipient: dict[str, str] = field(default_factory=dict)  # address -> reply
    to_data: str = "250 OK"
    hangs: bool = False
    taken: list[EmailMessage] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)  # of those

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802 aiosmtpd's name
        if self.hangs:
            await asyncio.Event().wait()
        if self.to_sender.startswith("250"):
            envelope.mail_from = address
        return self.to_sender

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        reply = self.to_recipient.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.to_data.startswith("250"):
            self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
            self.subjects.append(self.taken[-1]["Subject"])
        return self.to_data


@asynccontextmanager
async def running(catcher: Catcher, port: int = 0, **options) -> AsyncIterator[Catcher]:
    """Yield the relay, listening on loopback; without a port, on a free one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(catcher, loop=loop, **{"enable_SMTPUTF8": True, **options}), "127.0.0.1", port
    )
    catcher.port = server.sockets[0].getsockname()[1]
    try:
        yield catcher
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def catcher() -> AsyncIterator[Catcher]:
    """A relay that takes everything."""
    async with running(Catcher()) as catcher:
        yield catcher


@pytest.fixture
async def sessions(tmp_path, databases):
    """What opens sessions on a migrated database of the test's own."""
    engine = create_engine(databases.migrated(tmp_path))
    yield sessions_of(engine)
    await engine.dispose()
