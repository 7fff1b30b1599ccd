"""Messages between server and agents as somebody may bend them: each refused by name, unread."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from agent.job_tokens import TYPE, verified_job
from api.agent_caller import said
from api.agents import PresenceIn, ResultIn
from api.problems import Problem
from cardflow import decisions, httpsig
from cardflow.errors import Refused
from tests import build
from tests.agent.test_httpsig import KEY, NOW, signed, verify
from tests.agent.test_job_tokens import CLAIMS, ENROLMENT
from tests.agent.test_job_tokens import KEY as JOB_KEY
from tests.agent.test_job_tokens import NOW as JOB_NOW


@dataclass(frozen=True)
class Message:
    """A message, the words of its refusal, and where such messages are described."""

    name: str
    make: Callable[[], Any]
    refusal: str
    source: str


def cases(table: list[Message]) -> list[Any]:
    return [pytest.param(each, id=each.name) for each in table]


# Agent to server: RFC 9421

UNSIGNED, UNFIT = "not signed in the way", "does not fit the request"


def with_input(old: str, new: str) -> Callable[[], dict[str, str]]:
    """Return headers whose Signature-Input says something else, with the signature kept."""

    def make() -> dict[str, str]:
        headers = signed()
        assert old in headers["Signature-Input"]
        return {**headers, "Signature-Input": headers["Signature-Input"].replace(old, new, 1)}

    return make


def with_header(name: str, change: Callable[[str], str]) -> Callable[[], dict[str, str]]:
    return lambda: {**signed(), name: change(signed()[name])}


def signed_over(covered: str) -> dict[str, str]:
    """Return headers properly signed by the agent's key over other components."""
    headers = signed()
    params = headers["Signature-Input"].removeprefix("sig1=").partition(")")[2]
    names = re.findall('"([^"]+)"', covered)
    values = {"@method": "POST", "content-digest": headers["Content-Digest"]}
    base = httpsig.signature_base([(n, values.get(n, "x")) for n in names], covered + params)
    signature = base64.b64encode(KEY.sign(base)).decode()
    return {
        **headers,
        "Signature-Input": f"sig1={covered}{params}",
        "Signature": f"sig1=:{signature}:",
    }


def in_low_order() -> dict[str, str]:
    """Return a signature that some libraries take for any message: identity and zero."""
    forged = base64.b64encode(b"\x01" + bytes(63)).decode()
    return {**signed(), "Signature": f"sig1=:{forged}:"}


