"""Holders are warned once per certificate and threshold, and never about what is being renewed."""

from datetime import timedelta

import pytest

from cardflow.db.expiry import queue_warnings, threshold_of
from cardflow.db.letters import letters
from cardflow.db.mail_queue import queued_beside_updates
from cardflow.db.tables import Card, Certificate, Mail, PolicyVersion, Update
from cardflow.db.views import text_of
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import CertificateKind, MailKind
from cardflow.policy_toml import export_policy
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate
from tests import build
from tests.db.rows import NOW, a_certificate_pem, a_person, found, store, the

DAY = timedelta(days=1)
HOLDER = build.HOLDER


def a_certificate(*, days, kind=CertificateKind.MANAGED, profile="logon", **changes):
    pem = a_certificate_pem("Ada", not_after=NOW + days * DAY)
    facts = facts_of_certificate(pem)
    given = {
        "sha256": facts.sha256,
        "card_id": "card",
        "kind": kind,
        "state": "on_card",
        "profile": profile if kind == CertificateKind.MANAGED else "",
        "cka_id": "aa",
        "spki_sha256": facts.spki_sha256,
        "serial_number": facts.serial_number,
        "subject": "CN=Ada",
        "issuer": "CN=CA",
        "not_before": facts.not_before,
        "not_after": facts.not_after,
        "pem": pem,
        "created_at": NOW,
    }
    return Certificate(**{**given, **changes})


def an_update(**changes):
    given = {
        "id": "open", "kind": "update", "card_id": "card", "holder_id": HOLDER,
        "started_by": HOLDER, "policy_name": "staff", "policy_version": 1, "stage": "pending",
        "opened_at": NOW, "due_at": NOW, "input": "{}", "view": "{}",
    }  # fmt: skip
    return Update(**{**given, **changes})


class Shelf:
    """A card of Ada's under a policy, and rounds at any time."""

    def __init__(self, sessions):
        self.sessions = sessions

    async def put(self, *rows):
        await store(self.sessions, *rows)
        return rows[0]

    async def policy(self, version=1, **changes):
        policy = build.a_policy(build.an_entry("logon"), build.an_entry("mail"), **changes)
        document = export_policy(policy)
        await self.put(
            PolicyVersion(name="staff", version=version, document=document, created_at=NOW)
        )

    async def change(self, table, key, **changes):
        async with transaction(self.sessions) as session:
            row = await session.get_one(table, key)
            for name, value in changes.items():
                setattr(row, name, value)

    async def round(self, *, after=0):
        """Return the warnings that exist after a round."""
        async with transaction(self.sessions) as session:
            await queue_warnings(session, NOW + after * DAY, domain="example.org")
        return await found(self.sessions, Mail)

    async def letters(self):
        async with transaction(self.sessions) as session:
            return await letters(session, await queued_beside_updates(session))


@pytest.fixture
async def shelf(sessions):
    shelf = Shelf(sessions)
    card = Card(
        id="card", token_serial="s1", token_label="Ada's card", holder_id=HOLDER,
        policy_name="staff", state="Issued", created_at=NOW,
    )  # fmt: skip
    await shelf.put(a_person(HOLDER, ["holder"], name="Ada Löwe"), card)
    await shelf.policy()
    return shelf


@pytest.mark.parametrize("kind", [CertificateKind.MANAGED, CertificateKind.TRACKED])
async def test_a_certificate_that_expires_within_the_policys_days_is_warned_about(shelf, kind):
    certificate = await shelf.put(a_certificate(days=30, kind=kind))

    (mail,) = await shelf.round()

    assert (mail.kind, mail.person_id, mail.state) == ("expiry_warning", HOLDER, "queued")
    assert mail.certificate_sha256 == certificate.sha256
    assert mail.message_id == f"<{mail.id}@example.org>"
    assert (mail.update_id, mail.address) == ("", f"{HOLDER}@example.org")


async def test_one_that_lasts_longer_or_is_over_is_not(shelf):
    await shelf.put(a_certificate(days=31), a_certificate(days=0, profile="mail"))

    assert await shelf.round() == []


async def test_the_policys_newest_version_says_how_early(shelf):
    await shelf.put(a_certificate(days=40))
    await shelf.policy(version=2, renew_before_days=60)

    assert len(await shelf.round()) == 1


async def test_each_threshold_warns_once_however_often_a_round_runs(shelf):
    await shelf.put(a_certificate(days=30))

    for day, number in ((0, 1), (0, 1), (10, 1), (23, 2), (24, 2), (28, 2), (29, 3), (29.5, 3)):
        assert len(await shelf.round(after=day)) == number, day
    assert len(await shelf.round(after=31)) == 3


async def test_a_message_id_is_the_same_wherever_the_round_runs(shelf, sessions):
    await shelf.put(a_certificate(days=5))
    (first,) = await shelf.round()
    async with transaction(sessions) as session:
        await session.delete(await session.get_one(Mail, first.id))

    (again,) = await shelf.round(after=1)

    assert again.message_id == first.message_id


async def test_a_policy_that_changes_its_days_does_not_warn_again(shelf):
    await shelf.put(a_certificate(days=30))
    await shelf.round()
    await shelf.policy(version=2, renew_before_days=45)

    assert len(await shelf.round(after=1)) == 1


