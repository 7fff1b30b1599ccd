"""Verifying a pack offline: every check has a name, and says what is wrong or that nothing is."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cardflow.decisions import check_issued_by
from cardflow.errors import Refused
from cardflow.evidence import check_actions, check_lanes, check_trail
from cardflow.evidence.archive import MANIFEST, SIGNATURE, SIGNER, UNLISTED
from cardflow.evidence.contents import UNREADABLE, Contents, Named, Objections
from cardflow.evidence.roots import Roots


@dataclass(frozen=True)
class Check:
    """One question to the pack, and everything that speaks against it."""

    name: str
    objections: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.objections


def verify(file: IO[bytes], roots: Roots) -> list[Check]:
    """Return every check of a pack, made with nothing but the pack and the organisation's roots."""
    try:
        contents = Contents(file, roots)
        contents.read(MANIFEST)
    except UNREADABLE as error:
        return [Check("archive", (_unreadable(error),))]
    parts = (_about_members, check_trail.checks, check_actions.checks, check_lanes.checks)
    return [made for part in parts for made in _made(part(contents))]


def _made(named: Iterator[Named]) -> Iterator[Check]:
    """Yield the checks; where even their names cannot be told, one that says so."""
    while True:
        try:
            name, objections = next(named)
        except StopIteration:
            return
        except UNREADABLE as error:
            yield Check("contents", (_unreadable(error),))
            return
        yield _check(name, objections)


def _check(name: str, objections: Callable[[], Objections]) -> Check:
    try:
        return Check(name, tuple(objections()))
    except UNREADABLE as error:
        return Check(name, (_unreadable(error),))


def _unreadable(error: BaseException) -> str:
    return str(error) if isinstance(error, Refused) else "it cannot be read"


def _about_members(contents: Contents) -> Iterator[Named]:
    yield "archive", partial(_members_objections, contents)
    yield "signature of the list of members", partial(_signature_objections, contents)
    for name in contents.manifest:
        yield f"member {name}", partial(_digest_objections, contents, name)


def _members_objections(contents: Contents) -> Objections:
    there = Counter(contents.listed)
    twice = sorted(name for name, count in there.items() if count > 1)
    unlisted = sorted({*there} - {*contents.manifest, *UNLISTED})
    return [
        *(f"{name} is there twice" for name in twice),
        *(f"{name} is not in the list" for name in unlisted),
    ]


def _digest_objections(contents: Contents, name: str) -> Objections:
    found = hashlib.sha256(contents.read(name)).hexdigest()
    return [] if found == contents.manifest[name] else ["its SHA-256 is another: it was changed"]


def _signature_objections(contents: Contents) -> Objections:
    certificate = x509.load_pem_x509_certificate(contents.read(SIGNER))
    contents.under_a_root(lambda root: check_issued_by(certificate, root))
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        return [f"{SIGNER} is for a key of another kind"]
    try:
        key.verify(contents.read(SIGNATURE), contents.read(MANIFEST))
    except InvalidSignature:
        return [f"{SIGNATURE} is not the signature of {MANIFEST} by {SIGNER}"]
    update_id, as_of = contents.title
    found = []
    if not certificate.not_valid_before_utc <= as_of <= certificate.not_valid_after_utc:
        found.append(f"{SIGNER} was not valid when the pack was made")
    if contents.update.update_id != update_id:
        found.append(f"{MANIFEST} is of another update")
    return found
