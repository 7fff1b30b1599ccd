"""The demo's smart card: a SoftHSM token, made and looked at by `pkcs11-tool` alone.

The card's PIN is a throw-away one, made with the card. It reaches `pkcs11-tool` through an
environment variable of that one child, since the tool takes no other way but its command line.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from cardflow.errors import Refused
from cardflow.secret_files import read_secret, write_secret
from cli.programs import Ran, expect, run

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
)
CONFIGURATION = """\
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""
BADGE_ID = "7041"
BADGE_NAME = "/O=Parking House/CN=Parking badge 4711"


@dataclass(frozen=True)
class DemoCard:
    """A SoftHSM token in a directory of its own, with a label."""

    directory: Path
    label: str

    @property
    def configuration(self) -> Path:
        """The file that SOFTHSM2_CONF names."""
        return self.directory / "softhsm2.conf"

    @property
    def pin_file(self) -> Path:
        return self.directory / "pin"

    @property
    def serial(self) -> str:
        """The token's serial number, as pkcs11-tool reads it."""
        ours = False
        for line in expect(self.tool("-L", login=False)).text.splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "token label":
                ours = value.strip() == self.label
            if ours and name.strip() == "serial num":
                return value.strip()
        raise Refused(f"there is no token {self.label} in {self.directory}")

    def make(self) -> None:
        """The card exists, initialised and empty, and its PIN is in ``pin_file``."""
        (self.directory / "tokens").mkdir(parents=True)
        text = CONFIGURATION.format(tokens=self.directory.absolute() / "tokens")
        self.configuration.write_text(text)
        write_secret(self.pin_file, f"{secrets.randbelow(10**12):012d}".encode())
        so = ("--so-pin", "env:SO_PIN")
        self._initialise("--slot-index", "0", "--init-token", "--label", self.label, *so)
        named = ("--token-label", self.label)
        officer = ("--login", "--login-type", "so", *so)
        self._initialise(*named, *officer, "--init-pin", "--new-pin", "env:USER_PIN")

    def add_third_party_certificate(self) -> None:
        """A certificate of somebody else's, with its key, is on the card."""
        key, certificate = self.directory / "badge-key.pem", self.directory / "badge.pem"
        made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "800")
        expect(run(*made, "-subj", BADGE_NAME, "-keyout", str(key), "-out", str(certificate)))
        self._import("privkey", ("openssl", "rsa", "-traditional", "-in", str(key)))
        self._import("cert", ("openssl", "x509", "-in", str(certificate)))
        key.unlink()

    def swap_certificate(self, cka_id: str, certificate: bytes) -> None:
        """Another certificate is filed under ``cka_id``, as a mistake or an attack would do it."""
        other = self.directory / "other.der"
        other.write_bytes(certificate)
        expect(self.tool("--delete-object", "-y", "cert", "-d", cka_id))
        expect(self.tool("--write-object", str(other), "-y", "cert", "-d", cka_id))

    def objects(self) -> str:
        """Return what `pkcs11-tool -O` lists after login."""
        return expect(self.tool("-O")).text

    def certificate(self, cka_id: str) -> bytes:
        """Return the certificate under ``cka_id`` as read by pkcs11-tool, or nothing."""
        ran = self.tool("-r", "-y", "cert", "-d", cka_id, login=False)
        return ran.output if ran.succeeded else b""

    def tool(self, *arguments: str, login: bool = True) -> Ran:
        """Return how `pkcs11-tool` ended on this card."""
        who = ("--login", "--pin", "env:USER_PIN") if login else ()
        return self._tool("--token-label", self.label, *who, *arguments)

    def _import(self, kind: str, convert: tuple[str, ...]) -> None:
        der = self.directory / f"badge-{kind}.der"
        expect(run(*convert, "-outform", "DER", "-out", str(der)))
        named = ("--type", kind, "--id", BADGE_ID, "--label", "Parking badge")
        expect(self.tool("--write-object", str(der), *named))
        der.unlink()

    def _initialise(self, *arguments: str) -> None:
        expect(self._tool(*arguments))

    def _tool(self, *arguments: str) -> Ran:
        pin = read_secret(self.pin_file).decode()  # allowed: pin-as-text: the demo card's own
        environment = {
            "SOFTHSM2_CONF": str(self.configuration),
            "USER_PIN": pin,
            "SO_PIN": pin[::-1],
        }
        return run("pkcs11-tool", "--module", module(), *arguments, environment=environment)


def module() -> str:
    """Return SoftHSM's PKCS#11 module on this machine."""
    for path in MODULES:
        if Path(path).exists():
            return path
    raise Refused("SoftHSM is not installed\n  → run: make setup")
