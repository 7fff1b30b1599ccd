"""Takes uploads apart, in a process of its own: what breaks a parser breaks nothing else.

Each file has a process, with no key, no environment and, once it starts to parse, no way to open
a file or a connection. What it answers is believed only as far as ``intake`` checks it.
"""

from dataclasses import dataclass, field
from typing import Final

READY: Final = b"ready"  # said before the first byte is parsed: what ends later is the file's doing
LONGEST_ORDER: Final = 65536
ANSWER_BYTES: Final = 64 * 1024
PICTURE_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one upload may cost."""

    max_bytes: int = 20 * 1024 * 1024
    max_pages: int = 10
    max_pixels: int = 60_000_000
    max_objects: int = 50_000  # parts of a PDF; a signed form has about a thousand
    cpu_seconds: int = 4
    memory_bytes: int = 512 * 1024 * 1024
    wall_seconds: float = 20


@dataclass(frozen=True)
class Trust:
    """What electronic signatures are judged by; without it they are not looked for."""

    roots: list[str]  # PEM, of those who certify holders
    intermediates: list[str]
    crls: list[str]  # DER, base64: of every authority on the way
    stamp_roots: list[str] = field(default_factory=list)  # PEM, of time-stamping authorities


@dataclass(frozen=True)
class SignatureSeen:
    """An electronic signature over everything that the file shows."""

    certificate_pem: str
    signed_at: str  # RFC 3339, as the signer's clock said; empty: it did not say
    stamped_at: str  # as a known time-stamping authority said
    has_stamp: bool  # by whomever
    known_issuer: bool
    trusted: bool  # the certificate was good, by roots and CRLs
    problem: str  # why not: an indication of ETSI EN 319 102-1
    signatures: int  # how many there are


@dataclass(frozen=True)
class Examined:
    """What was found in a file that can be shown to people."""

    media_type: str
    pages: int
    codes: list[str] = field(default_factory=list)  # the text of every QR code
    notes: list[str] = field(default_factory=list)
    signature: SignatureSeen | None = None
