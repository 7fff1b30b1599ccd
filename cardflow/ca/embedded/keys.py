"""Where the CA's keys are: encrypted PKCS #8 files, or a PKCS #11 token for the issuing key.

The directory keeps what each process needs apart, so that each can be given its part only:
``public/`` and ``responder/`` for the API, ``issuing/`` for the worker besides, and ``root/`` for
nobody: it is to be taken offline.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from cardflow.errors import Refused
from cardflow.secret_files import read_secret, write_secret

SHORTEST_SECRET = 32  # made, not thought of: PKCS #8 as OpenSSL writes it stretches little


@dataclass(frozen=True)
class Layout:
    """The names of the files in the CA's directory."""

    directory: Path

    @property
    def root_certificate(self) -> Path:
        return self.directory / "public" / "root.pem"

    @property
    def issuing_certificate(self) -> Path:
        return self.directory / "public" / "issuing.pem"

    @property
    def root_crl(self) -> Path:
        return self.directory / "public" / "root.crl"

    @property
    def responder(self) -> Path:
        return self.directory / "responder" / "ocsp.pem"

    @property
    def issuing_key(self) -> Path:
        return self.directory / "issuing" / "key.pem"

    @property
    def issuing_token(self) -> Path:
        return self.directory / "issuing" / "token.toml"

    @property
    def root_key(self) -> Path:
        return self.directory / "root" / "key.pem"


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-384 key."""
    return ec.generate_private_key(ec.SECP384R1())


def store_key(path: Path, key: ec.EllipticCurvePrivateKey, secret_file: Path) -> None:
    """Leave the key in a new file, encrypted under the passphrase in ``secret_file``."""
    passphrase = read_secret(secret_file).strip()
    if len(passphrase) < SHORTEST_SECRET:
        remedy = "make one: openssl rand -base64 32"
        reason = f"a passphrase has at least {SHORTEST_SECRET} characters"
        raise Refused(f"{secret_file}: {reason}; {remedy}")
    encryption = BestAvailableEncryption(passphrase)
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def load_key(path: Path, secret_file: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key in an encrypted file, or raise Refused; the reason never holds the secret."""
    try:
        key = load_pem_private_key(read_secret(path), read_secret(secret_file).strip())
    except (ValueError, TypeError):
        raise Refused(f"{path} does not open with the passphrase in {secret_file}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused(f"{path} holds a key of another kind")
    return key


def open_issuing_key(directory: Path, secret_file: Path) -> ec.EllipticCurvePrivateKey:
    """Return the issuing key, from its file or its token; ``secret_file`` has passphrase or PIN."""
    layout = Layout(directory)
    if not layout.issuing_token.exists():
        return load_key(layout.issuing_key, secret_file)
    from cardflow.ca.embedded.token_key import TokenIssuingKey, TokenPlace

    place = TokenPlace(**tomllib.loads(layout.issuing_token.read_text("utf-8")))
    return TokenIssuingKey(place, secret_file)


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Leave ``content`` under ``path``; a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
