"""Signed actions: only what this organisation's keys signed counts, exactly as it was signed."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow import decisions
from cardflow.errors import Refused
from cardflow.model import Act, DocumentKind, Mode, Role, UpdateState, Verdict
from cardflow.wire import to_json
from tests import build

NOW = datetime.now(UTC)
ROOT = decisions.root_hex(build.root().public_key())
UPDATE = build.an_update(build.a_policy(build.an_entry("logon", Mode.BOTH)), opened_at=NOW)
ACTION = build.an_action(
    UPDATE,
    Act.DECIDE_DOCUMENT,
    build.OPERATOR,
    Role.OPERATOR,
    lane="logon",
    verdict=Verdict.REJECT,
    reason="unsigned: ünterschrift",
    document=build.a_document(DocumentKind.REQUEST_FORM),
    visit=build.a_visit(),
)


def encoded(part):
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def header(**changes):
    chain = [base64.b64encode(build.signer().certificate.public_bytes(decisions.Encoding.DER))]
    return {
        "alg": "EdDSA",
        "typ": decisions.TYPE,
        "x5c": [chain[0].decode()],
        **changes,
    }


def a_token(head=None, claims=None, key=None):
    """Return a token made by hand, with a right signature unless ``key`` is another one."""
    signed = f"{encoded(head or header())}.{encoded(claims or to_json(ACTION))}"
    signature = (key or build.signer().key).sign(signed.encode())
    return f"{signed}.{encoded(signature)}"


def refusal(token, root=ROOT):
    with pytest.raises(Refused) as refused:
        decisions.read(token, root)
    return str(refused.value)


def test_an_action_comes_back_from_its_token_as_it_was():
    assert decisions.read(build.signer().sign(ACTION), ROOT) == ACTION
    assert decisions.peek(build.signer().sign(ACTION)) == ACTION
    assert decisions.read(a_token(), ROOT) == ACTION


def test_a_certificate_of_no_known_version_is_refused():
    der = build.of_version_60(build.signer().certificate.public_bytes(decisions.Encoding.DER))
    token = a_token(header(x5c=[base64.b64encode(der).decode()]))

    assert refusal(token) == "the token's certificate cannot be read"


def test_signing_keys_change_without_touching_what_is_open():
    later = decisions.issue_signer(build.root(), now=NOW)

    assert decisions.read(later.sign(ACTION), ROOT) == ACTION


@pytest.mark.parametrize(
    "token",
    ["", "a.b", "a.b.c.d", "x" * (decisions.MAX_TOKEN + 1), "." * 5],
)
def test_what_is_no_token_is_refused(token):
    assert refusal(token) == "the action carries no token of this system"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("a.b.c", "the token is not base64url"),
        ("é.b.c", "the token is not base64url"),
        (f"{encoded(b'no')}.{encoded(b'no')}.x", "the token is not JSON"),
        (f"{encoded([])}.{encoded([])}.x", "the token is not a JSON object"),
        (a_token(header(typ="JWT")), "the token is not a signed action"),
        (a_token(header(alg="none")), "the token is not a signed action"),
        (a_token(header(alg="HS256")), "the token is not a signed action"),
        (a_token(header(x5c=[])), "the token brings no certificate"),
        (a_token(header(x5c="abc")), "the token brings no certificate"),
        (a_token(header(x5c=[7])), "the token brings no certificate"),
        (a_token(header(x5c=["!"])), "the token's certificate cannot be read"),
        (a_token(header(x5c=["AAAA"])), "the token's certificate cannot be read"),
        (
            a_token(key=Ed25519PrivateKey.generate()),
            "the token's signature is wrong",
        ),
    ],
)
def test_a_token_made_otherwise_is_refused(token, reason):
    assert refusal(token) == reason


def test_every_changed_sign_of_a_token_is_noticed():
    token = build.signer().sign(ACTION)
    for position in range(0, len(token), 7):
        sign = "A" if token[position] != "A" else "B"
        changed = token[:position] + sign + token[position + 1 :]
        with pytest.raises(Refused):
            decisions.read(changed, ROOT)


def test_a_signature_cannot_be_moved_to_another_action():
    head, _, signature = build.signer().sign(ACTION).split(".")
    other = encoded(to_json(replace(ACTION, verdict=Verdict.APPROVE)))

    assert refusal(f"{head}.{other}.{signature}") == "the token's signature is wrong"


def test_a_key_under_another_root_decides_nothing():
    foreign = decisions.issue_signer(Ed25519PrivateKey.generate(), now=NOW)

    words = "the token's signing key does not belong to this organisation"
    assert refusal(foreign.sign(ACTION)) == words
    assert refusal(build.signer().sign(ACTION), root="00" * 32) == words
    assert refusal(build.signer().sign(ACTION), root="not hex") == words


@pytest.mark.parametrize("days", [-1, 398])
def test_a_key_decides_only_while_its_certificate_is_valid(days):
    action = replace(ACTION, at=NOW + timedelta(days=days))
    signer = decisions.issue_signer(build.root(), now=NOW)

    assert "was not valid when the action was taken" in refusal(signer.sign(action))


def test_a_certificate_for_another_kind_of_key_is_refused():
    name = decisions.NAME
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(build.root(), None)
    )
    der = base64.b64encode(certificate.public_bytes(decisions.Encoding.DER)).decode()

    assert refusal(a_token(header(x5c=[der]))) == "the token's signing key is of another kind"


@pytest.mark.parametrize(
    "change",
    [{"at": "yesterday"}, {"act": "bribe"}, {"pin": "1234"}, {"revision": "1"}, {"role": None}],
)
def test_claims_that_are_no_action_are_refused_by_name(change):
    claims = {**to_json(ACTION), **change}

    assert f"Action.{next(iter(change))}" in refusal(a_token(claims=claims))


def test_the_opening_covers_the_whole_input_but_the_token_itself():
    digest = decisions.opening_digest(UPDATE)

    assert decisions.opening_digest(replace(UPDATE, token="x", resumed=UpdateState())) == digest
    for change in (
        {"holder_id": "eve"},
        {"plan": replace(UPDATE.plan, lanes=())},
        {"policy": replace(UPDATE.policy, version=2)},
        {"ca": "other"},
        {"decision_root": "00"},
        {"opened_at": NOW + timedelta(seconds=1)},
    ):
        assert decisions.opening_digest(replace(UPDATE, **change)) != digest


def test_a_token_has_room_for_the_longest_reason_in_any_alphabet():
    token = build.signer().sign(replace(ACTION, reason="Ж" * 1_000))

    assert decisions.read(token, ROOT).reason == "Ж" * 1_000


def test_the_clock_outside_workflows_knows_its_zone():
    assert decisions.utc_now().utcoffset() == timedelta(0)
