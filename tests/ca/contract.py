"""What every connector must do. A module per connector subclasses ``ConnectorContract``.

The subclass's module provides the fixture ``under_test``. A test that needs a power which the
connector says it lacks is skipped, with the power's name.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from cryptography import x509

from cardflow.ca import (
    CertificateAuthority,
    CertificateRequest,
    Issued,
    Pending,
    Rejected,
    RevocationReason,
)
from cardflow.errors import Refused
from cardflow.model import KeyType, Profile
from cardflow.x509 import certificate_objections, facts_of_certificate, load_certificate
from tests.ca.making import ALICE, BOB, a_csr, a_key, a_request


@dataclass(frozen=True)
class UnderTest:
    """A connector, and the hands of the people at the other side."""

    ca: CertificateAuthority
    profiles: dict[str, Profile]
    automatic: str  # the name of a profile that is issued at once
    officer: str  # the name of one that waits for people; unused without ``pending``
    approve: Callable[[str], Awaitable[None]]  # by handle
    reject: Callable[[str, str], Awaitable[None]]  # by handle, with a reason
    is_revoked: Callable[[str], Awaitable[bool]]  # what the CA publishes about a certificate, PEM

    def needs(self, power: str) -> None:
        """Skip the test when the connector lacks the power."""
        if not getattr(self.ca.capabilities, power):
            pytest.skip(f"this CA has no {power}")


async def objections(under_test: UnderTest, request: CertificateRequest, pem: str) -> list[str]:
    """Return in what the certificate differs from what was asked for."""
    return certificate_objections(
        pem,
        csr_pem=request.csr_pem,
        profile=under_test.profiles[request.profile],
        subject=request.subject,
        issuer_chain_pem=await under_test.ca.ca_certificates(),
        now=datetime.now(UTC),
    )


async def issued(under_test: UnderTest, request: CertificateRequest) -> str:
    """Return the certificate for a request that needs nobody's decision."""
    answer = await under_test.ca.submit(request)
    assert isinstance(answer, Issued)
    return answer.certificate_pem


