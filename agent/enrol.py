"""Making this workstation known: a typed code is proven, keys are exchanged and pinned."""

import platform
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import VERSION
from agent.door import Door, origin
from agent.settings import Enrolment, StateDir
from cardflow.enrolment import (
    EnrolmentAnswer,
    EnrolmentRequest,
    answer_proof,
    code_id,
    code_key,
    fingerprint_words,
    is_proof,
    request_proof,
)
from cardflow.errors import Refused
from cardflow.wire import from_json, to_json

CREATED = 201


async def enrol(state: StateDir, *, server: str, root_file: Path, code: str) -> str:
    """Leave the workstation enrolled and waiting for confirmation; return its six words."""
    if state.enrolment_file.exists():
        raise Refused(f"{state.path} is enrolled already; --anew forgets that and its device key")
    state.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = state.device_key()
    public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    request = _request(origin(server), code, public_key)
    async with Door(server, root_file, key, keyid=request.public_key) as door:
        answer = await door.send("POST", "/agent/v1/enrolments", to_json(request))
    if answer.status != CREATED:
        raise Refused(answer.detail)
    agreed = from_json(EnrolmentAnswer, answer.body)
    if not is_proof(answer_proof(code_key(code), request, agreed), agreed.proof):
        raise Refused("the answer was not made by a server that knows the code: nothing was kept")
    shutil.copyfile(root_file, state.root_file)  # no failpoint: enrolled anew, it is copied again
    state.keep(Enrolment(request.server, agreed.agent_id, agreed.issuer, agreed.job_key))
    return fingerprint_words(public_key)


def words_of(state: StateDir) -> str:
    """Return the six words of this workstation's key."""
    public_key = state.device_key().public_key()
    return fingerprint_words(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _request(server: str, code: str, public_key: bytes) -> EnrolmentRequest:
    request = EnrolmentRequest(
        code_id=code_id(code),
        public_key=public_key.hex(),
        host=socket.gethostname()[:200],
        system=platform.platform()[:200],
        version=VERSION,
        server=server,
    )
    return replace(request, proof=request_proof(code_key(code), request))
