"""One-time codes: those of RFC 6238, each once; and recovery codes."""

from datetime import UTC, datetime, timedelta
from math import log2

import pytest

from cardflow.second_factor import (
    ALPHABET,
    RECOVERY_CODES,
    code_at,
    new_recovery_codes,
    new_secret,
    recovery_digest,
    setup_uri,
    step_of,
)

SECRET = b"12345678901234567890"  # of RFC 6238, appendix B
NOW = datetime(2026, 3, 4, 10, 0, 10, tzinfo=UTC)
STEP = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(seconds, code):
    at = datetime.fromtimestamp(seconds, UTC)

    assert code_at(SECRET, at) == code
    assert step_of(SECRET, code, now=at, after=0, drift=1) == seconds // 30


@pytest.mark.parametrize(("drift", "counts"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_a_code_counts_one_step_early_or_late(drift, counts):
    code = code_at(SECRET, NOW + drift * STEP)

    assert (step_of(SECRET, code, now=NOW, after=0, drift=1) is not None) is counts


@pytest.mark.parametrize(("drift", "counts"), [(-1, False), (0, True), (1, False)])
def test_where_that_is_asked_for_a_code_counts_for_its_own_thirty_seconds(drift, counts):
    code = code_at(SECRET, NOW + drift * STEP)

    assert (step_of(SECRET, code, now=NOW, after=0, drift=0) is not None) is counts


def test_a_code_counts_once_and_no_earlier_one_after_it():
    step = step_of(SECRET, code_at(SECRET, NOW), now=NOW, after=0, drift=1)

    assert step_of(SECRET, code_at(SECRET, NOW), now=NOW, after=step, drift=1) is None
    assert step_of(SECRET, code_at(SECRET, NOW - STEP), now=NOW, after=step, drift=1) is None
    assert step_of(SECRET, code_at(SECRET, NOW + STEP), now=NOW, after=step, drift=1) == step + 1


@pytest.mark.parametrize("typed", ["", "000000", "12345", "1234567", "abcdef"])
def test_what_is_no_code_never_counts(typed):
    assert step_of(SECRET, typed, now=NOW, after=0, drift=1) is None


def test_the_setup_tells_an_app_all_that_it_needs():
    uri = setup_uri(SECRET, login="holly", issuer="Cardflow Example")

    assert uri.startswith("otpauth://totp/Cardflow%20Example:holly?")
    assert "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" in uri


def test_secrets_and_recovery_codes_are_new_each_time():
    codes = new_recovery_codes()

    assert len(set(codes)) == RECOVERY_CODES
    assert new_secret() != new_secret()
    assert not set(codes) & set(new_recovery_codes())


def test_recovery_codes_have_112_random_bits_at_least():
    signs = "".join(new_recovery_codes()).replace("-", "")

    assert len(signs) / RECOVERY_CODES * log2(len(ALPHABET)) >= 112
    assert set(signs) <= set(ALPHABET)


def test_a_recovery_code_is_known_however_it_is_typed():
    assert recovery_digest("ABCD efgh-JKMN") == recovery_digest("abcd-efgh-jkmn")
