"""Passwords are kept as argon2id, and only good ones."""

import pytest

from cardflow.errors import Refused
from cardflow.passwords import (
    DIGEST_BYTES,
    LEAKED_FILE,
    hash_password,
    password_objections,
    verify_password,
)


def test_a_password_is_recognised_and_no_other():
    kept = hash_password("correct horse battery")

    assert kept.startswith("$argon2id$")
    assert verify_password(kept, "correct horse battery")
    assert not verify_password(kept, "correct horse batterx")


def test_nobody_signs_in_to_an_account_without_a_password():
    assert not verify_password("", "")
    assert not verify_password("", "nobody has this password")
    assert not verify_password("not a hash", "correct horse battery")


@pytest.mark.parametrize("weak", ["", "elevenchars", "x" * 201, "aaaaaaaaaaaaaa"])
def test_a_weak_password_is_not_kept(weak):
    assert password_objections(weak)
    with pytest.raises(Refused):
        hash_password(weak)


@pytest.mark.parametrize("leaked", ["123456qwerty", "1qaz2wsx3edc", "QwertyQwerty", "elpresidente"])
def test_a_password_that_was_leaked_is_not_kept(leaked):
    assert "leaked" in password_objections(leaked)[0]


def test_the_list_of_leaked_passwords_is_long_and_every_one_fits_the_rule_of_length():
    digests = LEAKED_FILE.read_bytes()

    assert len(digests) % DIGEST_BYTES == 0
    assert len(digests) // DIGEST_BYTES > 19_000  # ASVS 5.0 V6.2.4 asks for 3,000


@pytest.mark.parametrize(
    "known",
    ["cardflowpassword", "holly.hunter-1234", "Example Organisation 1", "smartcard-hunter"],
)
def test_a_password_of_what_anybody_knows_is_not_kept(known):
    about = ("holly.hunter", "Holly Hunter", "holly.hunter@example.org", "Example Organisation")

    assert "anybody knows" in password_objections(known, about)[0]


def test_a_known_word_may_stand_in_a_password_that_has_enough_beside_it():
    assert password_objections("hunter sees nine grey geese", ("Holly Hunter",)) == []


def test_a_password_counts_exactly_as_it_was_typed_however_long():
    typed = "  Ümläut, ß and no rule of signs; " + "as long as a sentence may be, " * 3 + " "
    kept = hash_password(typed)

    assert verify_password(kept, typed)
    for other in (typed.strip(), typed.swapcase(), typed[:72]):
        assert not verify_password(kept, other)
