"""Checkpoints: how far the audit chain reached at an instant, under the organisation's signature.

A chain alone shows neither that its end was cut off nor that all of it was made anew. A checkpoint
that left the house shows both. Each names the one before it, and carries the root of a tree over
the entries in between, so that a single entry is proven without showing the others.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cardflow.decisions import Signer, claims_of, unseal
from cardflow.errors import Refused
from cardflow.wire import from_json, to_json

TYPE = "cardflow-checkpoint+jws"


@dataclass(frozen=True)
class Checkpoint:
    """The last entry, when it was signed, how many entries since the checkpoint before, which one.

    ``token`` carries all of this and is not part of what is signed.
    """

    number: int
    hash: str
    at: datetime
    count: int
    previous: str  # SHA-256 of the token of the checkpoint before, or zeros
    tree: str  # root over the hashes of the entries since then
    token: str = ""

    @property
    def since(self) -> int:
        """The last entry that the checkpoint before covered."""
        return self.number - self.count

    @property
    def sha256(self) -> str:
        """The digest by which the next checkpoint names this one."""
        return hashlib.sha256(self.token.encode()).hexdigest()


@dataclass(frozen=True)
class Finding:
    """What is wrong at one entry of the chain."""

    number: int
    reason: str


def sign(checkpoint: Checkpoint, signer: Signer) -> Checkpoint:
    """Return the checkpoint under the signature of a decision key."""
    claims = {name: value for name, value in to_json(checkpoint).items() if name != "token"}
    return replace(checkpoint, token=signer.seal(TYPE, claims))


def read(token: str, root: str) -> Checkpoint:
    """Return the checkpoint that a token carries, or raise Refused with why it does not count."""
    opened = unseal(token, root, TYPE)
    checkpoint = from_json(Checkpoint, opened.claims)
    opened.refuse_unless_valid(checkpoint.at)
    return replace(checkpoint, token=token)


def read_all(tokens: Iterable[str], root: str) -> tuple[list[Checkpoint], list[Finding]]:
    """Return what counts among the tokens, each once, and what is wrong with the others."""
    good, bad = [], []
    for token in dict.fromkeys(tokens):
        try:
            good.append(read(token, root))
        except Refused as refused:
            bad.append(Finding(_claimed_number(token), f"its checkpoint does not count: {refused}"))
    return good, bad


def _claimed_number(token: str) -> int:
    try:
        number = claims_of(token).get("number")
    except Refused:
        return 0
    return number if isinstance(number, int) else 0
