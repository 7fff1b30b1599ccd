"""Publishing records first and mails afterwards; no trouble with mail ever holds an update up."""

from dataclasses import replace
from datetime import timedelta
from email.headerregistry import Address

import pytest
from temporalio.testing import ActivityEnvironment

from activities.mail.postman import Postman, build_postman
from activities.mail.smtp import Relay
from activities.mail_out import MailActivities
from activities.orders import OpenOrder
from activities.records import RecordActivities
from cardflow.db.tables import Mail, Person, Update
from cardflow.db.update_record import UpdateRecord
from cardflow.errors import Unavailable
from cardflow.mail.compose import Composer
from cardflow.model import EventKind, MailKind
from cardflow.orders import MailOrder, Publication
from cardflow.profiles import load_profiles
from cardflow.settings import Settings
from cardflow.sql import transaction
from cli.ports import free_ports
from tests import build
from tests.activities.conftest import BESIDE
from tests.db.rows import NOW, found, populate, the
from tests.db.test_opening import ROOT
from tests.db.test_projection import Story

COMPOSER = Composer(Address("Cardflow", "cardflow", "example.org"), "Example", "http://localhost")
ADDRESS = f"{build.HOLDER}@example.org"


class Office:
    """The activities over a database and a relay, and an update to publish about."""

    def __init__(self, sessions, relay):
        self.sessions = sessions
        self.postman = Postman(sessions, COMPOSER, relay)
        record = UpdateRecord(sessions, decision_root=ROOT, mail_domain=self.postman.domain)
        self.records = RecordActivities(record, self.postman)
        self.update = build.an_update(build.a_policy(), opened_at=NOW)
        self.story = Story(record, self.update)
        self.activities = ActivityEnvironment()
        workflow_id = f"card-update/{self.update.card_id}"
        self.activities.info = replace(self.activities.info, workflow_id=workflow_id)

    async def open(self):
        return await self.activities.run(self.records.open_update, OpenOrder(self.update))

    async def publish(self, *events):
        publication = Publication(self.story.view, events)
        return await self.activities.run(self.records.publish, publication)

    async def deliver(self, *mails):
        activities = MailActivities(self.postman)
        await self.activities.run(activities.deliver, MailOrder(mails))

    async def mail(self):
        return await the(self.sessions, Mail)


@pytest.fixture
async def office(sessions, catcher):
    office = Office(sessions, Relay("127.0.0.1", catcher.port, BESIDE))
    await populate(sessions, office.update)
    assert (await office.open()).objections == ()
    return office


def started(office):
    return office.story.event(EventKind.OPENED, mail=MailKind.OPERATION_STARTED)


async def test_an_update_is_opened_under_the_id_of_its_own_workflow_only(sessions, catcher):
    office = Office(sessions, Relay("127.0.0.1", catcher.port, BESIDE))
    await populate(sessions, office.update)
    activities = ActivityEnvironment()

    opened = await activities.run(office.records.open_update, OpenOrder(office.update))

    assert "the workflow's id is not the card's" in opened.objections[0]
    assert await found(sessions, Update) == []


async def test_a_mail_is_sent_once_its_event_is_on_record(office, catcher):
    published = await office.publish(started(office))

    assert published.unsent == ()
    mail = await office.mail()
    assert (mail.state, mail.subject, mail.error) == ("sent", "Card update operation started", "")
    assert mail.sent_at is not None
    assert catcher.taken[0]["Message-ID"] == mail.message_id


async def test_a_repeated_publication_sends_no_second_mail(office, catcher):
    event = started(office)
    await office.publish(event)

    assert (await office.publish(event)).unsent == ()
    assert len(catcher.taken) == 1


async def test_a_mail_that_a_broken_off_try_left_behind_is_sent_by_the_next(office, catcher):
    event = started(office)
    await office.story.publish(event)  # the records only: the try ended before the mail

    assert (await office.publish(event)).unsent == ()
    assert len(catcher.taken) == 1


async def test_a_mail_that_the_relay_does_not_take_now_is_named_and_waits(office, catcher):
    catcher.to_recipient[ADDRESS] = "451 later"
    published = await office.publish(started(office))

    mail = await office.mail()
    assert published.unsent == (mail.id,)
    assert (mail.state, mail.error) == ("queued", "451 later")


async def test_a_mail_that_the_relay_refuses_is_visible_and_not_tried_again(office, catcher):
    catcher.to_recipient[ADDRESS] = "550 no such user"
    published = await office.publish(started(office))

    assert published.unsent == ()
    mail = await office.mail()
    assert (mail.state, mail.error) == ("failed", "550 no such user")
    assert mail.subject == "Card update operation started"


async def test_an_address_that_nobody_can_write_to_is_visible_and_not_tried_again(office, catcher):
    async with transaction(office.sessions) as session:
        (await session.get(Person, build.HOLDER)).email = "nowhere"

    assert (await office.publish(started(office))).unsent == ()
    mail = await office.mail()
    assert mail.state == "failed"
    assert "address" in mail.error
    assert catcher.taken == []


async def test_without_a_relay_the_update_is_recorded_all_the_same(sessions):
    office = Office(sessions, Relay("127.0.0.1", free_ports(1)[0], BESIDE))
    await populate(sessions, office.update)
    await office.open()

    published = await office.publish(started(office))

    assert len(published.unsent) == 1
    assert (await the(sessions, Update)).events == 1


async def test_a_later_delivery_sends_under_the_same_message_id(office, catcher):
    catcher.to_data = "451 later"
    (unsent,) = (await office.publish(started(office))).unsent
    with pytest.raises(Unavailable, match="1 mails wait"):
        await office.deliver(unsent)
    catcher.to_data = "250 OK"

    await office.deliver(unsent)

    mail = await office.mail()
    assert (mail.state, mail.error) == ("sent", "")
    assert [message["Message-ID"] for message in catcher.taken] == [mail.message_id]


async def test_a_mail_that_no_relay_took_for_days_is_given_up_and_says_why(office, catcher):
    catcher.to_data = "451 later"
    (unsent,) = (await office.publish(started(office))).unsent
    async with transaction(office.sessions) as session:
        (await session.get(Mail, unsent)).created_at = NOW - timedelta(days=3)

    await office.deliver(unsent)

    mail = await office.mail()
    assert (mail.state, mail.error) == ("failed", "given up: 451 later")


async def test_delivering_again_what_was_sent_sends_nothing(office, catcher):
    await office.publish(started(office))

    await office.deliver((await office.mail()).id)

    assert len(catcher.taken) == 1


async def test_delivering_a_mail_that_never_was_does_nothing(office, catcher):
    await office.deliver("nothing")

    assert catcher.taken == []


def test_the_installations_settings_make_the_postman(tmp_path, sessions):
    password = tmp_path / "smtp"
    password.write_text("secret\n")
    password.chmod(0o600)
    settings = Settings(
        state_dir=tmp_path,
        mail_sender="Cards <cards@example.net>",
        smtp_user="cards",
        smtp_password_file=password,
    )

    assert build_postman(settings, sessions, load_profiles()).domain == "example.net"
