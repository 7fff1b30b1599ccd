"""Asking the CA: never twice for one certificate, and believing none that was not asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from temporalio.testing import ActivityEnvironment

from activities.ca import CAActivities
from activities.orders import AnswerKind, PollOrder
from cardflow import lifecycle
from cardflow.ca import Capabilities, Issued, Pending, Rejected
from cardflow.db.ca_record import CARecord, subject_of
from cardflow.db.tables import AuditEntry, Certificate, Person
from cardflow.db.update_record import UpdateRecord
from cardflow.errors import Refused, Unavailable
from cardflow.model import LaneStage
from cardflow.orders import Publication, RevokeOrder, SubmitOrder, WithdrawOrder
from cardflow.profiles import load_profiles
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate, subject_dn
from tests import build
from tests.activities.scripted_ca import PENDING, ScriptedCA
from tests.db.rows import NOW, a_certificate_pem, found, populate, store, the
from tests.db.test_opening import ROOT
from tests.db.test_projection import a_certificate_row

PROFILES = load_profiles()
TLS = PROFILES["tls-client"]
UPDATE = build.an_update(build.a_policy(build.an_entry("tls-client")), opened_at=NOW)
NO_FIND = Capabilities(pending=True, find=False, revoke=True, cancel=True)
POOR = Capabilities(pending=False, find=True, revoke=False, cancel=False)


def a_csr():
    """Return a CSR; the names in it do not matter."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


@pytest.fixture
async def subject(sessions):
    await populate(sessions, UPDATE)
    return subject_of(await the(sessions, Person, id=build.HOLDER))


@pytest.fixture
def order(subject):
    return SubmitOrder(
        request_id=f"{UPDATE.update_id}:1:tls-client",
        csr_pem=a_csr(),
        profile="tls-client",
        subject=subject_dn(subject, TLS),
        holder_id=build.HOLDER,
        requested_by=build.HOLDER,
    )


class Desk:
    """The activities over a scripted CA."""

    def __init__(self, sessions, ca, *, attempt=1):
        self.ca = ca
        self._of = CAActivities(ca, CARecord(sessions), PROFILES)
        self._environment = ActivityEnvironment()
        self._environment.info = replace(self._environment.info, attempt=attempt)

    async def run(self, name, argument):
        return await self._environment.run(getattr(self._of, name), argument)


async def rename(sessions, name):
    async with transaction(sessions) as session:
        (await session.get(Person, build.HOLDER)).name = name


# Submitting


async def test_nothing_new_is_issued_to_a_person_who_left(sessions, order, subject):
    async with transaction(sessions) as session:
        (await session.get(Person, build.HOLDER)).active = False
    ca = ScriptedCA()
    ca.answers = [ca.issue(order.csr_pem, TLS, subject)]

    with pytest.raises(Refused, match="holder is disabled"):
        await Desk(sessions, ca).run("submit", order)

    assert ca.calls == []


async def test_nothing_is_issued_to_a_person_who_left_meanwhile(sessions, order, subject):
    ca = ScriptedCA()
    ca.answers = [ca.issue(order.csr_pem, TLS, subject)]
    async with transaction(sessions) as session:
        (await session.get(Person, build.HOLDER)).active = False

    with pytest.raises(Refused, match="holder is disabled"):
        await Desk(sessions, ca).run("poll", PollOrder("handle-1", order))

    assert ca.calls == []


async def test_what_the_ca_made_for_a_person_who_left_is_withdrawn_all_the_same(
    sessions, order, subject
):
    ca = ScriptedCA(PENDING)
    ca.found = ca.issue(order.csr_pem, TLS, subject)
    async with transaction(sessions) as session:
        (await session.get(Person, build.HOLDER)).active = False
    await withdrawn(sessions, order, ca)

    assert len(ca.revoked) == 1


async def test_an_issued_certificate_comes_back_with_its_facts(sessions, order, subject):
    ca = ScriptedCA()
    ca.answers = [ca.issue(order.csr_pem, TLS, subject)]

    answer = await Desk(sessions, ca).run("submit", order)

    facts = facts_of_certificate(answer.certificate_pem)
    assert answer.kind is AnswerKind.ISSUED
    assert (answer.certificate_sha256, answer.serial_number) == (facts.sha256, facts.serial_number)
    assert answer.not_after == facts.not_after