@pytest.mark.parametrize(
    ("left", "days", "threshold"),
    [
        (31, 30, ""),
        (30, 30, "first"),
        (7.1, 30, "first"),
        (7, 30, "7"),
        (1.1, 30, "7"),
        (1, 30, "1"),
        (6, 5, ""),
        (5, 5, "first"),
        (1, 5, "1"),
        (1, 1, "first"),
    ],
)
def test_the_narrowest_threshold_counts(left, days, threshold):
    policy = build.a_policy(renew_before_days=days)

    assert threshold_of(policy, left * DAY) == threshold


async def test_nobody_is_warned_while_an_update_is_open(shelf):
    await shelf.put(a_certificate(days=5), an_update())
    assert await shelf.round() == []

    await shelf.change(Update, "open", ended_at=NOW)
    assert len(await shelf.round()) == 1


async def test_a_warning_that_never_left_is_dropped_when_the_holder_acts_and_comes_back(shelf):
    await shelf.put(a_certificate(days=5))
    await shelf.round()
    await shelf.put(an_update())
    assert await shelf.round() == []

    await shelf.change(Update, "open", ended_at=NOW)
    assert len(await shelf.round()) == 1


async def test_a_warning_that_was_sent_stays_on_record(shelf):
    await shelf.put(a_certificate(days=5))
    (mail,) = await shelf.round()
    await shelf.change(Mail, mail.id, state="sent")
    await shelf.put(an_update())

    assert len(await shelf.round()) == 1


@pytest.mark.parametrize("state", ["issued", "retired", "revoked"])
async def test_only_certificates_that_are_on_the_card_count(shelf, state):
    await shelf.put(a_certificate(days=5, state=state))

    assert await shelf.round() == []


async def test_a_certificate_whose_successor_is_on_the_card_is_left_in_peace(shelf):
    await shelf.put(a_certificate(days=5), a_certificate(days=300))

    assert await shelf.round() == []


async def test_a_profile_that_the_policy_no_longer_has_is_not_asked_to_be_renewed(shelf):
    await shelf.put(a_certificate(days=5, profile="old"))

    assert await shelf.round() == []


async def test_a_policy_without_this_notification_warns_nobody(shelf):
    kinds = tuple(kind for kind in MailKind if kind is not MailKind.EXPIRY_WARNING)
    await shelf.policy(version=2, notifications=kinds)
    await shelf.put(a_certificate(days=5))

    assert await shelf.round() == []


@pytest.mark.parametrize(
    ("table", "key", "change"),
    [
        (Card, "card", {"state": "Disabled"}),
        (Card, "card", {"state": "Revoked"}),
        (Card, "card", {"holder_id": None}),
        (Card, "card", {"policy_name": ""}),
    ],
)
async def test_cards_that_nobody_can_update_are_not_warned_about(shelf, table, key, change):
    await shelf.put(a_certificate(days=5))
    await shelf.change(table, key, **change)

    assert await shelf.round() == []


async def test_a_tracked_certificate_that_has_gone_from_the_card_is_not_warned_about(shelf):
    certificate = await shelf.put(a_certificate(days=5, kind=CertificateKind.TRACKED))
    await shelf.change(Card, "card", inventory=text_of(Inventory(logged_in=True)))
    assert await shelf.round() == []

    seen = Inventory(
        logged_in=True, certificates=(FoundCertificate("aa", "", certificate.pem, None),)
    )
    await shelf.change(Card, "card", inventory=text_of(seen))
    assert len(await shelf.round()) == 1


async def test_what_was_only_looked_at_without_a_login_may_still_be_there(shelf):
    await shelf.put(a_certificate(days=5, kind=CertificateKind.TRACKED))
    await shelf.change(Card, "card", inventory=text_of(Inventory(logged_in=False)))

    assert len(await shelf.round()) == 1


async def test_a_policy_that_cannot_be_read_any_more_does_not_silence_the_others(shelf):
    await shelf.put(
        PolicyVersion(name="broken", version=1, document="gone = 1", created_at=NOW),
        a_certificate(days=5),
    )

    assert len(await shelf.round()) == 1


async def test_a_warning_names_certificate_day_card_and_contact(shelf):
    certificate = await shelf.put(a_certificate(days=5))
    await shelf.round()

    (letter,) = await shelf.letters()

    assert letter.facts == {"expires": certificate.not_after.isoformat(), "days": "5"}
    assert (letter.lane, letter.card, letter.path) == ("logon", "Ada's card", "/cards/card")
    assert letter.contact == "Ask the service desk."


async def test_a_card_that_got_another_holder_meanwhile_tells_the_first_one_nothing(shelf):
    await shelf.put(a_certificate(days=5))
    await shelf.round()
    await shelf.change(Card, "card", holder_id=None)

    assert await shelf.letters() == []
    assert await shelf.round() == []


async def test_a_warning_about_a_tracked_certificate_says_so(shelf):
    await shelf.put(a_certificate(days=5, kind=CertificateKind.TRACKED))
    await shelf.round()

    (letter,) = await shelf.letters()

    assert (letter.lane, letter.facts["tracked"]) == ("CN=Ada", "yes")


async def test_the_warnings_about_one_certificate_hang_together(shelf):
    await shelf.put(a_certificate(days=30))
    await shelf.round()
    first = await the(shelf.sessions, Mail)
    await shelf.change(Mail, first.id, state="sent")
    await shelf.round(after=25)

    (second,) = await shelf.letters()

    assert second.earlier == (first.message_id,)