def with_larger_s() -> dict[str, str]:
    """Return the same signature with the group's order added to its second half."""
    order = 2**252 + 27742317777372353535851937790883648493
    raw = base64.b64decode(signed_once()["Signature"].removeprefix("sig1=:").removesuffix(":"))
    larger = (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    forged = base64.b64encode(raw[:32] + larger).decode()
    return {**signed_once(), "Signature": f"sig1=:{forged}:"}


ONCE = signed()


def signed_once() -> dict[str, str]:
    return ONCE


REQUESTS = [
    Message("nothing signed", lambda: {"Content-Type": "application/json"}, UNSIGNED,
            "RFC 9421 3.2"),
    Message("only the method", lambda: signed_over('("@method")'), UNSIGNED, "RFC 9421 7.2.1"),
    Message("nothing covered", lambda: signed_over("()"), UNSIGNED, "RFC 9421 7.2.1"),
    Message(
        "the body not covered",
        with_input(' "content-digest"', ""),
        UNSIGNED,
        "RFC 9421 7.2.8",
    ),
    Message(
        "a part covered twice", with_input('"@path"', '"@path" "@path"'), UNSIGNED, "RFC 9421 2.5"
    ),
    Message("a part in lower order", with_input('"@method" "@authority"', '"@authority" "@method"'),
            UNSIGNED, "RFC 9421 2.3"),
    Message(
        "a part of another request",
        with_input('"@path"', '"@path";req'),
        UNSIGNED,
        "RFC 9421 2.4",
    ),
    Message("a part in its bytes", with_input('"content-type"', '"content-type";bs'), UNSIGNED,
            "RFC 9421 2.1.3"),
    Message("a key for shared secrets", with_input('"ed25519"', '"hmac-sha256"'), UNSIGNED,
            "RFC 9421 7.3.6"),
    Message("no algorithm", with_input(';alg="ed25519"', ""), UNSIGNED, "RFC 9421 7.3.6"),
    Message("for another application", with_input('tag="cardflow-agent-v1"', 'tag="shop"'),
            UNSIGNED, "RFC 9421 7.2.6"),
    Message("no nonce", with_input(';nonce="', ';once="'), UNSIGNED, "RFC 9421 7.2.2"),
    Message("no end", lambda: {**signed(), "Signature-Input": re.sub(
        ";expires=[0-9]+", "", signed()["Signature-Input"])}, UNSIGNED, "RFC 9421 7.2.2"),
    Message("a negative time", with_input("created=", "created=-"), UNSIGNED, "CWE-190"),
    Message("a time of twenty digits", with_input("created=", "created=99999999999999999999"),
            UNSIGNED, "CWE-190"),
    Message("a life of days", lambda: httpsig_for(NOW, 7 * 86_400), "expire within",
            "RFC 9421 7.2.2"),
    Message("an end before the beginning", lambda: httpsig_for(NOW, -1), "expire within",
            "RFC 9421 3.2"),
    Message("a nonce of one letter", lambda: {**signed(), "Signature-Input": re.sub(
        'nonce="[^"]+"', 'nonce="a"', signed()["Signature-Input"])}, UNSIGNED, "CWE-330"),
    Message("digits of another script", with_input("created=1", "created=١"), UNSIGNED, "CWE-176"),
    Message("two signatures", with_header("Signature", lambda s: f"{s}, {s}"), UNSIGNED,
            "RFC 9421 4.3"),
    Message("another label", with_header("Signature", lambda s: s.replace("sig1", "sig2")),
            UNSIGNED, "RFC 9421 4.1"),
    Message("a signature that is too short", with_header("Signature", lambda s: s[:-10] + "=:"),
            UNSIGNED, "RFC 8032 5.1.7"),
    Message("the identity for a signature", in_low_order, UNFIT, "Chalkias, Taming EdDSAs (2020)"),
    Message("a signature with a larger S", with_larger_s, UNFIT, "RFC 8032 5.1.7, malleability"),
    Message("two content types", with_header("Content-Type", lambda s: f"{s}, text/plain"), UNFIT,
            "RFC 9110 5.2"),
    Message("no content type", with_header("Content-Type", lambda _: ""), "type is missing",
            "RFC 9110 8.3"),
    Message("another digest too", with_header(
        "Content-Digest", lambda s: f"{s}, sha-512=:AAAA:"), "digest does not fit", "RFC 9530 2"),
    Message("a weak digest", with_header("Content-Digest", lambda _: "md5=:AAAA:"),
            "digest does not fit", "RFC 9530 6.6"),
    Message("a digest of nothing", with_header("Content-Digest", lambda _: ""),
            "digest does not fit", "RFC 9530 2"),
    Message("another agent's name", with_input('keyid="agent-1"', 'keyid="agent-2"'), "not known",
            "threat T26, CWE-290"),
    Message("a name with a wildcard", with_input('keyid="agent-1"', 'keyid="%"'), UNSIGNED,
            "CVE-2023-4727"),
]  # fmt: skip


def httpsig_for(created: datetime, life: int) -> dict[str, str]:
    """Return headers that say how long they live."""
    headers = signed()
    start = int(created.timestamp())
    return {**headers, "Signature-Input": re.sub(
        "expires=[0-9]+", f"expires={start + life}", headers["Signature-Input"])}  # fmt: skip


@pytest.mark.parametrize("message", cases(REQUESTS))
def test_a_request_that_is_not_signed_as_agreed_is_refused(message: Message) -> None:
    with pytest.raises(Refused, match=message.refusal):
        verify(message.make())


@pytest.mark.parametrize(
    "change",
    [{"path": "/agent/v1/%6aobs"}, {"path": "/agent/v1//jobs"}, {"path": "/agent/v1/./jobs"},
     {"query": "wait=25&"}, {"query": "wait=%325"}, {"authority": "cards.example:08443"},
     {"authority": "cards.example.:8443"}, {"authority": "user@cards.example:8443"},
     {"method": "post"}],
)  # fmt: skip
def test_another_spelling_of_the_same_place_is_another_place(change: dict[str, str]) -> None:
    with pytest.raises(Refused, match=UNFIT):
        verify(signed(), **change)


# Server to agent: RFC 7515

PINNED, HEADER = "not signed by the server that was pinned", "header is not the one agreed on"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: dict[str, Any], claims: bytes | None = None) -> str:
    """Return a token by the pinned key, whatever its header and its claims."""
    body = json.dumps(CLAIMS).encode() if claims is None else claims
    text = f"{encoded(json.dumps(header).encode())}.{encoded(body)}"
    return f"{text}.{encoded(JOB_KEY.sign(text.encode()))}"


