"""The embedded CA's own records: what was asked, who decided, what was signed, what was revoked."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from cardflow.sql import Instant


class State(StrEnum):
    """Where a request stands at the embedded CA."""

    PENDING = "pending"  # officers decide
    APPROVED = "approved"  # they said yes; the worker has not signed yet
    SIGNING = "signing"  # serial number and dates are committed: from here on it will be issued
    ISSUED = "issued"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


def _instant(**options: Any) -> Any:
    return Field(sa_type=Instant, **options)


def _text(**options: Any) -> Any:
    return Field(sa_type=Text, **options)


class CaRequest(SQLModel, table=True):
    """One request, with profile and person as they stood when it came: JSON, never changed."""

    __tablename__ = "ca_requests"
    __table_args__ = (
        Index("ix_ca_requests_state", "state", "submitted_at", "request_id"),
        Index("ix_ca_requests_profile", "profile", "submitted_at", "request_id"),
        Index("ix_ca_requests_submitted_at", "submitted_at", "request_id"),
    )
    request_id: str = Field(primary_key=True, max_length=200)
    state: str = Field(max_length=16)
    profile: str = Field(max_length=64)
    profile_json: str = _text()
    subject_json: str = _text()
    person_id: str = Field(index=True, max_length=256)
    requested_by: str = Field(max_length=256)
    csr_pem: str = _text()
    spki_sha256: str = Field(index=True, max_length=64)
    lint: str = _text()  # JSON: what the linter remarked below a warning
    submitted_at: datetime = _instant()
    ended_at: datetime | None = _instant(default=None)  # approved for good, rejected or cancelled
    reason: str = _text(default="")


class CaKey(SQLModel, table=True):
    """Whose a public key is: the first person it was certified for, for ever."""

    __tablename__ = "ca_keys"
    spki_sha256: str = Field(primary_key=True, max_length=64)
    person_id: str = Field(max_length=256)


class CaDecision(SQLModel, table=True):
    """One officer's word; ``digest`` is of what the officer was shown."""

    __tablename__ = "ca_decisions"
    __table_args__ = (UniqueConstraint("request_id", "officer"),)
    id: int | None = Field(default=None, primary_key=True)
    request_id: str = Field(foreign_key="ca_requests.request_id", max_length=200)
    officer: str = Field(max_length=256)
    verdict: str = Field(max_length=16)
    reason: str = _text(default="")
    digest: str = Field(max_length=64)
    token: str = _text(default="")
    at: datetime = _instant()


class CaCertificate(SQLModel, table=True):
    """What is signed or about to be: the draft is committed first, the certificate afterwards."""

    __tablename__ = "ca_certificates"
    __table_args__ = (
        # Ends after what is revoked: nearly all are not, and are read by when they end.
        Index("ix_ca_certificates_revoked_at", "revoked_at", "not_after", "id"),
        Index("ix_ca_certificates_person_id", "person_id", "id"),
        Index("ix_ca_certificates_profile", "profile", "id"),
        Index("ix_ca_certificates_subject", "subject_folded", "id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    serial_number: str = Field(unique=True, max_length=40)
    request_id: str | None = Field(
        default=None, unique=True, foreign_key="ca_requests.request_id", max_length=200
    )  # None: the CA's own, for its OCSP replies
    draft: bytes = Field(sa_type=LargeBinary)  # DER, linted; its to-be-signed part gets signed
    certificate_pem: str = _text(default="")  # empty until signed
    not_before: datetime = _instant()
    not_after: datetime = _instant(index=True)
    revoked_at: datetime | None = _instant(default=None)
    revocation_reason: str = Field(default="", max_length=32)
    on_crl: int | None = Field(default=None)  # the first CRL that lists it
    # For searching; what counts is in the certificate.
    profile: str = Field(default="", max_length=64)
    person_id: str = Field(default="", max_length=256)
    subject_folded: str = _text(default="")  # RFC 4514, without case
    revoked_by: str = Field(default="", max_length=256)
    revocation_note: str = _text(default="")


class CaCrl(SQLModel, table=True):
    """A published CRL; its number is the CRLNumber."""

    __tablename__ = "ca_crls"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    der: bytes = Field(sa_type=LargeBinary)
    this_update: datetime = _instant()
    next_update: datetime = _instant()