async def test_a_request_that_officers_decide_is_polled_soon(sessions, order):
    answer = await Desk(sessions, ScriptedCA(PENDING)).run("submit", order)

    assert (answer.kind, answer.handle) == (AnswerKind.PENDING, "handle-1")
    assert timedelta(seconds=3) < answer.poll_at - datetime.now(UTC) <= timedelta(seconds=5)


async def test_the_cas_own_floor_is_kept(sessions, order):
    floor = datetime.now(UTC) + timedelta(hours=5)
    answer = await Desk(sessions, ScriptedCA(Pending("h", floor))).run("submit", order)

    assert answer.poll_at == floor


async def test_a_floor_beyond_reason_does_not_end_the_asking(sessions, order):
    never = datetime.max.replace(tzinfo=UTC)
    answer = await Desk(sessions, ScriptedCA(Pending("h", never))).run("submit", order)

    assert answer.poll_at - datetime.now(UTC) <= timedelta(days=7)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", "the CA gives no reason"),
        ("\0\r\n", "the CA gives no reason"),
        ("no\r\n\x1b[31mway\u202e", "no   [31mway"),
        ("x" * 10_000_000, "x" * 500),
    ],
)
async def test_a_cas_reason_is_kept_as_one_line_that_history_can_bear(sessions, order, said, kept):
    answer = await Desk(sessions, ScriptedCA(Rejected(said))).run("submit", order)

    assert (answer.kind, answer.reason) == (AnswerKind.REJECTED, kept)


async def test_a_rejection_is_an_answer_with_its_reason(sessions, order):
    answer = await Desk(sessions, ScriptedCA(Rejected("not entitled"))).run("submit", order)

    assert (answer.kind, answer.reason) == (AnswerKind.REJECTED, "not entitled")


async def test_what_an_earlier_try_led_to_is_found_and_not_asked_for_again(sessions, order):
    ca = ScriptedCA(PENDING)
    await Desk(sessions, ca).run("submit", order)
    answer = await Desk(sessions, ca, attempt=2).run("submit", order)

    assert answer.kind is AnswerKind.PENDING
    assert [verb for verb, _ in ca.calls] == ["find", "submit", "find"]


async def test_a_try_ordered_by_an_operator_looks_first_too(sessions, order):
    ca = ScriptedCA(PENDING)
    ca.found = Rejected("it was decided meanwhile")

    answer = await Desk(sessions, ca, attempt=1).run("submit", order)

    assert answer.kind is AnswerKind.REJECTED
    assert [verb for verb, _ in ca.calls] == ["find"]


async def test_a_ca_that_cannot_be_searched_is_asked_once_only(sessions, order):
    ca = ScriptedCA(PENDING, capabilities=NO_FIND)
    await Desk(sessions, ca).run("submit", order)

    with pytest.raises(Refused, match="cannot be searched"):
        await Desk(sessions, ca, attempt=2).run("submit", order)
    assert [verb for verb, _ in ca.calls] == ["submit"]


async def test_a_person_whose_record_changed_is_not_certified_under_the_old_forms(sessions, order):
    await rename(sessions, "Ada Byron")
    ca = ScriptedCA(PENDING)

    with pytest.raises(Refused, match="record changed"):
        await Desk(sessions, ca).run("submit", order)
    assert ca.calls == []


async def test_a_profile_that_is_gone_is_named(sessions, order):
    with pytest.raises(Refused, match="the profile fax does not exist"):
        await Desk(sessions, ScriptedCA(PENDING)).run("submit", replace(order, profile="fax"))


async def test_a_holder_who_is_not_registered_is_refused(sessions, order):
    with pytest.raises(Refused, match="not registered"):
        await Desk(sessions, ScriptedCA(PENDING)).run("submit", replace(order, holder_id="x"))


async def test_a_ca_that_is_away_is_tried_again(sessions, order):
    with pytest.raises(Unavailable):
        await Desk(sessions, ScriptedCA(Unavailable("away"))).run("submit", order)


# Believing


def for_another_key(ca, order, subject):
    return ca.issue(a_csr(), TLS, subject)


def for_another_person(ca, order, subject):
    return ca.issue(order.csr_pem, TLS, replace(subject, common_name="Eve"))


def with_another_address(ca, order, subject):
    return ca.issue(order.csr_pem, TLS, replace(subject, email="eve@example.org"))


