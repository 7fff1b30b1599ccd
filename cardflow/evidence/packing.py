"""Packing: every fact of a record as a member of the archive."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from cardflow.decisions import Signer, peek
from cardflow.documents.timeline_sheet import Line, Sheet, render_timeline
from cardflow.evidence.archive import Archive
from cardflow.evidence.record import Happened, Record, happened, proven, shown_for
from cardflow.evidence.timeline import timeline
from cardflow.model import Act, Action, EventKind
from cardflow.wire import to_json

Member = tuple[str, bytes]
README = Path(__file__).with_name("README.txt")


async def pack(
    file: IO[bytes], record: Record, signer: Signer, document: Callable[[str], Awaitable[bytes]]
) -> str:
    """Leave the signed pack in ``file``, and return the SHA-256 of what was signed.

    ``document`` returns a document's bytes by their SHA-256; one is held at a time.
    """
    story = happened(record.links)
    told = timeline(story, record.names)
    with Archive(file, record.update.update_id, as_of(record)) as archive:
        for name, content in members(record, story):
            archive.add(name, content)
        archive.add("timeline.pdf", await render_timeline(_sheet(record, told)))
        for facts in record.documents:
            archive.add(facts.file, await document(facts.sha256))
        return archive.seal(signer)


def as_of(record: Record) -> datetime:
    """Return up to when the pack speaks: its newest checkpoint was signed then."""
    return max(checkpoint.at for checkpoint in record.checkpoints)


def members(record: Record, story: list[Happened]) -> Iterator[Member]:
    """Yield every member but the documents and the timeline's PDF."""
    yield "README.txt", README.read_bytes()
    # Not laid out for reading: its SHA-256 is what the opening action signed.
    yield "update.json", record.opened.encode()
    yield "people.json", _json(record.names)
    yield "timeline.json", _json(timeline(story, record.names))
    yield from _actions(record, story)
    yield "documents/index.json", _json(to_json(record.documents))
    yield from _lanes(story)
    yield "ca/chain.pem", "".join(record.ca_chain).encode()
    yield "ca/requests.json", _json([_request(facts) for facts in to_json(record.requests)])
    yield "mails.json", _json(to_json(record.mails))
    yield from _audit(record)


def _sheet(record: Record, told: list[dict[str, Any]]) -> Sheet:
    update = record.update
    return Sheet(
        organisation=record.organisation,
        update_id=update.update_id,
        card=update.token_label or update.token_serial,
        token_serial=update.token_serial,
        holder=record.names.get(update.holder_id, ""),
        policy=f"{update.policy.title or update.policy.name}, version {update.policy.version}",
        as_of=as_of(record),
        lines=tuple(_sheet_line(line) for line in told),
    )


def _sheet_line(line: dict[str, Any]) -> Line:
    facts = {name: str(value) for name, value in line["facts"].items()}
    return Line(
        line["number"],
        datetime.fromisoformat(line["at"]),
        line["kind"],
        line["lane"],
        line["actor"]["name"],
        facts,
    )


def _actions(record: Record, story: list[Happened]) -> Iterator[Member]:
    for number, token in enumerate(record.tokens, 1):
        action = peek(token)
        name = f"actions/{number:02}-{action.act}"
        yield f"{name}.jws", token.encode()
        if shown := _shown(record, story, action, token):
            yield f"{name}.shown.json", shown.encode()


def _shown(record: Record, story: list[Happened], action: Action, token: str) -> str:
    if action.act is Act.DECIDE_DOCUMENT:
        return shown_for(record.update, story, action, token)
    if action.act is Act.DECIDE_REQUEST:
        asked = f"{action.update_id}:{action.revision}:{action.lane}"
        return next((r.shown for r in record.requests if r.id == asked), "")
    return ""


def _lanes(story: Iterable[Happened]) -> Iterator[Member]:
    files: dict[str, bytes] = {}
    for entry in story:
        match entry.kind:
            case EventKind.KEY_PREPARED:
                files[f"lanes/{entry.lane}/request.pem"] = str(entry.facts["csr_pem"]).encode()
            case EventKind.CERTIFICATE_ISSUED:
                pem = str(entry.facts["certificate_pem"])
                files[f"lanes/{entry.lane}/certificate.pem"] = pem.encode()
            case EventKind.WRITTEN:
                files[f"lanes/{entry.lane}/proof.bin"] = proven(entry)
                signature = base64.b64decode(str(entry.facts["signature"]))
                files[f"lanes/{entry.lane}/proof.sig"] = signature
    yield from files.items()


def _request(facts: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in facts.items() if name != "shown"}


def _audit(record: Record) -> Iterator[Member]:
    for link in record.links:
        yield f"audit/{link.number:08}.json", link.text.encode()
    yield "audit/links.txt", "".join(_tied(record)).encode()
    for checkpoint in record.checkpoints:
        yield f"checkpoints/{checkpoint.number:08}.jws", checkpoint.token.encode()


def _tied(record: Record) -> Iterator[str]:
    for link, inclusion in zip(record.links, record.inclusions, strict=True):
        place = (inclusion.checkpoint, inclusion.index, inclusion.size, *inclusion.path)
        yield " ".join(map(str, (link.number, link.previous, link.hash, *place))) + "\n"


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
