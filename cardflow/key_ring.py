"""A ring of symmetric keys: the current one writes, every one reads, so keys rotate in peace.

The file is JSON: ``{"current": "<key id>", "keys": {"<key id>": "<base64 of 32 bytes>"}}``.
"""

import base64
import json
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cardflow.errors import Refused
from cardflow.secret_files import read_secret, write_secret

KEY_BYTES = 32

log = logging.getLogger(__name__)


class Ring(Protocol):
    """What whoever encrypts or decrypts needs of a ring."""

    @property
    def current(self) -> str: ...

    @property
    def keys(self) -> Mapping[str, bytes]: ...

    def key(self, key_id: str) -> bytes: ...


@dataclass(frozen=True)
class KeyRing:
    """Keys by id; a key's id travels with what the key protects."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Return the ring kept in ``path``."""
        try:
            stored = json.loads(read_secret(path))
            keys = {str(key_id): _key(text) for key_id, text in stored["keys"].items()}
            ring = cls(str(stored["current"]), keys)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # The cause may quote the file.
            raise Refused(f"{path} is not a key ring; make it anew or restore it") from None
        if ring.current not in keys:
            raise Refused(f"{path} names a current key that it does not hold")
        return ring

    @classmethod
    def generate(cls, key_id: str = "1") -> "KeyRing":
        """Return a ring of one new key."""
        return cls(key_id, {key_id: secrets.token_bytes(KEY_BYTES)})

    def rotated(self, key_id: str) -> "KeyRing":
        """Return a ring that writes with a new key and still reads with the old ones."""
        return self.with_key(key_id).using(key_id)

    def with_key(self, key_id: str) -> "KeyRing":
        """Return a ring that reads with one more, new key, and writes with the key it had."""
        if key_id in self.keys:
            raise Refused(f"the key ring already holds a key {key_id}")
        return KeyRing(self.current, {**self.keys, key_id: secrets.token_bytes(KEY_BYTES)})

    def using(self, key_id: str) -> "KeyRing":
        """Return a ring that writes with this key of its own."""
        self.key(key_id)
        return KeyRing(key_id, self.keys)

    def without(self, key_id: str) -> "KeyRing":
        """Return a ring that has forgotten a key, for ever; never the one that writes."""
        self.key(key_id)
        if key_id == self.current:
            raise Refused(f"key {key_id} is the current one; rotate first")
        return KeyRing(self.current, {k: v for k, v in self.keys.items() if k != key_id})

    def dump(self) -> bytes:
        """Return the file's content."""
        keys = {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}
        return json.dumps({"current": self.current, "keys": keys}, indent=1).encode()

    def save(self, path: Path) -> None:
        """Leave the ring in ``path``, whole or not at all; who reads meanwhile reads the old."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        write_secret(fresh, self.dump())
        if path.exists():
            owner = path.stat()
            os.chown(fresh, owner.st_uid, owner.st_gid)  # root rotates, Cardflow's account reads
        fresh.replace(path)

    def key(self, key_id: str) -> bytes:
        """Return one key, or refuse with what to do about its absence."""
        if key_id not in self.keys:
            raise Refused(
                f"the key ring holds no key {key_id!r}; add it back to read what it wrote"
            )
        return self.keys[key_id]


Look = tuple[int, int, int]


class KeyFile:
    """The ring in a file, read again once the file has changed: keys rotate under what runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = look(path)
        self._ring = KeyRing.load(path)

    @property
    def current(self) -> str:
        return self._fresh().current

    @property
    def keys(self) -> Mapping[str, bytes]:
        return self._fresh().keys

    def key(self, key_id: str) -> bytes:
        """Return one key, or refuse with what to do about its absence."""
        return self._fresh().key(key_id)

    def _fresh(self) -> KeyRing:
        if (found := look(self._path)) != self._seen:
            self._seen = found
            try:
                self._ring = KeyRing.load(self._path)
            except Refused as refused:
                log.error("%s; going on with the keys read before", refused)  # noqa: TRY400
        return self._ring


def look(path: Path) -> Look | None:
    """Return what is another once the file has changed; None where it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError
    return key
