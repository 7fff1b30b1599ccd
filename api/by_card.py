"""Signing in with the card itself: is this certificate one that opens the door, and whose is it.

TLS has shown by then that the client has the key; nothing else that a proxy checked is relied on.
"""

import logging
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from fastapi import Request

from api.client_certificates import shown_certificate
from api.problems import Problem, not_found
from api.state import State
from cardflow.db.register_identity import Opening
from cardflow.db.register_sign_in import owner_of
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.sql import transaction
from cardflow.x509 import sha256_of
from cardflow.x509.reading import UNREADABLE

DEEPEST = 4  # CA certificates between the card's and a root
NO_CARD = "no card was shown; put it in the reader, close this browser's windows, and try again"

log = logging.getLogger(__name__)


async def holder_of_card(request: Request, state: State) -> tuple[Person, Opening]:
    """Return whom the card that was shown signs in, or raise Problem with why it does not."""
    if state.settings.card_sign_in == "off":
        raise not_found("way to sign in")
    der = shown_certificate(request)
    if der is None:
        raise _refused(NO_CARD)
    if why := objection(der, await authorities(state), utc_now()):
        raise _refused(why)
    async with transaction(state.reads) as session:
        found = await owner_of(session, sha256_of(der))
    if isinstance(found, str):
        raise _refused(found)
    return found, Opening("card", certificate_sha256=sha256_of(der))


def objection(der: bytes, known: list[x509.Certificate], now: datetime) -> str:
    """Return why a certificate must not sign anybody in; empty: nothing speaks against it."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        usages = _usages(certificate)
    except (*UNREADABLE, x509.DuplicateExtension):
        return "the card's certificate cannot be read"
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "the card's certificate is not valid at this time; have the card updated"
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        return "this certificate is not for signing in; choose another one of the card's"
    roots = [one for one in known if one.issuer == one.subject]
    between = [one for one in known if one.issuer != one.subject]
    verifier = (
        PolicyBuilder()
        .store(Store(roots))
        .time(now)
        .max_chain_depth(DEEPEST)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_of_people())
        .build_client_verifier()
    )
    try:
        verifier.verify(certificate, between)
    except VerificationError as error:
        log.info("a card's certificate has no good chain: %s", error)
        return "another CA than this organisation's made this certificate"
    return ""


def _of_people() -> ExtensionPolicy:
    """Return what the verifier asks of people's extensions: what else counts is asked above."""
    usage: type[x509.KeyUsage] = x509.KeyUsage
    return ExtensionPolicy.permit_all().may_be_present(usage, Criticality.AGNOSTIC, _signs)


def _signs(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    # RFC 5280 4.2.1.12: clientAuth goes with digitalSignature, which TLS 1.3 needs.
    if usage is not None and not usage.digital_signature:
        msg = "its key is not for digital signatures"
        raise ValueError(msg)


def _usages(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(found.value)


async def authorities(state: State) -> list[x509.Certificate]:
    """Return the CAs whose certificates open the door, or raise why they are not known."""
    if file := state.settings.card_ca_file:
        try:
            return x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError) as error:
            raise Unavailable(f"{file} holds no readable certificates; restore it") from error
    chain = await state.ca.authority().ca_certificates()
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in chain]


def _refused(why: str) -> Problem:
    log.warning("a sign-in with a card is refused: %s", why)
    return Problem(403, why, slug="card-refused")
