"""Certificates and requests as facts and objections."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardflow.errors import Refused
from cardflow.model import KeyType, Purpose
from cardflow.x509 import (
    ascii_email,
    certificate_objections,
    csr_objections,
    facts_of_certificate,
    load_certificate,
    name_of,
    spki_sha256,
    subject_dn,
    subject_objections,
    verify_signature,
)
from tests.ca import forging
from tests.ca.making import ALICE, BOB, PROFILES, a_csr, a_key

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LOGON, ENCRYPTION, SIGNING = (
    PROFILES[name] for name in ("smart-card-logon", "smime-encryption", "document-signing")
)
CLIENT = PROFILES["tls-client"]
CA_NAME = x509.Name.from_rfc4514_string("CN=Other CA,O=Elsewhere")


def certificate(key, *, ca_key=None, hashed=None, ca_name=CA_NAME, leave_out=(), **changes) -> str:
    """Return a certificate as ``CLIENT`` asks for it for Alice, changed as named."""
    facts = {
        "subject": x509.Name.from_rfc4514_string(
            f"CN={ALICE.common_name},UID={ALICE.person_id},O={ALICE.organization}"
        ),
        "serial": 4711,
        "begins": NOW - DAY,
        "ends": NOW + 300 * DAY,
        "names": x509.SubjectAlternativeName([x509.RFC822Name(ALICE.email)]),
        "usage": usage(digital_signature=True),
        "extended": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        **changes,
    }
    builder = (
        x509.CertificateBuilder()
        .issuer_name(ca_name)
        .subject_name(facts["subject"])
        .public_key(key.public_key())
        .serial_number(facts["serial"])
        .not_valid_before(facts["begins"])
        .not_valid_after(facts["ends"])
    )
    for name in ("names", "usage", "extended", "more"):
        if name in facts and name not in leave_out:
            builder = builder.add_extension(facts[name], critical=name in ("usage", "more"))
    signed = builder.sign(ca_key or key, hashed or hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


def usage(**bits) -> x509.KeyUsage:
    """Return a key usage with the bits named."""
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{**dict.fromkeys(names.split(), False), **bits})


@pytest.fixture(scope="module")
def ca_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def ca_pem(ca_key) -> str:
    """Return the other CA's own certificate."""
    authority = x509.BasicConstraints(ca=True, path_length=0)
    return certificate(ca_key, subject=CA_NAME, more=authority, begins=NOW - 9 * DAY)


KEY = a_key()
CSR = a_csr(KEY)


def objections(pem: str, *chain: str, now=NOW, profile=CLIENT, subject=ALICE, csr=CSR) -> list[str]:
    """Return what speaks against the certificate."""
    return certificate_objections(
        pem, csr_pem=csr, profile=profile, subject=subject, issuer_chain_pem=chain, now=now
    )


# Accepting what a CA sends


def test_a_certificate_that_is_what_was_asked_for_is_accepted(ca_key, ca_pem):
    assert objections(certificate(KEY, ca_key=ca_key), ca_pem) == []


OTHER_NAMES = x509.SubjectAlternativeName([x509.RFC822Name(BOB.email)])
MORE_NAMES = x509.SubjectAlternativeName([x509.RFC822Name(ALICE.email), x509.DNSName("a.test")])


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"subject": CA_NAME}, "another subject"),
        ({"subject": x509.Name([])}, "another subject"),
        ({"names": OTHER_NAMES}, "other alternative names"),
        ({"names": MORE_NAMES}, "other alternative names"),
        ({"leave_out": ("names",)}, "other alternative names"),
        ({"usage": usage(digital_signature=True, key_cert_sign=True)}, "keyCertSign"),
        ({"usage": usage(content_commitment=True)}, "contentCommitment instead of"),
        ({"leave_out": ("usage",)}, "has no key usage"),
        ({"leave_out": ("extended",)}, "none instead of 1.3.6.1.5.5.7.3.2"),
        (
            {"extended": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])},
            "2.5.29.37.0 instead of",
        ),
        ({"more": x509.BasicConstraints(ca=True, path_length=None)}, "is a CA's"),
        ({"more": forging.POISON}, "a critical extension is unknown: 1.3.6.1.4.1.32473.99"),
        ({"begins": NOW + DAY}, "not valid yet"),
        ({"ends": NOW}, "has expired"),
        ({"ends": NOW + 366 * DAY}, "more than 365 days"),
        ({"hashed": hashes.SHA224()}, "signed with sha224"),
    ],
)
def test_a_certificate_that_differs_is_objected_to(ca_key, ca_pem, changes, objection):
    found = objections(certificate(KEY, ca_key=ca_key, **changes), ca_pem)
    assert len(found) == 1
    assert objection in found[0]


def test_a_certificate_for_another_key_is_objected_to(ca_key, ca_pem):
    assert objections(certificate(a_key(), ca_key=ca_key), ca_pem) == [
        "the certificate is for another key"
    ]


def test_a_certificate_by_another_ca_is_objected_to(ca_pem):
    found = objections(certificate(KEY, ca_key=a_key()), ca_pem)
    assert found == ["the certificate was not signed by CN=Other CA,O=Elsewhere"]


