"""The door for signed forms: what comes in is a PDF or a picture, harmless, and the one awaited."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from cardflow.documents import qr
from cardflow.documents.confined import said_by
from cardflow.documents.examiner import READY, Examined, Limits, SignatureSeen, Trust
from cardflow.documents.qr import DocumentIdentity
from cardflow.documents.scanner import Scanner, refuse_infected
from cardflow.documents.signatures import SignatureFindings, findings_of
from cardflow.documents.store import in_words
from cardflow.errors import Refused

__all__ = ["Code", "DocumentIdentity", "IntakeFindings", "Limits", "Trust", "inspect_upload"]

SIGNED = b"/ByteRange"  # ISO 32000-2 12.8.1: a signature names the ranges that it covers in clear
_OF_SIGNATURES = "cardflow.documents.examiner.signature"  # half a second; most files have none
_KILLED = "the file takes too much work to be shown; print it and scan the paper"
_log = logging.getLogger(__name__)


class Code(StrEnum):
    """What the code on the form says."""

    MATCHES = "matches"
    UNREADABLE = "unreadable"  # a person decides by the rest of the form


@dataclass(frozen=True)
class IntakeFindings:
    """What a person who checks the document should know."""

    media_type: str
    pages: int
    sha256: str
    size: int
    qr: Code
    notes: tuple[str, ...] = ()
    signature: SignatureFindings | None = None  # None: none was found, a person looks for ink


async def inspect_upload(
    data: bytes,
    *,
    expected: DocumentIdentity,
    qr_keys: Collection[bytes],
    limits: Limits = Limits(),
    issued: Collection[bytes] = (),
    trust: Trust | None = None,
    scanner: Scanner | None = None,
) -> IntakeFindings:
    """Return what came in; refuse with a remedy what is no harmless scan of the awaited form."""
    if not data:
        raise Refused("the file is empty; scan the signed form and upload that")
    if len(data) > limits.max_bytes:
        raise Refused(
            f"the file has {in_words(len(data))}, and at most {in_words(limits.max_bytes)}"
            " are accepted; scan it with fewer dots per inch"
        )
    if scanner:
        await refuse_infected(data, scanner)
    found = await _examined(data, limits, trust)
    seen = found.signature
    return IntakeFindings(
        media_type=found.media_type,
        pages=found.pages,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        qr=_matched(found.codes, expected, qr_keys),
        notes=tuple(found.notes),
        signature=findings_of(seen, is_issued=_begins(data, issued)) if seen else None,
    )


def _begins(data: bytes, issued: Iterable[bytes]) -> bool:
    """Tell whether the file is a form that we issued, with something added after its last byte.

    A signature is an incremental update (ISO 32000-2 7.5.6): the form's own bytes stay.
    """
    return any(data.startswith(form) for form in issued)


def _matched(codes: Iterable[str], expected: DocumentIdentity, keys: Collection[bytes]) -> Code:
    ours = {qr.verify(text, keys=keys) for text in codes if qr.looks_like_ours(text)}
    if not ours:
        return Code.UNREADABLE
    if ours == {expected}:
        return Code.MATCHES
    if len(ours) > 1:
        raise Refused("the file holds several different forms; upload the awaited form by itself")
    other = ours.pop()
    if other.document_id == expected.document_id:
        raise Refused(
            f"this is version {other.version} of the form, and version {expected.version} is"
            " awaited; print the form again, sign it and upload that"
        )
    raise Refused(
        f"this form belongs to another card update or another certificate (document"
        f" {other.document_id}); upload the form with document {expected.document_id}"
    )


async def _examined(data: bytes, limits: Limits, trust: Trust | None) -> Examined:
    trust = trust if SIGNED in data else None
    told = json.dumps(asdict(trust) if trust else None).encode() + b"\n"
    loads = _OF_SIGNATURES if trust else ""
    said = await said_by("upload", told + data, limits, loads=loads)
    ready, _, answer = said.partition(b"\n")
    if ready != READY:
        msg = "the examiner of uploads does not start"
        raise RuntimeError(msg)
    try:
        found = json.loads(answer)
    except ValueError:
        raise Refused(_KILLED) from None
    if "fault" in found:
        msg = f"the examiner of uploads lacks something: {found['fault']}"
        raise RuntimeError(msg)
    if "failed" in found:
        _log.warning("an upload could not be parsed: %s", found["failed"])
        raise Refused("the file is damaged; scan the form again and upload that")
    if "refused" in found:
        raise Refused(*found["refused"])
    signature = found.pop("signature")
    return Examined(**found, signature=SignatureSeen(**signature) if signature else None)
