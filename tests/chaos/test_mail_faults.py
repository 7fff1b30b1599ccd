"""A mail relay that misbehaves at every point of its talk: each mail arrives, under one Message-ID.

What a row says is compared with what the relay has. A mail may arrive twice only where the relay
took it and the answer was lost; then both carry the same Message-ID (RFC 5322 3.6.4).
"""

import asyncio
from collections import Counter
from email.headerregistry import Address

import pytest

from activities.mail.postman import Postman
from activities.mail.smtp import Relay as Client
from cardflow.db.tables import Mail
from cardflow.db.update_record import UpdateRecord
from cardflow.mail.compose import Composer
from cardflow.model import EventKind, MailKind
from tests import build
from tests.activities.conftest import BESIDE, sessions  # noqa: F401 a fixture
from tests.chaos.instruments.relay import POINTS, Misdeed, Relay, running
from tests.db.rows import NOW, found, populate
from tests.db.test_opening import ROOT
from tests.db.test_projection import Story

COMPOSER = Composer(Address("Cardflow", "cardflow", "example.org"), "Example", "http://localhost")
PATIENCE, IMPATIENCE = 60, 2  # seconds; a relay that never answers is left after the second
BY_MAIL = ("MAIL", "RCPT", "DATA", "content")
LASTING = ("hang", "endless", "twice")  # of these the last leaves both waiting for each other
KEPT = [  # the relay has the mail, and did not say so
    *(("content", what) for what in ("taken", "lost", "hang", "endless", "garbage")),
    ("DATA", "twice"),
]

CASES = [
    *(Misdeed(point, what) for point in POINTS for what in ("drop", "reset")),
    *(Misdeed("content", what, nth) for what in ("taken", "lost") for nth in (1, 2, 3)),
    *(Misdeed(point, what, 2) for point in BY_MAIL for what in ("drop", "reset")),
    *(Misdeed(point, "hang") for point in POINTS),
    *(Misdeed("content", "hang", nth) for nth in (2, 3)),
    *(Misdeed(point, what) for point in POINTS for what in ("trickle", "garbage", "twice")),
    *(Misdeed(point, "endless") for point in ("banner", "EHLO", "content")),
    *(Misdeed(point, "421", nth) for point in BY_MAIL for nth in (1, 2)),
    *(Misdeed(point, "451", 2) for point in BY_MAIL),
    *(Misdeed(point, "554", 2) for point in BY_MAIL),
    *(Misdeed(point, "421") for point in ("banner", "EHLO")),
    *(Misdeed(point, "250", 2) for point in ("DATA",)),
    *(Misdeed(point, "354", 2) for point in ("MAIL", "RCPT", "content")),
]


class Office:
    """Three mails that wait, and the postman who takes them to a relay."""

    def __init__(self, sessions, relay):  # noqa: F811
        self.sessions, self.relay = sessions, relay
        self.postman = Postman(sessions, COMPOSER, Client("127.0.0.1", relay.port, BESIDE))
        self.ids = ()

    async def queue(self):
        update = build.an_update(build.a_policy(), opened_at=NOW)
        await populate(self.sessions, update)
        record = UpdateRecord(self.sessions, decision_root=ROOT, mail_domain="example.org")
        assert await record.open(update, f"card-update/{update.card_id}") == []
        story = Story(record, update)
        kinds = (MailKind.OPERATION_STARTED, MailKind.READY_TO_CONTINUE, MailKind.CANCELLED)
        events = [story.event(EventKind.OPENED, mail=kind) for kind in kinds]
        self.ids = await story.publish(*events)

    async def deliver(self, seconds=PATIENCE):
        return await self.postman.send(self.ids, seconds=seconds)

    async def states(self):
        """Return what the rows say, by Message-ID."""
        return {mail.message_id: mail.state for mail in await found(self.sessions, Mail)}


@pytest.fixture
async def office(sessions):  # noqa: F811
    async with running(Relay()) as relay:
        office = Office(sessions, relay)
        await office.queue()
        yield office


def at(cases, *, every):
    """Return the cases as parameters; all but each n-th are for the long run of all tests."""
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if n % every else ())
        for n, case in enumerate(cases)
    ]


@pytest.mark.parametrize("misdeed", at(CASES, every=5))
async def test_every_mail_arrives_once_or_under_the_same_message_id(office, misdeed):
    office.relay.misdeed = misdeed
    await office.deliver(IMPATIENCE if misdeed.what in LASTING else PATIENCE)

    assert office.relay.misdeed is None, "the fault was never reached"
    assert all(mail.error.isprintable() for mail in await found(office.sessions, Mail))
    states, had = await office.states(), Counter(office.relay.taken)
    assert all(had[key] for key, state in states.items() if state == "sent"), "told and not done"
    refused = [key for key, state in states.items() if state == "failed"]
    assert len(refused) == (misdeed.what == "554")

    assert await office.deliver() == []
    states, had = await office.states(), Counter(office.relay.taken)
    assert set(states.values()) <= {"sent", "failed"}
    assert set(had) == set(states) - set(refused)
    twice = (misdeed.point, misdeed.what) in KEPT
    assert sum(had.values()) <= len(had) + twice, "a mail came twice though nothing was lost"


async def test_two_deliveries_at_once_send_under_the_same_message_ids(office):
    await asyncio.gather(office.deliver(), office.deliver())

    states, had = await office.states(), Counter(office.relay.taken)
    assert set(states.values()) == {"sent"}
    assert set(had) == set(states)