def test_a_certificate_by_a_ca_of_another_name_is_objected_to(ca_key, ca_pem):
    other = x509.Name.from_rfc4514_string("CN=Third CA")
    (found,) = objections(certificate(KEY, ca_key=ca_key, ca_name=other), ca_pem)
    assert "not signed by" in found


def test_without_a_ca_to_check_against_nothing_is_accepted(ca_key):
    (found,) = objections(certificate(KEY, ca_key=ca_key))
    assert "no CA certificate is configured" in found


def test_a_ca_that_has_expired_is_objected_to(ca_key, ca_pem):
    pem = certificate(KEY, ca_key=ca_key, begins=NOW + 200 * DAY, ends=NOW + 400 * DAY)
    (found,) = objections(pem, ca_pem, now=NOW + 301 * DAY)
    assert "Other CA" in found
    assert "not valid now" in found


def test_a_missing_security_identifier_is_objected_to(ca_key, ca_pem):
    wanted = replace(CLIENT, sid_extension=True)
    found = objections(certificate(KEY, ca_key=ca_key), ca_pem, profile=wanted)
    assert found == ["the certificate carries another security identifier"]


def test_junk_instead_of_a_certificate_is_objected_to(ca_pem):
    for junk in ("", "<html>502</html>", ca_pem + ca_pem, CSR):
        (found,) = objections(junk, ca_pem)
        assert "exactly one PEM block" in found


def test_all_differences_come_at_once(ca_key, ca_pem):
    pem = certificate(a_key(), ca_key=ca_key, subject=CA_NAME, names=OTHER_NAMES, ends=NOW)
    assert len(objections(pem, ca_pem)) == 4


def test_a_key_for_encryption_is_used_as_its_kind_can(ca_key, ca_pem):
    extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    by_kind = {"P-256": usage(key_agreement=True), "RSA-2048": usage(key_encipherment=True)}
    for kind, right in by_kind.items():
        key = a_key(kind)
        pem = certificate(key, ca_key=ca_key, usage=right, extended=extended)
        assert objections(pem, ca_pem, profile=ENCRYPTION, csr=a_csr(key)) == []


# Facts of anybody's certificate


def test_a_certificates_facts_are_read():
    name = x509.OtherName(
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), asn1.encode_der("ada@corp.test")
    )
    names = x509.SubjectAlternativeName([x509.RFC822Name("ada@example.test"), name])
    pem = certificate(KEY, names=names, serial=0xABC)
    facts = facts_of_certificate(pem)
    assert (facts.upn, facts.email) == ("ada@corp.test", "ada@example.test")
    assert (facts.serial_number, facts.key_type) == ("abc", "P-256")
    assert (facts.not_before, facts.not_after) == (NOW - DAY, NOW + 300 * DAY)
    assert facts.spki_sha256 == spki_sha256(KEY.public_key()) == spki_sha256(load_certificate(pem))


def rewritten(pem: str, old: bytes, new: bytes) -> str:
    """Return a certificate with some bytes exchanged; nobody checks its signature here."""
    der = load_certificate(pem).public_bytes(Encoding.DER)
    assert der.count(old) >= 1
    assert len(old) == len(new)
    text = base64.encodebytes(der.replace(old, new)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(("byte", "read"), [(b"\0", "0"), (b"\xff", "-1")])
def test_a_serial_number_of_zero_or_less_is_read(byte, read):
    pem = rewritten(certificate(KEY, serial=0x4D), b"\2\1\x4d\x30", b"\2\1" + byte + b"\x30")
    assert facts_of_certificate(pem).serial_number == read


def test_a_name_that_is_no_text_is_called_unreadable():
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zzzz")])
    pem = rewritten(certificate(KEY, subject=subject), b"\x0c\4zzzz", b"\x0c\4z\xff\xfez")
    assert facts_of_certificate(pem).subject == "(unreadable name)"


def test_a_key_of_an_unknown_kind_is_known_by_its_bytes():
    p_256 = forging.P_256
    pem = rewritten(certificate(KEY), p_256, p_256[:-1] + b"\x63")
    facts = facts_of_certificate(pem)
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki.replace(p_256, p_256[:-1] + b"\x63"))
    assert facts.spki_sha256 == digest.finalize().hex()
    assert facts.key_type == "1.2.840.10045.2.1"


def test_alternative_names_that_cannot_be_read_are_left_out():
    pem = certificate(KEY, names=x509.SubjectAlternativeName([x509.RFC822Name("zz@zz")]))
    assert facts_of_certificate(rewritten(pem, b"\x81\5zz@zz", b"\x9f\5zz@zz")).email == ""


def test_a_upn_that_is_no_text_is_left_out():
    name = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x02\x01\x05")
    pem = certificate(KEY, names=x509.SubjectAlternativeName([name]))
    assert facts_of_certificate(pem).upn == ""


