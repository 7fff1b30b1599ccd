import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from agent.job_tokens import TYPE, verified_job
from agent.settings import Enrolment
from cardflow.errors import Refused
from cardflow.jobs import CardJob, InspectJob, JobKind
from cardflow.wire import to_json

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
ENROLMENT = Enrolment("https://cards.example", "agent-1", "https://cards.example", PUBLIC.hex())
JOB = InspectJob(CardJob("job-1", JobKind.INSPECT, "u", "c", "serial", "v", "code"))
CLAIMS = {
    "iss": "https://cards.example",
    "aud": "agent-1",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 300,
    "jti": "job-1",
    "kind": "inspect",
    "job": to_json(JOB),
}


def signed(claims, *, key=KEY, typ=TYPE):
    header = {"alg": "Ed25519", "typ": typ}
    return jwt.encode(header, claims, OKPKey.import_key(key), algorithms=["Ed25519"])


def test_a_job_of_the_pinned_server_is_believed():
    assert verified_job(signed(CLAIMS), ENROLMENT, now=NOW) == JOB


def with_card(**changes):
    return {"job": {"card": to_json(JOB.card) | changes}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, "another server"),
        ({"aud": "agent-2"}, "another agent"),
        ({"aud": ["agent-1", "agent-2"]}, "another agent"),
        ({"exp": CLAIMS["iat"] - 1}, "longer than a job may"),
        ({"exp": CLAIMS["iat"] + 3600}, "longer than a job may"),
        ({"exp": "never"}, "no numbers"),
        ({"iat": True}, "no numbers"),
        ({"iat": CLAIMS["iat"] + 120, "exp": CLAIMS["exp"] + 120}, "future"),
        ({"jti": "job-2"}, "envelope"),
        ({"kind": "run_command"}, "does not know"),
        ({"kind": "format_card"}, "does not know"),
        ({"kind": ["inspect"]}, "does not know"),
        ({"kind": "prepare"}, "missing"),
        ({"nbf": 0}, "not the ones agreed on"),
        (with_card(module="/tmp/evil.so"), "unknown field"),
        (with_card(kind="prepare"), "another kind"),
        (with_card(token_serial=None), "text is expected"),
        ({"job": "inspect"}, "an object is expected"),
    ],
)
def test_a_job_that_is_not_as_agreed_is_refused(changes, reason):
    with pytest.raises(Refused, match=reason):
        verified_job(signed(CLAIMS | changes), ENROLMENT, now=NOW)


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_no_claim_may_be_missing(claim):
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    with pytest.raises(Refused, match="agreed on"):
        verified_job(signed(claims), ENROLMENT, now=NOW)


def test_a_job_expires():
    with pytest.raises(Refused, match="expired"):
        verified_job(signed(CLAIMS), ENROLMENT, now=NOW + timedelta(seconds=300))


def test_a_job_of_another_key_is_refused():
    with pytest.raises(Refused, match="pinned"):
        verified_job(signed(CLAIMS, key=Ed25519PrivateKey.generate()), ENROLMENT, now=NOW)


def test_a_token_of_another_type_is_refused():
    with pytest.raises(Refused, match="header"):
        verified_job(signed(CLAIMS, typ="JWT"), ENROLMENT, now=NOW)


def encoded(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("text", ["", "a.b.c", "{}", "ü", signed(CLAIMS)[:-4]])
def test_what_is_no_signed_token_is_refused(text):
    with pytest.raises(Refused, match="pinned"):
        verified_job(text, ENROLMENT, now=NOW)


def test_an_unsigned_token_is_refused():
    token = f"{encoded({'alg': 'none', 'typ': TYPE})}.{encoded(CLAIMS)}."
    with pytest.raises(Refused, match="pinned"):
        verified_job(token, ENROLMENT, now=NOW)


def test_the_public_key_cannot_be_used_as_a_shared_secret():
    header = {"alg": "HS256", "typ": TYPE}
    token = jwt.encode(header, CLAIMS, OctKey.import_key(PUBLIC), algorithms=["HS256"])
    with pytest.raises(Refused, match="pinned"):
        verified_job(token, ENROLMENT, now=NOW)


def test_a_broken_pin_believes_nothing():
    with pytest.raises(Refused, match="pinned"):
        verified_job(signed(CLAIMS), replace(ENROLMENT, job_key="zz"), now=NOW)
