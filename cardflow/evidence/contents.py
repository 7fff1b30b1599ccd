"""Reading a pack that anybody may have made: bounded, never written to disk, parsed on demand."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import IO, Any, TypeVar

from cardflow import checkpoints, decisions
from cardflow.chain import Link
from cardflow.checkpoints import Checkpoint
from cardflow.errors import Refused
from cardflow.evidence.archive import MANIFEST, TITLE
from cardflow.evidence.record import DocumentFacts, Happened, Inclusion, happened
from cardflow.evidence.roots import Roots
from cardflow.model import Action, UpdateInput
from cardflow.wire import from_json, parsed

LARGEST_MEMBER = 64 * 1024 * 1024
MOST_MEMBERS = 10_000
UNREADABLE = (
    Refused, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError,
    zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError,
)  # fmt: skip

Objections = list[str]
Named = tuple[str, Callable[[], Objections]]  # a check: what it is called, and what makes it

T = TypeVar("T")


@dataclass(frozen=True)
class Tied:
    """An entry with what ties it: the hash before, its own, and its place under a checkpoint."""

    number: int
    previous: str
    hash: str
    inclusion: Inclusion


class Contents:
    """The members of a pack, and what they say; a member that is missing is refused by name."""

    def __init__(self, file: IO[bytes], roots: Roots) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except UNREADABLE as error:
            raise Refused("it is not a ZIP that can be read") from error
        self.roots = roots
        self.listed = [info.filename for info in self._zip.infolist()]
        if len(self.listed) > MOST_MEMBERS:
            raise Refused(f"it has more than {MOST_MEMBERS} members")

    def read(self, name: str) -> bytes:
        """Return a member's bytes."""
        if name not in self._zip.NameToInfo:
            raise Refused(f"{name} is missing")
        if self._zip.getinfo(name).file_size > LARGEST_MEMBER:
            raise Refused(f"{name} is larger than {LARGEST_MEMBER} bytes")
        try:
            return self._zip.read(name)
        except (RuntimeError, OSError, zlib.error, struct.error) as error:
            # Encrypted, or packed in a way that is none: no pack was made like that.
            raise Refused(f"{name} cannot be unpacked") from error

    def text(self, name: str) -> str:
        """Return a member's text."""
        return self.read(name).decode()

    def json(self, name: str) -> Any:
        """Return a member's JSON."""
        return parsed(self.read(name))

    def below(self, folder: str, suffix: str = "") -> list[str]:
        """Return the names of the members in a folder, in order."""
        found = (n for n in self.listed if n.startswith(f"{folder}/") and n.endswith(suffix))
        return sorted(set(found))

    @cached_property
    def manifest(self) -> dict[str, str]:
        """The digests (hex) of the members, by name."""
        lines = self.text(MANIFEST).splitlines()[1:]
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}

    @cached_property
    def title(self) -> tuple[str, datetime]:
        """Which update the pack is about, and up to when."""
        title, update_id, as_of = self.text(MANIFEST).splitlines()[0].rsplit(" ", 2)
        if title != TITLE:
            raise Refused(f"{MANIFEST} does not begin with {TITLE}")
        return update_id, datetime.fromisoformat(as_of)

    @cached_property
    def update(self) -> UpdateInput:
        """What the update was opened with."""
        return from_json(UpdateInput, self.json("update.json"))

    @cached_property
    def tied(self) -> list[Tied]:
        """Every entry's ties, in order."""
        return [_tied(line.split(" ")) for line in self.text("audit/links.txt").splitlines()]

    @cached_property
    def story(self) -> list[Happened]:
        """What the entries say, in order."""
        told = {int(name[6:-5]): self.text(name) for name in self.below("audit", ".json")}
        return happened(_link(number, text) for number, text in sorted(told.items()))

    @cached_property
    def tokens(self) -> dict[str, str]:
        """The actions' tokens, by member."""
        return {name: self.text(name) for name in self.below("actions", ".jws")}

    def action(self, name: str) -> Action:
        """Return an action whose signature counts."""
        token = self.tokens[name]
        return self.under_a_root(lambda root: decisions.read(token, root))

    @cached_property
    def actions(self) -> dict[str, Action]:
        """Return the actions whose signatures count, by token."""
        found = {}
        for name, token in self.tokens.items():
            try:
                found[token] = self.action(name)
            except UNREADABLE:
                continue  # the check of that action says why
        return found

    @cached_property
    def documents(self) -> list[DocumentFacts]:
        """The records of the documents."""
        return [from_json(DocumentFacts, facts) for facts in self.json("documents/index.json")]

    def checkpoint(self, number: int) -> Checkpoint:
        """Return a checkpoint whose signature counts."""
        token = self.text(f"checkpoints/{number:08}.jws")
        return self.under_a_root(lambda root: checkpoints.read(token, root))

    def under_a_root(self, read: Callable[[str], T]) -> T:
        """Return what one of the decision roots vouches for, or raise Refused."""
        refusal = Refused("no decision root was given")
        for root in self.roots.decision:
            try:
                return read(root)
            except Refused as refused:
                refusal = refused
        raise refusal


def _tied(words: list[str]) -> Tied:
    number, previous, own, checkpoint, index, size, *path = words
    inclusion = Inclusion(int(number), int(checkpoint), int(index), int(size), tuple(path))
    return Tied(int(number), previous, own, inclusion)


def _link(number: int, text: str) -> Link:
    told = parsed(text)
    at = datetime.fromisoformat(told["at"])
    return Link(
        number, at, told["kind"], told["update_id"], told["event"], told["actor"], text, "", ""
    )
