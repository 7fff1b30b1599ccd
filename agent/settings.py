"""What a workstation's own files say: which modules to load, how to ask, and who the server is.

Only files here name programs and modules; nothing that a server sends ever does.
"""

import json
import logging
import os
import shutil
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.secret_files import forget_secret, read_secret, write_secret
from cardflow.wire import from_json, to_json

SETTINGS_FILE = "agent.toml"
EXAMPLE = """[[modules]]
name = "opensc"
path = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so\""""
T = TypeVar("T")
LOG_LEVELS = ("debug", "info", "warning", "error")
END_OF_KEY = b"-----END PRIVATE KEY-----"
LONGEST_PROMPT_SECONDS = 240  # the server gives a visit five minutes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModuleSetting:
    """A PKCS#11 module, and the name under which its cards are reported."""

    name: str
    path: str


@dataclass(frozen=True)
class Settings:
    """``agent.toml``. ``pinentry`` empty: ask on the terminal that the agent was started from."""

    modules: tuple[ModuleSetting, ...]
    pinentry: str = ""
    prompt_seconds: int = 120
    log_level: str = "info"


@dataclass(frozen=True)
class Enrolment:
    """What the workstation and the server agreed on; ``job_key`` is pinned from then on."""

    server: str
    agent_id: str
    issuer: str
    job_key: str


@dataclass(frozen=True)
class StateDir:
    """The agent's directory; everything in it belongs to the account that runs the agent."""

    path: Path

    @property
    def root_file(self) -> Path:
        """The TLS root that was pinned at enrolment."""
        return self.path / "server-root.pem"

    @property
    def enrolment_file(self) -> Path:
        return self.path / "enrolment.json"

    @property
    def key_file(self) -> Path:
        return self.path / "device-key.pem"

    @property
    def next_key_file(self) -> Path:
        """The device key to come, while the server has not taken it for certain."""
        return self.path / "device-key-next.pem"

    @property
    def journal_file(self) -> Path:
        return self.path / "journal"

    def settings(self) -> Settings:
        """Return what ``agent.toml`` says, or refuse it with file, key and reason."""
        file = self.path / SETTINGS_FILE
        try:
            data = tomllib.loads(file.read_text())
        except FileNotFoundError:
            raise Refused(f"{file} is missing; write it, for example:\n{EXAMPLE}") from None
        except (ValueError, OSError) as error:
            raise Refused(f"{file} cannot be read: {error}") from None
        data.setdefault("pinentry", shutil.which("pinentry") or "")
        settings = _closed(Settings, data, file)
        if objections := _objections(settings):
            raise Refused(*(f"{file}: {objection}" for objection in objections))
        return settings

    def enrolment(self) -> Enrolment:
        """Return who the server is, or say how to enrol."""
        if not self.enrolment_file.exists():
            raise Refused(
                f"{self.path} is not enrolled; run: python -m agent enrol --state {self.path}"
            )
        data = json.loads(read_secret(self.enrolment_file))
        return _closed(Enrolment, data, self.enrolment_file)

    def keep(self, enrolment: Enrolment) -> None:
        """Leave the enrolment on disk, whole or not at all."""
        fresh = self.enrolment_file.with_suffix(".new")
        with effect("agent.keep_enrolment"):
            fresh.unlink(missing_ok=True)
            write_secret(fresh, json.dumps(to_json(enrolment), indent=1).encode())
            fresh.replace(self.enrolment_file)

    def device_key(self) -> Ed25519PrivateKey:
        """Return the workstation's own key, made at the first question; it never leaves this."""
        if not self.enrolment_file.exists():  # no server knows it yet
            _forget_torn(self.key_file)
        return _key_in(self.key_file)

    def next_device_key(self) -> Ed25519PrivateKey:
        """Return the key to come, made at the first question.

        One that was never whole on disk cannot be used, whoever knows it: another takes its place.
        """
        _forget_torn(self.next_key_file)
        return _key_in(self.next_key_file)

    def settle_on_next_key(self) -> None:
        """Leave the key to come as the device key, and the old one nowhere."""
        # ``renew-key`` beside a running agent may have settled on it.
        with suppress(FileNotFoundError), effect("agent.settle_on_key"):
            self.next_key_file.replace(self.key_file)

    def forget(self) -> None:
        """Remove the enrolment and the device key; the journal stays."""
        for file in (self.enrolment_file, self.key_file, self.next_key_file):
            forget_secret(file)  # no failpoint: to forget again removes what is left


def _forget_torn(file: Path) -> None:
    """Remove a key whose writing was broken off, so that another takes its place."""
    try:
        is_whole = file.read_bytes().rstrip().endswith(END_OF_KEY)
    except OSError:  # it is not there, or not ours: that is said where it is read
        return
    if not is_whole:
        log.warning("%s holds no whole key: another is made", file)
        file.unlink(missing_ok=True)  # no failpoint: a torn key is none, before and after


def _key_in(file: Path) -> Ed25519PrivateKey:
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # ``renew-key`` beside a running agent may have made it.
        with suppress(FileExistsError), effect("agent.make_key"):
            write_secret(file, text)
    try:
        found = load_pem_private_key(read_secret(file), None)
    except ValueError:
        raise Refused(f"{file} holds no readable key; enrol anew") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise Refused(f"{file} is no Ed25519 key; enrol anew")
    return found


def _closed(cls: type[T], data: Any, file: Path) -> T:
    try:
        return from_json(cls, data)
    except Refused as refused:
        reasons = (text.removeprefix(f"{cls.__name__}.") for text in refused.objections)
        raise Refused(*(f"{file}: {reason}" for reason in reasons)) from None


def _objections(settings: Settings) -> list[str]:
    found = [
        f"modules: {module.path} does not exist"
        for module in settings.modules
        if not Path(module.path).is_absolute() or not Path(module.path).exists()
    ]
    if not settings.modules:
        found.append("modules: name at least one")
    if settings.pinentry and not os.access(settings.pinentry, os.X_OK):
        found.append(f"pinentry: {settings.pinentry} cannot be run")
    if not 0 < settings.prompt_seconds <= LONGEST_PROMPT_SECONDS:
        found.append(f"prompt_seconds: from 1 to {LONGEST_PROMPT_SECONDS}")
    if settings.log_level not in LOG_LEVELS:
        found.append(f"log_level: one of {', '.join(LOG_LEVELS)}")
    return found
