"""Proofs about a finished update from programs that are not ours: their output and exit codes.

`pkcs11-tool` reads the card, `openssl` judges certificates and signatures, `sha256sum` and `grep`
look at files, `temporal` tells how the workflow ended. The product is not asked how it did.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cardflow.errors import CardflowError
from cardflow.temporal.devserver import server_program
from cli.demo_card import BADGE_ID
from cli.demo_state import DemoState
from cli.programs import Ran, expect, run

KINDS = ("Certificate", "Private Key", "Public Key")


@dataclass(frozen=True)
class Exhibit:
    """One certificate of the update: where it should be on the card, and its number."""

    lane: str
    cka_id: str
    serial_number: str


@dataclass(frozen=True)
class CaseFile:
    """What the proofs are about; collected before and after the update."""

    card_id: str
    new: tuple[Exhibit, ...]
    old: Exhibit
    old_certificate: bytes  # DER, read by pkcs11-tool before the update
    badge_sha256: str  # of the third-party certificate, before the update
    documents: tuple[str, ...]  # SHA-256 of the rejected document and of its successor
    subjects: tuple[str, ...]  # of mails that must have arrived


@dataclass(frozen=True)
class Proof:
    """What was to be shown, by which program, and whether it was."""

    claim: str
    tool: str
    holds: bool
    said: str


class Failed(CardflowError):
    """A program's output does not show what it should."""


