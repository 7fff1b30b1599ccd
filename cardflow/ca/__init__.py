"""The contract between Cardflow and a certificate authority; one connector per CA product.

A connector translates; it never decides. Records of what was asked are committed before the first
byte leaves, so a retry can look before it asks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from cardflow.model import Subject


class RevocationReason(StrEnum):
    """RFC 5280 5.3.1, the reasons that Cardflow uses."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"


@dataclass(frozen=True)
class CertificateRequest:
    """What is asked of a CA; ``request_id`` is ours, unique per update, lane and revision."""

    request_id: str
    csr_pem: str
    profile: str
    subject: Subject
    requested_by: str


@dataclass(frozen=True)
class Issued:
    """The CA said yes."""

    certificate_pem: str
    chain_pem: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """The CA has not decided; ask again with ``handle``, and not before the instant."""

    handle: str
    not_before: datetime | None = None


@dataclass(frozen=True)
class Rejected:
    """The CA said no."""

    reason: str


Answer = Issued | Pending | Rejected


@dataclass(frozen=True)
class Capabilities:
    """What a CA can do beyond issuing; what is absent is shown to people, never pretended."""

    pending: bool
    find: bool
    revoke: bool
    cancel: bool


class CertificateAuthority(Protocol):
    """Seven verbs; they raise ``Refused`` (final), ``Unavailable`` (retry), ``Unknown`` (look)."""

    capabilities: Capabilities

    async def submit(self, request: CertificateRequest) -> Answer: ...

    async def poll(self, handle: str) -> Answer: ...

    async def find(self, request: CertificateRequest) -> Answer | None: ...

    async def cancel(self, request: CertificateRequest) -> None: ...

    async def revoke(self, serial_number: str, reason: RevocationReason) -> None: ...

    async def ca_certificates(self) -> Sequence[str]: ...

    async def health(self) -> list[str]: ...