class ConnectorContract:
    """The contract; names are sentences that hold for every connector."""

    @pytest.mark.parametrize("key_type", list(KeyType))
    async def test_a_certificate_is_what_was_asked_for(self, under_test, key_type):
        csr_pem = a_csr(a_key(key_type))
        request = a_request(under_test.automatic, csr_pem=csr_pem)
        pem = await issued(under_test, request)
        assert await objections(under_test, request, pem) == []

    async def test_what_the_csr_says_of_names_and_powers_is_ignored(self, under_test):
        csr_pem = a_csr(
            name="CN=Bob Stone,O=Elsewhere",
            authority=x509.BasicConstraints(ca=True, path_length=None),
            names=x509.SubjectAlternativeName([x509.RFC822Name(BOB.email)]),
        )
        request = a_request(under_test.automatic, csr_pem=csr_pem)
        pem = await issued(under_test, request)
        assert await objections(under_test, request, pem) == []

    async def test_the_chain_ends_in_a_root(self, under_test):
        chain = [load_certificate(pem) for pem in await under_test.ca.ca_certificates()]
        for child, parent in zip(chain, [*chain[1:], chain[-1]], strict=True):
            child.verify_directly_issued_by(parent)

    async def test_an_unknown_profile_is_refused(self, under_test):
        with pytest.raises(Refused, match="profile"):
            await under_test.ca.submit(a_request("no-such-profile"))

    async def test_a_csr_that_cannot_be_read_is_refused(self, under_test):
        request = a_request(under_test.automatic, csr_pem="no CSR")
        with pytest.raises(Refused, match="CERTIFICATE REQUEST"):
            await under_test.ca.submit(request)

    async def test_a_request_that_never_arrived_is_not_found(self, under_test):
        under_test.needs("find")
        assert await under_test.ca.find(a_request(under_test.automatic)) is None

    async def test_an_issued_certificate_is_found_again(self, under_test):
        under_test.needs("find")
        request = a_request(under_test.automatic)
        pem = await issued(under_test, request)
        found = await under_test.ca.find(request)
        assert isinstance(found, Issued)
        assert found.certificate_pem == pem

    async def test_finding_does_not_depend_on_names_that_changed_since(self, under_test):
        under_test.needs("find")
        request = a_request(under_test.automatic)
        pem = await issued(under_test, request)
        renamed = replace(request, subject=replace(ALICE, common_name="Alice Jones"))
        found = await under_test.ca.find(renamed)
        assert isinstance(found, Issued)
        assert found.certificate_pem == pem

    async def test_what_waits_is_found_waiting(self, under_test):
        under_test.needs("find")
        request, pending = await waiting(under_test)
        assert await under_test.ca.find(request) == pending

    async def test_nobody_said_anything_means_pending(self, under_test):
        _, pending = await waiting(under_test)
        answer = await under_test.ca.poll(pending.handle)
        assert isinstance(answer, Pending)
        assert answer.handle == pending.handle

    async def test_an_approved_request_is_issued(self, under_test):
        request, pending = await waiting(under_test)
        await under_test.approve(pending.handle)
        answer = await under_test.ca.poll(pending.handle)
        assert isinstance(answer, Issued)
        assert await objections(under_test, request, answer.certificate_pem) == []

    async def test_polling_again_gives_the_same_certificate(self, under_test):
        _, pending = await waiting(under_test)
        await under_test.approve(pending.handle)
        assert await under_test.ca.poll(pending.handle) == await under_test.ca.poll(pending.handle)

    async def test_a_rejection_brings_its_reason(self, under_test):
        _, pending = await waiting(under_test)
        await under_test.reject(pending.handle, "the person left")
        answer = await under_test.ca.poll(pending.handle)
        assert isinstance(answer, Rejected)
        assert "the person left" in answer.reason

    async def test_an_unknown_handle_is_refused(self, under_test):
        under_test.needs("pending")
        with pytest.raises(Refused):
            await under_test.ca.poll("no-such-handle")

    async def test_nothing_comes_of_a_cancelled_request(self, under_test):
        under_test.needs("cancel")
        request, pending = await waiting(under_test)
        await under_test.ca.cancel(request)
        await under_test.ca.cancel(request)
        assert isinstance(await under_test.ca.poll(pending.handle), Rejected)

    async def test_a_request_that_arrives_after_it_was_cancelled_is_not_issued(self, under_test):
        under_test.needs("cancel")
        request = a_request(under_test.automatic)
        await under_test.ca.cancel(request)
        await under_test.ca.cancel(request)
        assert isinstance(await under_test.ca.submit(request), Rejected)
        assert isinstance(await under_test.ca.find(request), Rejected)

    async def test_cancelling_what_is_issued_changes_nothing(self, under_test):
        under_test.needs("cancel")
        request, pending = await waiting(under_test)
        await under_test.approve(pending.handle)
        before = await under_test.ca.poll(pending.handle)
        await under_test.ca.cancel(request)
        assert await under_test.ca.poll(pending.handle) == before

    @pytest.mark.parametrize("reason", list(RevocationReason))
    async def test_a_revoked_certificate_is_published_as_revoked(self, under_test, reason):
        under_test.needs("revoke")
        pem = await issued(under_test, a_request(under_test.automatic))
        assert not await under_test.is_revoked(pem)
        await under_test.ca.revoke(facts_of_certificate(pem).serial_number, reason)
        assert await under_test.is_revoked(pem)

    async def test_a_revoked_certificate_is_not_given_out_any_more(self, under_test):
        under_test.needs("revoke")
        request = a_request(under_test.automatic)
        pem = await issued(under_test, request)
        reason = RevocationReason.SUPERSEDED
        await under_test.ca.revoke(facts_of_certificate(pem).serial_number, reason)
        for answer in (await under_test.ca.find(request), await under_test.ca.submit(request)):
            assert isinstance(answer, Rejected)
            assert "revoked" in answer.reason

    async def test_revoking_twice_is_revoking_once(self, under_test):
        under_test.needs("revoke")
        pem = await issued(under_test, a_request(under_test.automatic))
        serial_number = facts_of_certificate(pem).serial_number
        for reason in (RevocationReason.SUPERSEDED, RevocationReason.KEY_COMPROMISE):
            await under_test.ca.revoke(serial_number, reason)
        assert await under_test.is_revoked(pem)

    async def test_a_serial_number_that_was_never_issued_cannot_be_revoked(self, under_test):
        under_test.needs("revoke")
        with pytest.raises(Refused):
            await under_test.ca.revoke("1234", RevocationReason.SUPERSEDED)

    async def test_a_ca_that_is_well_says_so(self, under_test):
        assert await under_test.ca.health() == []


async def waiting(under_test: UnderTest) -> tuple[CertificateRequest, Pending]:
    """Return a request that waits for people, and the CA's answer to it."""
    under_test.needs("pending")
    request = a_request(under_test.officer)
    answer = await under_test.ca.submit(request)
    assert isinstance(answer, Pending)
    return request, answer