def for_too_long(ca, order, subject):
    return ca.issue(order.csr_pem, TLS, subject, days=4000)


def from_elsewhere(ca, order, subject):
    return ScriptedCA().issue(order.csr_pem, TLS, subject)


def of_another_kind(ca, order, subject):
    return Issued(a_certificate_pem())


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (for_another_key, "for another key"),
        (for_another_person, "for another subject"),
        (with_another_address, "other alternative names"),
        (for_too_long, "valid for more than"),
        (from_elsewhere, "was not signed by"),
        (of_another_kind, "extended key usage"),
    ],
)
async def test_a_certificate_that_was_not_asked_for_is_revoked_and_refused(
    sessions, order, subject, wrong, reason
):
    ca = ScriptedCA()
    ca.answers = [wrong(ca, order, subject)]

    with pytest.raises(Refused, match=reason):
        await Desk(sessions, ca).run("submit", order)

    serial_number = facts_of_certificate(ca.answers[0].certificate_pem).serial_number
    assert ca.revoked == [(serial_number, "superseded")]


async def test_what_is_no_certificate_at_all_is_refused(sessions, order):
    with pytest.raises(Refused, match="PEM"):
        await Desk(sessions, ScriptedCA(Issued("<html>"))).run("submit", order)


async def test_a_ca_that_cannot_revoke_leaves_the_revoking_to_people(
    sessions, order, subject, caplog
):
    ca = ScriptedCA(capabilities=POOR)
    ca.answers = [for_another_key(ca, order, subject)]

    with pytest.raises(Refused, match="another key"):
        await Desk(sessions, ca).run("submit", order)

    assert ca.revoked == []
    assert "must be revoked at the CA by hand" in caplog.text


async def test_a_person_renamed_while_the_ca_decided_does_not_get_the_old_certificate(
    sessions, order, subject
):
    ca = ScriptedCA()
    ca.answers = [ca.issue(order.csr_pem, TLS, subject)]
    await rename(sessions, "Ada Byron")

    with pytest.raises(Refused, match="record changed"):
        await Desk(sessions, ca).run("poll", PollOrder("handle-1", order))
    assert len(ca.revoked) == 1


# Polling


async def polled(sessions, order, hours):
    """Poll a request that waits for ``hours`` already; return how long until the next poll."""
    state = lifecycle.begin(UPDATE)
    since = datetime.now(UTC) - timedelta(hours=hours)
    lanes = (replace(state.lanes[0], stage=LaneStage.AT_CA, since=since),)
    view = lifecycle.view(UPDATE, replace(state, lanes=lanes, events=1))
    record = UpdateRecord(sessions, decision_root=ROOT, mail_domain="example.org")
    assert await record.open(UPDATE, f"card-update/{UPDATE.card_id}") == []
    await record.publish(Publication(view, ()))
    answer = await Desk(sessions, ScriptedCA(PENDING)).run("poll", PollOrder("handle-1", order))
    return answer.poll_at - datetime.now(UTC)


@pytest.mark.parametrize(
    ("hours", "seconds"), [(0, 5), (1 / 60, 120), (0.25, 1800), (2, 3600), (500, 3600)]
)
async def test_the_longer_a_ca_takes_the_less_often_it_is_asked(sessions, order, hours, seconds):
    pause = await polled(sessions, order, hours)

    assert pause.total_seconds() == pytest.approx(seconds, abs=3)


async def test_a_poll_before_anything_is_on_record_is_repeated_soon(sessions, order):
    answer = await Desk(sessions, ScriptedCA(PENDING)).run("poll", PollOrder("handle-1", order))

    assert answer.poll_at - datetime.now(UTC) <= timedelta(seconds=5)


async def test_a_ca_that_has_lost_the_request_gets_it_again_under_the_same_name(sessions, order):
    ca = ScriptedCA(Refused("there is no request handle-1"), Pending("handle-2"))

    answer = await Desk(sessions, ca).run("poll", PollOrder("handle-1", order))

    assert (answer.kind, answer.handle) == (AnswerKind.PENDING, "handle-2")
    name = order.request_id
    assert ca.calls == [("poll", "handle-1"), ("find", name), ("submit", name)]


