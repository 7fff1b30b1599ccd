"""Passwords are kept as argon2id, and only good ones."""

import pytest

from cardflow.errors import Refused
from cardflow.passwords import hash_password, password_objections, verify_password


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
