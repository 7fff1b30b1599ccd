"""Decoding histories for Temporal's pages: for whom, from where, and what is put on record."""

import base64
import json

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from api.codec import LONGEST_BYTES, MOST_PAYLOADS, PATH
from cardflow.key_ring import KeyFile, KeyRing
from cardflow.model import Role
from cardflow.temporal.codec import EncryptingCodec
from tests.api.conftest import reasons

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"Ada Lovelace"')
UI = "http://localhost:8233"
MAY = {Role.ADMIN, Role.AUDITOR}


async def ciphertext(ring):
    payloads = await EncryptingCodec(ring).encode([PLAIN, PLAIN])
    return MessageToDict(Payloads(payloads=payloads))


@pytest.fixture
async def stored(settings):
    """Return what Temporal's pages would send: two payloads of a history."""
    return await ciphertext(KeyFile(settings.codec_key_file))


async def readings(client):
    """Return what the audit trail tells of readings."""
    found = await client.get("/api/v1/audit", params={"kind": "histories_read"})
    return [(entry["actor"], json.loads(entry["text"])["facts"]) for entry in found.json()["items"]]


async def test_an_administrator_reads_what_was_stored(sign_in, stored):
    admin = await sign_in("ada", Role.ADMIN)

    answer = await admin.post(PATH, json=stored)

    assert answer.status_code == 200
    assert answer.json() == MessageToDict(Payloads(payloads=[PLAIN, PLAIN]))


async def test_plaintext_comes_back_as_it_is(sign_in):
    admin = await sign_in("ada", Role.ADMIN)
    plain = MessageToDict(Payloads(payloads=[PLAIN]))

    assert (await admin.post(PATH, json=plain)).json() == plain


@pytest.mark.parametrize("role", list(Role))
async def test_only_administrators_and_auditors_read_histories(sign_in, stored, role):
    person = await sign_in("somebody", role)

    answer = await person.post(PATH, json=stored)

    assert answer.status_code == (200 if role in MAY else 403)
    assert ("Lovelace" in str(base64.b64decode(str(answer.json()) + "=="))) is False
    assert ("payloads" in answer.json()) is (role in MAY)


async def test_a_stranger_reads_nothing_and_is_told_to_sign_in(anonymous, stored):
    answer = await anonymous.post(PATH, json=stored)

    assert answer.status_code == 401
    assert "sign in" in reasons(answer)[0]


async def test_a_reading_is_put_on_record_once_and_for_each_person(sign_in, stored):
    admin, auditor = await sign_in("ada", Role.ADMIN), await sign_in("audrey", Role.AUDITOR)
    for _ in range(3):
        await admin.post(PATH, json=stored, headers={"X-Namespace": "cardflow"})
    await auditor.post(PATH, json=stored)

    told = await readings(auditor)

    assert told == [
        (admin.headers["X-Person"], {"namespace": "cardflow", "minutes": 15}),
        (auditor.headers["X-Person"], {"namespace": "", "minutes": 15}),
    ]


async def test_who_may_not_read_leaves_no_reading(sign_in, stored):
    auditor = await sign_in("audrey", Role.AUDITOR)
    await (await sign_in("olga", Role.OPERATOR)).post(PATH, json=stored)

    assert await readings(auditor) == []


# What is wrong with a request


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"payloads": [{"metadata": {"encoding": "%%%"}}]}, 422, "pattern"),
        ({"payloads": [{"data": "%%%"}]}, 422, "pattern"),
        ({"payloads": [{"data": "A"}]}, 422, "pattern"),
        ({"payloads": [{"metadata": 1}]}, 422, "dictionary"),
        ({"payloads": 1}, 422, "list"),
        ([], 422, "dictionary"),
        ({"payloads": [{}] * (MOST_PAYLOADS + 1)}, 422, "at most"),
    ],
)
async def test_what_is_no_payload_is_named(sign_in, body, status, reason):
    answer = await (await sign_in("ada", Role.ADMIN)).post(PATH, json=body)

    assert answer.status_code == status
    assert reason in " ".join(reasons(answer))


async def test_a_body_that_is_too_large_is_refused(sign_in):
    body = {"payloads": [{"data": "A" * LONGEST_BYTES}]}
    answer = await (await sign_in("ada", Role.ADMIN)).post(PATH, json=body)

    assert answer.status_code == 413


@pytest.mark.parametrize("change", ["data", "key-id", "no key-id", "odd key-id", "other ring"])
async def test_what_cannot_be_decrypted_is_refused_by_name(sign_in, stored, settings, change):
    payload = stored["payloads"][0]
    match change:
        case "data":
            payload["data"] = base64.b64encode(b"x" * 40).decode()
        case "key-id":
            payload["metadata"]["key-id"] = base64.b64encode(b"2019").decode()
        case "no key-id":
            del payload["metadata"]["key-id"]
        case "odd key-id":
            payload["metadata"]["key-id"] = base64.b64encode(b"\xff\xfe").decode()
        case "other ring":
            stored = await ciphertext(KeyRing.generate("1"))

    answer = await (await sign_in("ada", Role.ADMIN)).post(PATH, json=stored)

    assert answer.status_code == 409
    assert "key" in reasons(answer)[0]


# From where


async def preflight(client, origin):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-namespace",
    }
    return await client.options(PATH, headers=asked)


async def test_temporals_pages_may_ask_with_credentials(anonymous):
    answer = await preflight(anonymous, UI)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "x-namespace" in answer.headers["access-control-allow-headers"].lower()
    assert answer.headers["vary"].startswith("Origin")


FOREIGN = [
    "http://localhost:8234",
    "https://localhost:8233",
    "http://127.0.0.1:8233",
    "http://localhost:8233.evil.example",
    "http://evil.example",
    "null",
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_no_other_page_may(sign_in, stored, origin):
    admin = await sign_in("ada", Role.ADMIN)

    asked = await preflight(admin, origin)
    sent = await admin.post(PATH, json=stored, headers={"Origin": origin})

    assert asked.status_code == 400
    assert "access-control-allow-origin" not in {*asked.headers, *sent.headers}
    assert sent.status_code == 403


@pytest.mark.parametrize(("role", "status"), [(Role.ADMIN, 200), (Role.HOLDER, 403), (None, 401)])
async def test_temporals_pages_can_read_every_answer(sign_in, anonymous, stored, role, status):
    client = await sign_in("somebody", role) if role else anonymous
    sent = await client.post(
        PATH, json=stored, headers={"Origin": UI, "Sec-Fetch-Site": "same-site"}
    )

    assert sent.status_code == status
    assert sent.headers["access-control-allow-origin"] == UI
    assert sent.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/people", "/codec/other"])
async def test_what_temporals_pages_may_ask_is_this_one_address(sign_in, path):
    admin = await sign_in("ada", Role.ADMIN)

    answer = await admin.post(path, json={}, headers={"Origin": UI, "Sec-Fetch-Site": "same-site"})

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
