"""A ring of symmetric keys: the current one writes, every one reads, so keys rotate in peace.

The file is JSON: ``{"current": "<key id>", "keys": {"<key id>": "<base64 of 32 bytes>"}}``.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cardflow.errors import Refused
from cardflow.secret_files import read_secret

KEY_BYTES = 32


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
        if key_id in self.keys:
            raise Refused(f"the key ring already holds a key {key_id}")
        return KeyRing(key_id, {**self.keys, key_id: secrets.token_bytes(KEY_BYTES)})

    def dump(self) -> bytes:
        """Return the file's content."""
        keys = {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}
        return json.dumps({"current": self.current, "keys": keys}, indent=1).encode()

    def key(self, key_id: str) -> bytes:
        """Return one key, or refuse with what to do about its absence."""
        if key_id not in self.keys:
            raise Refused(
                f"the key ring holds no key {key_id!r}; add it back to read what it wrote"
            )
        return self.keys[key_id]


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError
    return key
