"""What Temporal stores: ciphertext that only the key ring opens, and that cannot be swapped."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from cardflow.errors import Refused
from cardflow.key_ring import KeyRing
from cardflow.secret_files import write_secret
from cardflow.temporal.client import data_converter
from cardflow.temporal.codec import EncryptingCodec

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"Ada Lovelace"')


async def encrypted(ring: KeyRing) -> Payload:
    (payload,) = await EncryptingCodec(ring).encode([PLAIN])
    return payload


async def test_what_is_encoded_is_decoded_again() -> None:
    codec = EncryptingCodec(KeyRing.generate())

    assert await codec.decode(await codec.encode([PLAIN, PLAIN])) == [PLAIN, PLAIN]


async def test_nothing_of_the_plaintext_shows() -> None:
    payload = await encrypted(KeyRing.generate())

    assert b"Ada" not in payload.SerializeToString()
    assert b"json/plain" not in payload.SerializeToString()


async def test_the_same_payload_never_looks_the_same() -> None:
    codec = EncryptingCodec(KeyRing.generate())
    first, second = await codec.encode([PLAIN, PLAIN])

    assert first.data != second.data


async def test_plaintext_passes_so_that_the_workflow_can_refuse_it() -> None:
    assert await EncryptingCodec(KeyRing.generate()).decode([PLAIN]) == [PLAIN]


async def test_a_rotated_ring_still_reads_what_the_old_key_wrote() -> None:
    old = KeyRing.generate("2026")
    new = old.rotated("2027")

    assert await EncryptingCodec(new).decode([await encrypted(old)]) == [PLAIN]
    assert (await encrypted(new)).metadata["key-id"] == b"2027"


async def test_a_missing_key_is_named() -> None:
    payload = await encrypted(KeyRing.generate("gone"))

    with pytest.raises(Refused, match="no key 'gone'"):
        await EncryptingCodec(KeyRing.generate("here")).decode([payload])


async def test_a_changed_payload_is_refused() -> None:
    ring = KeyRing.generate()
    payload = await encrypted(ring)
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])

    with pytest.raises(Refused, match="changed or cut"):
        await EncryptingCodec(ring).decode([payload])


async def test_a_payload_cut_short_is_refused() -> None:
    ring = KeyRing.generate()
    payload = await encrypted(ring)
    payload.data = payload.data[:5]

    with pytest.raises(Refused, match="changed or cut"):
        await EncryptingCodec(ring).decode([payload])


async def test_the_key_id_is_bound_to_the_ciphertext() -> None:
    key = KeyRing.generate("a").keys["a"]
    ring = KeyRing("a", {"a": key, "b": key})
    payload = await encrypted(ring)
    payload.metadata["key-id"] = b"b"

    with pytest.raises(Refused, match="changed or cut"):
        await EncryptingCodec(ring).decode([payload])


def of(workflow_id: str, ring: KeyRing) -> EncryptingCodec:
    """Return the codec as the SDK uses it for a workflow."""
    return EncryptingCodec(ring).with_context(WorkflowSerializationContext("cardflow", workflow_id))


def at_the_card(workflow_id: str, ring: KeyRing) -> EncryptingCodec:
    """Return the codec as the SDK uses it for an activity of a workflow."""
    context = ActivitySerializationContext(
        "cardflow", "1", "prepare", "agent-a", workflow_id, "CardUpdate", is_local=False
    )
    return EncryptingCodec(ring).with_context(context)


async def test_a_payload_of_one_workflow_is_refused_in_another() -> None:
    ring = KeyRing.generate()
    payloads = await of("card-update/a", ring).encode([PLAIN])

    assert await of("card-update/a", ring).decode(payloads) == [PLAIN]
    assert await at_the_card("card-update/a", ring).decode(payloads) == [PLAIN]
    (of_activity,) = await at_the_card("card-update/a", ring).encode([PLAIN])
    assert of_activity.metadata == payloads[0].metadata
    assert await of("card-update/a", ring).decode([of_activity]) == [PLAIN]
    for elsewhere in (of("card-update/b", ring), at_the_card("card-update/b", ring)):
        with pytest.raises(Refused, match="of card-update/a was put in card-update/b"):
            await elsewhere.decode(payloads)


@pytest.mark.parametrize("claimed", [None, b"card-update/b"])
async def test_the_workflow_is_bound_to_the_ciphertext(claimed: bytes | None) -> None:
    ring = KeyRing.generate()
    (payload,) = await of("card-update/a", ring).encode([PLAIN])
    del payload.metadata["workflow"]
    if claimed:
        payload.metadata["workflow"] = claimed

    with pytest.raises(Refused, match="changed or cut"):
        await of("card-update/b", ring).decode([payload])


async def test_what_was_written_before_payloads_were_bound_is_still_read() -> None:
    ring = KeyRing.generate()

    assert await of("card-update/a", ring).decode([await encrypted(ring)]) == [PLAIN]


LONG = Payload(metadata={"encoding": b"json/plain"}, data=b"the same words, " * 100)


async def test_what_becomes_shorter_by_it_is_compressed() -> None:
    codec = EncryptingCodec(KeyRing.generate())
    short, long = await codec.encode([PLAIN, LONG])

    assert "compression" not in short.metadata
    assert long.metadata["compression"] == b"deflate"
    assert len(long.data) < len(LONG.data) / 10
    assert await codec.decode([long]) == [LONG]


@pytest.mark.parametrize("claimed", [None, b"gzip"])
async def test_whether_it_is_compressed_is_bound_to_the_ciphertext(claimed: bytes | None) -> None:
    codec = EncryptingCodec(KeyRing.generate())
    (payload,) = await codec.encode([LONG])
    del payload.metadata["compression"]
    if claimed:
        payload.metadata["compression"] = claimed

    with pytest.raises(Refused, match="changed or cut"):
        await codec.decode([payload])


async def test_what_was_written_before_payloads_were_compressed_is_still_read() -> None:
    ring, nonce, workflow = KeyRing.generate("old"), bytes(12), b"card-update/a"
    bound = b"binary/cardflow-aes256gcm\0old\0" + workflow
    data = AESGCM(ring.key("old")).encrypt(nonce, LONG.SerializeToString(), bound)
    marks = {"encoding": b"binary/cardflow-aes256gcm", "key-id": b"old", "workflow": workflow}
    before = Payload(metadata=marks, data=nonce + data)

    assert await of("card-update/a", ring).decode([before]) == [LONG]


async def test_without_a_workflow_to_compare_a_payload_is_read_all_the_same() -> None:
    ring = KeyRing.generate()
    payloads = await of("card-update/a", ring).encode([PLAIN])

    assert await EncryptingCodec(ring).decode(payloads) == [PLAIN]


async def test_one_run_of_a_schedule_reads_the_result_of_the_last() -> None:
    ring = KeyRing.generate()
    payloads = await of("cardflow/digests-2026-03-01T08:00:00Z", ring).encode([PLAIN])

    assert await of("cardflow/digests-2026-03-02T08:00:00Z", ring).decode(payloads) == [PLAIN]


async def test_a_payload_without_a_key_id_is_refused() -> None:
    payload = await encrypted(KeyRing.generate())
    del payload.metadata["key-id"]

    with pytest.raises(Refused, match="no key ''"):
        await EncryptingCodec(KeyRing.generate()).decode([payload])


async def test_failures_hide_their_words_and_keep_their_kind() -> None:
    converter = data_converter(KeyRing.generate())
    failure = Failure()

    await converter.encode_failure(ApplicationError("Ada's card", type="Refused"), failure)

    assert "Ada" not in str(failure)
    assert failure.application_failure_info.type == "Refused"
    assert str(await converter.decode_failure(failure)) == "Refused: Ada's card"


def test_a_ring_is_the_same_after_a_round_trip_through_its_file(tmp_path: Path) -> None:
    ring = KeyRing.generate("1").rotated("2")
    write_secret(tmp_path / "ring.json", ring.dump())

    assert KeyRing.load(tmp_path / "ring.json") == ring


def test_a_ring_never_shows_its_keys() -> None:
    assert repr(KeyRing.generate("1")) == "KeyRing(current='1')"


def test_a_key_id_is_not_used_twice() -> None:
    with pytest.raises(Refused, match="already holds"):
        KeyRing.generate("1").rotated("1")


@pytest.mark.parametrize(
    ("content", "objection"),
    [
        ("hunter2", "is not a key ring"),
        ("[]", "is not a key ring"),
        ('{"current": "1"}', "is not a key ring"),
        (json.dumps({"current": "1", "keys": {"1": "aHVudGVyMg=="}}), "is not a key ring"),
        (json.dumps({"current": "2", "keys": {"1": "A" * 43 + "="}}), "does not hold"),
    ],
)
def test_a_damaged_ring_is_refused_without_quoting_it(
    tmp_path: Path, content: str, objection: str
) -> None:
    write_secret(tmp_path / "ring.json", content.encode())

    with pytest.raises(Refused, match=objection) as refusal:
        KeyRing.load(tmp_path / "ring.json")
    assert "hunter2" not in str(refusal.value)
