"""Revocation lists and OCSP replies say what was recorded, at once."""

import hashlib
import shutil
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from sqlalchemy import update

from cardflow.ca import RevocationReason
from cardflow.ca.tables import CaCertificate, CaCrl
from cardflow.errors import Refused, Unavailable
from cardflow.sql import sessions_of, transaction
from cardflow.x509 import facts_of_certificate, load_certificate
from tests.ca.making import Home, issue, now

GOOD, REVOKED, UNKNOWN = (ocsp.OCSPCertStatus[word] for word in ("GOOD", "REVOKED", "UNKNOWN"))


async def crl_of(ca) -> x509.CertificateRevocationList:
    """Return the published CRL."""
    return x509.load_der_x509_crl(await ca.crl_der())


def number_of(crl) -> int:
    """Return the CRLNumber."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


async def revoke(ca, pem, reason=RevocationReason.SUPERSEDED):
    """Revoke a certificate and return its serial number."""
    await ca.revoke(facts_of_certificate(pem).serial_number, reason)
    return load_certificate(pem).serial_number


async def asked(ca, pem, *, nonce: bytes = b"", algorithm=None) -> bytes:
    """Return an OCSP request about a certificate."""
    issuer = load_certificate((await ca.ca_certificates())[0])
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        load_certificate(pem), issuer, algorithm or hashes.SHA256()
    )
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


async def reply(ca, request: bytes) -> ocsp.OCSPResponse:
    """Return the CA's reply."""
    return ocsp.load_der_ocsp_response(await ca.ocsp_response(request))


@pytest.fixture
async def fresh(made, databases, tmp_path):
    """Yield a CA that was only just made."""
    home = Home(shutil.copytree(made.path, tmp_path / "fresh"))
    databases.furnish(home.path, migrated=False)
    engine = await home.engine()
    ca = home.ca(engine, signs=False)
    yield ca
    ca.close()
    await engine.dispose()


# CRLs


async def test_revoking_publishes_the_next_crl_at_once(ca):
    before = await crl_of(ca)
    serial_number = await revoke(ca, await issue(ca))
    after = await crl_of(ca)
    assert number_of(after) == number_of(before) + 1
    entry = after.get_revoked_certificate_by_serial_number(serial_number)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded


async def test_no_reason_is_said_by_saying_nothing(ca):
    serial_number = await revoke(ca, await issue(ca), RevocationReason.UNSPECIFIED)
    entry = (await crl_of(ca)).get_revoked_certificate_by_serial_number(serial_number)
    assert len(entry.extensions) == 0


async def test_the_first_reason_stays(ca):
    pem = await issue(ca)
    await revoke(ca, pem)
    number = number_of(await crl_of(ca))
    serial_number = await revoke(ca, pem, RevocationReason.KEY_COMPROMISE)
    crl = await crl_of(ca)
    entry = crl.get_revoked_certificate_by_serial_number(serial_number)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded
    assert number_of(crl) == number


async def test_a_crl_is_good_for_a_day_and_signed_by_the_issuing_ca(ca):
    crl = await crl_of(ca)
    issuing = load_certificate((await ca.ca_certificates())[0])
    assert crl.is_signature_valid(issuing.public_key())
    assert crl.next_update_utc - crl.last_update_utc == timedelta(hours=24)


async def test_nothing_is_published_while_the_crl_is_fresh(ca):
    assert await ca.maintain() == []


async def test_a_crl_six_hours_old_is_renewed(ca, engine):
    before = number_of(await crl_of(ca))
    async with transaction(sessions_of(engine)) as session:
        await session.execute(update(CaCrl).values(this_update=now() - timedelta(hours=6)))
    assert await ca.maintain() == ["published a CRL"]
    assert number_of(await crl_of(ca)) == before + 1


async def test_a_revocation_recorded_without_the_key_is_published_by_the_worker(ca, desk):
    pem = await issue(ca)
    serial_number = await revoke(desk, pem)
    assert (await crl_of(ca)).get_revoked_certificate_by_serial_number(serial_number) is None
    assert (await reply(desk, await asked(ca, pem))).certificate_status is REVOKED
    assert await ca.maintain() == ["published a CRL"]
    assert (await crl_of(ca)).get_revoked_certificate_by_serial_number(serial_number)


async def test_an_expired_certificate_leaves_the_crl(ca, engine):
    serial_number = await revoke(ca, await issue(ca))
    async with transaction(sessions_of(engine)) as session:
        await session.execute(update(CaCertificate).values(not_after=now() - timedelta(days=8)))
    await revoke(ca, await issue(ca))
    assert (await crl_of(ca)).get_revoked_certificate_by_serial_number(serial_number) is None


