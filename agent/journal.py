"""What the agent remembers between visits: the CSRs it has sent. A hint; the card is the truth.

ECDSA signatures differ each time, so only the stored bytes make a repeat equal to the first answer.
"""

import errno
import json
import os
from pathlib import Path

from cardflow.failpoints import effect


class Journal:
    """An append-only file of the agent's own account; each line is on disk before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def csr(self, cka_id: str, spki_sha256: str) -> str:
        """Return the CSR made with this key before; empty when there is none."""
        for entry in self._entries():
            if (entry.get("cka_id"), entry.get("spki_sha256")) == (cka_id, spki_sha256):
                return str(entry.get("csr_pem", ""))
        return ""

    def keep_csr(self, cka_id: str, spki_sha256: str, csr_pem: str) -> None:
        """Leave the CSR on disk, or raise OSError."""
        entry = {"cka_id": cka_id, "spki_sha256": spki_sha256, "csr_pem": csr_pem}
        line = json.dumps(entry, separators=(",", ":")).encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with effect("helper.journal"):
                # The line break comes first: it ends whatever a crash left of the line before.
                text = b"\n" + line + b"\n"
                if os.write(descriptor, text) != len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _entries(self) -> list[dict[str, object]]:
        if not self._path.exists():
            return []
        entries = []
        for line in self._path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short by a crash: it was never answered with
            if isinstance(entry, dict):
                entries.append(entry)
        return entries
