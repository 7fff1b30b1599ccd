"""The runner leaves out what the sandbox would be asked for each payload, and nothing else."""

from dataclasses import fields

from temporalio.converter import CompositePayloadConverter, WithSerializationContext

from cardflow.key_ring import KeyRing
from cardflow.temporal.client import data_converter


def test_no_converter_of_ours_looks_at_the_context_that_the_runner_leaves_out():
    converter = data_converter(KeyRing.generate("k"))
    payloads = converter.payload_converter_class()
    assert isinstance(payloads, CompositePayloadConverter)
    parts = [*payloads.converters.values(), converter.payload_codec, converter.failure_converter]

    assert not [part for part in parts if isinstance(part, WithSerializationContext)]


def test_payloads_are_stored_in_the_history_so_no_other_store_needs_to_know_whose_they_are():
    converter = data_converter(KeyRing.generate("k"))

    assert "external_storage" in {field.name for field in fields(converter)}
    assert converter.external_storage is None
