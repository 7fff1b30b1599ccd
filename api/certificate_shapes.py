"""The shapes in which people see certificates that the embedded CA issued."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from api.ca_shapes import parts_of
from api.shapes import Out
from cardflow.ca.embedded.listing import Listed, Standing
from cardflow.decisions import utc_now
from cardflow.x509 import contents_of_certificate, facts_of_certificate


class CertificateOut(Out):
    """A certificate that the CA issued."""

    serial_number: str
    state: Standing
    profile: str
    subject: str
    person_id: str
    person_name: str
    request_id: str
    update_id: str
    lane: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str
    revocation_note: str
    revoked_by: str
    revoked_by_name: str
    on_crl: int | None  # the number of the first CRL that lists it
    certificate_pem: str


class OnCardOut(Out):
    """The card of the update that asked for a certificate, and how the register knows it there."""

    id: str
    token_serial: str
    token_label: str
    state: str  # issued on_card retired revoked; empty: not registered


class CertificateDetail(CertificateOut):
    """A certificate with everything in it, its chain and where it is."""

    issuer: str
    sha256: str
    spki_sha256: str
    key_type: str
    signature_algorithm: str
    alternative_names: list[str]
    key_usage: list[str]
    extended_key_usage: list[str]
    certificate_policies: list[str]
    ocsp_urls: list[str]
    crl_urls: list[str]
    issuer_urls: list[str]
    card: OnCardOut | None
    chain_pem: list[str]


def shown_certificate(row: Listed, names: Mapping[str, str]) -> CertificateOut:
    """Return the certificate as a list shows it."""
    update_id, _, lane = parts_of(row.request_id)
    return CertificateOut(
        serial_number=row.serial_number,
        state=row.standing(utc_now()),
        profile=row.profile,
        subject=facts_of_certificate(row.certificate_pem).subject,
        person_id=row.person_id,
        person_name=names.get(row.person_id, ""),
        request_id=row.request_id,
        update_id=update_id,
        lane=lane,
        not_before=row.not_before,
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        revocation_reason=row.revocation_reason,
        revocation_note=row.revocation_note,
        revoked_by=row.revoked_by,
        revoked_by_name=names.get(row.revoked_by, ""),
        on_crl=row.on_crl,
        certificate_pem=row.certificate_pem,
    )


def shown_detail(
    row: Listed, names: Mapping[str, str], card: OnCardOut | None, chain: Sequence[str]
) -> CertificateDetail:
    """Return the certificate with everything about it."""
    facts = facts_of_certificate(row.certificate_pem)
    contents = contents_of_certificate(row.certificate_pem)
    return CertificateDetail(
        **shown_certificate(row, names).__dict__,
        issuer=facts.issuer,
        sha256=facts.sha256,
        spki_sha256=facts.spki_sha256,
        key_type=facts.key_type,
        signature_algorithm=contents.signature_algorithm,
        alternative_names=list(contents.alternative_names),
        key_usage=list(contents.key_usage),
        extended_key_usage=list(contents.extended_key_usage),
        certificate_policies=list(contents.certificate_policies),
        ocsp_urls=list(contents.ocsp_urls),
        crl_urls=list(contents.crl_urls),
        issuer_urls=list(contents.issuer_urls),
        card=card,
        chain_pem=list(chain),
    )
