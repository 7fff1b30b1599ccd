"""A pinned key is followed only where each key has named the next."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow.device_keys import check_new_device_key, new_device_key
from cardflow.errors import Refused
from cardflow.job_keys import Succession, followed, raw_hex, succession

HERE = "https://cards.example"
FIRST, SECOND, THIRD, EVES = (Ed25519PrivateKey.generate() for _ in range(4))
CHAIN = (
    succession(FIRST, raw_hex(SECOND), HERE),
    succession(SECOND, raw_hex(THIRD), HERE),
)


@pytest.mark.parametrize("pinned", [FIRST, SECOND, THIRD])
def test_every_older_key_leads_to_the_newest(pinned):
    assert followed(raw_hex(pinned), CHAIN, HERE) == raw_hex(THIRD)


@pytest.mark.parametrize(
    "successions",
    [
        (),
        (succession(EVES, raw_hex(EVES), HERE),),
        (replace(succession(EVES, raw_hex(EVES), HERE), old=raw_hex(FIRST)),),
        (replace(CHAIN[0], new=raw_hex(EVES)),),
        (replace(CHAIN[0], signature=""),),
        (replace(CHAIN[0], signature="no hex"),),
        (Succession(raw_hex(FIRST), "00", CHAIN[0].signature),),
        (succession(FIRST, raw_hex(EVES), "https://evil.example"),),
        (CHAIN[1],),
        (succession(FIRST, raw_hex(FIRST), HERE),),
    ],
)
def test_a_key_that_the_pinned_one_did_not_name_is_a_strangers(successions):
    assert followed(raw_hex(FIRST), successions, HERE) == raw_hex(FIRST)


def test_a_circle_ends():
    circle = (*CHAIN, succession(THIRD, raw_hex(FIRST), HERE))

    assert followed(raw_hex(FIRST), circle, HERE) == raw_hex(THIRD)


def test_a_device_key_is_taken_from_whoever_has_it_and_for_that_agent():
    said = new_device_key(FIRST, "agent-1")
    check_new_device_key(said, "agent-1")

    for wrong, agent, why in (
        (said, "agent-2", "did not sign"),
        (replace(said, public_key=raw_hex(SECOND)), "agent-1", "did not sign"),
        (replace(said, proof="00"), "agent-1", "did not sign"),
        (replace(said, proof="no hex"), "agent-1", "did not sign"),
        (replace(said, public_key="00"), "agent-1", "no Ed25519 key"),
    ):
        with pytest.raises(Refused, match=why):
            check_new_device_key(wrong, agent)
