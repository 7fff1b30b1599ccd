"""Making the CA: an offline root, an issuing CA below it, and the root's CRL."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cardflow.ca import RevocationReason
from cardflow.ca.embedded.building import (
    Issuer,
    Revoked,
    Validity,
    access,
    authority_key,
    build_crl,
    crl_points,
    hash_for,
    key_usage_of_ca,
    pem,
    url_objections,
)
from cardflow.ca.embedded.keys import Layout, load_key, new_key, replace_file, store_key
from cardflow.ca.embedded.lint import refuse_findings
from cardflow.errors import Refused
from cardflow.x509 import load_certificate

if TYPE_CHECKING:
    from cardflow.ca.embedded.token_key import TokenPlace

BACKDATED = timedelta(hours=1)  # so that what is issued at once can begin a little early
ROOT_LIFE = timedelta(days=20 * 365)
ISSUING_LIFE = timedelta(days=10 * 365)
ROOT_CRL_LIFE = timedelta(days=400)
EXAMPLE_POLICY = "1.3.6.1.4.1.32473.1"  # RFC 5612: the enterprise number 32473 is for examples
MAX_NAME = 64  # RFC 5280 appendix A.1


@dataclass(frozen=True)
class CaNames:
    """What the two CAs are called."""

    organization: str
    root: str = "Cardflow Root CA"
    issuing: str = "Cardflow Issuing CA"

    def objections(self) -> list[str]:
        """Return why these names cannot stand in a certificate."""
        return [
            f"{field}: between 1 and {MAX_NAME} characters are needed"
            for field, value in asdict(self).items()
            if not 1 <= len(value.strip()) <= MAX_NAME
        ]


@dataclass(frozen=True)
class Hierarchy:
    """The two CA certificates."""

    root: x509.Certificate
    issuing: x509.Certificate

    @property
    def chain_pem(self) -> tuple[str, str]:
        """From the issuing CA to the root."""
        return pem(self.issuing), pem(self.root)


def load_hierarchy(directory: Path) -> Hierarchy:
    """Return the CA certificates in the directory, or raise Refused."""
    layout = Layout(directory)
    try:
        root = load_certificate(layout.root_certificate.read_text())
        issuing = load_certificate(layout.issuing_certificate.read_text())
    except OSError as error:
        raise Refused(f"there is no CA in {directory}; make one with: cardflow ca init") from error
    return Hierarchy(root, issuing)


@dataclass(frozen=True)
class Secrets:
    """The files with the passphrases; with a token, ``issuing`` holds its PIN."""

    root: Path
    issuing: Path


def init_ca(
    directory: Path,
    *,
    names: CaNames,
    public_url: str,
    secrets: Secrets,
    token: "TokenPlace | None" = None,
    policy_oid: str = EXAMPLE_POLICY,
    now: datetime | None = None,
) -> Hierarchy:
    """Leave a root and an issuing CA in the directory, and return their certificates.

    The root's key is in ``root/key.pem``: take that file offline. ``policy_oid`` names the
    organisation's certificate policy; outside of trials give one below an arc of its own.
    """
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    _refuse_second(directory, names, public_url, policy_oid)
    # Made beside its place and moved there whole, so that a broken-off try leaves no half CA.
    beside = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    layout = Layout(beside)
    root_key = new_key()
    store_key(layout.root_key, root_key, secrets.root)
    public = _make_issuing_key(layout, secrets.issuing, token)
    policy = x509.ObjectIdentifier(policy_oid)
    root = _root(names, root_key, now)
    issuer = Issuer(root, public_url, "/pki/root.cer", "/pki/root.crl", ocsp_path="")
    name = _name(names.organization, names.issuing)
    issuing = _issuing(issuer, name, public, policy, now).sign(root_key, hash_for(root))
    for certificate in (root, issuing):
        refuse_findings(certificate.public_bytes(Encoding.DER))
    _publish_root_crl(layout, root, root_key, [], number=1, now=now)
    replace_file(layout.root_certificate, pem(root).encode(), 0o644)
    replace_file(layout.issuing_certificate, pem(issuing).encode(), 0o644)
    beside.rename(directory)
    return Hierarchy(root, issuing)


def _refuse_second(directory: Path, names: CaNames, public_url: str, policy_oid: str) -> None:
    found = names.objections() + url_objections(public_url) + _policy_objections(policy_oid)
    layout = Layout(directory)
    if layout.issuing_certificate.exists():
        found.append(f"there is a CA in {directory} already")
    elif directory.exists() and any(directory.iterdir()):
        found.append(f"{directory} is not empty, and holds no CA; see what it is and remove it")
    if found:
        raise Refused(*found)


def _policy_objections(policy_oid: str) -> list[str]:
    try:
        x509.ObjectIdentifier(policy_oid)
    except ValueError:
        return [f"policy_oid: {policy_oid!r} is no object identifier, as 1.3.6.1.4.1.32473.1 is"]
    return []


def _make_issuing_key(
    layout: Layout, secret_file: Path, token: "TokenPlace | None"
) -> ec.EllipticCurvePublicKey:
    if token is None:
        key = new_key()
        store_key(layout.issuing_key, key, secret_file)
        return key.public_key()
    from cardflow.ca.embedded.token_key import TokenIssuingKey

    public = TokenIssuingKey(token, secret_file).create()
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in asdict(token).items())
    replace_file(layout.issuing_token, lines.encode())
    return public


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _root(names: CaNames, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name(names.organization, names.root)
    builder = (
        _ca_builder(name, key.public_key(), path_length=1)
        .issuer_name(name)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ROOT_LIFE)
    )
    return builder.sign(key, hashes.SHA384())


def _issuing(
    issuer: Issuer,
    name: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    policy: x509.ObjectIdentifier,
    now: datetime,
) -> x509.CertificateBuilder:
    root = issuer.certificate
    return (
        _ca_builder(name, public_key, path_length=0)
        .issuer_name(root.subject)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ISSUING_LIFE)
        .add_extension(authority_key(root), critical=False)
        .add_extension(crl_points(issuer), critical=False)
        .add_extension(access(issuer), critical=False)
        .add_extension(
            x509.CertificatePolicies([x509.PolicyInformation(policy, None)]), critical=False
        )
    )


def _ca_builder(
    name: x509.Name, public_key: ec.EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage_of_ca(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


# The root's CRL


def renew_root_crl(
    directory: Path,
    *,
    root_key_file: Path,
    root_secret_file: Path,
    revoke_issuing: RevocationReason | None = None,
    now: datetime | None = None,
) -> None:
    """Leave a new CRL of the root; its key is brought back from where it is kept for this."""
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    layout = Layout(directory)
    hierarchy = load_hierarchy(directory)
    key = load_key(root_key_file, root_secret_file)
    if key.public_key() != hierarchy.root.public_key():
        raise Refused(f"{root_key_file} is not the key of this root")
    old = x509.load_der_x509_crl(layout.root_crl.read_bytes())
    entries = [_entry(line) for line in old]
    if revoke_issuing and not any(
        entry.serial_number == hierarchy.issuing.serial_number for entry in entries
    ):
        entries.append(Revoked(hierarchy.issuing.serial_number, now, revoke_issuing))
    number = old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    _publish_root_crl(layout, hierarchy.root, key, entries, number=number, now=now)


def _publish_root_crl(
    layout: Layout,
    root: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    entries: Sequence[Revoked],
    *,
    number: int,
    now: datetime,
) -> None:
    period = Validity(now, min(now + ROOT_CRL_LIFE, root.not_valid_after_utc))
    crl = build_crl(root, key, number, entries, period)
    replace_file(layout.root_crl, crl.public_bytes(Encoding.DER), 0o644)


def _entry(line: x509.RevokedCertificate) -> Revoked:
    try:
        code = line.extensions.get_extension_for_class(x509.CRLReason).value.reason
        reason = RevocationReason(code.value)
    except x509.ExtensionNotFound:
        reason = RevocationReason.UNSPECIFIED
    return Revoked(line.serial_number, line.revocation_date_utc, reason)
