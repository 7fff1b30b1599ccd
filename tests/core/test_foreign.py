"""What we did not encrypt stays recognisable: refused as a value, readable as a message."""

import logging

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import ApplicationFailureInfo, CanceledFailureInfo, Failure
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError

from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.temporal.client import data_converter
from cardflow.temporal.codec import ENCODING, WaryCodec
from cardflow.temporal.foreign import text_in

RING = KeyRing.generate("here")
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a word"')


def sealed(data: bytes, key_id: bytes = b"here") -> Payload:
    return Payload(metadata={"encoding": ENCODING, "key-id": key_id}, data=data)


async def test_what_we_encrypt_is_read_as_ever() -> None:
    converter = data_converter(RING)

    assert await converter.decode(await converter.encode(["a word"]), [str]) == ["a word"]


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