GOOD = {"alg": "Ed25519", "typ": TYPE}
OWN = OKPKey.import_key(Ed25519PrivateKey.generate())


def with_own_key(name: str, value: Any) -> str:
    header = {**GOOD, name: value}
    claims = dict(CLAIMS)
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    signature = Ed25519PrivateKey.generate().sign(text.encode())
    return f"{text}.{encoded(signature)}"


DEEP = b"[" * 9_000 + b"]" * 9_000
TOKENS = [
    Message("no signature needed", lambda: token({"alg": "none", "typ": TYPE}), PINNED,
            "RFC 8725 3.2, CVE-2015-9235"),
    Message("none in other letters", lambda: token({"alg": "nOnE", "typ": TYPE}), PINNED,
            "CVE-2020-28042"),
    Message("EdDSA by its old name", lambda: token({"alg": "EdDSA", "typ": TYPE}), PINNED,
            "RFC 9864"),
    Message("its own key along", lambda: with_own_key("jwk", OWN.as_dict(private=False)), PINNED,
            "CVE-2018-0114"),
    Message("a key at an address", lambda: with_own_key("jku", "https://evil.example/keys"), PINNED,
            "RFC 8725 3.10"),
    Message("certificates along", lambda: with_own_key("x5c", ["AAAA"]), PINNED, "RFC 7515 4.1.6"),
    Message("a key by a path", lambda: token({**GOOD, "kid": "../../dev/null"}), HEADER,
            "RFC 8725 3.10, CWE-22"),
    Message("what must be understood", lambda: token({**GOOD, "crit": ["b64"], "b64": False}),
            f"{PINNED}|{HEADER}", "RFC 7797, RFC 7515 4.1.11"),
    Message("compressed", lambda: token({**GOOD, "zip": "DEF"}), f"{PINNED}|{HEADER}",
            "CVE-2024-33664"),
    Message("another type", lambda: token({"alg": "Ed25519", "typ": "at+jwt"}), HEADER,
            "RFC 8725 3.11"),
    Message("no type", lambda: token({"alg": "Ed25519"}), HEADER, "RFC 8725 3.11"),
    Message("encrypted", lambda: "a.b.c.d.e", PINNED, "CVE-2023-51774"),
    Message("four parts", lambda: token(GOOD) + ".x", PINNED, "RFC 7515 7.1"),
    Message("as JSON", lambda: json.dumps({"payload": "", "signatures": []}), PINNED,
            "RFC 7515 7.2"),
    Message("claims that are a list", lambda: token(GOOD, b"[]"), f"{PINNED}|agreed",
            "RFC 7519 7.2"),
    Message("claims without end", lambda: token(GOOD, DEEP), PINNED, "CWE-674"),
    Message("a header without end", lambda: f"{encoded(DEEP)}.{encoded(b'{}')}.AAAA", PINNED,
            "CWE-674"),
    Message("a claim twice", lambda: token(
        GOOD, json.dumps(CLAIMS).encode()[:-1] + b', "aud": "agent-2"}'), "another agent",
            "RFC 8725 2.4, RFC 7519 4"),
    Message("times that are no numbers", lambda: token(
        GOOD, json.dumps({**CLAIMS, "exp": float("nan")}).encode()), "no numbers", "RFC 8259 6"),
    Message("bytes that are no text", lambda: token(GOOD, b"\xff\xfe"), PINNED, "RFC 8259 8.1"),
]  # fmt: skip


