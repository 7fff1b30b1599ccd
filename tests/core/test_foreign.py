"""What we did not encrypt stays recognisable: refused as a value, readable as a message."""

import logging
from datetime import UTC, datetime

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import ApplicationFailureInfo, CanceledFailureInfo, Failure
from temporalio.common import RawValue
from temporalio.converter import DefaultPayloadConverter
from temporalio.exceptions import CancelledError

from activities.orders import AnswerKind, CAAnswer
from cardflow import lifecycle
from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.model import Mode
from cardflow.temporal.client import data_converter
from cardflow.temporal.codec import ENCODING, WaryCodec
from cardflow.temporal.foreign import WaryPayloadConverter, text_in
from tests.build import a_policy, an_entry, an_update

RING = KeyRing.generate("here")
OURS, USUAL = WaryPayloadConverter(), DefaultPayloadConverter()
NOW = datetime(2026, 3, 1, 8, 30, 0, 250_000, tzinfo=UTC)
POLICY = a_policy(an_entry("logon", Mode.BOTH, precheck=True), an_entry("mail"))
OPENED = an_update(POLICY, opened_at=NOW)
SEEN = lifecycle.view(OPENED, lifecycle.begin(OPENED))
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a word"')


def sealed(data: bytes, key_id: bytes = b"here") -> Payload:
    return Payload(metadata={"encoding": ENCODING, "key-id": key_id}, data=data)


async def test_what_we_encrypt_is_read_as_ever() -> None:
    converter = data_converter(RING)

    assert await converter.decode(await converter.encode(["a word"]), [str]) == ["a word"]


@pytest.mark.parametrize("value", [SEEN, SEEN.state, OPENED])
def test_dataclasses_are_read_alike_by_us_and_by_temporals_own_converter(value) -> None:
    for writes, reads in ((OURS, USUAL), (USUAL, OURS)):
        (payload,) = writes.to_payloads([value])

        assert payload.metadata["encoding"] == b"json/plain"
        assert reads.from_payloads([payload], [type(value)]) == [value]


def test_what_a_newer_release_added_is_left_out_and_what_it_took_away_has_its_default() -> None:
    told = Payload(metadata=PLAIN.metadata, data=b'{"kind": "pending", "colour": "green"}')

    assert OURS.from_payloads([told], [CAAnswer]) == [CAAnswer(AnswerKind.PENDING)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"kind": "maybe"}', r"not a CAAnswer: .*maybe"),
        (b'{"kind": "pending", "reason": 5}', r"not a CAAnswer: .*\$.reason"),
        (b'{"handle": ""}', r"not a CAAnswer: .*`kind`"),
        (b"[]", "not a CAAnswer"),
        (b"{", "not a CAAnswer"),
    ],
)
def test_what_is_no_such_dataclass_is_refused_with_the_field(data, why) -> None:
    told = Payload(metadata=PLAIN.metadata, data=data)

    with pytest.raises(TypeError, match=why):
        OURS.from_payloads([told], [CAAnswer])


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (PLAIN, "not encrypted by this installation"),
        (Payload(), "not encrypted by this installation"),
        (sealed(b"0" * 60), "changed or cut"),
        (sealed(b""), "changed or cut"),
        (sealed(b"0" * 60, b"gone"), "no key 'gone'"),
        (sealed(b"0" * 60, b"\xff"), "no key"),
    ],
)
async def test_a_value_that_is_not_ours_is_refused_with_the_reason(payload, why) -> None:
    with pytest.raises(Refused, match=why):
        await data_converter(RING).decode([payload], [str])


async def test_one_foreign_payload_does_not_hide_the_others() -> None:
    codec = WaryCodec(RING)
    (good,) = await codec.encode([PLAIN])

    read = await codec.decode([sealed(b"0" * 60), good])

    assert read[1] == PLAIN


async def test_what_cannot_be_decrypted_is_told_to_the_security_log(caplog) -> None:
    with caplog.at_level(logging.ERROR, logger="cardflow.security"):
        await WaryCodec(RING).decode([sealed(b"0" * 60), PLAIN])

    (line,) = caplog.messages
    assert "changed or cut" in line


async def test_the_server_may_say_in_plain_why_something_was_cancelled() -> None:
    info = CanceledFailureInfo(details=Payloads(payloads=[PLAIN]))

    read = await data_converter(RING).decode_failure(Failure(canceled_failure_info=info))

    assert isinstance(read, CancelledError)
    assert list(read.details) == []


async def test_what_we_say_of_a_cancellation_is_read() -> None:
    converter = data_converter(RING)
    failure = Failure()
    await converter.encode_failure(CancelledError("over", "a word"), failure)

    read = await converter.decode_failure(failure)

    assert isinstance(read, CancelledError)
    assert list(read.details) == ["a word"]


async def test_nobody_else_can_say_why_an_activity_failed() -> None:
    info = ApplicationFailureInfo(details=Payloads(payloads=[PLAIN]))

    with pytest.raises(Refused, match="not encrypted by this installation"):
        await data_converter(RING).decode_failure(Failure(application_failure_info=info))


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ([PLAIN], "a word"),
        ([sealed(b"0" * 60)], None),
        ([Payload(metadata={"encoding": b"json/plain"}, data=b"{")], None),
        ([Payload(metadata={"encoding": b"json/plain"}, data=b"{}")], None),
        ([Payload(metadata={"encoding": b"binary/unknown"}, data=b"x")], None),
        ([], None),
        ([PLAIN, PLAIN], None),
    ],
)
async def test_a_message_is_one_text_or_nothing(payloads, text) -> None:
    read = await WaryCodec(RING).decode(payloads)

    assert text_in([RawValue(payload) for payload in read]) == text
