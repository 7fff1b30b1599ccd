"""Names in certificates: made from a person's record only, never from what a CSR says."""

import re
import unicodedata

import idna
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import NameOID

from cardflow.errors import Refused
from cardflow.model import Profile, Purpose, Subject

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
SID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2")
SID_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2.1")
ATTRIBUTE_NAMES = {NameOID.GIVEN_NAME: "GN", NameOID.SURNAME: "SN"}
MAX_NAME = 64  # RFC 5280 appendix A.1: ub-common-name, ub-organization-name
MAX_PERSON_ID = 256  # RFC 4519 2.39 names no bound; RFC 1274 gave uid 256
MAX_EMAIL = 254  # RFC 5321 4.5.3.1.3 less the angle brackets
# Bidirectional overrides and isolates make a name read as another one (Unicode TR 36 3.1.1).
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")  # RFC 5321 dot-string
SID = re.compile(r"S-1-5-21(-\d{1,10}){4}")  # MS-DTYP 2.4.2: an account of a domain


def subject_dn(subject: Subject, profile: Profile) -> str:
    """Return the subject as it will stand in the certificate, RFC 4514, or raise Refused."""
    return subject_name(subject, profile).rfc4514_string(ATTRIBUTE_NAMES)


def name_of(dn: str) -> x509.Name:
    """Return the name that ``subject_dn`` wrote, or raise Refused."""
    spelled = {short: oid for oid, short in ATTRIBUTE_NAMES.items()}
    try:
        return x509.Name.from_rfc4514_string(dn, spelled)
    except ValueError as error:
        raise Refused("the subject is not a name by RFC 4514") from error


def subject_name(subject: Subject, profile: Profile) -> x509.Name:
    """Return the distinguished name: people of one name differ by UID (RFC 5280 4.1.2.6).

    Given name and surname appear only where a signature is to name a natural person.
    """
    if found := _dn_objections(subject):
        raise Refused(*found)
    parts = [
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.USER_ID, subject.person_id),
    ]
    if profile.purpose is Purpose.SIGNATURE and subject.given_name and subject.surname:
        parts += [(NameOID.SURNAME, subject.surname), (NameOID.GIVEN_NAME, subject.given_name)]
    parts.append((NameOID.COMMON_NAME, subject.common_name))
    return x509.Name([x509.NameAttribute(oid, _normal(value)) for oid, value in parts if value])


def _normal(value: str) -> str:
    return unicodedata.normalize("NFC", value)


def subject_alt_names(subject: Subject, profile: Profile) -> list[x509.GeneralName]:
    """Return the alternative names that the profile asks for, or raise Refused."""
    return [_general_name(kind, subject) for kind in profile.subject_alt_names]


def _general_name(kind: str, subject: Subject) -> x509.GeneralName:
    if kind == "upn":
        if found := _upn_objections(subject.upn):
            raise Refused(*found)
        return x509.OtherName(UPN, asn1.encode_der(subject.upn))
    return x509.RFC822Name(ascii_email(subject.email))


def sid_extension(sid: str) -> x509.UnrecognizedExtension:
    """Return the extension that binds a certificate to a domain account (MS-WCCE 2.2.2.7.7.4)."""
    name = x509.OtherName(SID_NAME, asn1.encode_der(sid.encode()))
    return x509.UnrecognizedExtension(
        SID_EXTENSION, x509.SubjectAlternativeName([name]).public_bytes()
    )


def ascii_email(email: str) -> str:
    """Return the address with its domain as A-labels (RFC 5280 7.5), or raise Refused."""
    local, at, domain = email.rpartition("@")
    if not (at and local and domain):
        raise Refused("email: an address with one @ is needed")
    if not LOCAL_PART.fullmatch(local) or ".." in f".{local}.":
        raise Refused("email: the part before the @ must be plain ASCII as in RFC 5321")
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode()
    except idna.IDNAError as error:
        raise Refused("email: the part after the @ is not a domain name") from error
    if len(local) + 1 + len(encoded) > MAX_EMAIL:
        raise Refused(f"email: longer than {MAX_EMAIL} characters")
    return f"{local}@{encoded}"


def subject_objections(subject: Subject, profile: Profile) -> list[str]:
    """Return every reason why this person's record cannot be certified under the profile."""
    found = _dn_objections(subject)
    for kind in profile.subject_alt_names:
        try:
            _general_name(kind, subject)
        except Refused as error:
            found += error.objections
    if profile.sid_extension and subject.sid and not SID.fullmatch(subject.sid):
        found.append("sid: not the security identifier of a domain account (S-1-5-21-...)")
    return found


def _dn_objections(subject: Subject) -> list[str]:
    return [
        *_text_objections("common_name", subject.common_name, MAX_NAME, needed=True),
        *_text_objections("organization", subject.organization, MAX_NAME),
        *_text_objections("given_name", subject.given_name, MAX_NAME),
        *_text_objections("surname", subject.surname, MAX_NAME),
        *_text_objections("person_id", subject.person_id, MAX_PERSON_ID, needed=True),
    ]


def _text_objections(field: str, value: str, most: int, *, needed: bool = False) -> list[str]:
    if not value:
        return [f"{field}: missing"] if needed else []
    found = []
    if len(_normal(value)) > most:
        found.append(f"{field}: longer than {most} characters")
    if value != value.strip():
        found.append(f"{field}: begins or ends with a space")
    if any(unicodedata.category(c) in FORBIDDEN_CATEGORIES for c in value):
        found.append(f"{field}: holds a control character or an unassigned one")
    if REORDERING.intersection(value):
        found.append(f"{field}: holds a sign that changes the direction of reading")
    return found


def _upn_objections(upn: str) -> list[str]:
    local, at, domain = upn.partition("@")
    if not (at and local and domain) or "@" in domain:
        return ["upn: a principal name with one @ is needed"]
    return _text_objections("upn", upn, 1024)
