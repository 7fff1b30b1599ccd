"""The officers' desk: what is shown, who may decide, and what becomes of a decision."""

import asyncio
import base64
import itertools
import json
import shutil
from datetime import timedelta
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp
from sqlalchemy import select
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.app import create_app
from api.state import opened
from cardflow.ca import Issued, Pending, RevocationReason
from cardflow.ca.embedded import EmbeddedCA, open_issuing_key
from cardflow.ca.tables import CaRequest
from cardflow.db.ca_record import CARecord
from cardflow.db.tables import AuditEntry, Card, Certificate, JournalEntry, Update
from cardflow.db.views import text_of
from cardflow.decisions import read, utc_now
from cardflow.errors import Unavailable
from cardflow.model import Act, Role, new_id
from cardflow.sql import transaction
from tests.api.conftest import client_of, reasons
from tests.build import a_policy, an_entry, an_update
from tests.ca.making import OFFICER, TWO_OFFICERS, Home, a_request
from tests.db.rows import store
from tests.db.test_expiry import a_certificate
from tests.waiting import PATIENCE
from workflows.card_update import workflow_id

REQUESTS = "/api/v1/ca/requests"
CERTIFICATES = "/api/v1/ca/certificates"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a CA that nobody issues from."""
    return Home(tmp_path_factory.mktemp("made")).make()


@pytest.fixture
def settings(settings, made: Home):
    """Return the settings of an installation with a CA."""
    shutil.copytree(made.directory, settings.ca_dir)
    return settings


@pytest.fixture
async def worker_ca(app, made: Home, settings):
    """Yield the CA as the worker has it: with the issuing key."""
    state = app.state.cardflow
    key = open_issuing_key(settings.ca_dir, made.secrets.issuing)
    ca = EmbeddedCA(
        state.engine,
        settings.ca_dir,
        state.profiles,
        public_url=settings.public_url,
        decision_root=state.keys.decision_root,
        issuing_key=key,
    )
    await ca.maintain()
    yield ca
    ca.close()


@pytest.fixture
def ask(worker_ca, register):
    """Return what asks for a certificate for a new holder, and returns the request."""

    async def asked(profile=OFFICER, *, by="", update_id=""):
        holder = await register(f"holly-{new_id()}", name="Holly")
        request = a_request(
            profile,
            request_id=f"{update_id or new_id()}:1:{profile}",
            requested_by=by or holder.id,
        )
        request = type(request)(**{**vars(request), "subject": with_id(request.subject, holder.id)})
        answer = await worker_ca.submit(request)
        assert isinstance(answer, Pending)
        return request

    return asked


def with_id(subject, person_id):
    return type(subject)(**{**vars(subject), "person_id": person_id})


async def decide(client, request, verdict="approve", *, digest="", reason="", **headers):
    path = f"{REQUESTS}/{request.request_id}"
    digest = digest or (await client.get(path)).json()["decision_digest"]
    body = {"verdict": verdict, "digest": digest, "reason": reason}
    return await client.post(f"{path}/decisions", json=body, headers=headers)


async def test_an_officer_sees_what_waits_and_everything_a_decision_rests_on(sign_in, ask):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)

    listed = (await omar.get(REQUESTS, params={"state": "pending"})).json()["items"]
    shown = (await omar.get(f"{REQUESTS}/{request.request_id}")).json()

    assert [item["id"] for item in listed] == [request.request_id]
    assert shown["person_name"] == "Holly"
    assert shown["lane"] == OFFICER
    assert shown["key_type"] == "P-256"
    assert shown["may_decide"] is True
    assert len(shown["decision_digest"]) == 64


async def test_an_approval_is_signed_journalled_told_to_the_ca_and_audited(
    sign_in, ask, app, worker_ca
):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)

    answer = await decide(omar, request)

    assert answer.status_code == 201
    assert answer.json()["state"] == "approved"
    assert answer.json()["decisions"][0]["officer_name"] == "Omar"
    async with transaction(app.state.cardflow.sessions) as session:
        entry = (await session.scalars(select(JournalEntry))).one()
        told = (await session.scalars(select(AuditEntry.kind))).all()
    action = read(entry.token, app.state.cardflow.keys.decision_root)
    assert (action.act, action.actor) == (Act.DECIDE_REQUEST, omar.headers["X-Person"])
    assert told.count("request_decided") == 1
    assert isinstance(await worker_ca.poll(request.request_id), Issued)


async def test_a_request_is_shown_with_its_key_its_profile_and_what_the_linter_says(sign_in, ask):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)

    shown = (await omar.get(f"{REQUESTS}/{request.request_id}")).json()

    assert (shown["security_bits"], shown["signature_hash"]) == (128, "sha256")
    assert shown["proof_of_possession"] is True
    assert shown["csr_subject"] == "CN=whatever"
    assert shown["key_usage"] == ["digitalSignature"]
    assert "1.3.6.1.4.1.311.20.2.2" in shown["extended_key_usage"]
    assert [f for f in shown["findings"] if f["serious"]] == []
    assert {f["code"] for f in shown["findings"]} == {
        "pkix.subject_key_identifier_method_1_identified"
    }
    assert shown["objections"] == []


async def test_lists_of_requests_are_narrowed_and_paged(sign_in, ask):
    omar = await sign_in("omar", Role.OFFICER)
    first, second = await ask(), await ask(TWO_OFFICERS)
    third = await ask()
    await decide(omar, third, "reject", reason="unknown")

    async def ids(**query):
        answer = await omar.get(REQUESTS, params=query)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await ids() == [first.request_id, second.request_id]
    assert await ids(profile=TWO_OFFICERS) == [second.request_id]
    assert await ids(person=first.subject.person_id) == [first.request_id]
    assert await ids(state="rejected") == await ids(state="decided") == [third.request_id]
    assert await ids(state="all") == [r.request_id for r in (third, second, first)]
    assert await ids(older_than_days=1) == await ids(state="issued") == []
    for state in ("pending", "all"):
        page = (await omar.get(REQUESTS, params={"state": state, "limit": 1})).json()
        query = {"state": state, "limit": 1, "cursor": page["next"]}
        assert (await ids(**query)) == [second.request_id]
    assert (await omar.get(REQUESTS, params={"state": "lost"})).status_code == 422


async def test_a_request_that_waits_for_long_is_overdue(sign_in, ask, app, worker_ca):
    card_id, update_id = new_id(), new_id()
    request = await ask(update_id=update_id)
    await store_update(app, card_id, update_id, request.subject.person_id)
    omar = await sign_in("omar", Role.OFFICER)
    young = (await omar.get(f"{REQUESTS}/{request.request_id}")).json()
    async with transaction(app.state.cardflow.sessions) as session:
        row = await session.get_one(CaRequest, request.request_id)
        row.submitted_at -= timedelta(hours=a_policy().reminder_hours + 1)

    old = (await omar.get(REQUESTS)).json()["items"][0]

    assert (young["overdue"], old["overdue"]) == (False, True)
    assert old["due_at"] is not None


async def test_auditors_look_and_are_told_who_decides(sign_in, ask):
    request = await ask()
    audrey = await sign_in("audrey", Role.AUDITOR)

    shown = (await audrey.get(f"{REQUESTS}/{request.request_id}")).json()

    assert shown["objections"] == ["requests are decided by CA officers"]


async def test_a_repeat_of_a_decision_changes_nothing(sign_in, ask, app):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)
    key = {"Idempotency-Key": "once"}

    first = await decide(omar, request, **key)
    again = await decide(omar, request, **key)
    other = await decide(omar, request, "reject", reason="no", **key)

    assert first.json() == again.json()
    assert other.status_code == 422
    async with transaction(app.state.cardflow.sessions) as session:
        assert len((await session.scalars(select(JournalEntry))).all()) == 1
        kinds = (await session.scalars(select(AuditEntry.kind))).all()
    assert kinds.count("request_decided") == 1


async def test_nobody_decides_on_their_own_request(sign_in, ask):
    omar = await sign_in("omar", Role.OFFICER, Role.OPERATOR)
    request = await ask(by=omar.headers["X-Person"])

    answer = await decide(omar, request)

    assert answer.status_code == 409
    assert reasons(answer) == ["nobody decides on their own request"]
    shown = await omar.get(f"{REQUESTS}/{request.request_id}")
    assert shown.json()["may_decide"] is False


async def test_two_officers_must_agree_and_one_does_not_count_twice(sign_in, ask):
    request = await ask(TWO_OFFICERS)
    omar, olaf = await sign_in("omar", Role.OFFICER), await sign_in("olaf", Role.OFFICER)

    first = await decide(omar, request)
    twice = await decide(omar, request, "reject", reason="on second thoughts")
    second = await decide(olaf, request)

    assert first.json()["state"] == "pending"
    assert twice.status_code == 409
    assert "another officer must" in reasons(twice)[0]
    assert second.json()["state"] == "approved"


async def test_who_comes_too_late_is_told_who_decided(sign_in, ask):
    request = await ask()
    omar, olaf = await sign_in("omar", Role.OFFICER), await sign_in("olaf", Role.OFFICER)
    await decide(omar, request, "reject", reason="unknown person")

    answer = await decide(olaf, request)

    assert answer.status_code == 409
    assert reasons(answer)[0].startswith("too late: Omar rejected it on ")


async def test_a_decision_on_something_else_than_what_is_there_is_refused(sign_in, ask):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)

    stale = await decide(omar, request, digest="0" * 64)
    unreadable = await decide(omar, request, digest="yes")

    assert stale.status_code == 409
    assert "look at it again" in reasons(stale)[0]
    assert unreadable.status_code == 422


async def test_a_rejection_needs_a_reason(sign_in, ask):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)

    assert "needs a reason" in reasons(await decide(omar, request, "reject"))[0]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN, Role.AUDITOR, Role.HOLDER])
async def test_only_officers_decide(sign_in, ask, role):
    request = await ask()
    somebody = await sign_in("sam", role)

    answer = await decide(somebody, request, digest="0" * 64)

    assert answer.status_code == 403


async def test_a_request_that_is_not_there_is_not_found(sign_in, worker_ca):
    omar = await sign_in("omar", Role.OFFICER)

    assert (await omar.get(f"{REQUESTS}/nothing")).status_code == 404
    body = {"verdict": "approve", "digest": "0" * 64}
    assert (await omar.post(f"{REQUESTS}/nothing/decisions", json=body)).status_code == 404


async def test_without_a_ca_the_desk_says_so(sign_in, settings):
    shutil.rmtree(settings.ca_dir)
    omar = await sign_in("omar", Role.OFFICER)

    answer = await omar.get(REQUESTS)

    assert answer.status_code == 503
    assert "cardflow ca init" in reasons(answer)[0]


# Certificates


async def issued(sign_in, ask, worker_ca):
    request = await ask()
    omar = await sign_in("omar", Role.OFFICER)
    await decide(omar, request)
    answer = await worker_ca.poll(request.request_id)
    return omar, request, x509.load_pem_x509_certificate(answer.certificate_pem.encode())


async def test_certificates_are_found_by_number_and_by_person(sign_in, ask, worker_ca):
    omar, request, certificate = await issued(sign_in, ask, worker_ca)
    number = format(certificate.serial_number, "x")

    for query in ({}, {"serial_number": number.upper()}, {"person": request.subject.person_id}):
        found = (await omar.get(CERTIFICATES, params=query)).json()["items"]

        assert [(item["serial_number"], item["state"]) for item in found] == [(number, "valid")]
    assert (await omar.get(CERTIFICATES, params={"person": new_id()})).json()["items"] == []


async def test_a_revoked_certificate_is_revoked_for_everybody(
    sign_in, ask, worker_ca, anonymous, app
):
    omar, _request, certificate = await issued(sign_in, ask, worker_ca)
    path = f"{CERTIFICATES}/{certificate.serial_number:x}/revoke"

    first = await omar.post(path, json={"reason": "keyCompromise"})
    again = await omar.post(path, json={"reason": "superseded"})
    await worker_ca.maintain()

    assert first.json()["state"] == "revoked"
    assert again.json()["revocation_reason"] == "keyCompromise"
    crl = x509.load_der_x509_crl((await anonymous.get("/pki/crl")).content)
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    async with transaction(app.state.cardflow.sessions) as session:
        kinds = (await session.scalars(select(AuditEntry.kind))).all()
    assert kinds.count("revocation_ordered") == 1


async def test_certificates_are_found_by_what_is_known_of_them(sign_in, ask, worker_ca):
    omar, _request, certificate = await issued(sign_in, ask, worker_ca)
    number = format(certificate.serial_number, "x")

    async def found(**query):
        answer = await omar.get(CERTIFICATES, params=query)
        assert answer.status_code == 200, answer.text
        return [item["serial_number"] for item in answer.json()["items"]]

    for query in (
        {"subject": "ALICE díaz"},
        {"profile": OFFICER},
        {"state": "valid"},
        {"expiring_within_days": 366},
        {"serial_number": ":".join(number[i : i + 2] for i in range(0, len(number), 2))}
        if len(number) % 2 == 0
        else {"serial_number": f"0{number}"},
    ):
        assert await found(**query) == [number], query
    for query in (
        {"subject": "100%"},
        {"profile": "tls-client"},
        {"state": "expired"},
        {"state": "revoked"},
        {"expiring_within_days": 30},
    ):
        assert await found(**query) == [], query
    assert (await omar.get(CERTIFICATES, params={"serial_number": "xyz"})).status_code == 409


async def test_lists_of_certificates_go_on_where_they_ended(sign_in, ask, worker_ca):
    omar, _request, first = await issued(sign_in, ask, worker_ca)
    other = await worker_ca.submit(a_request(request_id=f"{new_id()}:1:tls-client"))
    second = x509.load_pem_x509_certificate(other.certificate_pem.encode())
    numbers = [format(c.serial_number, "x") for c in (first, second)]
    await revoke(omar, numbers[1])
    await revoke(omar, numbers[0])

    for query, expected in (
        ({}, numbers[::-1]),
        ({"state": "revoked"}, numbers),
    ):
        seen, cursor = [], ""
        while cursor is not None:
            asked = {**query, "limit": 1, **({"cursor": cursor} if cursor else {})}
            page = (await omar.get(CERTIFICATES, params=asked)).json()
            seen += [item["serial_number"] for item in page["items"]]
            cursor = page["next"]
        assert seen == expected


async def revoke(client, serial_number, **body):
    path = f"{CERTIFICATES}/{serial_number}/revoke"
    return await client.post(path, json={"reason": "superseded", **body})


async def test_a_certificate_is_shown_with_everything_and_given_in_every_form(
    sign_in, ask, worker_ca, anonymous
):
    omar, request, certificate = await issued(sign_in, ask, worker_ca)
    path = f"{CERTIFICATES}/{certificate.serial_number:x}"

    shown = (await omar.get(path)).json()
    given = {
        form: (await omar.get(f"{path}/download", params={"form": form})).content
        for form in ("pem", "der", "chain", "p7b")
    }

    assert shown["alternative_names"] == [
        f"upn: {request.subject.upn}",
        f"sid: {request.subject.sid}",
    ]
    assert shown["key_usage"] == ["digitalSignature"]
    assert shown["ocsp_urls"] == ["http://127.0.0.1:8000/pki/ocsp"]
    assert shown["crl_urls"] == ["http://127.0.0.1:8000/pki/crl"]
    assert (shown["card"], len(shown["chain_pem"])) == (None, 2)
    der = certificate.public_bytes(Encoding.DER)
    assert given["der"] == der
    assert x509.load_pem_x509_certificate(given["pem"]) == certificate
    chain = x509.load_pem_x509_certificates(given["chain"])
    assert set(chain) == set(pkcs7.load_der_pkcs7_certificates(given["p7b"]))
    for child, parent in itertools.pairwise(chain):
        child.verify_directly_issued_by(parent)
    assert (await omar.get(f"{path}/download?form=jks")).status_code == 422
    assert (await omar.get(f"{CERTIFICATES}/abc")).status_code == 404


async def test_a_revocation_keeps_who_ordered_it_and_their_note(sign_in, ask, worker_ca):
    omar, _request, certificate = await issued(sign_in, ask, worker_ca)

    answer = await revoke(omar, f"{certificate.serial_number:x}", note="The card was lost.")
    await worker_ca.maintain()
    shown = (await omar.get(f"{CERTIFICATES}/{certificate.serial_number:x}")).json()

    assert answer.json()["revoked_by_name"] == "Omar"
    assert shown["revocation_note"] == "The card was lost."
    assert shown["on_crl"] == 2


async def on_record(app):
    """Return who ordered which revocation, and how the register has the certificate."""
    async with transaction(app.state.cardflow.sessions) as session:
        rows = (await session.scalars(select(AuditEntry).order_by(AuditEntry.number))).all()
        row = await session.scalar(select(Certificate))
    entries = [(x.kind, x.actor, json.loads(x.text)["facts"]) for x in rows if "revo" in x.kind]
    return entries, row.state


@pytest.fixture
async def on_a_card(sign_in, ask, worker_ca, app):
    """Return an officer, and the serial number of a certificate on a card of the register."""
    omar, request, certificate = await issued(sign_in, ask, worker_ca)
    number = f"{certificate.serial_number:x}"
    holder = request.subject.person_id
    card = Card(
        id="c1", token_serial="0a", holder_id=holder, state="assigned", created_at=utc_now()
    )
    row = a_certificate(days=9, card_id="c1")
    row.serial_number = number
    await store(app.state.cardflow.sessions, card, row)
    return omar, number


@pytest.mark.parametrize("died", ["before it revoked", "after it revoked", "before the register"])
async def test_a_revocation_that_broke_off_is_completed_by_the_same_request(
    on_a_card, app, monkeypatch, died
):
    omar, number = on_a_card
    revoke_there = EmbeddedCA.revoke

    async def dies(ca, *arguments, **words):
        if died == "after it revoked":
            await revoke_there(ca, *arguments, **words)
        raise Unavailable("killed")

    with monkeypatch.context() as patch:
        where = CARecord if died == "before the register" else EmbeddedCA
        patch.setattr(where, "revoked" if where is CARecord else "revoke", dies)
        first = await revoke(omar, number, note="It was lost.")
    again = await revoke(omar, number, note="It was lost.")
    once_more = await revoke(omar, number, reason="keyCompromise")

    assert [x.status_code for x in (first, again, once_more)] == [503, 200, 200]
    facts = {"serial_number": number, "reason": "superseded"}
    entries, state = await on_record(app)
    assert entries == [
        ("revocation_ordered", again.json()["revoked_by"], {**facts, "note": "It was lost."}),
        ("certificate_revoked", "", facts),
    ]
    assert state == "revoked"


async def test_an_order_that_an_earlier_release_left_out_is_put_on_record(
    on_a_card, worker_ca, app
):
    omar, number = on_a_card
    me = (await omar.get("/api/v1/me")).json()["id"]
    await worker_ca.revoke(number, RevocationReason.SUPERSEDED, by=me, note="It was lost.")

    await revoke(omar, number, reason="keyCompromise")

    entries, state = await on_record(app)
    facts = {"serial_number": number, "reason": "superseded"}
    assert entries[0] == ("revocation_ordered", me, {**facts, "note": "It was lost."})
    assert state == "revoked"


async def test_a_revocation_that_nobody_ordered_gets_no_order_by_being_asked_for_again(
    on_a_card, worker_ca, app
):
    omar, number = on_a_card
    await worker_ca.revoke(number, RevocationReason.SUPERSEDED)

    await revoke(omar, number)

    entries, state = await on_record(app)
    assert ([kind for kind, *_ in entries], state) == (["certificate_revoked"], "revoked")


async def test_the_authority_shows_its_certificates_and_crls(sign_in, worker_ca):
    omar = await sign_in("omar", Role.OFFICER)

    shown = (await omar.get("/api/v1/ca")).json()

    assert shown["issuing"]["issuer"] == shown["root"]["subject"]
    assert (shown["crl"]["number"], shown["root_crl"]["number"]) == (1, 1)
    assert shown["health"] == []
    assert shown["ocsp_signer_until"] is not None


async def test_a_new_authority_says_what_it_lacks(sign_in):
    shown = (await (await sign_in("omar", Role.OFFICER)).get("/api/v1/ca")).json()

    assert (shown["crl"], shown["ocsp_signer_until"]) == (None, None)
    assert any("start the worker" in line for line in shown["health"])


async def test_what_cannot_be_revoked_is_said(sign_in, ask, worker_ca):
    omar, _request, certificate = await issued(sign_in, ask, worker_ca)

    unknown = await omar.post(f"{CERTIFICATES}/abc/revoke", json={"reason": "superseded"})
    no_number = await omar.post(f"{CERTIFICATES}/xyz/revoke", json={"reason": "superseded"})
    no_reason = await omar.post(
        f"{CERTIFICATES}/{certificate.serial_number:x}/revoke", json={"reason": "boredom"}
    )

    assert [a.status_code for a in (unknown, no_number, no_reason)] == [404, 404, 422]


# For everybody


async def test_relying_parties_get_crl_certificates_and_ocsp_replies(
    anonymous, sign_in, ask, worker_ca
):
    _omar, _request, certificate = await issued(sign_in, ask, worker_ca)
    ca = x509.load_der_x509_certificate((await anonymous.get("/pki/ca.cer")).content)
    root = x509.load_der_x509_certificate((await anonymous.get("/pki/root.cer")).content)
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, ca, hashes.SHA256())
    asked = builder.build().public_bytes(Encoding.DER)

    posted = await anonymous.post(
        "/pki/ocsp", content=asked, headers={"Content-Type": "application/ocsp-request"}
    )
    got = await anonymous.get(f"/pki/ocsp/{in_address(asked)}")

    certificate.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(root)
    for answer in (posted, got):
        assert answer.headers["content-type"] == "application/ocsp-response"
        status = ocsp.load_der_ocsp_response(answer.content).certificate_status
        assert status is ocsp.OCSPCertStatus.GOOD
    assert "max-age" in got.headers["cache-control"]
    crl = await anonymous.get("/pki/crl")
    assert crl.headers["content-type"] == "application/pkix-crl"
    assert x509.load_der_x509_crl(crl.content).is_signature_valid(ca.public_key())
    root_crl = x509.load_der_x509_crl((await anonymous.get("/pki/root.crl")).content)
    assert root_crl.is_signature_valid(root.public_key())


async def test_ocsp_requests_of_another_kind_are_refused(anonymous, worker_ca):
    kind = {"Content-Type": "application/ocsp-request"}

    assert (await anonymous.post("/pki/ocsp", content=b"x")).status_code == 415
    assert (await anonymous.get("/pki/ocsp/!!!")).status_code == 422
    large = await anonymous.post("/pki/ocsp", content=b"x" * 5000, headers=kind)
    assert large.status_code == 413
    broken = await anonymous.post("/pki/ocsp", content=b"x", headers=kind)
    status = ocsp.load_der_ocsp_response(broken.content).response_status
    assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def in_address(request: bytes) -> str:
    return quote(base64.b64encode(request).decode(), safe="")


async def test_a_decision_counts_while_temporal_is_away(sign_in, ask, app):
    card_id, update_id = new_id(), new_id()
    request = await ask(update_id=update_id)
    await store_update(app, card_id, update_id, request.subject.person_id)
    omar = await sign_in("omar", Role.OFFICER)

    answer = await decide(omar, request)

    assert (answer.status_code, answer.json()["state"]) == (201, "approved")


# With Temporal


@workflow.defn
class Listener:
    """Stands where the card's update would be, and ends with the lane it is told."""

    def __init__(self) -> None:
        self._lane = ""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self._lane))
        return self._lane

    @workflow.signal
    def ca_answered(self, lane: str) -> None:
        self._lane = lane