class Witness:
    """Calls the programs and listens."""

    def __init__(self, state: DemoState, case: CaseFile) -> None:
        self._state = state
        self._case = case
        self._card = state.card
        self._room = state.directory / "proofs"
        self._room.mkdir(exist_ok=True)

    def testify(self) -> Iterator[Proof]:
        """Yield every proof, in an order that a person can follow."""
        yield self._proof("new keys and certificates on the card", "pkcs11-tool -O", self._on_card)
        yield self._proof("certificates as issued", "pkcs11-tool -r, openssl x509", self._as_issued)
        yield self._proof("chain, CRL", "openssl verify", self._chain)
        yield self._proof("the key on the card fits", "pkcs11-tool --sign, openssl", self._key_fits)
        yield self._proof("new certificates are good", "openssl ocsp", self._good)
        yield self._proof("old pair is gone", "pkcs11-tool -O", self._old_gone)
        yield self._proof("old certificate is revoked", "openssl ocsp", self._revoked)
        yield self._proof("third-party object untouched", "pkcs11-tool, sha256sum", self._badge)
        yield self._proof("both documents kept", "sha256sum", self._documents)
        yield self._proof("mails received", "grep", self._mails)
        yield self._proof("workflow completed", "temporal workflow describe", self._workflow)

    def _proof(self, claim: str, tool: str, show: Callable[[], str]) -> Proof:
        try:
            return Proof(claim, tool, holds=True, said=show())
        except CardflowError as error:
            return Proof(claim, tool, holds=False, said=str(error))

    # The card

    def _on_card(self) -> str:
        listed = objects_by_id(self._card.objects())
        for exhibit in self._case.new:
            missing = set(KINDS) - set(listed.get(exhibit.cka_id, ()))
            if missing:
                raise Failed(f"{exhibit.lane}: no {' and no '.join(sorted(missing))}")
        return f"{len(self._case.new)} pairs, each with its certificate"

    def _old_gone(self) -> str:
        if left := objects_by_id(self._card.objects()).get(self._case.old.cka_id):
            raise Failed(f"still there: {', '.join(left)}")
        return f"nothing under {self._case.old.cka_id[:12]}…"

    def _badge(self) -> str:
        now = sha256sum(self._write("badge.der", self._card.certificate(BADGE_ID)))
        if now != self._case.badge_sha256:
            raise Failed(f"it was {self._case.badge_sha256}, it is {now}")
        return f"{now[:16]}… before and after"

    def _as_issued(self) -> str:
        for exhibit in self._case.new:
            shown = self._x509(exhibit, "-serial").partition("=")[2].strip()
            if int(shown, 16) != int(exhibit.serial_number, 16):
                raise Failed(f"{exhibit.lane}: another certificate, {shown}, is there")
        return self._x509(self._case.new[0], "-subject", "-nameopt", "RFC2253").strip()

    def _key_fits(self) -> str:
        said = {self._signs(exhibit) for exhibit in self._case.new}
        return ", ".join(sorted(said))

    def _signs(self, exhibit: Exhibit) -> str:
        data = self._write("data", exhibit.cka_id.encode())
        public = self._write("public.pem", self._x509(exhibit, "-pubkey").encode())
        signature, digest = self._room / "signature", self._room / "digest"
        signed_by = ("--sign", "-d", exhibit.cka_id, "-o", str(signature))
        if "rsaEncryption" in self._x509(exhibit, "-text"):
            expect(self._card.tool(*signed_by, "-m", "SHA256-RSA-PKCS", "-i", str(data)))
            check = ("dgst", "-sha256", "-verify", str(public), "-signature", str(signature))
            return self._verified(exhibit, *check, str(data))
        expect(run("openssl", "dgst", "-sha256", "-binary", "-out", str(digest), str(data)))
        form = ("-m", "ECDSA", "--signature-format", "openssl", "-i", str(digest))
        expect(self._card.tool(*signed_by, *form))
        judge = ("pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-in", str(digest))
        return self._verified(exhibit, *judge, "-sigfile", str(signature))

    def _verified(self, exhibit: Exhibit, *check: str) -> str:
        ran = run("openssl", *check)
        if not ran.succeeded:
            raise Failed(f"{exhibit.lane}: {ran.telling}")
        return ran.telling

    # The CA

    def _chain(self) -> str:
        """Have openssl itself fetch the CRL from where the certificate says it is."""
        for exhibit in self._case.new:
            ran = self._verify(self._pem(exhibit))
            if not ran.succeeded:
                raise Failed(f"{exhibit.lane}: {ran.telling}")
        refused = self._verify(self._old_pem())
        if refused.succeeded or "certificate revoked" not in refused.text:
            raise Failed(f"the replaced certificate passes: {refused.telling}")
        return f"{len(self._case.new)} OK; replaced: certificate revoked"

    def _verify(self, certificate: Path) -> Ran:
        options = ("-x509_strict", "-crl_check", "-crl_download")
        chain = ("-CAfile", str(self._root), "-untrusted", str(self._issuing))
        return run("openssl", "verify", *options, *chain, str(certificate))

    def _good(self) -> str:
        for exhibit in self._case.new:
            self._ocsp(self._pem(exhibit), "good")
        return f"{len(self._case.new)} times: good, response verified"

    def _revoked(self) -> str:
        return self._ocsp(self._old_pem(), "revoked")

    def _ocsp(self, certificate: Path, wanted: str) -> str:
        url = expect(run("openssl", "x509", "-in", str(certificate), "-noout", "-ocsp_uri"))
        asked = ("-issuer", str(self._issuing), "-cert", str(certificate))
        trust = ("-CAfile", str(self._root), "-verify_other", str(self._issuing))
        where = ("-url", url.text.strip())
        ran = run("openssl", "ocsp", *asked, *trust, *where)
        if not ran.succeeded or "Response verify OK" not in ran.text:
            raise Failed(ran.telling)
        lines = [line for line in ran.output.decode().splitlines() if "Update: " not in line]
        said = [line.rpartition(": ")[2].strip() for line in lines]
        if not said or said[0] != wanted:
            raise Failed(ran.telling)
        return ", ".join(said)

    # Files and processes

    def _documents(self) -> str:
        for digest in self._case.documents:
            files = list(self._state.settings.document_dir.rglob(digest))
            if [sha256sum(file) for file in files] != [digest]:
                raise Failed(f"{digest[:16]}… is not in the store")
        return " and ".join(f"{digest[:12]}…" for digest in self._case.documents)

    def _mails(self) -> str:
        files = [str(file) for file in (self._state.directory / "mail").glob("*.eml")]
        found = expect(run("grep", "-h", "-i", "^Subject:", *files)).text.splitlines()
        received = Counter(line.partition(":")[2].strip() for line in found)
        if missing := [subject for subject in self._case.subjects if not received[subject]]:
            raise Failed(f"no mail has the subject: {', '.join(missing)}")
        return "; ".join(f"{number} × {subject}" for subject, number in received.items())

    def _workflow(self) -> str:
        settings = self._state.settings
        there = ("--address", settings.temporal_address, "--namespace", settings.temporal_namespace)
        name = ("--workflow-id", f"card-update/{self._case.card_id}", "--output", "json")
        ran = expect(run(str(server_program()), "workflow", "describe", *name, *there))
        status = str(json.loads(ran.output)["workflowExecutionInfo"]["status"])
        if status != "WORKFLOW_EXECUTION_STATUS_COMPLETED":
            raise Failed(status)
        return status.removeprefix("WORKFLOW_EXECUTION_STATUS_").capitalize()

    # Certificates as files

    def _x509(self, exhibit: Exhibit, *what: str) -> str:
        return expect(run("openssl", "x509", "-in", str(self._pem(exhibit)), "-noout", *what)).text

    def _pem(self, exhibit: Exhibit) -> Path:
        der = self._card.certificate(exhibit.cka_id)
        if not der:
            raise Failed(f"{exhibit.lane}: no certificate under {exhibit.cka_id}")
        return self._as_pem(exhibit.lane, der)

    def _old_pem(self) -> Path:
        return self._as_pem("old", self._case.old_certificate)

    @property
    def _root(self) -> Path:
        return self._fetched("root")

    @property
    def _issuing(self) -> Path:
        return self._fetched("ca")

    def _fetched(self, name: str) -> Path:
        file = self._room / f"{name}.pem"
        if not file.exists():
            from cli.client import Api

            with Api(self._state.settings.public_url) as api:
                self._as_pem(name, api.content(f"/pki/{name}.cer"))
        return file

    def _as_pem(self, name: str, der: bytes) -> Path:
        source, target = self._write(f"{name}.der", der), self._room / f"{name}.pem"
        convert = ("openssl", "x509", "-inform", "DER", "-in", str(source))
        expect(run(*convert, "-out", str(target)))
        return target

    def _write(self, name: str, content: bytes) -> Path:
        path = self._room / name
        path.write_bytes(content)
        return path


def objects_by_id(listing: str) -> dict[str, list[str]]:
    """Return the kinds of objects under each CKA_ID in what `pkcs11-tool -O` printed."""
    found: dict[str, list[str]] = {}
    kind = ""
    for line in listing.splitlines():
        if match := re.match(r"(Certificate|Private Key|Public Key) Object", line):
            kind = match[1]
        elif match := re.match(r"\s+ID:\s+([0-9a-f]+)", line):
            found.setdefault(match[1], []).append(kind)
    return found


def sha256sum(file: Path) -> str:
    """Return the file's digest as `sha256sum` prints it."""
    return expect(run("sha256sum", str(file))).text.split()[0]


def table_of(proofs: list[Proof]) -> Table:
    """Return the proofs as people read them."""
    table = Table("", "what was to be shown", "by", "what it said", box=None, pad_edge=False)
    for proof in proofs:
        mark = "[green]ok[/]" if proof.holds else "[bold red]FAILED[/]"
        table.add_row(mark, proof.claim, proof.tool, proof.said)
    return table
