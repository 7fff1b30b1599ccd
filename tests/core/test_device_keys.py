"""A device key is one by which only its owner signs."""

import os

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cardflow.device_keys import SMALL_ORDER, device_key
from cardflow.errors import Refused

P = 2**255 - 19
SQUARE_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
D = -121665 * pow(121666, -1, P) % P  # RFC 8032 5.1
SIGNS = (0, 0x80)


def doubled(point):
    """RFC 7748's curve in the shape of RFC 8032 5.1: -x^2 + y^2 = 1 + d x^2 y^2."""
    x, y = point
    product = D * x * x * y * y % P
    over_x, over_y = pow(1 + product, -1, P), pow(1 - product, -1, P)
    return 2 * x * y * over_x % P, (y * y + x * x) * over_y % P


def x_of(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    return root if root * root % P == square else root * SQUARE_ROOT_OF_MINUS_ONE % P


def is_of_small_order(raw):
    y = int.from_bytes(raw, "little") % P
    point = (x_of(y), y)
    for _ in range(3):
        point = doubled(point)
    return point == (0, 1)


def verifies(raw, message):
    """Tell whether a signature that nobody made counts under the key."""
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(raw + bytes(32), message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("y", sorted(SMALL_ORDER), ids=bytes.hex)
def test_a_key_by_which_anybody_signs_is_refused(y, sign):
    raw = y[:-1] + bytes([y[-1] | sign])

    assert is_of_small_order(y)
    with pytest.raises(Refused, match="anybody could sign"):
        device_key(raw.hex())


def test_under_such_a_key_a_made_up_signature_counts_now_and_then():
    assert any(verifies(bytes(32), os.urandom(8)) for _ in range(200))


@pytest.mark.parametrize("said", ["", "00" * 31, "not hex", "zz" * 32])
def test_what_is_no_key_is_refused(said):
    with pytest.raises(Refused, match="no Ed25519 key"):
        device_key(said)