@pytest.mark.parametrize("message", cases(TOKENS))
def test_a_job_that_is_not_signed_as_agreed_is_refused(message: Message) -> None:
    with pytest.raises(Refused, match=message.refusal):
        verified_job(message.make(), ENROLMENT, now=JOB_NOW)


def test_the_pinned_servers_own_way_of_writing_is_read() -> None:
    written = jwt.encode(GOOD, CLAIMS, OKPKey.import_key(JOB_KEY), algorithms=["Ed25519"])
    assert verified_job(written, ENROLMENT, now=JOB_NOW) == verified_job(
        token(GOOD), ENROLMENT, now=JOB_NOW
    )


# People's signed actions


def an_action_token() -> str:
    update = build.an_update(build.a_policy(), opened_at=datetime.now(UTC))
    return update.token


def bent(part: int, change: Callable[[str], str]) -> Callable[[], str]:
    def make() -> str:
        parts = an_action_token().split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)

    return make


TWICE = b'{"alg": 1, "alg": 2}'


def headed(**more: object) -> str:
    return encoded(json.dumps({"typ": decisions.TYPE, "alg": "EdDSA", **more}).encode())


ACTIONS = [
    Message("no token", lambda: "", "no token of this system", "RFC 7515 7.1"),
    Message("a token without end", lambda: "a" * 20_000 + "..", "no token", "CWE-770"),
    Message("a header without end", lambda: f"{encoded(b'[' * 9_000)}.{encoded(b'{}')}.x",
            "not JSON", "CWE-674"),
    Message("letters between", bent(1, lambda x: f"{x[:9]}!{x[9:]}"), "not base64url",
            "RFC 4648 3.3"),
    Message("padding", bent(2, lambda x: f"{x}=="), "not base64url", "RFC 7515 2"),
    Message("a name twice", lambda: f"{encoded(TWICE)}.e30.x",
            "not JSON", "RFC 7493 2.3"),
    Message("no certificate", lambda: f"{headed()}.e30.x", "brings no certificate",
            "RFC 7515 4.1.6"),
    Message("a certificate that is none", lambda: f"{headed(x5c=['AAAA'])}.e30.x",
            "certificate cannot be read", "RFC 7515 4.1.6"),
    Message("other claims", bent(1, lambda _: encoded(b"{}")), "signature is wrong",
            "RFC 7515 5.2"),
    Message("another signature", bent(2, lambda _: encoded(bytes(64))), "signature is wrong",
            "CVE-2022-21449"),
    Message("a shorter signature", bent(2, lambda x: x[:-8]), "signature is wrong", "RFC 8032"),
]  # fmt: skip


@pytest.mark.parametrize("message", cases(ACTIONS))
def test_an_action_that_is_not_signed_here_does_not_count(message: Message) -> None:
    with pytest.raises(Refused, match=message.refusal):
        decisions.read(message.make(), decisions.root_hex(build.root().public_key()))


# What a signed request says

NOT_JSON = "not JSON"
RESULT = '{"task": "x", "result": {"outcome": "done"%s}}'


def result(more: str) -> Callable[[], bytes]:
    return (RESULT % more).encode