async def test_only_the_newest_crls_are_kept(ca, engine):
    for _ in range(12):
        await revoke(ca, await issue(ca))
    async with transaction(sessions_of(engine)) as session:
        numbers = (await session.scalars(CaCrl.__table__.select())).all()
    assert numbers == list(range(4, 14))


async def test_before_the_first_crl_there_is_none(fresh):
    with pytest.raises(Unavailable, match="no CRL yet"):
        await fresh.crl_der()


@pytest.mark.parametrize("word", ["", "xyz", "-"])
async def test_a_serial_number_that_is_no_number_is_refused(ca, word):
    with pytest.raises(Refused, match="hexadecimal"):
        await ca.revoke(word, RevocationReason.SUPERSEDED)


async def test_a_serial_number_may_be_written_in_capitals_with_zeros(ca):
    pem = await issue(ca)
    written = "00" + facts_of_certificate(pem).serial_number.upper()
    await ca.revoke(written, RevocationReason.SUPERSEDED)
    assert (await reply(ca, await asked(ca, pem))).certificate_status is REVOKED


# OCSP


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()])  # noqa: S303 names, does not protect
async def test_an_issued_certificate_is_good(ca, desk, algorithm):
    pem = await issue(ca)
    answer = await reply(desk, await asked(ca, pem, algorithm=algorithm))
    assert answer.certificate_status is GOOD
    assert answer.serial_number == load_certificate(pem).serial_number
    assert answer.next_update_utc - answer.this_update_utc == timedelta(hours=1)


async def test_a_revoked_certificate_is_revoked_with_its_reason(ca):
    pem = await issue(ca)
    await revoke(ca, pem, RevocationReason.KEY_COMPROMISE)
    answer = await reply(ca, await asked(ca, pem))
    assert answer.certificate_status is REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise


async def test_a_number_never_issued_is_unknown(ca):
    known = ocsp.load_der_ocsp_request(await asked(ca, await issue(ca)))
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, 1234, known.hash_algorithm
    )
    answer = await reply(ca, request.build().public_bytes(Encoding.DER))
    assert answer.certificate_status is UNKNOWN


async def test_the_reply_is_signed_by_a_delegate_of_the_issuing_ca(ca):
    answer = await reply(ca, await asked(ca, await issue(ca)))
    (delegate,) = answer.certificates
    delegate.verify_directly_issued_by(load_certificate((await ca.ca_certificates())[0]))
    usages = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert delegate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    point = delegate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert answer.responder_key_hash == hashlib.sha1(point, usedforsecurity=False).digest()
    delegate.public_key().verify(
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm)
    )


@pytest.mark.parametrize("length", [1, 32, 128])
async def test_a_nonce_comes_back(ca, length):
    answer = await reply(ca, await asked(ca, await issue(ca), nonce=b"n" * length))
    nonce = answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    assert nonce == b"n" * length


@pytest.mark.parametrize("junk", [b"", b"junk", b"0" * 5_000], ids=["empty", "junk", "long"])
async def test_what_is_no_request_is_called_malformed(ca, junk):
    answer = await reply(ca, junk)
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_a_nonce_that_is_too_long_is_called_malformed(ca):
    answer = await reply(ca, await asked(ca, await issue(ca), nonce=b"n" * 129))
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_questions_about_another_ca_are_not_answered(ca):
    root = load_certificate((await ca.ca_certificates())[1])
    request = ocsp.OCSPRequestBuilder().add_certificate(root, root, hashes.SHA256()).build()
    answer = await reply(ca, request.public_bytes(Encoding.DER))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


async def test_the_responder_takes_up_a_renewed_signer_without_a_restart(ca, desk, home):
    pem = await issue(ca)
    first = await reply(desk, await asked(ca, pem))
    (home.directory / "responder" / "ocsp.pem").unlink()
    assert await ca.maintain() == ["renewed the OCSP signer"]
    second = await reply(desk, await asked(ca, pem))
    assert first.certificates != second.certificates


async def test_the_signers_file_is_closed_to_other_accounts(ca, home):
    assert (home.directory / "responder" / "ocsp.pem").stat().st_mode & 0o077 == 0


async def test_without_a_signer_there_is_no_reply(desk, ca, home):
    request = await asked(ca, await issue(ca))
    (home.directory / "responder" / "ocsp.pem").unlink()
    with pytest.raises(Unavailable, match="no OCSP signer"):
        await desk.ocsp_response(request)


# Health


async def test_a_ca_that_was_never_maintained_says_what_is_missing(fresh):
    found = "; ".join(await fresh.health())
    assert "no CRL yet" in found
    assert "no OCSP signer" in found


async def test_a_stale_crl_is_reported(ca, engine):
    async with transaction(sessions_of(engine)) as session:
        await session.execute(update(CaCrl).values(next_update=now()))
    (found,) = await ca.health()
    assert "the CRL ended" in found
