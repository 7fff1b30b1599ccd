"""What an installation makes itself to keep secret; the demo's carry a mark."""

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardflow.decision_root import read_decision_root
from cardflow.decisions import issue_signer, root_hex
from cardflow.environment import Environment
from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.secret_files import DEMO_MARKER, read_secret, write_secret
from cardflow.settings import Settings

RENEW_BEFORE = timedelta(days=30)
HERE = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
HERE_ONLY = (  # RFC 5280 4.2.1.10: the root can vouch for this machine's own names and no others
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_network("127.0.0.0/8")),
    x509.IPAddress(ipaddress.ip_network("::1/128")),
)
PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Maker:
    """Puts secrets into files; with ``marked``, beside the mark that production refuses."""

    marked: bool

    def once(self, path: Path, make: Callable[[], bytes]) -> None:
        """Leave a secret in its file; one that is there stays."""
        if not path.exists():
            self.replace(path, make())

    def replace(self, path: Path, content: bytes) -> None:
        """Leave this content in the file, readable for its owner only."""
        path.unlink(missing_ok=True)
        write_secret(path, content)
        if self.marked:
            (path.parent / DEMO_MARKER).touch()


def make_local_secrets(settings: Settings) -> None:
    """Leave every secret that the demo needs in its file; what is there already stays.

    Certificates near their end are made anew, so an old demo starts again.
    """
    if settings.environment is Environment.PRODUCTION:
        raise Refused("secrets for production are not made by starting; run: python -m cli.secrets")
    maker = Maker(marked=True)
    make_own_secrets(settings, maker)
    _make_door(settings, maker)


def make_own_secrets(settings: Settings, maker: Maker) -> None:
    """Leave everything in its file that an installation makes itself, whatever it is for."""
    for ring in (settings.codec_key_file, settings.sealing_key_file, settings.qr_key_file):
        maker.once(ring, lambda: KeyRing.generate().dump())
    root_passphrase = settings.ca_passphrase_file.with_name("ca-root-passphrase")
    for passphrase in (settings.ca_passphrase_file, root_passphrase):
        maker.once(passphrase, lambda: secrets.token_urlsafe(32).encode())
    maker.once(settings.job_key_file, lambda: pem_of(Ed25519PrivateKey.generate()))
    _make_decision_keys(settings, maker)


def _make_decision_keys(settings: Settings, maker: Maker) -> None:
    if _is_pair_good(settings.decision_key_file, settings.decision_certificate_file):
        return
    root_file = decision_root_key(settings)
    if not root_file.exists() and not settings.decision_root_file.exists():
        new = Ed25519PrivateKey.generate()
        public = new.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        maker.replace(root_file, pem_of(new))
        maker.replace(settings.decision_root_file, public)
    issue_decision_key(settings, maker)


def decision_root_key(settings: Settings) -> Path:
    """Return where the root's private key is, when it is here at all."""
    return settings.decision_key_file.with_name("decision-root-key.pem")


def issue_decision_key(settings: Settings, maker: Maker) -> None:
    """Leave a new decision key and its certificate under the root in the place of the old."""
    root_file = decision_root_key(settings)
    if not root_file.exists():
        raise Refused(f"{root_file} is needed to renew the decision key; bring it back for this")
    root = ed25519_key(root_file)
    if root_hex(root.public_key()) != read_decision_root(settings.decision_root_file):
        raise Refused(f"{root_file} is not the key of {settings.decision_root_file}")
    signer = issue_signer(root, now=datetime.now(UTC))
    maker.replace(settings.decision_key_file, pem_of(signer.key))
    certificate = signer.certificate.public_bytes(Encoding.PEM)
    maker.replace(settings.decision_certificate_file, certificate)


def ed25519_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a file, or refuse it."""
    try:
        key = load_pem_private_key(read_secret(path), None)
    except ValueError:
        raise Refused(f"{path} holds no readable key; restore it") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{path} holds a key of another kind than Ed25519")
    return key


def _make_door(settings: Settings, maker: Maker) -> None:
    root_key_file = settings.door_root_file.with_name("door-root-key.pem")
    if not _is_pair_good(root_key_file, settings.door_root_file):
        root_key = ec.generate_private_key(ec.SECP256R1())
        maker.replace(root_key_file, pem_of(root_key))
        maker.replace(settings.door_root_file, _root(root_key).public_bytes(Encoding.PEM))
        settings.door_certificate_file.unlink(missing_ok=True)
    if _is_pair_good(settings.door_key_file, settings.door_certificate_file):
        return
    root_key = _ec_key(root_key_file)
    root = x509.load_pem_x509_certificate(settings.door_root_file.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    maker.replace(settings.door_key_file, pem_of(key))
    certificate = _door(key, root, root_key)
    maker.replace(settings.door_certificate_file, certificate.public_bytes(Encoding.PEM))


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cardflow local TLS root")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(name, name, key.public_key(), days=3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(HERE_ONLY, None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _door(
    key: ec.EllipticCurvePrivateKey, root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    issuer_key_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id)
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _builder(name, root.subject, key.public_key(), days=397)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(server, critical=False)
        .add_extension(x509.SubjectAlternativeName(HERE), critical=False)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _is_pair_good(key_file: Path, certificate_file: Path) -> bool:
    if not key_file.exists() or not certificate_file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    return datetime.now(UTC) < certificate.not_valid_after_utc - RENEW_BEFORE


def pem_of(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _ec_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(read_secret(path), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused(f"{path} holds a key of another kind than P-256")
    return key
