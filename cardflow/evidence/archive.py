"""A ZIP whose members' digests are listed and signed: the same content gives the same bytes."""

import hashlib
import zipfile
from datetime import UTC, datetime
from typing import IO, Self

from cryptography.hazmat.primitives.serialization import Encoding

from cardflow.decisions import Signer

MANIFEST = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
SIGNER = "signer.pem"
UNLISTED = (MANIFEST, SIGNATURE, SIGNER)
TITLE = "# cardflow-evidence-v1"
UNIX, READABLE = 3, 0o100644 << 16


class Archive:
    """Takes members one after another; each is written and forgotten, but for its digest."""

    def __init__(self, file: IO[bytes], update_id: str, as_of: datetime) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._update_id, self._as_of = update_id, as_of.astimezone(UTC)
        self._digests: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(self, name: str, content: bytes) -> None:
        """Have one more member, listed with its SHA-256."""
        self._digests[name] = hashlib.sha256(content).hexdigest()
        self._write(name, content)

    def seal(self, signer: Signer) -> str:
        """Put the signature over everything, and return the SHA-256 of what was signed.

        The list is signed as it is. No token's signed part looks like it: a token has no spaces.
        """
        at = max(self._as_of, signer.certificate.not_valid_before_utc)
        lines = [f"{TITLE} {self._update_id} {at.isoformat()}"]
        lines += [f"{digest}  {name}" for name, digest in self._digests.items()]
        manifest = "".join(f"{line}\n" for line in lines).encode()
        self._write(MANIFEST, manifest)
        self._write(SIGNATURE, signer.key.sign(manifest))
        self._write(SIGNER, signer.certificate.public_bytes(Encoding.PEM))
        return hashlib.sha256(manifest).hexdigest()

    def _write(self, name: str, content: bytes) -> None:
        info = zipfile.ZipInfo(name, self._as_of.timetuple()[:6])
        info.create_system, info.external_attr = UNIX, READABLE
        self._zip.writestr(info, content)
