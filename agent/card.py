"""The card algorithm, per kind of job and logged-in card: look, prove, act, read back.

The order within a job is fixed: debts are paid before anything is created, and nothing of the old
pair is touched here but by a job that names it.
"""

import base64
from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from agent.drivers import CardFailure, CardKey, TokenDriver, sign_sha256
from agent.journal import Journal
from agent.signing import check_form, sign_form
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.jobs import (
    CertificateOrder,
    CleanUpJob,
    ClearJob,
    InspectJob,
    IssuedForm,
    Job,
    JobResult,
    KeyOrder,
    Outcome,
    PreparedKey,
    PrepareJob,
    SignJob,
    WriteJob,
    WriteProof,
    objects_to_remove,
    write_message,
)
from cardflow.model import KeyType, ObjectRef
from cardflow.x509 import load_certificate, load_csr, name_of, sha256_of, spki_sha256

CKA_ID_BYTES = 20
NONCE_BYTES = 32
DIGEST_BYTES = 32


def check(job: Job, form: IssuedForm | None = None) -> None:
    """Refuse a job that cannot be carried out at all, before a PIN is asked for."""
    try:
        for ref in objects_to_remove(job):
            _check_ref(ref)
        match job:
            case PrepareJob():
                for order in job.keys:
                    _check_length(order.cka_id, CKA_ID_BYTES, "an object id")
                    name_of(order.subject)
            case WriteJob():
                _check_length(job.nonce, NONCE_BYTES, "a nonce")
                for certificate in job.certificates:
                    _check_length(certificate.cka_id, CKA_ID_BYTES, "an object id")
                    load_certificate(certificate.certificate_pem)
            case SignJob():
                _check_ref(job.signer)
                _check_length(job.signer.certificate_sha256, DIGEST_BYTES, "a digest")
                check_form(form, job)
    except Refused as refused:
        raise CardFailure(Outcome.CARD_FAILED, f"the job cannot be read: {refused}") from None


def _check_ref(ref: ObjectRef) -> None:
    digests = [digest for digest in (ref.certificate_sha256, ref.spki_sha256) if digest]
    if not ref.cka_id:
        raise Refused("an object to remove must be named by its id")
    if not digests:
        # Only an id that we derive ourselves is exact without a digest.
        _check_length(ref.cka_id, CKA_ID_BYTES, "an object id without a digest")
    _from_hex(ref.cka_id, "an object id")
    for digest in digests:
        _check_length(digest, DIGEST_BYTES, "a digest")


def _check_length(text: str, length: int, what: str) -> None:
    if len(_from_hex(text, what)) != length:
        raise Refused(f"{what} has {length} bytes")


def _from_hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(f"{what} is written in hex") from None


class CardWork:
    """One job on one card; ``result`` tells what was done so far, whatever happens."""

    def __init__(
        self,
        driver: TokenDriver,
        journal: Journal,
        progress: Callable[[], None],
        result: JobResult,
        form: IssuedForm | None = None,
    ) -> None:
        self._driver = driver
        self._journal = journal
        self._progress = progress
        self.result = result
        self._form = form
        self.signed = b""

    def carry_out(self, job: Job) -> None:
        """Leave the card as the job says, or raise ``CardFailure``."""
        for ref in objects_to_remove(job):
            self._retire(ref)
        match job:
            case PrepareJob():
                for order in job.keys:
                    self._prepare(order)
            case WriteJob():
                for certificate in job.certificates:
                    self._write(certificate, job.nonce)
            case SignJob():
                self._sign(job)
            case CleanUpJob() | ClearJob() | InspectJob():
                pass

    def _sign(self, job: SignJob) -> None:
        assert self._form is not None  # noqa: S101 check demands it
        self._progress()
        der, key = self._driver.signing_key(job.signer)
        with effect("helper.sign_form"):
            self.signed = sign_form(self._form, job, der, key)

    def _retire(self, ref: ObjectRef) -> None:
        self._progress()
        self._driver.retire(ref)
        self.result = replace(self.result, removed=(*self.result.removed, ref))

    def _prepare(self, order: KeyOrder) -> None:
        self._progress()
        cka_id = bytes.fromhex(order.cka_id)
        key, reused = self._driver.ensure_key(cka_id, order.key_type, order.title)
        csr_pem = self._csr(order, key)
        prepared = PreparedKey(order.lane, order.cka_id, csr_pem, reused)
        self.result = replace(self.result, keys=(*self.result.keys, prepared))

    def _csr(self, order: KeyOrder, key: CardKey) -> str:
        spki = spki_sha256(key.public_key())
        if (before := self._journal.csr(order.cka_id, spki)) and _names(before, order.subject):
            return before
        builder = x509.CertificateSigningRequestBuilder(name_of(order.subject))
        csr = builder.sign(key, _hash_for(order.key_type))
        if not csr.is_signature_valid:
            raise CardFailure(Outcome.CARD_FAILED, "the card signed the request wrongly")
        csr_pem = csr.public_bytes(Encoding.PEM).decode()
        try:
            self._journal.keep_csr(order.cka_id, spki, csr_pem)
        except OSError as error:
            reason = f"the agent's journal cannot be written: {error.strerror}"
            raise CardFailure(Outcome.CARD_FAILED, reason) from None
        return csr_pem

    def _write(self, order: CertificateOrder, nonce: str) -> None:
        self._progress()
        der = load_certificate(order.certificate_pem).public_bytes(Encoding.DER)
        read_back, key = self._driver.ensure_certificate(
            bytes.fromhex(order.cka_id), der, order.title
        )
        digest = bytes.fromhex(sha256_of(read_back))
        signature = sign_sha256(key, write_message(nonce, digest, self.result.token_serial))
        proof = WriteProof(
            lane=order.lane,
            cka_id=order.cka_id,
            certificate_pem=_pem(read_back),
            signature=base64.b64encode(signature).decode(),
        )
        self.result = replace(self.result, proofs=(*self.result.proofs, proof))


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def _names(csr_pem: str, subject: str) -> bool:
    try:
        return load_csr(csr_pem).subject == name_of(subject)
    except Refused:
        return False


def _hash_for(key_type: KeyType) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA384() if key_type is KeyType.P_384 else hashes.SHA256()
