"""What an administrator should see to before it becomes an outage."""

from datetime import datetime, timedelta

from cryptography import x509

from cardflow.ca.embedded.responder import Responder
from cardflow.ca.embedded.setup import Hierarchy
from cardflow.ca.tables import CaCrl
from cardflow.errors import Unavailable

ROOT_CRL_WARNING = timedelta(days=60)


def health_objections(
    hierarchy: Hierarchy,
    root_crl: x509.CertificateRevocationList,
    crl: CaCrl | None,
    responder: Responder,
    now: datetime,
) -> list[str]:
    """Return what is stale, missing or about to end; nothing means all is well."""
    return [
        *_about_crl(crl, now),
        *_about_root_crl(root_crl, now),
        *_about_responder(responder, now),
        *_about_issuing_ca(hierarchy.issuing, now),
    ]


def _about_crl(crl: CaCrl | None, now: datetime) -> list[str]:
    if crl is None:
        return ["there is no CRL yet; start the worker"]
    if crl.next_update <= now:
        return [f"the CRL ended on {crl.next_update:%Y-%m-%d %H:%M} UTC; start the worker"]
    return []


def _about_root_crl(crl: x509.CertificateRevocationList, now: datetime) -> list[str]:
    ends = crl.next_update_utc
    if ends is not None and ends > now + ROOT_CRL_WARNING:
        return []
    return [f"the root's CRL ends on {ends:%Y-%m-%d}; bring the root's key and renew it"]


def _about_responder(responder: Responder, now: datetime) -> list[str]:
    try:
        ends = responder.signer().certificate.not_valid_after_utc
    except Unavailable as error:
        return [str(error)]
    return [] if ends > now else [f"the OCSP signer ended on {ends:%Y-%m-%d}; start the worker"]


def _about_issuing_ca(issuing: x509.Certificate, now: datetime) -> list[str]:
    left = issuing.not_valid_after_utc - now
    if left > timedelta(days=3 * 365):
        return []
    return [f"the issuing CA's certificate ends in {left.days} days and shortens what it issues"]
