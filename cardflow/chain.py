"""The audit chain as anybody can check it: pure, one link after another, in bounded memory.

``hash = sha256(domain, previous hash, number, text)``; ``text`` is canonical JSON, kept exactly as
it was hashed. The columns beside it are for searching; they must say what the text says.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cardflow.checkpoints import Checkpoint, Finding
from cardflow.merkle import Tree

DOMAIN = b"cardflow-audit-v1\0"
START = "0" * 64
MOST_FINDINGS = 100
# What happened while a part of the system was down is recorded when it is back.
LATE = timedelta(hours=24)
AHEAD = timedelta(minutes=5)  # how far two machines' clocks may differ


class Link(NamedTuple):
    """One entry of the chain with what ties it to the entry before."""

    number: int
    at: datetime
    kind: str
    update_id: str
    event: int | None
    actor: str
    text: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """Whether the chain is whole; if not, the first entry that is not, and why.

    Only entries up to ``covered_to`` are under a checkpoint's signature: of those that follow, the
    last ones could have been rewritten or cut off without a trace.
    """

    ok: bool
    entries: int
    broken_at: int | None = None
    reason: str = ""
    checkpoints: int = 0
    covered_to: int = 0
    findings: tuple[Finding, ...] = ()


def link_hash(previous: str, number: int, text: str) -> str:
    """Return the hash (hex) that an entry must have."""
    digest = hashlib.sha256(DOMAIN)
    digest.update(bytes.fromhex(previous) + number.to_bytes(8, "big") + text.encode())
    return digest.hexdigest()


def text_objection(link: Link) -> str:
    """Return why the entry is not what was hashed, or does not say what its columns say."""
    try:
        if link.hash != link_hash(link.previous, link.number, link.text):
            return "its text was changed"
        told = json.loads(link.text)
        told = told["kind"], told["at"], told["actor"], told["update_id"], told["event"]
    except (ValueError, KeyError, TypeError):
        return "it cannot be read"
    at = link.at.astimezone(UTC).isoformat()
    if told != (link.kind, at, link.actor, link.update_id, link.event):
        return "a column beside its text was changed"
    return ""


class Walk:
    """Takes the links of a chain in order and remembers what is wrong with them.

    ``after`` is the checkpoint behind which the walk begins; ``known`` is what was found wrong with
    checkpoints before it began; ``now`` is when the chain is looked at; without ``late`` nothing is
    said about times.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint] = (),
        *,
        after: Checkpoint | None = None,
        known: Sequence[Finding] = (),
        now: datetime | None = None,
        late: timedelta | None = LATE,
    ) -> None:
        self._number, self._previous = (after.number, after.hash) if after else (0, START)
        self._covered = after
        self._coming = sorted(checkpoints, key=lambda c: c.number, reverse=True)
        self._checkpoints = len(checkpoints)
        self._findings = list(known)
        self._now, self._late = now, late
        self._newest: datetime | None = None
        self._tree, self._newest_in_tree = Tree(), (0, datetime.min.replace(tzinfo=UTC))

    @property
    def number(self) -> int:
        """The number of the last link that was taken."""
        return self._number

    @property
    def hash(self) -> str:
        """The hash of the last link that was taken."""
        return self._previous

    @property
    def tree(self) -> Tree:
        """The tree over the links since the last checkpoint."""
        return self._tree

    def take(self, link: Link) -> None:
        """Judge the next link."""
        if link.number != self._number + 1:
            self._find(self._number + 1, _missing(self._number + 1, link.number - 1))
        elif link.previous != self._previous:
            self._find(link.number, "it does not follow the entry before it")
        elif reason := text_objection(link):
            self._find(link.number, reason)
        self._judge_time(link)
        self._number, self._previous = link.number, link.hash
        self._tree.add(bytes.fromhex(link.hash) if _is_hash(link.hash) else b"")
        while self._coming and self._coming[-1].number <= link.number:
            self._pass(self._coming.pop(), link)

    def close(self) -> Verification:
        """Return what was found, now that there are no more links."""
        if self._coming:
            last, cut = self._coming[0], self._number + 1
            there = f"entry {last.number} was there at the checkpoint of {_shown(last.at)}"
            self._find(cut, f"{_missing(cut, last.number)}: {there}")
        found = sorted(self._findings, key=lambda finding: finding.number)
        first = found[0] if found else None
        return Verification(
            ok=not found,
            entries=self._number,
            broken_at=first.number if first else None,
            reason=first.reason if first else "",
            checkpoints=self._checkpoints,
            covered_to=self._covered.number if self._covered else 0,
            findings=tuple(found[:MOST_FINDINGS]),
        )

    def _find(self, number: int, reason: str) -> None:
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(number, reason))

    def _judge_time(self, link: Link) -> None:
        if self._now and link.at > self._now + AHEAD:
            self._find(link.number, f"its time, {_shown(link.at)}, is still to come")
        if self._late and self._newest and link.at < self._newest - self._late:
            self._find(
                link.number,
                f"its time goes back from {_shown(self._newest)} to {_shown(link.at)}: "
                "the clock was set back, or it was recorded very late",
            )
        self._newest = max(self._newest, link.at) if self._newest else link.at
        if link.at > self._newest_in_tree[1]:
            self._newest_in_tree = link.number, link.at

    def _pass(self, signed: Checkpoint, link: Link) -> None:
        """Compare what a checkpoint signed with what stands there."""
        before = self._covered
        if before and before.number == signed.number and before.hash == signed.hash:
            return  # the same place was signed twice
        since = before.number if before else 0
        if link.number != signed.number or link.hash != signed.hash:
            self._find(
                signed.number,
                f"it is not the entry that the checkpoint of {_shown(signed.at)} signed; "
                f"something from {since + 1} to {signed.number} was rewritten",
            )
        elif signed.since == since and signed.tree != self._tree.root().hex():
            self._find(signed.number, "the checkpoint's tree is of other entries")
        self._judge_order(signed)
        self._covered = signed
        self._tree, self._newest_in_tree = Tree(), (0, datetime.min.replace(tzinfo=UTC))

    def _judge_order(self, signed: Checkpoint) -> None:
        before = self._covered
        number, newest = self._newest_in_tree
        if newest > signed.at + AHEAD:
            self._find(number, f"its time, {_shown(newest)}, lies after the checkpoint that "
                       f"signed it, {_shown(signed.at)}")  # fmt: skip
        place = signed.since or signed.number
        if signed.since != (before.number if before else 0):
            self._find(place, "the checkpoint that was signed here is missing")
        elif signed.previous != (before.sha256 if before else START):
            self._find(place, "another checkpoint was signed here before")
        if before and signed.at < before.at - AHEAD:
            self._find(signed.number, f"its checkpoint was signed on {_shown(signed.at)}, the one "
                       f"before it on {_shown(before.at)}: the clock was set back")  # fmt: skip


def _is_hash(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == hashlib.sha256().digest_size
    except ValueError:
        return False


def _missing(first: int, last: int) -> str:
    if last < first:
        return "it stands in the wrong place"
    return (
        f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    )


def _shown(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
