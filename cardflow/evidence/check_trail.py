"""The audit entries of an update: unchanged, in their place, complete, and told as they are."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise

from cardflow import merkle
from cardflow.chain import AHEAD, link_hash
from cardflow.evidence.contents import Contents, Named, Objections, Tied
from cardflow.evidence.record import Happened
from cardflow.evidence.timeline import timeline
from cardflow.model import EventKind
from cardflow.wire import to_json

CAUSES = {
    EventKind.CERTIFICATE_ISSUED: EventKind.KEY_PREPARED,
    EventKind.WRITTEN: EventKind.CERTIFICATE_ISSUED,
    EventKind.DOCUMENT_APPROVED: EventKind.DOCUMENT_RECEIVED,
    EventKind.DOCUMENT_REJECTED: EventKind.DOCUMENT_RECEIVED,
}


def checks(contents: Contents) -> Iterator[Named]:
    """Yield the checks of the trail."""
    for number in sorted({tied.inclusion.checkpoint for tied in contents.tied}):
        yield f"checkpoint {number}", partial(_signed, contents, number)
    before = None
    for tied in contents.tied:
        yield f"audit entry {tied.number}", partial(_entry_objections, contents, tied, before)
        before = tied
    yield "audit entries, none missing", partial(_gap_objections, contents)
    yield "timeline.json", partial(_timeline_objections, contents)
    yield "order of times", partial(_time_objections, contents)
    yield "mails", partial(_mail_objections, contents)


def _signed(contents: Contents, number: int) -> Objections:
    signed = contents.checkpoint(number)
    return [] if signed.number == number else [f"it is the checkpoint of entry {signed.number}"]


def _entry_objections(contents: Contents, tied: Tied, before: Tied | None) -> Objections:
    text = contents.text(f"audit/{tied.number:08}.json")
    found = []
    if json.loads(text)["update_id"] != contents.update.update_id:
        found.append("it is of another update")
    if tied.hash != link_hash(tied.previous, tied.number, text):
        found.append("its text is not what was hashed")
    if before and before.number + 1 == tied.number and tied.previous != before.hash:
        found.append(f"it does not follow entry {before.number}")
    return [*found, *_place_objections(contents, tied)]


def _place_objections(contents: Contents, tied: Tied) -> Objections:
    place = tied.inclusion
    signed = contents.checkpoint(place.checkpoint)
    if (signed.since + 1 + place.index, signed.count) != (tied.number, place.size):
        return ["its place under the checkpoint is another one"]
    path = [bytes.fromhex(digest) for digest in place.path]
    root = merkle.root_by_path(bytes.fromhex(tied.hash), place.index, place.size, path)
    if root is None or root.hex() != signed.tree:
        return [f"the checkpoint of entry {signed.number} does not cover it"]
    return []


def _gap_objections(contents: Contents) -> Objections:
    events = sorted(entry.event for entry in contents.story if entry.event is not None)
    missing = sorted({*range(max(events, default=0) + 1)} - {*events})
    found = [f"event {number} of the update is missing" for number in missing]
    if len(events) != len({*events}):
        found.append("an event is there twice")
    if [entry.number for entry in contents.story] != [tied.number for tied in contents.tied]:
        found.append("audit/links.txt lists other entries than there are")
    return found


def _timeline_objections(contents: Contents) -> Objections:
    told = timeline(contents.story, contents.json("people.json"))
    if contents.json("timeline.json") == told:
        return []
    return ["it does not say what the audit entries say"]


def _mail_objections(contents: Contents) -> Objections:
    events = {entry.event for entry in contents.story}
    return [
        f"the mail {mail['message_id']} is about an event that is not in the trail"
        for mail in contents.json("mails.json")
        if mail["event"] not in events
    ]


def _time_objections(contents: Contents) -> Objections:
    events = sorted(
        (entry for entry in contents.story if entry.event is not None),
        key=lambda entry: (entry.event or 0, entry.number),
    )
    return [
        *_backwards(events),
        *_unsigned_in_time(contents),
        *_acted_later(contents, events),
        *_without_cause(events),
    ]


def _backwards(events: list[Happened]) -> Iterator[str]:
    for before, entry in pairwise(events):
        # The first instant is the API's, the others are the workflow's.
        tolerated = AHEAD if before.event == 0 else timedelta()
        if entry.at < before.at - tolerated:
            yield f"entry {entry.number} happened before entry {before.number}, which it follows"


def _unsigned_in_time(contents: Contents) -> Iterator[str]:
    covering = {tied.number: tied.inclusion.checkpoint for tied in contents.tied}
    for entry in contents.story:
        signed = contents.checkpoint(covering[entry.number])
        if entry.at > signed.at + AHEAD:
            yield f"entry {entry.number} happened after its checkpoint, {to_json(signed.at)}"


def _acted_later(contents: Contents, events: list[Happened]) -> Iterator[str]:
    actions = contents.actions
    for entry in events:
        action = actions.get(entry.token)
        if action and action.at > entry.at + AHEAD:
            yield f"entry {entry.number} happened before the action behind it was taken"


def _without_cause(events: list[Happened]) -> Iterator[str]:
    seen = set()
    for entry in events:
        cause = CAUSES.get(EventKind(entry.kind)) if entry.kind in CAUSES else None
        if cause and (cause, entry.lane) not in seen:
            yield f"entry {entry.number} says {entry.kind} before {cause}"
        seen.add((entry.kind, entry.lane))
