"""A CA that answers as a test tells it, with real certificates under a root of its own."""

from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardflow.ca import Capabilities, Issued, Pending, Rejected
from cardflow.errors import Refused
from cardflow.x509 import load_csr, subject_alt_names, subject_name

ALL = Capabilities(pending=True, find=True, revoke=True, cancel=True)
KEY_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


class ScriptedCA:
    """Remembers what it was asked; ``answers`` are given in turn, the last one for ever."""

    def __init__(self, *answers, capabilities=ALL):
        self.capabilities = capabilities
        self.answers = list(answers)
        self.found = None
        self.calls = []
        self.revoked = []
        self.unknown = set()  # serial numbers that it never issued
        self.too_late = False  # to cancel

    async def submit(self, request):
        self.calls.append(("submit", request.request_id))
        self.found = self._next()
        return self.found

    async def poll(self, handle):
        self.calls.append(("poll", handle))
        return self._next()

    async def find(self, request):
        self.calls.append(("find", request.request_id))
        return self.found

    async def cancel(self, request):
        self.calls.append(("cancel", request.request_id))
        if self.too_late:
            raise Refused("it is issued already")
        if not isinstance(self.found, Issued):
            self.found = Rejected("withdrawn")

    async def revoke(self, serial_number, reason):
        if serial_number in self.unknown:
            raise Refused(f"no certificate {serial_number}")
        self.revoked.append((serial_number, reason.value))

    async def ca_certificates(self):
        return [self.root.public_bytes(Encoding.PEM).decode()]

    async def health(self):
        return []

    def _next(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @cached_property
    def key(self):
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def root(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Scripted CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(name, self.key.public_key(), days=30).issuer_name(name)
        builder = builder.add_extension(constraints, critical=True)
        usage = x509.KeyUsage(**{**KEY_USAGE, "key_cert_sign": True, "crl_sign": True})
        return builder.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())

    def issue(self, csr_pem, profile, subject, *, days=90):
        """Return the answer with a certificate for these names and this key."""
        names = x509.SubjectAlternativeName(subject_alt_names(subject, profile))
        client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        usage = x509.KeyUsage(**{**KEY_USAGE, "digital_signature": True})
        certificate = (
            self._builder(subject_name(subject, profile), load_csr(csr_pem).public_key(), days=days)
            .issuer_name(self.root.subject)
            .add_extension(names, critical=False)
            .add_extension(client, critical=False)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(Encoding.PEM).decode())

    def _builder(self, name, key, *, days):
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(days=days))
        )


PENDING = Pending("handle-1")