@pytest.mark.temporal
async def test_the_cards_update_is_told_that_the_ca_answered(
    settings, temporal_env, sign_in, ask, app
):
    client, card_id, update_id = temporal_env.client, new_id(), new_id()
    request = await ask(update_id=update_id)
    await store_update(app, card_id, update_id, request.subject.person_id)
    omar = await sign_in("omar", Role.OFFICER)
    linked = create_app(settings, lambda given: opened(given, client))
    async with (
        linked.router.lifespan_context(linked),
        client_of(linked, headers=omar.headers) as desk,
        Worker(
            client,
            task_queue=card_id,
            workflows=[Listener],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        handle = await client.start_workflow(
            Listener.run, id=workflow_id(card_id), task_queue=card_id
        )
        answer = await decide(desk, request)
        lane = await asyncio.wait_for(handle.result(), PATIENCE)

    assert answer.status_code == 201
    assert lane == OFFICER


async def store_update(app, card_id, update_id, holder_id):
    now = utc_now()
    card = Card(id=card_id, token_serial="SN", holder_id=holder_id, state="Pending", created_at=now)
    update = Update(
        id=update_id,
        kind="update",
        card_id=card_id,
        holder_id=holder_id,
        started_by=holder_id,
        policy_name="p",
        policy_version=1,
        stage="pending",
        opened_at=now,
        due_at=now,
        input=text_of(an_update(a_policy(an_entry(OFFICER)), opened_at=now)),
        view="{}",
    )
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(card)
        await session.flush()
        session.add(update)