async def test_a_refused_poll_of_a_request_that_the_ca_has_makes_no_second_one(sessions, order):
    ca = ScriptedCA(Refused("this handle is another's"))
    ca.found = PENDING

    with pytest.raises(Refused, match="another's"):
        await Desk(sessions, ca).run("poll", PollOrder("handle-1", order))
    assert ("submit", order.request_id) not in ca.calls


# Withdrawing, revoking


async def withdrawn(sessions, order, ca, *reason):
    await Desk(sessions, ca).run("withdraw", WithdrawOrder((order,), *reason))


async def test_a_request_is_cancelled_before_anybody_looks_whether_it_arrived(sessions, order):
    ca = ScriptedCA(PENDING)
    await withdrawn(sessions, order, ca)

    assert [verb for verb, _ in ca.calls] == ["cancel", "find"]


async def test_a_pending_request_is_cancelled(sessions, order):
    ca = ScriptedCA(PENDING)
    ca.found = PENDING
    await withdrawn(sessions, order, ca)

    assert ca.found == Rejected("withdrawn")


async def test_a_certificate_issued_too_late_is_revoked(sessions, order, subject):
    ca = ScriptedCA(PENDING)
    ca.found = ca.issue(order.csr_pem, TLS, subject)
    await withdrawn(sessions, order, ca)

    assert [reason for _, reason in ca.revoked] == ["cessationOfOperation"]


async def test_one_issued_too_late_for_a_lost_card_is_revoked_as_compromised(
    sessions, order, subject
):
    ca = ScriptedCA(PENDING)
    ca.found = ca.issue(order.csr_pem, TLS, subject)
    await withdrawn(sessions, order, ca, "keyCompromise")

    assert [reason for _, reason in ca.revoked] == ["keyCompromise"]


@pytest.mark.parametrize("capabilities", [POOR, ScriptedCA().capabilities])
async def test_a_request_that_cannot_be_stopped_now_is_withdrawn_later(
    sessions, order, capabilities
):
    ca = ScriptedCA(PENDING, capabilities=capabilities)
    ca.found, ca.too_late = PENDING, True

    with pytest.raises(Unavailable, match="still at work"):
        await withdrawn(sessions, order, ca)


async def test_a_ca_that_cannot_be_searched_cannot_withdraw(sessions, order):
    with pytest.raises(Refused, match="cannot be searched"):
        await withdrawn(sessions, order, ScriptedCA(PENDING, capabilities=NO_FIND))


async def test_one_request_that_cannot_be_withdrawn_does_not_keep_the_others(sessions, order):
    ca = ScriptedCA(PENDING)
    ca.found = PENDING
    orders = (replace(order, holder_id="nobody"), order)

    with pytest.raises(Refused, match="not registered"):
        await Desk(sessions, ca).run("withdraw", WithdrawOrder(orders))
    assert ca.found == Rejected("withdrawn")


def to_revoke(*serial_numbers):
    return RevokeOrder(UPDATE.update_id, "superseded", serial_numbers)


async def test_a_revoked_certificate_is_marked_and_audited_once(sessions, subject):
    await store(sessions, a_certificate_row(UPDATE, "aa" * 32))
    desk = Desk(sessions, ScriptedCA())

    await desk.run("revoke", to_revoke("1"))
    await desk.run("revoke", to_revoke("1"))

    assert (await the(sessions, Certificate)).state == "revoked"
    entry = await the(sessions, AuditEntry)
    assert (entry.kind, entry.update_id) == ("certificate_revoked", UPDATE.update_id)
    assert desk.ca.revoked == [("1", "superseded")] * 2


async def test_a_serial_number_that_the_ca_does_not_know_does_not_keep_the_others(
    sessions, subject
):
    await store(sessions, a_certificate_row(UPDATE, "aa" * 32))
    ca = ScriptedCA()
    ca.unknown = {"7"}

    with pytest.raises(Refused, match="no certificate 7"):
        await Desk(sessions, ca).run("revoke", to_revoke("7", "1"))
    assert ca.revoked == [("1", "superseded")]
    assert (await the(sessions, Certificate)).state == "revoked"


async def test_a_ca_that_cannot_revoke_says_so(sessions, subject):
    with pytest.raises(Refused, match="by hand"):
        await Desk(sessions, ScriptedCA(capabilities=POOR)).run("revoke", to_revoke("1"))
    assert await found(sessions, AuditEntry) == []
