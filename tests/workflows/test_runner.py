"""The runner leaves out what the sandbox would be asked for each payload, and nothing else."""

from dataclasses import fields

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from cardflow.key_ring import KeyRing
from cardflow.temporal.client import data_converter
from cardflow.temporal.codec import EncryptingCodec

WORKFLOW = WorkflowSerializationContext(namespace="cardflow", workflow_id="card-update/1")
ACTIVITY = ActivitySerializationContext(
    namespace="cardflow",
    workflow_id="card-update/1",
    workflow_type="CardUpdate",
    activity_type="publish",
    activity_id="7",
    activity_task_queue="cardflow",
    is_local=False,
)


def test_no_converter_of_ours_looks_at_the_context_that_the_runner_leaves_out():
    converter = data_converter(KeyRing.generate("k"))
    payloads = converter.payload_converter_class()
    assert isinstance(payloads, CompositePayloadConverter)
    parts = [*payloads.converters.values(), converter.failure_converter]

    assert not [part for part in parts if isinstance(part, WithSerializationContext)]


async def test_the_codec_binds_an_activitys_payloads_as_it_binds_its_workflows():
    codec = EncryptingCodec(KeyRing.generate("k"))
    (one,) = await codec.with_context(ACTIVITY).encode([Payload(data=b"a")])
    (other,) = await codec.with_context(WORKFLOW).encode([Payload(data=b"a")])

    assert one.metadata == other.metadata
    assert await codec.with_context(WORKFLOW).decode([one]) == [Payload(data=b"a")]


def test_payloads_are_stored_in_the_history_so_no_other_store_needs_to_know_whose_they_are():
    converter = data_converter(KeyRing.generate("k"))

    assert "external_storage" in {field.name for field in fields(converter)}
    assert converter.external_storage is None
