"""The secrets that the API works with, from the files that settings name.

The decision key is read once. What changes while processes run is read again: rings, the job key.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cardflow.decision_root import read_decision_root
from cardflow.decisions import Signer
from cardflow.errors import Refused
from cardflow.job_keys import JobKeys
from cardflow.key_ring import KeyFile, Look, Ring, look
from cardflow.secret_files import read_secret
from cardflow.settings import Settings
from cardflow.wire import from_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keys:
    """What the API signs and seals with."""

    signer: Signer = field(repr=False)
    decision_root: str  # raw public key, hex: goes into every update's input
    jobs: "JobKeyFiles" = field(repr=False)
    codec: Ring = field(repr=False)
    sealing: Ring = field(repr=False)
    qr: Ring = field(repr=False)

    @property
    def job_key(self) -> Ed25519PrivateKey:
        return self.jobs.current.key

    @property
    def job_keys(self) -> JobKeys:
        return self.jobs.current.history


@dataclass(frozen=True)
class JobKey:
    """What signs jobs, and how it came to be, for agents that know an older one."""

    key: Ed25519PrivateKey = field(repr=False)
    history: JobKeys


class JobKeyFiles:
    """The job key in its two files, read again once they have changed.

    Agents ask any process: one that went on with the old key would not be believed by those whom
    another process has led to the new one.
    """

    def __init__(self, key: Path, history: Path) -> None:
        self._files = (key, history)
        self._seen = self._look()
        self._current = self._read()

    @property
    def current(self) -> JobKey:
        if (found := self._look()) != self._seen:
            try:
                self._current = self._read()
                self._seen = found
            except Refused as refused:
                log.error("%s; going on with the key read before", refused)  # noqa: TRY400
        return self._current

    def _look(self) -> list[Look | None]:
        return [look(path) for path in self._files]

    def _read(self) -> JobKey:
        key, history = self._files
        return JobKey(_private_key(key), read_job_keys(history))


def load_keys(settings: Settings) -> Keys:
    """Return every key, or refuse with the file that is missing or wrong."""
    certificate = _certificate(settings.decision_certificate_file)
    key = _private_key(settings.decision_key_file)
    if certificate.public_key() != key.public_key():
        raise Refused(f"{settings.decision_certificate_file} is not for the decision key")
    return Keys(
        signer=Signer(key, certificate),
        decision_root=read_decision_root(settings.decision_root_file),
        jobs=JobKeyFiles(settings.job_key_file, settings.job_key_history_file),
        codec=KeyFile(settings.codec_key_file),
        sealing=KeyFile(settings.sealing_key_file),
        qr=KeyFile(settings.qr_key_file),
    )


def read_job_keys(path: Path) -> JobKeys:
    """Return the successions of the job key; none were there before its first change."""
    try:
        return from_json(JobKeys, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return JobKeys()
    except (OSError, ValueError, Refused) as error:
        raise Refused(f"{path} holds no successions of the job key; restore it") from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause may quote the file.
        raise Refused(f"{path} holds no readable key; make it anew or restore it") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{path} holds a key of another kind than Ed25519")
    return key


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} holds no readable certificate; restore it") from error
