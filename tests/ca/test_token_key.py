"""The issuing key on a PKCS #11 token, here SoftHSM: it signs, and it stays there."""

import asyncio
import subprocess
from copy import copy, deepcopy
from pathlib import Path

import pkcs11
import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from cardflow.ca import RevocationReason
from cardflow.ca.embedded import open_issuing_key
from cardflow.ca.embedded.token_key import TokenIssuingKey, TokenPlace
from cardflow.errors import Refused, Unavailable
from cardflow.secret_files import write_secret
from cardflow.x509 import facts_of_certificate, load_certificate
from tests.ca.making import Home, issue
from tests.databases import Databases

pytestmark = pytest.mark.softhsm

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "correct horse battery staple, and a stable"  # what Home puts into the secrets
PLACE = TokenPlace(module=MODULE, token_label="CA token", key_label="issuing")
DIGEST = ec.ECDSA(hashes.SHA384())


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of an empty token named as in ``PLACE``."""
    directory = tmp_path / "tokens"
    directory.mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {directory}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", PLACE.token_label,
         "--so-pin", "12345678", "--pin", PIN],
        check=True, capture_output=True,
    )  # fmt: skip
    return directory


@pytest.fixture
def token_home(tokens: Path, databases: Databases, tmp_path: Path) -> Home:
    """Return a CA whose issuing key is on the token."""
    databases.furnish(tmp_path / "home", migrated=False)
    return Home(tmp_path / "home").make(token=PLACE)


@pytest.fixture
def key(token_home: Home) -> TokenIssuingKey:
    """Return the issuing key, opened anew."""
    key = open_issuing_key(token_home.directory, token_home.secrets.issuing)
    assert isinstance(key, TokenIssuingKey)
    return key


async def test_the_ca_issues_and_revokes_with_its_key_on_the_token(token_home):
    engine = await token_home.engine()
    ca = token_home.ca(engine)
    await ca.maintain()
    pems = await asyncio.gather(*(issue(ca) for _ in range(8)))
    issuing = load_certificate((await ca.ca_certificates())[0])
    for pem in pems:
        load_certificate(pem).verify_directly_issued_by(issuing)
    serial_number = facts_of_certificate(pems[0]).serial_number
    await ca.revoke(serial_number, RevocationReason.SUPERSEDED)
    crl = x509.load_der_x509_crl(await ca.crl_der())
    assert crl.is_signature_valid(issuing.public_key())
    assert len(crl) == 1
    ca.close()
    await engine.dispose()


def test_no_key_file_is_made(token_home):
    files = {path.name for path in (token_home.directory / "issuing").iterdir()}
    assert files == {"token.toml"}
    assert PIN not in (token_home.directory / "issuing" / "token.toml").read_text()


def test_the_private_key_cannot_be_taken_off_the_token(key):
    key.sign(b"x", DIGEST)
    for token in pkcs11.lib(MODULE).get_tokens(token_label=PLACE.token_label):
        with token.open() as session:  # the login is the process's, and the key has logged in
            (private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            assert not private[Attribute.EXTRACTABLE]
            assert private[Attribute.SENSITIVE]


def test_the_key_signs_what_its_public_half_verifies(key):
    key.public_key().verify(key.sign(b"message", DIGEST), b"message", DIGEST)
    assert (key.curve.name, key.key_size) == ("secp384r1", 384)


def test_the_key_only_signs(key):
    with pytest.raises(UnsupportedAlgorithm):
        key.private_numbers()
    with pytest.raises(UnsupportedAlgorithm):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(UnsupportedAlgorithm):
        key.exchange(ec.ECDH(), key.public_key())
    with pytest.raises(UnsupportedAlgorithm, match="hashes what it signs"):
        key.sign(b"0" * 48, ec.ECDSA(utils.Prehashed(hashes.SHA384())))


def test_a_copy_is_the_key_itself(key):
    assert copy(key) is deepcopy(key) is key


def test_a_second_key_of_the_same_name_is_not_made(key, token_home):
    with pytest.raises(Refused, match="already has an object named issuing"):
        TokenIssuingKey(PLACE, token_home.secrets.issuing).create()


def test_a_name_without_a_key_signs_nothing(key, token_home):
    place = TokenPlace(MODULE, PLACE.token_label, "another")
    with pytest.raises(Unavailable, match="no key named another"):
        TokenIssuingKey(place, token_home.secrets.issuing).sign(b"x", DIGEST)


def test_a_name_that_two_keys_share_signs_nothing(key):
    key.sign(b"x", DIGEST)
    (token,) = pkcs11.lib(MODULE).get_tokens(token_label=PLACE.token_label)
    with token.open(rw=True) as session:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp384r1")}
        parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
        parameters.generate_keypair(label=PLACE.key_label, store=True)
        with pytest.raises(Refused, match="issuing names 2 keys on the token, not one"):
            key.sign(b"x", DIGEST)


def test_a_refused_pin_is_sent_once(key, tmp_path):
    pin_file = tmp_path / "pin"
    write_secret(pin_file, b"wrong pin")
    mistaken = TokenIssuingKey(PLACE, pin_file)
    with pytest.raises(Refused, match="refuses the PIN") as caught:
        mistaken.sign(b"x", DIGEST)
    assert "wrong pin" not in str(caught.value)
    pin_file.write_text(PIN)
    with pytest.raises(Refused, match="correct it and restart"):
        mistaken.sign(b"x", DIGEST)


def test_the_key_works_again_when_the_token_is_back(key, tokens):
    key.sign(b"x", DIGEST)
    away = tokens.rename(tokens.with_name("away"))
    tokens.mkdir()
    with pytest.raises(Unavailable, match="no key named issuing"):
        key.sign(b"x", DIGEST)
    with pytest.raises(Unavailable, match="no token named CA token"):
        key.sign(b"x", DIGEST)
    tokens.rmdir()
    away.rename(tokens)
    key.public_key().verify(key.sign(b"x", DIGEST), b"x", DIGEST)


def test_a_module_that_is_not_there_is_unavailable(tmp_path):
    write_secret(tmp_path / "pin", PIN.encode())
    place = TokenPlace(str(tmp_path / "nothing.so"), "CA token", "issuing")
    with pytest.raises(Unavailable):
        TokenIssuingKey(place, tmp_path / "pin").sign(b"x", DIGEST)


def test_every_abstract_method_of_the_key_class_is_there():
    assert not TokenIssuingKey.__abstractmethods__
