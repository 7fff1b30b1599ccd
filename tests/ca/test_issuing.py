"""The embedded CA takes a request in once and issues exactly one certificate for it."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlmodel import col, func, select, update

from cardflow.ca import Issued, Pending, Rejected
from cardflow.ca.embedded import open_issuing_key
from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.errors import Refused
from cardflow.model import Approval
from cardflow.sql import sessions_of, transaction
from cardflow.x509 import facts_of_certificate, load_certificate
from tests.ca.making import (
    ALICE,
    AUTOMATIC,
    BOB,
    OFFICER,
    PROFILES,
    KeyBetween,
    a_csr,
    a_key,
    a_request,
    approve,
    issue,
    now,
)


async def test_the_same_request_again_gives_the_same_certificate(ca):
    request = a_request()
    assert await ca.submit(request) == await ca.submit(request)


async def test_a_csr_signed_anew_by_the_same_key_is_the_same_request(ca):
    key = a_key()
    request = a_request(csr_pem=a_csr(key))
    again = replace(request, csr_pem=a_csr(key))
    assert again.csr_pem != request.csr_pem
    assert await ca.submit(request) == await ca.submit(again)


@pytest.mark.parametrize(
    "change",
    [
        {"csr_pem": a_csr()},
        {"profile": "smime-signing"},
        {"subject": replace(ALICE, common_name="Alice Jones")},
        {"requested_by": "somebody-else"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_same_request_id_with_other_content_is_refused(ca, change):
    request = a_request()
    await ca.submit(request)
    with pytest.raises(Refused, match="was made before"):
        await ca.submit(replace(request, **change))


async def test_finding_a_request_with_another_key_is_refused(ca):
    request = a_request()
    await ca.submit(request)
    with pytest.raises(Refused, match="another profile or key"):
        await ca.find(replace(request, csr_pem=a_csr()))


async def test_a_key_of_one_person_is_never_certified_for_another(ca):
    key = a_key()
    await ca.submit(a_request(csr_pem=a_csr(key)))
    stolen = a_request(csr_pem=a_csr(key), subject=BOB)
    with pytest.raises(Refused, match="another person"):
        await ca.submit(stolen)
    assert await ca.find(stolen) is None


async def test_a_person_may_have_a_key_certified_again(ca):
    csr_pem = a_csr()
    first = await issue(ca, a_request(csr_pem=csr_pem))
    second = await issue(ca, a_request("smime-signing", csr_pem=csr_pem))
    assert facts_of_certificate(first).spki_sha256 == facts_of_certificate(second).spki_sha256


async def test_many_submitting_one_request_at_once_get_one_certificate(ca):
    request = a_request()
    answers = await asyncio.gather(*(ca.submit(request) for _ in range(8)))
    assert len({answer.certificate_pem for answer in answers}) == 1


class KeyOnAToken(KeyBetween):
    """Signs as tokens do, never twice the same, and not before the other worker signs too."""

    def __init__(self, key, together):
        super().__init__(key)
        self._together = together

    def sign(self, data, signature_algorithm):
        self._together.wait(timeout=10)
        return super().sign(data, ec.ECDSA(signature_algorithm.algorithm))


async def test_two_workers_whose_signatures_differ_agree_on_one_certificate(home, engine):
    key = open_issuing_key(home.directory, home.secrets.issuing)
    token_key = KeyOnAToken(key, threading.Barrier(2))
    workers = [home.ca(engine, issuing_key=token_key) for _ in range(2)]
    pending = await workers[0].submit(a_request(OFFICER))
    await approve(workers[0], pending.handle)
    answers = await asyncio.gather(*(worker.poll(pending.handle) for worker in workers))
    assert answers[0] == answers[1] == await workers[0].poll(pending.handle)
    for worker in workers:
        worker.close()


async def test_names_are_frozen_when_the_request_is_taken_in(ca, home, engine):
    answer = await ca.submit(a_request(OFFICER))
    await approve(ca, answer.handle)
    stricter = {**PROFILES, OFFICER: replace(PROFILES[OFFICER], validity_days=1)}
    later = home.ca(engine, profiles=stricter)
    facts = facts_of_certificate((await later.poll(answer.handle)).certificate_pem)
    later.close()
    assert facts.not_after - facts.not_before == timedelta(days=365)


async def test_what_was_taken_in_is_answered_after_its_profile_is_gone(ca, home, engine):
    request = a_request()
    answer = await ca.submit(request)
    without = {name: profile for name, profile in PROFILES.items() if name != AUTOMATIC}
    later = home.ca(engine, profiles=without)
    assert await later.submit(request) == answer
    with pytest.raises(Refused, match="no profile tls-client"):
        await later.submit(a_request())
    later.close()


@pytest.mark.parametrize("request_id", ["", "x" * 201])
async def test_an_unusable_request_id_is_refused(ca, request_id):
    with pytest.raises(Refused, match="request id"):
        await ca.submit(a_request(request_id=request_id))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"common_name": ""}, "common_name: missing"),
        ({"common_name": "x" * 65}, "common_name: longer than 64"),
        ({"email": "josé@example.test"}, "email: .* plain ASCII"),
        ({"email": ""}, "email: an address"),
    ],
)
async def test_a_person_whose_record_cannot_be_certified_is_refused(ca, change, reason):
    with pytest.raises(Refused, match=reason):
        await ca.submit(a_request(subject=replace(ALICE, **change)))


async def test_an_internationalised_mail_domain_is_written_as_a_labels(ca):
    pem = await issue(ca, a_request(subject=replace(ALICE, email="alice@büro.example")))
    assert facts_of_certificate(pem).email == "alice@xn--bro-hoa.example"


async def test_serial_numbers_are_long_random_and_distinct(ca):
    pems = [await issue(ca) for _ in range(20)]
    numbers = {load_certificate(pem).serial_number for pem in pems}
    assert len(numbers) == 20
    assert all(64 < number.bit_length() < 160 for number in numbers)
    assert len({number >> 128 for number in numbers}) == 20


async def test_no_certificate_outlives_the_issuing_ca(ca, home, engine):
    endless = {**PROFILES, AUTOMATIC: replace(PROFILES[AUTOMATIC], validity_days=36_500)}
    longer = home.ca(engine, profiles=endless)
    pem = await issue(longer, a_request())
    longer.close()
    issuing = load_certificate((await ca.ca_certificates())[0])
    assert load_certificate(pem).not_valid_after_utc == issuing.not_valid_after_utc


async def test_certificates_begin_a_little_early(ca):
    facts = facts_of_certificate(await issue(ca))
    assert timedelta(minutes=4) < now() - facts.not_before < timedelta(minutes=6)


async def test_certificates_point_to_the_services_by_address(ca):
    certificate = load_certificate(await issue(ca))
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    places = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = [points[0].full_name[0].value, *(place.access_location.value for place in places)]
    assert found == [f"http://127.0.0.1:8000/pki/{word}" for word in ("crl", "ocsp", "ca.cer")]


async def test_a_draft_that_the_linter_objects_to_is_not_issued(ca, home, engine):
    odd = {**PROFILES, AUTOMATIC: replace(PROFILES[AUTOMATIC], key_usage=())}
    careless = home.ca(engine, profiles=odd)
    request = a_request()
    with pytest.raises(Refused, match="lint:"):
        await careless.submit(request)
    assert await careless.find(request) is None
    careless.close()


async def test_a_process_without_the_issuing_key_issues_nothing(ca, desk):
    automatic, by_officer = a_request(), a_request(OFFICER)
    with pytest.raises(Refused, match="issuing key"):
        await desk.submit(automatic)
    assert await desk.find(automatic) is None
    pending = await desk.submit(by_officer)
    await approve(desk, pending.handle)
    assert isinstance(await desk.poll(pending.handle), Pending)
    assert isinstance(await ca.poll(pending.handle), Issued)


async def test_a_key_that_is_not_the_issuing_cas_is_refused(home, engine):
    with pytest.raises(Refused, match="does not belong"):
        home.ca(engine, issuing_key=a_key("P-384"))


async def test_a_withdrawn_request_is_not_issued_although_it_was_approved(ca):
    request = a_request(OFFICER)
    pending = await ca.submit(request)
    await approve(ca, pending.handle)
    await ca.cancel(request)
    assert await ca.poll(pending.handle) == Rejected("the request was withdrawn")


async def test_an_approval_that_only_the_database_claims_is_not_signed(ca, engine):
    pending = await ca.submit(a_request(OFFICER))
    async with transaction(sessions_of(engine)) as session:
        await session.execute(update(CaRequest).values(state="approved"))
    with pytest.raises(Refused, match="1 officers must approve this request, and 0 provably did"):
        await ca.poll(pending.handle)


async def test_names_changed_behind_the_officers_back_are_not_signed(ca, engine):
    pending = await ca.submit(a_request(OFFICER))
    await approve(ca, pending.handle)
    async with transaction(sessions_of(engine)) as session:
        row = await session.get(CaRequest, pending.handle)
        row.subject_json = row.subject_json.replace(ALICE.upn, "admin@corp.example.test")
    with pytest.raises(Refused, match="provably"):
        await ca.poll(pending.handle)


async def test_a_profile_made_stricter_meanwhile_asks_for_its_officers(ca, home, engine):
    pending = await ca.submit(a_request(OFFICER))
    await approve(ca, pending.handle)
    strict = {**PROFILES, OFFICER: replace(PROFILES[OFFICER], officers_needed=2)}
    later = home.ca(engine, profiles=strict)
    with pytest.raises(Refused, match="2 officers"):
        await later.poll(pending.handle)
    later.close()


async def test_a_profile_made_laxer_meanwhile_changes_nothing(ca, home, engine):
    pending = await ca.submit(a_request(OFFICER))
    lax = {**PROFILES, OFFICER: replace(PROFILES[OFFICER], approval=Approval.AUTOMATIC)}
    later = home.ca(engine, profiles=lax)
    assert isinstance(await later.poll(pending.handle), Pending)
    later.close()


async def test_everything_issued_is_listed_in_order(ca):
    requests = [a_request() for _ in range(3)]
    for request in requests:
        await ca.submit(request)
    listed = await ca.issued_certificates()
    assert [line.request_id for line in listed] == [r.request_id for r in requests]
    assert all(line.certificate_pem for line in listed)
    assert await ca.issued_certificates(listed[0].position) == listed[1:]


async def test_a_certificate_is_recorded_once(ca, engine):
    await issue(ca)
    query = select(func.count()).where(col(CaCertificate.request_id).is_not(None))
    async with transaction(sessions_of(engine)) as session:
        assert await session.scalar(query) == 1
