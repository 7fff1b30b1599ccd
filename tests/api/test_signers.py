"""Which certificate on a card signs: ours, valid, with its key, and the fittest of those."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.signers import best_signer
from cardflow.model import CertificateKind, Profile, Purpose
from tests.build import a_profile, an_old_certificate

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


def kind(name: str, purpose: Purpose, *usage: str) -> Profile:
    return replace(a_profile(name, purpose=purpose), key_usage=usage)


PROFILES = {
    profile.name: profile
    for profile in (
        kind("logon", Purpose.AUTHENTICATION, "digitalSignature"),
        kind("mail", Purpose.SIGNATURE, "digitalSignature"),
        kind("documents", Purpose.SIGNATURE, "contentCommitment"),
        kind("secrets", Purpose.ENCRYPTION, "keyEncipherment", "digitalSignature"),
        kind("agreement", Purpose.AUTHENTICATION, "keyAgreement"),
    )
}


def on_card(*profiles: str):
    return [an_old_certificate(profile, not_after=LATER) for profile in profiles]


@pytest.mark.parametrize(
    ("profiles", "best"),
    [
        (["logon"], "logon"),
        (["logon", "mail"], "mail"),
        (["documents", "mail", "logon"], "documents"),
        (["secrets", "logon"], "logon"),
    ],
)
def test_the_fittest_certificate_signs(profiles, best) -> None:
    found = best_signer(on_card(*profiles), PROFILES, NOW)
    assert found is not None
    assert found.profile == best


def test_of_two_that_are_as_fit_the_one_that_lasts_longer_signs() -> None:
    old, new = on_card("logon", "logon")
    new = replace(new, not_after=LATER + timedelta(days=1))
    assert best_signer([new, old], PROFILES, NOW) == new


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": CertificateKind.THIRD_PARTY},
        {"kind": CertificateKind.TRACKED},
        {"has_key": False},
        {"revoked": True},
        {"not_after": NOW},
        {"not_before": NOW + timedelta(seconds=1)},
        {"profile": "unknown"},
        {"profile": "secrets"},
        {"profile": "agreement"},
    ],
)
def test_what_cannot_sign_or_is_not_ours_never_signs(changes) -> None:
    (one,) = on_card("mail")
    assert best_signer([one], PROFILES, NOW) is not None
    assert best_signer([replace(one, **changes)], PROFILES, NOW) is None


def test_an_empty_card_signs_nothing() -> None:
    assert best_signer([], PROFILES, NOW) is None
