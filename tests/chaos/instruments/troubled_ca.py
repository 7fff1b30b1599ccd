"""The embedded CA behind a bad line: what it did and what was heard of it are two things."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from cardflow.ca import Answer, CertificateAuthority, CertificateRequest, Pending, RevocationReason
from cardflow.errors import Unavailable


@dataclass
class TroubledCA:
    """The real CA, with troubles on order for each verb; they are used up in turn.

    away    nothing reaches it
    lost    it does what it is asked, and its answer is lost
    late    it has the request, and acts on it only after it was looked for again and asked again
    twice   the request reaches it twice, at once
    blind   it does not find what it has
    stale   it says once more that it has not decided
    passed  what was late reaches it only after the request was withdrawn
    """

    real: CertificateAuthority
    troubles: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    overtaken: list[Answer] = field(default_factory=list)  # to what came after its withdrawal
    _late: list[CertificateRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.capabilities = self.real.capabilities

    async def submit(self, request: CertificateRequest) -> Answer:
        """Ask the CA, through the trouble on order."""
        trouble = self._next("submit")
        if trouble == "late":
            self._late.append(request)
            raise Unavailable("no answer in time")
        both = [*self._late, request, *([request] if trouble == "twice" else [])]
        self._late.clear()
        answers = await asyncio.gather(*(self.real.submit(one) for one in both))
        self._lose("submit", trouble)
        return answers[-1]

    async def poll(self, handle: str) -> Answer:
        """Ask how a request stands."""
        trouble = self._next("poll")
        answer = await self.real.poll(handle)
        self._lose("poll", trouble)
        return Pending(handle) if trouble == "stale" else answer

    async def find(self, request: CertificateRequest) -> Answer | None:
        """Look for a request."""
        trouble = self._next("find")
        return None if trouble == "blind" else await self.real.find(request)

    async def cancel(self, request: CertificateRequest) -> None:
        """Withdraw a request."""
        trouble = self._next("cancel")
        await self.real.cancel(request)
        if trouble == "twice":
            await self.real.cancel(request)
        if trouble == "passed":
            late, self._late = self._late, []
            self.overtaken += await asyncio.gather(*(self.real.submit(one) for one in late))
        self._lose("cancel", trouble)

    async def revoke(self, serial_number: str, reason: RevocationReason) -> None:
        """Revoke a certificate."""
        trouble = self._next("revoke")
        await self.real.revoke(serial_number, reason)
        if trouble == "twice":
            await self.real.revoke(serial_number, reason)
        self._lose("revoke", trouble)

    async def ca_certificates(self) -> Sequence[str]:
        """Return the chain."""
        self._next("ca_certificates")
        return await self.real.ca_certificates()

    async def health(self) -> list[str]:
        """Return what is wrong."""
        return await self.real.health()

    def _next(self, verb: str) -> str:
        self.calls.append(verb)
        ordered = self.troubles.get(verb, [])
        trouble = ordered.pop(0) if ordered else ""
        if trouble == "away":
            raise Unavailable("the CA does not answer")
        return trouble

    def _lose(self, verb: str, trouble: str) -> None:
        if trouble == "lost":
            raise Unavailable(f"the answer to {verb} was lost")
