"""Jobs as agents take them: signed by the server's job key, for one agent, for five minutes."""

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from cardflow.jobs import Job, JobKind
from cardflow.wire import to_json

TYPE = "cardflow-job+jwt"
ALGORITHM = "Ed25519"  # RFC 9864; the older name EdDSA leaves the curve open
LIFETIME = timedelta(minutes=5)


class JobSigner:
    """Signs as the agent door at ``door_url``."""

    def __init__(self, key: Callable[[], Ed25519PrivateKey], door_url: str) -> None:
        self._key = key  # as it is when a job is signed
        self._issuer = door_url

    def sign(self, kind: JobKind, job: Job, *, agent_id: str, now: datetime) -> str:
        """Return the job as a compact JWS, RFC 7515."""
        claims = {
            "iss": self._issuer,
            "aud": agent_id,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": job.card.job_id,
            "kind": kind.value,
            "job": to_json(job),
        }
        header = {"alg": ALGORITHM, "typ": TYPE}
        return jwt.encode(header, claims, OKPKey.import_key(self._key()), algorithms=[ALGORITHM])