BODIES = [
    Message("nothing", lambda: b"", NOT_JSON, "RFC 8259 2"),
    Message("half of it", lambda: b'{"task": "x"', NOT_JSON, "RFC 8259 2"),
    Message("two of it", lambda: RESULT.encode() * 2, NOT_JSON, "RFC 8259 2"),
    Message("with a remark", lambda: b"/* x */ {}", NOT_JSON, "RFC 8259 2"),
    Message("a name twice", lambda: b'{"task": "x", "task": "y"}', NOT_JSON, "RFC 7493 2.3"),
    Message("a name twice, once escaped", lambda: b'{"task": "x", "t\\u0061sk": "y"}', NOT_JSON,
            "Bishop Fox, JSON interoperability (2021)"),
    Message("no number", lambda: b'{"task": NaN}', NOT_JSON, "RFC 8259 6"),
    Message("without bounds", lambda: b'{"task": -Infinity}', NOT_JSON, "RFC 8259 6"),
    Message("a number of 5,000 digits", lambda: b'{"task": ' + b"9" * 5_000 + b"}", NOT_JSON,
            "CVE-2020-10735"),
    Message("arrays without end", lambda: b"[" * 100_000, NOT_JSON, "CWE-674"),
    Message("objects without end", lambda: b'{"a":' * 100_000, NOT_JSON, "CWE-674"),
    Message("UTF-16", lambda: RESULT.encode("utf-16"), NOT_JSON, "RFC 8259 8.1"),
    Message("a byte order mark", lambda: b"\xef\xbb\xbf{}", NOT_JSON, "RFC 8259 8.1"),
    Message("bytes that are no text", lambda: b'{"task": "\xff"}', NOT_JSON, "RFC 3629 10"),
    Message("a slash written too long", lambda: b'{"task": "\xc0\xaf"}', NOT_JSON, "RFC 3629 10"),
    Message("half a character", lambda: b'{"task": "\\ud800", "result": {"outcome": "done"}}',
            "control characters", "RFC 7493 2.1"),
    Message("a NUL", lambda: b'{"task": "\\u0000", "result": {"outcome": "done"}}',
            "control characters", "CWE-158"),
    Message("a list", lambda: b"[]", "an object is expected", "CWE-1287"),
    Message("nothing named", lambda: b"null", "an object is expected", "CWE-1287"),
    Message("nothing in it", lambda: b"{}", "task: missing", "CWE-1287"),
    Message("more than is known", result(', "pin": "1234"'), "pin: unknown field", "CWE-915"),
    Message("what Python calls its own", lambda: b'{"__class__": "os"}', "unknown field",
            "CWE-915"),
    Message("an outcome that nobody knows", lambda: RESULT.replace("done", "splendid").encode()
            .replace(b"%s", b""), "not one of", "CWE-1287"),
    Message("a number for a text", result(', "message": 1'), "text is expected", "CWE-1287"),
    Message("a text for a list", result(', "keys": "none"'), "a list is expected", "CWE-1287"),
    Message("a text of 70,000 letters", result(f', "message": "{"x" * 70_000}"'), "longer than",
            "CWE-770"),
    Message("ten thousand objects", result(', "removed": [' + "{}," * 9_999 + "{}]"), "more than",
            "CWE-770"),
    Message("a flag that is a number", result(
        ', "keys": [{"lane": "a", "cka_id": "b", "csr_pem": "c", "reused": 1}]'),
            "true or false", "CWE-1287"),
    Message("a number with a fraction", result(', "inventory": {"damaged": 1.5}'), "whole number",
            "RFC 7493 2.2"),
    Message("a number beyond all", result(', "inventory": {"damaged": 1e999}'), "whole number",
            "RFC 8259 6"),
    Message("a number beyond what all can read", result(
        f', "inventory": {{"damaged": {2**53}}}'), "whole number", "RFC 7493 2.2"),
]  # fmt: skip


@pytest.mark.parametrize("message", cases(BODIES))
def test_a_body_that_is_not_as_agreed_is_refused_by_name(message: Message) -> None:
    with pytest.raises(Problem) as refused:
        said(ResultIn, message.make())
    assert refused.value.status == 422
    assert re.search(message.refusal, refused.value.detail)


def test_a_thousand_cards_are_a_report_and_one_more_is_none() -> None:
    card = '{"token_serial": "%d", "token_label": "", "manufacturer": "", "model": "",' \
        ' "reader": "", "module": ""}'  # fmt: skip
    report = [card % number for number in range(1_001)]

    assert len(said(PresenceIn, f'{{"tokens": [{",".join(report[1:])}]}}'.encode()).tokens) == 1_000
    with pytest.raises(Problem, match="more than 1000"):
        said(PresenceIn, f'{{"tokens": [{",".join(report)}]}}'.encode())


def test_the_tables_are_long_enough() -> None:
    for table in (REQUESTS, TOKENS, ACTIONS, BODIES):
        assert len({each.name for each in table}) == len(table)
        assert all(each.source for each in table)
    assert len([*REQUESTS, *TOKENS, *ACTIONS, *BODIES]) >= 80
