"""The RFC 9421 profile of the agent door: one component list, one algorithm, short-lived.

A general library accepts what a message chose to cover. Here the signer has no choice: a
signature that covers less, in another order or with other parameters is refused unread.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cardflow.errors import Refused

TAG = "cardflow-agent-v1"
LIFETIME_SECONDS = 60
SKEW_SECONDS = 60
COMPONENTS = ("@method", "@authority", "@path", "@query", "content-digest", "content-type")
_COVERED = "(" + " ".join(f'"{name}"' for name in COMPONENTS) + ")"
_INPUT = re.compile(
    r"sig1=(?P<params>"
    + re.escape(_COVERED)
    + r";created=(?P<created>\d{1,12});expires=(?P<expires>\d{1,12})"
    r';nonce="(?P<nonce>[A-Za-z0-9_-]{22,64})";keyid="(?P<keyid>[A-Za-z0-9_:.-]{1,128})"'
    rf';alg="ed25519";tag="{TAG}")',
    re.ASCII,
)
_SIGNATURE = re.compile(r"sig1=:(?P<base64>[A-Za-z0-9+/]{86}==):")


@dataclass(frozen=True)
class Verified:
    """Who signed a request; the caller still has to see to it that the nonce is new."""

    keyid: str
    nonce: str


def sign(
    method: str,
    url: str,
    body: bytes,
    content_type: str,
    *,
    key: Ed25519PrivateKey,
    keyid: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers that make the request acceptable to ``verify`` for the next minute."""
    parts = urlsplit(url)
    created = int(now.timestamp())
    params = (
        f"{_COVERED};created={created};expires={created + LIFETIME_SECONDS}"
        f';nonce="{secrets.token_urlsafe(16)}";keyid="{keyid}";alg="ed25519";tag="{TAG}"'
    )
    digest = content_digest(body)
    authority = _authority(parts.scheme, parts.hostname or "", parts.port)
    values = (method, authority, parts.path or "/", f"?{parts.query}", digest, content_type)
    signature = key.sign(signature_base(list(zip(COMPONENTS, values, strict=True)), params))
    return {
        "Content-Type": content_type,
        "Content-Digest": digest,
        "Signature-Input": f"sig1={params}",
        "Signature": f"sig1=:{base64.b64encode(signature).decode()}:",
    }


def verify(  # noqa: PLR0917 (the covered components, in their order)
    method: str,
    authority: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    public_key_for: Callable[[str], Ed25519PublicKey],
    now: datetime,
) -> Verified:
    """Return who signed the request, or refuse it with the reason.

    ``path`` and ``query`` are as on the wire, the query without its question mark; repeated header
    lines must be joined with a comma. ``public_key_for`` raises ``Refused`` for an unknown key id.
    """
    present = {name.lower(): value.strip() for name, value in headers.items()}
    found = _INPUT.fullmatch(present.get("signature-input", ""))
    signature = _SIGNATURE.fullmatch(present.get("signature", ""))
    if found is None or signature is None:
        raise Refused("the request is not signed in the way of the agent door")
    _check_times(int(found["created"]), int(found["expires"]), int(now.timestamp()))
    if present.get("content-digest") != content_digest(body):
        raise Refused("the content digest does not fit the body")
    if not present.get("content-type"):
        raise Refused("the content type is missing")
    values = (method, authority.lower(), path, f"?{query}", present["content-digest"])
    covered = list(zip(COMPONENTS, (*values, present["content-type"]), strict=True))
    try:
        public_key_for(found["keyid"]).verify(
            base64.b64decode(signature["base64"]), signature_base(covered, found["params"])
        )
    except InvalidSignature:
        raise Refused("the signature does not fit the request") from None
    return Verified(found["keyid"], found["nonce"])


def content_digest(body: bytes) -> str:
    """Return the RFC 9530 Content-Digest of ``body``."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(components: Sequence[tuple[str, str]], params: str) -> bytes:
    """Return the bytes that are signed (RFC 9421 2.5); ``params`` stands as it was sent."""
    lines = [f'"{name}": {value}' for name, value in components]
    if any("\n" in line or "\r" in line for line in lines):
        raise Refused("a signed component contains a line break")
    return "\n".join([*lines, f'"@signature-params": {params}']).encode()


def _check_times(created: int, expires: int, now: int) -> None:
    if not created < expires <= created + LIFETIME_SECONDS:
        raise Refused(f"the signature must expire within {LIFETIME_SECONDS} seconds")
    if created > now + SKEW_SECONDS:
        raise Refused("the signature was made in the future: the workstation's clock is ahead")
    if expires < now - SKEW_SECONDS:
        raise Refused("the signature has expired: the workstation's clock may be behind")


def _authority(scheme: str, host: str, port: int | None) -> str:
    """Return the normalised authority (RFC 9421 2.2.3): lower case, no default port."""
    name = f"[{host}]" if ":" in host else host.lower()
    default = {"https": 443, "http": 80}.get(scheme)
    return name if port in (None, default) else f"{name}:{port}"
