"""Requests coming in: refused with every reason, taken in once, answered alike on every repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.ca import Answer, CertificateRequest, Issued, Pending, Rejected
from cardflow.ca.embedded import deciding, requests
from cardflow.ca.embedded.issuing import Draft, Issuance
from cardflow.ca.embedded.lint import Finding
from cardflow.ca.embedded.setup import Hierarchy
from cardflow.ca.tables import CaCertificate, CaRequest, State
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.model import Profile
from cardflow.sql import Sessions, looking, transaction
from cardflow.x509 import (
    CsrFacts,
    csr_objections,
    facts_of_csr,
    load_csr,
    spki_sha256,
    subject_objections,
)

LONGEST_ID = 200
WITHDRAWN = "the request was withdrawn"


@dataclass(frozen=True)
class Examination:
    """What a request asks for, and what the linter says of the certificate it would become."""

    profile: Profile
    csr: CsrFacts
    csr_pem: str
    findings: tuple[Finding, ...]


class Intake:
    """Takes requests in, and has those issued that nobody need decide or that officers approved."""

    def __init__(
        self,
        sessions: Sessions,
        hierarchy: Hierarchy,
        issuance: Issuance,
        profiles: Mapping[str, Profile],
        decision_root: str | None,
    ) -> None:
        self._sessions = sessions
        self._hierarchy = hierarchy
        self._issuance = issuance
        self._profiles = profiles
        self._decision_root = decision_root

    async def submit(self, request: CertificateRequest) -> Answer:
        """Take the request in, once; issue at once where no officer is needed."""
        try:
            return await self._submit(request)
        except IntegrityError:
            # PostgreSQL: another process was faster with this request or key. Now it can be seen.
            return await self._submit(request)

    async def _submit(self, request: CertificateRequest) -> Answer:
        try:
            row, draft = await self._prepared(request)
        except Refused:
            # What was taken in before gets its answer even if it would be refused today.
            earlier = await self._row(request.request_id)
            if earlier is None:
                raise
            return await self._repeated(earlier, request)
        return await self._take_in(row, draft, request)

    async def find(self, request: CertificateRequest) -> Answer | None:
        """Return how the request stands, or None when it never arrived."""
        row = await self._row(request.request_id)
        if row is None:
            return None
        requests.refuse_other_key(row, request)
        return await self.standing(row)

    async def poll(self, handle: str) -> Answer:
        """Return how the request stands."""
        return await self.standing(await self._known(handle))

    async def cancel(self, request: CertificateRequest) -> None:
        """Withdraw the request, arrived or not; what is being issued, or is issued, stays."""
        try:
            await self._cancel(request)
        except IntegrityError:
            # PostgreSQL: it has arrived at this moment. Now it can be seen.
            await self._cancel(request)

    async def _cancel(self, request: CertificateRequest) -> None:
        with effect("ca.cancel"):
            async with transaction(self._sessions) as session:
                row = await session.get(CaRequest, request.request_id, with_for_update=True)
                if row is None:
                    # A try of submitting it may still be on its way, and must find it withdrawn.
                    self._foresee(session, request)
                elif row.state in (State.PENDING, State.APPROVED):
                    requests.refuse_other_key(row, request)
                    _withdraw(row)

    def _foresee(self, session: AsyncSession, request: CertificateRequest) -> None:
        if profile := self._profiles.get(request.profile):  # without one it is never taken in
            row = requests.new_row(request, profile, (), _now())
            _withdraw(row)
            session.add(row)

    async def standing(self, row: CaRequest) -> Answer:
        """Return the answer; where the issuing key is, what may be issued is issued now."""
        if row.state == State.APPROVED and self._issuance.can_sign:
            await self._begin(row)
            row = await self._known(row.request_id)
        if row.state in (State.REJECTED, State.CANCELLED):
            return Rejected(row.reason)
        if row.state == State.ISSUED or (row.state == State.SIGNING and self._issuance.can_sign):
            return await self._released(row.request_id)
        return Pending(row.request_id)

    async def _released(self, request_id: str) -> Answer:
        record = await self._issuance.record(request_id)
        if record.revoked_at is not None:
            return Rejected(f"the certificate was revoked on {record.revoked_at:%Y-%m-%d}")
        return self._issued(record.certificate_pem or await self._issuance.finish(record, _now()))

    def _issued(self, certificate_pem: str) -> Issued:
        return Issued(certificate_pem, self._hierarchy.chain_pem)

    # Taking in

    async def _prepared(self, request: CertificateRequest) -> tuple[CaRequest, Draft]:
        profile = self._profile_for(request)
        draft = await self._draft(profile, request)
        row = requests.new_row(request, profile, draft.remarks, _now())
        if row.state != State.PENDING and not self._issuance.can_sign:
            raise Refused("this process does not hold the issuing key; the worker takes requests")
        return row, draft

    async def _take_in(self, row: CaRequest, draft: Draft, request: CertificateRequest) -> Answer:
        with effect("ca.take_in"):
            async with transaction(self._sessions) as session:
                earlier = await session.get(CaRequest, row.request_id)
                if earlier is None:
                    record = await self._record(session, row, draft)
        if earlier is not None:
            return await self._repeated(earlier, request)
        if record is None:
            return Pending(row.request_id)
        return self._issued(await self._issuance.finish(record, _now()))

    async def _record(
        self, session: AsyncSession, row: CaRequest, draft: Draft
    ) -> CaCertificate | None:
        await requests.claim_key(session, row)
        session.add(row)
        if row.state == State.PENDING:
            return None
        await session.flush()
        return self._issuance.begin(session, row, draft)

    async def _repeated(self, row: CaRequest, request: CertificateRequest) -> Answer:
        requests.refuse_other_content(row, request)
        return await self.standing(row)

    def _profile_for(self, request: CertificateRequest) -> Profile:
        profile = self._profiles.get(request.profile)
        if profile is None:
            raise Refused(f"there is no profile {request.profile}")
        found = subject_objections(request.subject, profile) + csr_objections(request.csr_pem, None)
        if not 1 <= len(request.request_id) <= LONGEST_ID:
            found.append(f"the request id must have between 1 and {LONGEST_ID} characters")
        if found:
            raise Refused(*found)
        own = (self._hierarchy.root, self._hierarchy.issuing)
        if spki_sha256(load_csr(request.csr_pem)) in {spki_sha256(ca) for ca in own}:
            raise Refused("the public key is one of the CA's own")
        return profile

    async def _draft(self, profile: Profile, request: CertificateRequest | CaRequest) -> Draft:
        subject = (
            requests.subject_of(request) if isinstance(request, CaRequest) else request.subject
        )
        key = load_csr(request.csr_pem).public_key()
        return await self._issuance.draft(profile, subject, key, _now())

    # What a decision rests on

    async def examine(self, request_id: str) -> Examination:
        """Return what the request asks for and what the linter says of what would be signed."""
        row = await self._known(request_id)
        profile, key = requests.profile_of(row), load_csr(row.csr_pem).public_key()
        found = await self._issuance.trial(profile, requests.subject_of(row), key, _now())
        return Examination(profile, facts_of_csr(row.csr_pem), row.csr_pem, found)

    # What officers approved

    async def _begin(self, row: CaRequest) -> None:
        draft = await self._draft(requests.profile_of(row), row)
        with effect("ca.begin"):
            async with transaction(self._sessions) as session:
                fresh = await requests.locked(session, row.request_id)
                if fresh.state != State.APPROVED:
                    return
                await self._refuse_unapproved(session, fresh)
                self._issuance.begin(session, fresh, draft)

    async def _refuse_unapproved(self, session: AsyncSession, row: CaRequest) -> None:
        given = await requests.decisions_on(session, row.request_id)
        current = self._profiles.get(row.profile)
        if found := deciding.approval_objections(row, given, current, self._decision_root):
            raise Refused(*found)

    async def _row(self, request_id: str) -> CaRequest | None:
        async with looking(self._sessions) as session:
            return await session.get(CaRequest, request_id)

    async def _known(self, handle: str) -> CaRequest:
        row = await self._row(handle)
        if row is None:
            raise Refused(f"there is no request {handle}")
        return row


def _withdraw(row: CaRequest) -> None:
    row.state, row.reason, row.ended_at = State.CANCELLED, WITHDRAWN, _now()


def _now() -> datetime:
    return datetime.now(UTC)
