"""What an agent claims is believed only as far as its proofs go, whatever it sends."""

from dataclasses import replace

import pytest

from cardflow import proofs
from cardflow.jobs import PreparedKey, WriteProof
from cardflow.model import Lane
from tests import build
from tests.db.rows import NOW, a_certificate_pem

UPDATE = build.an_update(build.a_policy(build.an_entry("logon")), opened_at=NOW)
PEM = a_certificate_pem()
LANE = Lane(UPDATE.plan.lanes[0], certificate_pem=PEM, certificate_sha256="ab" * 32)
PROOF = WriteProof("logon", LANE.plan.cka_id, PEM, "AAAA")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"certificate_pem": "no certificate"}, "the proof cannot be read"),
        ({"signature": "not base64!"}, "the proof cannot be read"),
        ({"signature": "über"}, "the proof cannot be read"),
        ({"cka_id": "00"}, "the certificate was written under another id than was ordered"),
        (
            {"certificate_pem": a_certificate_pem()},
            "the certificate read back from the card is not the one that was issued",
        ),
        ({}, "the key on the card did not sign the proof"),
    ],
)
def test_a_proof_that_shows_nothing_is_told_what_is_wrong(changes, reason):
    proof = replace(PROOF, **changes)

    assert proofs.write_objections(LANE, proof, nonce="00" * 32, token_serial="1") == [reason]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (PreparedKey("logon", "00", ""), "the key is filed under another id than was ordered"),
        (PreparedKey("logon", LANE.plan.cka_id, "über"), "exactly one PEM block"),
    ],
)
def test_a_key_that_was_not_ordered_or_cannot_be_read_is_refused(key, reason):
    (objection,) = proofs.key_objections(LANE, key)

    assert reason in objection
