import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from cardflow import httpsig
from cardflow.errors import Refused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.generate()
URL = "https://Cards.Example:8443/agent/v1/jobs?wait=25"
BODY = b'{"task": "x"}'


def signed(**changes):
    given = {"method": "POST", "url": URL, "body": BODY, "content_type": "application/json"}
    return httpsig.sign(**{**given, **changes}, key=KEY, keyid="agent-1", now=NOW)


def public_key_for(keyid):
    if keyid != "agent-1":
        raise Refused("this agent is not known")
    return KEY.public_key()


def verify(headers, **changes):
    request = {
        "method": "POST",
        "authority": "cards.example:8443",
        "path": "/agent/v1/jobs",
        "query": "wait=25",
        "body": BODY,
        "now": NOW,
        **changes,
    }
    return httpsig.verify(**request, headers=headers, public_key_for=public_key_for)


def test_the_signature_of_rfc_9421_b_2_6_verifies_over_our_signature_base():
    spki = base64.b64decode("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
    signature = base64.b64decode(
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    )
    components = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("@method", "POST"),
        ("@path", "/foo"),
        ("@authority", "example.com"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ]
    params = (
        '("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    )
    key = load_der_public_key(spki)
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature, httpsig.signature_base(components, params))


def test_the_content_digest_is_that_of_rfc_9530():
    digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert httpsig.content_digest(b'{"hello": "world"}') == digest


def test_a_signed_request_is_accepted_and_says_who_signed_it():
    headers = signed()
    verified = verify(headers)
    assert verified.keyid == "agent-1"
    assert verified.nonce in headers["Signature-Input"]


def test_a_request_without_a_body_or_query_is_accepted():
    headers = signed(method="GET", url="https://cards.example:8443/agent/v1/jobs", body=b"")
    assert verify(headers, method="GET", query="", body=b"").keyid == "agent-1"


def test_a_default_port_is_not_part_of_the_authority():
    headers = signed(url="https://cards.example:443/agent/v1/jobs?wait=25")
    assert verify(headers, authority="cards.example")


def test_two_signatures_never_share_a_nonce():
    assert verify(signed()).nonce != verify(signed()).nonce


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "PUT"}, "does not fit the request"),
        ({"authority": "evil.example"}, "does not fit the request"),
        ({"path": "/agent/v1/results"}, "does not fit the request"),
        ({"query": "wait=0"}, "does not fit the request"),
        ({"body": b"{}"}, "digest"),
        ({"now": NOW + timedelta(seconds=121)}, "expired"),
        ({"now": NOW - timedelta(seconds=61)}, "future"),
    ],
)
def test_a_request_that_is_not_the_signed_one_is_refused(change, reason):
    with pytest.raises(Refused, match=reason):
        verify(signed(), **change)


def altered(name, old, new):
    headers = signed()
    assert old in headers[name]
    return {**headers, name: headers[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Signature-Input", '"content-digest" ', ""),
        ("Signature-Input", '"@method" "@authority"', '"@authority" "@method"'),
        ("Signature-Input", "ed25519", "hmac-sha256"),
        ("Signature-Input", "cardflow-agent-v1", "another"),
        ("Signature-Input", "sig1", "sig2"),
        ("Signature-Input", ";tag", ";more=1;tag"),
        ("Signature-Input", 'nonce="', 'nonce="!'),
        ("Signature", ":=", "="),
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Type", "application/json", ""),
        ("Signature-Input", 'keyid="agent-1"', 'keyid="agent-2"'),
        ("Signature-Input", "expires=1", "expires=9"),
    ],
)
def test_headers_that_differ_from_the_profile_are_refused(name, old, new):
    if (name, old) == ("Signature", ":="):
        headers = {**signed(), "Signature": "sig1=:not base64:"}
    else:
        headers = altered(name, old, new)
    with pytest.raises(Refused):
        verify(headers)


def test_an_unsigned_request_is_refused():
    with pytest.raises(Refused, match="not signed"):
        verify({"Content-Type": "application/json"})


def test_two_signatures_on_one_request_are_refused():
    headers = signed()
    joined = {name: f"{value}, {value}" for name, value in headers.items() if "Sig" in name}
    with pytest.raises(Refused, match="not signed"):
        verify({**headers, **joined})


def test_a_key_made_elsewhere_does_not_pass():
    stranger = Ed25519PrivateKey.generate()
    headers = httpsig.sign(
        "POST", URL, BODY, "application/json", key=stranger, keyid="agent-1", now=NOW
    )
    with pytest.raises(Refused, match="does not fit"):
        verify(headers)


def test_a_line_break_cannot_be_smuggled_into_what_is_signed():
    with pytest.raises(Refused, match="line break"):
        signed(content_type='text/plain\n"@path": /other')
