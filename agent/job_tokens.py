"""A job is believed only if the pinned key signed it, for this agent, for now, closed in form."""

from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from agent.messages import read_job
from agent.settings import Enrolment
from cardflow.errors import Refused
from cardflow.jobs import Job

TYPE = "cardflow-job+jwt"
LONGEST_LIFE_SECONDS = 600
SKEW_SECONDS = 60
CLAIMS = {"iss", "aud", "iat", "exp", "jti", "kind", "job"}


class StrangersJob(Refused):
    """Another key signed the job than the one that is pinned."""


def verified_job(token: str, enrolment: Enrolment, *, now: datetime) -> Job:
    """Return the job that a compact JWS (RFC 7515) carries, or refuse it with the reason."""
    claims = _signed_claims(token, enrolment.job_key)
    if set(claims) != CLAIMS:
        raise Refused("the job's claims are not the ones agreed on")
    if claims["iss"] != enrolment.issuer:
        raise Refused("the job is from another server")
    if claims["aud"] != enrolment.agent_id:
        raise Refused("the job is for another agent")
    _check_times(claims["iat"], claims["exp"], int(now.timestamp()))
    job = read_job(claims["kind"], claims["job"])
    if job.card.job_id != claims["jti"]:
        raise Refused("the job's id is not the one in its envelope")
    return job


def _signed_claims(token: str, job_key: str) -> dict[str, Any]:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(job_key))
        found = jwt.decode(token, OKPKey.import_key(key), algorithms=["Ed25519"])
    except (JoseError, ValueError, TypeError, RecursionError):
        raise StrangersJob("the job is not signed by the server that was pinned") from None
    if found.header != {"alg": "Ed25519", "typ": TYPE}:
        raise Refused("the job's header is not the one agreed on")
    return dict(found.claims)


def _check_times(issued: Any, expires: Any, now: int) -> None:
    if not (type(issued) is int and type(expires) is int):
        raise Refused("the job's times are no numbers")
    if not issued < expires <= issued + LONGEST_LIFE_SECONDS:
        raise Refused("the job lives longer than a job may")
    if expires <= now:
        raise Refused("the job has expired")
    if issued > now + SKEW_SECONDS:
        raise Refused("the job was made in the future")
