"""The keys of an installation in one file that a passphrase opens; without one they stay out.

Whoever has the data and the keys can read everything, so they lie in one backup only sealed, and
the passphrase elsewhere. What belongs offline is never in it, nor is what makes itself anew.
"""

import base64
import json
import os
import shutil
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cardflow.errors import Refused
from cardflow.secret_files import DEMO_MARKER, is_demo, read_secret, write_secret
from cardflow.settings import Settings
from cardflow.startup import SECRET_FILES
from cli.backups.sums import new_file

Sealed = dict[str, dict[str, str]]  # what the file holds, once it is open
NAME = "keys.sealed"
MAGIC = b"cardflow-keys-v1\n"
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
SHORTEST_PASSPHRASE = 20  # a generated one; a stolen backup can be guessed at for ever
# Not secret, and of no use without the key that they belong to.
COMPANIONS = (
    "decision_root_file",
    "decision_certificate_file",
    "job_key_history_file",
    "door_certificate_file",
    "door_root_file",
    "card_certificate_file",
)


def passphrase_in(file: Path) -> bytes:
    """Return the passphrase in a file that only its owner can open."""
    passphrase = read_secret(file).strip()
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise Refused(
            f"the passphrase in {file} is shorter than {SHORTEST_PASSPHRASE} characters\n"
            f"  → (umask 077; openssl rand -base64 32 > {file})"
        )
    return passphrase


def seal_keys(settings: Settings, directory: Path, passphrase: bytes) -> None:
    """Leave every key file that the settings name in one sealed file."""
    fields = [f for f in (*SECRET_FILES, *COMPANIONS) if _is_there(settings, f)]
    files = {
        field: base64.b64encode(_path(settings, field).read_bytes()).decode() for field in fields
    }
    demo = [field for field in fields if is_demo(_path(settings, field))]
    plain = json.dumps({"files": files, "demo": demo}).encode()
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, MAGIC)
    new_file(directory / NAME).write_bytes(MAGIC + salt + nonce + sealed)


def unseal_keys(directory: Path, passphrase: bytes) -> Sealed:
    """Return the key files by the setting that names each, or refuse the passphrase."""
    data = (directory / NAME).read_bytes()
    if not data.startswith(MAGIC):
        raise Refused(f"{directory / NAME} is of another format; use the version that made it")
    data = data[len(MAGIC) :]
    salt, nonce, sealed = (
        data[:SALT_BYTES],
        data[SALT_BYTES:][:NONCE_BYTES],
        data[SALT_BYTES + NONCE_BYTES :],
    )
    try:
        plain = AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, MAGIC)
    except InvalidTag:
        raise Refused(f"the passphrase does not open {directory / NAME}") from None
    return dict(json.loads(plain))


def in_the_way(settings: Settings, found: Sealed) -> list[Path]:
    """Return the files that hold another key than the backup's."""
    paths = [
        (_path(settings, f), base64.b64decode(text)) for f, text in found.get("files", {}).items()
    ]
    return [path for path, content in paths if path.exists() and path.read_bytes() != content]


def put_back(settings: Settings, found: Sealed, aside: Path | None) -> None:
    """Leave each key in the file that the settings name; another one there is moved aside."""
    differing = in_the_way(settings, found)
    if differing and aside is None:
        names = ", ".join(map(str, differing))
        raise Refused(f"other keys are in {names}\n  → take them away, or give --over")
    for path in differing:
        assert aside is not None  # noqa: S101 it was refused above
        aside.mkdir(exist_ok=True, mode=0o700)
        # Not a rename: secrets may be on another file system than the state directory.
        shutil.move(path, aside / path.name)
    for field, text in found["files"].items():
        content = base64.b64decode(text)
        if not _path(settings, field).exists():
            write_secret(_path(settings, field), content)
        if field in found["demo"]:
            (_path(settings, field).parent / DEMO_MARKER).touch()


def _is_there(settings: Settings, field: str) -> bool:
    path: Path | None = getattr(settings, field)
    return path is not None and path.is_file()


def _path(settings: Settings, field: str) -> Path:
    path: Path | None = getattr(settings, field)
    if path is None:
        raise Refused(f"the backup holds {field}, and the settings name no file for it")
    return path


def _key(passphrase: bytes, salt: bytes) -> bytes:
    """RFC 7914 with 64 MiB."""
    return Scrypt(salt=salt, length=KEY_BYTES, n=2**16, r=8, p=1).derive(passphrase)
