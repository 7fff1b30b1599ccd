"""The certificate authority, asked so that a repeated question makes no second certificate."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio import activity

from activities.orders import AnswerKind, CAAnswer, PollOrder
from cardflow.ca import (
    Answer,
    CertificateRequest,
    Issued,
    Pending,
    Rejected,
    RevocationReason,
)
from cardflow.errors import Refused, Unavailable
from cardflow.orders import RevokeOrder, SubmitOrder, WithdrawOrder

if TYPE_CHECKING:
    from cardflow.ca import CertificateAuthority
    from cardflow.db.ca_record import CARecord
    from cardflow.model import Profile, Subject

FIRST_POLL = timedelta(seconds=5)
LAST_POLL = timedelta(hours=1)
LONGEST_FLOOR = timedelta(days=7)  # a CA that says "next century" is asked next week
LONGEST_REASON = 500

log = logging.getLogger(__name__)


class CAActivities:
    """Asks one CA, and believes no certificate that it did not check."""

    def __init__(
        self,
        ca: "CertificateAuthority",
        record: "CARecord",
        profiles: "Mapping[str, Profile]",
    ) -> None:
        self._ca = ca
        self._record = record
        self._profiles = profiles

    @activity.defn
    async def submit(self, order: SubmitOrder) -> CAAnswer:
        """The CA has the request; an answer that is a certificate is the one that was asked for."""
        request = await self._request(order)
        found = self._name_objections(order, request.subject)
        if found := [*found, *await self._record.holder_objections(order.holder_id)]:
            raise Refused(*found)
        answer = await self._earlier_answer(request) or await self._ca.submit(request)
        return await self._accepted(answer, order, request, timedelta(0))

    @activity.defn
    async def poll(self, order: PollOrder) -> CAAnswer:
        """Return what became of a request, checked as at submission."""
        request = await self._request(order.request)
        if found := await self._record.holder_objections(order.request.holder_id):
            raise Refused(*found)  # before asking, which may have it issued
        answer = await self._polled(order.handle, request)
        since = await self._record.waiting_since(request.request_id)
        return await self._accepted(answer, order.request, request, _now() - since)

    @activity.defn
    async def withdraw(self, order: WithdrawOrder) -> None:
        """Nothing comes of the requests: cancelled while the CA has them, revoked if issued."""
        if not self._ca.capabilities.find:
            raise Refused("this CA cannot be searched; see there that nothing comes of the request")
        refusals: list[str] = []
        reason = RevocationReason(order.reason)
        for request in order.requests:
            with _collecting(refusals):
                await self._withdraw(await self._request(request), reason)
        if refusals:
            raise Refused(*refusals)

    @activity.defn
    async def revoke(self, order: RevokeOrder) -> None:
        """Every certificate named is revoked at the CA, and the register says so."""
        if not self._ca.capabilities.revoke:
            raise Refused("this CA cannot revoke; have the certificates revoked there by hand")
        refusals: list[str] = []
        for serial_number in order.serial_numbers:
            with _collecting(refusals):
                await self._ca.revoke(serial_number, RevocationReason(order.reason))
                await self._record.revoked(serial_number, order.update_id, order.reason)
        if refusals:
            raise Refused(*refusals)

    # Asking

    async def _request(self, order: SubmitOrder) -> CertificateRequest:
        return CertificateRequest(
            request_id=order.request_id,
            csr_pem=order.csr_pem,
            profile=order.profile,
            subject=await self._record.subject_of(order.holder_id),
            requested_by=order.requested_by,
        )

    def _name_objections(self, order: SubmitOrder, subject: "Subject") -> list[str]:
        from cardflow.x509 import subject_dn

        if subject_dn(subject, self._profile(order)) == order.subject:
            return []
        return [
            "the person's record changed since the update was opened, so the certificate would "
            "carry other names than the forms; cancel the update and start it again"
        ]

    def _profile(self, order: SubmitOrder) -> "Profile":
        try:
            return self._profiles[order.profile]
        except KeyError:
            raise Refused(f"the profile {order.profile} does not exist any more") from None

    async def _earlier_answer(self, request: CertificateRequest) -> Answer | None:
        """Return what an earlier try, of this activity or before an operator's retry, led to."""
        if self._ca.capabilities.find:
            return await self._ca.find(request)
        if activity.info().attempt > 1:
            raise Refused(
                "an earlier try may have reached the CA, which cannot be searched; see there"
            )
        return None

    async def _polled(self, handle: str, request: CertificateRequest) -> Answer:
        """Return the answer; a CA that has lost the request, as a restored one, gets it again."""
        try:
            return await self._ca.poll(handle)
        except Refused:
            if not self._ca.capabilities.find or await self._ca.find(request) is not None:
                raise
        return await self._ca.submit(request)

    async def _withdraw(self, request: CertificateRequest, reason: RevocationReason) -> None:
        if self._ca.capabilities.cancel:
            # Before looking, which may have it issued.
            with suppress(Refused):  # too late: a certificate is made, or about to be
                await self._ca.cancel(request)
        answer = await self._ca.find(request)
        if isinstance(answer, Pending):
            raise Unavailable("the CA is still at work on a request that nobody wants any more")
        if isinstance(answer, Issued):
            await self._revoke_unwanted(answer, reason)

    # Believing

    async def _accepted(
        self, answer: Answer, order: SubmitOrder, request: CertificateRequest, waited: timedelta
    ) -> CAAnswer:
        match answer:
            case Pending(handle, floor):
                return CAAnswer(
                    AnswerKind.PENDING, handle=handle, poll_at=_next_poll(waited, floor)
                )
            case Rejected(reason):
                return CAAnswer(AnswerKind.REJECTED, reason=_in_one_line(reason))
            case Issued():
                await self._check(answer, order, request)
        return _issued(answer)

    async def _check(self, answer: Issued, order: SubmitOrder, request: CertificateRequest) -> None:
        from cardflow.x509 import certificate_objections

        found = self._name_objections(order, request.subject) + certificate_objections(
            answer.certificate_pem,
            csr_pem=request.csr_pem,
            profile=self._profile(order),
            subject=request.subject,
            issuer_chain_pem=await self._ca.ca_certificates(),
            now=_now(),
        )
        if found:
            await self._revoke_unwanted(answer, RevocationReason.SUPERSEDED)
            raise Refused("the CA's certificate is not what was asked for", *found)

    async def _revoke_unwanted(self, answer: Issued, reason: RevocationReason) -> None:
        from cardflow.x509 import facts_of_certificate

        serial_number = facts_of_certificate(answer.certificate_pem).serial_number
        if self._ca.capabilities.revoke:
            await self._ca.revoke(serial_number, reason)
        else:
            log.error("certificate %s must be revoked at the CA by hand", serial_number)


@contextmanager
def _collecting(refusals: list[str]) -> Iterator[None]:
    """Let one refusal wait until everything else was done."""
    try:
        yield
    except Refused as refused:
        refusals += refused.objections


def _issued(answer: Issued) -> CAAnswer:
    from cardflow.x509 import facts_of_certificate

    facts = facts_of_certificate(answer.certificate_pem)
    return CAAnswer(
        AnswerKind.ISSUED,
        certificate_pem=answer.certificate_pem,
        certificate_sha256=facts.sha256,
        serial_number=facts.serial_number,
        not_after=facts.not_after,
    )


def _next_poll(waited: timedelta, floor: datetime | None) -> datetime:
    """Return when to ask again: ever later the longer the CA takes, not before its own floor."""
    ours = _now() + min(max(2 * waited, FIRST_POLL), LAST_POLL)
    return min(max(ours, floor), _now() + LONGEST_FLOOR) if floor else ours


def _in_one_line(reason: str) -> str:
    """Return a CA's words as history can bear them and people can read them."""
    line = "".join(c if c.isprintable() else " " for c in reason[:LONGEST_REASON]).strip()
    return line or "the CA gives no reason"


def _now() -> datetime:
    return datetime.now(UTC)
