"""A whole installation in a directory: settings, secrets, a real database; made anew per test."""

from contextlib import asynccontextmanager
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cardflow.decisions import issue_signer
from cardflow.key_ring import KeyRing
from cardflow.secret_files import write_secret
from cardflow.settings import Settings


def make_settings(directory: Path, **changes: object) -> Settings:
    """Return the settings of an installation whose secrets were just made."""
    settings = Settings(state_dir=directory, **changes)
    root = Ed25519PrivateKey.generate()
    signer = issue_signer(root, now=datetime.now(UTC))
    public = root.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_secret(settings.decision_root_file, public)
    write_secret(settings.decision_key_file, _pem(signer.key))
    write_secret(settings.decision_certificate_file, signer.certificate.public_bytes(Encoding.PEM))
    write_secret(settings.job_key_file, _pem(Ed25519PrivateKey.generate()))
    for file in (settings.sealing_key_file, settings.qr_key_file, settings.codec_key_file):
        write_secret(file, KeyRing.generate().dump())
    return settings


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