@pytest.mark.parametrize(
    "pem", ["", "x", CSR, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused(pem):
    with pytest.raises(Refused):
        facts_of_certificate(pem)


def test_an_endless_certificate_is_refused():
    with pytest.raises(Refused, match="longer than"):
        load_certificate("A" * 70_000)


# Names


def test_people_of_one_name_differ_by_their_id():
    twin = replace(ALICE, person_id="another")
    assert subject_dn(ALICE, LOGON) != subject_dn(twin, LOGON)


def test_given_name_and_surname_stand_where_somebody_signs():
    assert "GN=Alice,SN=Díaz" in subject_dn(ALICE, SIGNING)
    assert SIGNING.purpose is Purpose.SIGNATURE
    assert "GN=" not in subject_dn(ALICE, LOGON)
    assert "GN=" not in subject_dn(replace(ALICE, surname=""), SIGNING)


@pytest.mark.parametrize("name", ["Díaz, Alice", 'Alice "Al" Díaz', "A+B", "山田太郎", "<>;=\\"])
def test_a_subject_can_be_read_back(name):
    dn = subject_dn(replace(ALICE, common_name=name), SIGNING)
    (found,) = name_of(dn).get_attributes_for_oid(NameOID.COMMON_NAME)
    assert found.value == name


def test_what_is_no_name_is_refused():
    with pytest.raises(Refused, match="RFC 4514"):
        name_of("Alice")


def test_a_name_in_another_normal_form_is_the_same_name():
    apart = replace(ALICE, common_name="Alice Di\u0301az")
    assert subject_dn(apart, LOGON) == subject_dn(ALICE, LOGON)


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"common_name": ""}, "common_name: missing"),
        ({"person_id": ""}, "person_id: missing"),
        ({"common_name": "x" * 65}, "common_name: longer than 64"),
        ({"organization": "x" * 65}, "organization: longer than 64"),
        ({"given_name": "x" * 65}, "given_name: longer than 64"),
        ({"surname": "x" * 65}, "surname: longer than 64"),
        ({"person_id": "x" * 257}, "person_id: longer than 256"),
        ({"common_name": " Alice"}, "begins or ends with a space"),
        ({"common_name": "admin\0"}, "control character"),
        ({"common_name": "line\nbreak"}, "control character"),
        ({"common_name": "\ud800"}, "control character"),
        ({"common_name": "\u202enimda"}, "direction of reading"),
        ({"upn": ""}, "upn: a principal name"),
        ({"upn": "alice"}, "upn: a principal name"),
        ({"upn": "a@b@c"}, "upn: a principal name"),
        ({"upn": "a\0@corp.test"}, "upn: holds a control character"),
        ({"sid": "S-1-5-18"}, "sid: not the security identifier"),
        ({"sid": "alice"}, "sid: not the security identifier"),
    ],
)
def test_a_record_that_cannot_be_certified_is_objected_to(change, objection):
    (found,) = subject_objections(replace(ALICE, **change), LOGON)
    assert objection in found


def test_a_name_that_cannot_stand_in_a_certificate_is_refused():
    with pytest.raises(Refused, match="common_name"):
        subject_dn(replace(ALICE, common_name=""), LOGON)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("a@example.test", "a@example.test"),
        ("A.b+c@EXAMPLE.test", "A.b+c@example.test"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_mail_address_is_written_in_ascii(address, written):
    assert ascii_email(address) == written


@pytest.mark.parametrize(
    "address",
    ["", "a", "@b", "a@", "ä@b.test", "a b@c.test", ".a@b.test", "a..b@c.test", "a@b..test",
     "a@-b.test", "a@b_c.test", "a@[127.0.0.1]", "a@" + "x" * 64 + ".test", "a" * 65 + "@b.test",
     "a@" + ".".join(["x" * 60] * 5), "a@b\0.test", '"a b"@c.test'],
)  # fmt: skip
def test_a_mail_address_that_cannot_be_certified_is_refused(address):
    with pytest.raises(Refused, match="email"):
        ascii_email(address)


# Requests and signatures


@pytest.mark.parametrize("key_type", list(KeyType))
def test_a_good_request_has_no_objections(key_type):
    csr_pem = a_csr(a_key(key_type))
    assert csr_objections(csr_pem, key_type) == []
    assert csr_objections(csr_pem, None) == []


def test_a_key_of_another_type_than_asked_for_is_objected_to():
    found = csr_objections(a_csr(a_key("P-384")), KeyType.P_256)
    assert found == ["the key is P-384, and P-256 was asked for"]


def signature_of(key, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("key_type", ["RSA-2048", "P-256", "P-384"])
def test_a_signature_is_its_keys_and_its_messages_only(key_type):
    key, other = a_key(key_type), a_key(key_type)
    signature = signature_of(key, b"proof")
    assert verify_signature(key.public_key(), signature, b"proof")
    assert not verify_signature(key.public_key(), signature, b"other")
    assert not verify_signature(other.public_key(), signature, b"proof")
    assert not verify_signature(key.public_key(), b"", b"proof")


def test_signatures_of_other_kinds_do_not_count():
    key = ed25519.Ed25519PrivateKey.generate()
    assert not verify_signature(key.public_key(), key.sign(b"proof"), b"proof")
