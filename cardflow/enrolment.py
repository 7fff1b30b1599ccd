"""How a workstation becomes known: a one-time code that is proven, never sent, and six words.

Both sides know the code; whoever sits between them does not. So both put an HMAC under a key
derived from the code over what they say, and a swapped key is noticed on either side.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass

from cardflow.errors import Refused
from cardflow.wire import to_json
from cardflow.words import WORDS

CODE_BYTES = 16
_CODE = re.compile(r"[A-Z2-7]{26}")


@dataclass(frozen=True)
class EnrolmentRequest:
    """What a workstation says of itself; ``POST /agent/v1/enrolments``, signed by its device key.

    The request's key id is ``public_key``. ``proof`` is empty while it is being computed.
    """

    code_id: str
    public_key: str  # raw Ed25519, hex
    host: str
    system: str
    version: str
    server: str  # the origin that the person typed: a code cannot be used up at another server
    proof: str = ""


@dataclass(frozen=True)
class EnrolmentAnswer:
    """What the server answers (201): who the agent is, and the key that will sign its jobs."""

    agent_id: str
    issuer: str  # the server's origin, ``iss`` of every job
    job_key: str  # raw Ed25519, hex
    proof: str = ""


def new_code() -> str:
    """Return a code of 128 random bits, grouped so that a person can type it."""
    text = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode().rstrip("=")
    return "-".join(text[at : at + 5] for at in range(0, len(text), 5))


def code_bytes(code: str) -> bytes:
    """Return what a typed code says; case, spaces and hyphens do not matter."""
    text = re.sub(r"[\s-]", "", code).upper()
    if not _CODE.fullmatch(text):
        raise Refused("an enrolment code has 26 letters and digits, in groups of five")
    return base64.b32decode(text + "=" * 6)


def code_id(code: str) -> str:
    """Return the public name under which the server finds the code; it gives nothing away."""
    return hashlib.sha256(b"cardflow-enrolment-id\0" + code_bytes(code)).hexdigest()[:32]


def code_key(code: str) -> bytes:
    """Return the key that proves knowledge of the code; the server stores this, not the code."""
    return hashlib.sha256(b"cardflow-enrolment-key\0" + code_bytes(code)).digest()


def request_proof(key: bytes, request: EnrolmentRequest) -> str:
    """Return the HMAC (hex) under the code over everything the workstation says."""
    return _proof(key, "request", request)


def answer_proof(key: bytes, request: EnrolmentRequest, answer: EnrolmentAnswer) -> str:
    """Return the HMAC (hex) under the code over the answer and the request it belongs to."""
    return _proof(key, "answer", request, answer)


def is_proof(expected: str, given: str) -> bool:
    """Compare two proofs in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode())


def fingerprint_words(public_key: bytes) -> str:
    """Return six words for a device key, for a person to compare on two screens."""
    digest = hashlib.sha256(b"cardflow-device-key\0" + public_key).digest()
    return " ".join(WORDS[byte] for byte in digest[:6])


def _proof(key: bytes, what: str, *said: EnrolmentRequest | EnrolmentAnswer) -> str:
    parts = [{**to_json(part), "proof": ""} for part in said]
    text = json.dumps([what, *parts], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
