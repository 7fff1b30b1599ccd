"""A simulated workstation: it signs real requests with a device key and answers jobs."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx2
from asn1crypto.keys import PrivateKeyInfo
from asn1crypto.x509 import Certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jwt
from joserfc.jwk import OKPKey
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from cardflow import httpsig
from cardflow.decisions import utc_now
from cardflow.enrolment import EnrolmentRequest, code_id, code_key, request_proof
from cardflow.jobs import (
    JOB_TYPES,
    CleanUpJob,
    ClearJob,
    FoundCertificate,
    Inventory,
    IssuedForm,
    Job,
    JobKind,
    JobResult,
    Outcome,
    PreparedKey,
    PrepareJob,
    SignedForm,
    TokenReport,
    WriteJob,
    WriteProof,
    in_pieces,
    whole,
    write_message,
)
from cardflow.wire import from_json, to_json
from cardflow.x509 import load_certificate, name_of, sha256_of

JSON = "application/json"


@dataclass
class Workstation:
    """A device key, and a client at the agent door."""

    client: httpx2.AsyncClient
    origin: str = "https://localhost:8443"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    agent_id: str = ""
    job_key: str = ""

    @property
    def public_key(self) -> str:
        """The device key's public part, hex."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return raw.hex()

    def signed(
        self, method: str, path: str, body: bytes = b"", *, now: datetime | None = None
    ) -> dict[str, str]:
        """Return the headers of a signed request."""
        return httpsig.sign(
            method,
            self.origin + path,
            body,
            JSON,
            key=self.key,
            keyid=self.agent_id or self.public_key,
            now=now or utc_now(),
        )

    async def send(self, method: str, path: str, message: Any = None) -> httpx2.Response:
        """Send a signed request."""
        body = b"" if message is None else json.dumps(message).encode()
        headers = self.signed(method, path, body)
        return await self.client.request(method, path, content=body, headers=headers)

    async def enrol(self, code: str, **changes: Any) -> httpx2.Response:
        """Enrol with a code."""
        claim = self.claim(code, **changes)
        answer = await self.send("POST", "/agent/v1/enrolments", to_json(claim))
        if answer.status_code == 201:
            self.agent_id, self.job_key = answer.json()["agent_id"], answer.json()["job_key"]
        return answer

    def claim(self, code: str, **changes: Any) -> EnrolmentRequest:
        """Return what the workstation says when it enrols."""
        told = {
            "code_id": code_id(code),
            "public_key": self.public_key,
            "host": "desk-7",
            "system": "Debian 12",
            "version": "0.1.0",
            "server": self.origin,
        }
        claim = EnrolmentRequest(**(told | changes))
        proof = changes.get("proof") or request_proof(code_key(code), claim)
        return EnrolmentRequest(**{**to_json(claim), "proof": proof})

    async def report(self, *tokens: TokenReport) -> httpx2.Response:
        """Tell what is in the readers."""
        return await self.send("PUT", "/agent/v1/presence", {"tokens": to_json(tokens)})

    async def poll(self, wait: int = 25) -> httpx2.Response:
        """Wait for a job."""
        return await self.send("GET", f"/agent/v1/jobs?wait={wait}")

    async def answer(self, task: str, result: JobResult) -> httpx2.Response:
        """Answer a job."""
        return await self.send(
            "POST", "/agent/v1/results", {"task": task, "result": to_json(result)}
        )

    async def fetch_form(self, task: str) -> httpx2.Response:
        """Fetch the form of a sign job."""
        return await self.send("GET", f"/agent/v1/form?task={quote(task)}")

    async def send_form(self, task: str, signed: bytes) -> httpx2.Response:
        """Hand the signed form in."""
        message = to_json(SignedForm(task, in_pieces(signed)))
        return await self.send("POST", "/agent/v1/form", message)

    async def heartbeat(self, task: str) -> httpx2.Response:
        """Say that a job goes on."""
        return await self.send("POST", "/agent/v1/heartbeats", {"task": task})

    def read(self, job: str) -> Job:
        """Return the job, its signature, audience and lifetime checked."""
        public = bytes.fromhex(self.job_key)
        jwk = {"kty": "OKP", "crv": "Ed25519",
               "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode()}  # fmt: skip
        token = jwt.decode(job, OKPKey.import_key(jwk), algorithms=["Ed25519"])
        assert token.header["typ"] == "cardflow-job+jwt"
        assert token.claims["iss"] == self.origin
        assert token.claims["aud"] == self.agent_id
        assert 0 < token.claims["exp"] - utc_now().timestamp() <= 300
        job_type = JOB_TYPES[JobKind(token.claims["kind"])]
        found: Job = from_json(job_type, token.claims["job"])
        assert token.claims["jti"] == found.card.job_id
        return found


@dataclass
class SoftCard:
    """A card made of software keys that does what jobs say, honestly."""

    token_serial: str
    token_label: str = "Ada's card"
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)

    def report(self, **changes: Any) -> TokenReport:
        """Return what an agent reports of the card."""
        told: dict[str, Any] = {
            "token_serial": self.token_serial,
            "token_label": self.token_label,
            "manufacturer": "Test",
            "model": "Soft",
            "reader": "Reader 0",
            "module": "freeform",
            "inventory": self.inventory(),
        }
        return TokenReport(**(told | changes))

    def inventory(self) -> Inventory:
        """Return the card's contents."""
        found = tuple(
            FoundCertificate(cka_id, "", pem, cka_id in self.keys)
            for cka_id, pem in self.certificates.items()
        )
        return Inventory(logged_in=True, certificates=found)

    def carry_out(self, job: Job) -> JobResult:
        """Return the result of a job."""
        work: dict[type[Job], Callable[[Any], JobResult]] = {
            PrepareJob: self._prepare,
            WriteJob: self._write,
            CleanUpJob: lambda job: self._removed(job.retire),
            ClearJob: lambda job: self._removed(job.objects),
        }
        return work[type(job)](job)

    def _prepare(self, job: PrepareJob) -> JobResult:
        keys = []
        for order in job.keys:
            key = self.keys.setdefault(order.cka_id, ec.generate_private_key(ec.SECP256R1()))
            builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(order.subject))
            csr = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
            keys.append(PreparedKey(order.lane, order.cka_id, csr))
        return JobResult(Outcome.DONE, keys=tuple(keys), token_serial=self.token_serial)

    def _write(self, job: WriteJob) -> JobResult:
        proofs = []
        for order in job.certificates:
            self.certificates[order.cka_id] = order.certificate_pem
            der = load_certificate(order.certificate_pem).public_bytes(Encoding.DER)
            message = write_message(job.nonce, bytes.fromhex(sha256_of(der)), self.token_serial)
            signature = self.keys[order.cka_id].sign(message, ec.ECDSA(hashes.SHA256()))
            proofs.append(
                WriteProof(order.lane, order.cka_id, order.certificate_pem,
                           base64.b64encode(signature).decode())
            )  # fmt: skip
        return JobResult(Outcome.DONE, proofs=tuple(proofs), token_serial=self.token_serial)

    async def sign(self, form: IssuedForm, cka_id: str) -> bytes:
        """Return the form as the card signs it."""
        key = self.keys[cka_id]
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        certificate = load_certificate(self.certificates[cka_id]).public_bytes(Encoding.DER)
        others = SimpleCertificateStore()
        for pem in form.certificates:
            others.register(Certificate.load(load_certificate(pem).public_bytes(Encoding.DER)))
        signer = signers.SimpleSigner(
            Certificate.load(certificate), PrivateKeyInfo.load(der), others
        )
        metadata = signers.PdfSignatureMetadata(
            field_name="CardHolder", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
        )
        signed = io.BytesIO()
        writer = IncrementalPdfFileWriter(io.BytesIO(whole(form.content)))
        await signers.PdfSigner(metadata, signer=signer).async_sign_pdf(writer, output=signed)
        return signed.getvalue()

    def _removed(self, refs: Any) -> JobResult:
        for ref in refs:
            self.keys.pop(ref.cka_id, None)
            self.certificates.pop(ref.cka_id, None)
        return JobResult(Outcome.DONE, removed=tuple(refs), token_serial=self.token_serial)
