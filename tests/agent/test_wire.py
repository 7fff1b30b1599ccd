import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardflow.errors import Refused
from cardflow.jobs import (
    CardJob,
    FoundCertificate,
    Inventory,
    JobKind,
    JobResult,
    KeyOrder,
    Outcome,
    PreparedKey,
    PrepareJob,
    TokenReport,
)
from cardflow.model import DocumentRef, KeyType, ObjectRef
from cardflow.wire import LONGEST_TEXT, MOST_ITEMS, from_json, to_json

JOB = PrepareJob(
    card=CardJob("job", JobKind.PREPARE, "u", "c", "serial", "visit", "1234 oak", hold_seconds=30),
    debts=(ObjectRef("aa", spki_sha256="bb"),),
    keys=(KeyOrder("logon", "cc", KeyType.P_256, "CN=Ann", "Log-on"),),
)
RESULT = JobResult(
    Outcome.DONE,
    keys=(PreparedKey("logon", "cc", "pem"),),
    inventory=Inventory(certificates=(FoundCertificate("", "label", "pem", None),)),
)


@pytest.mark.parametrize("value", [JOB, RESULT, JobResult(Outcome.CARD_FULL)])
def test_what_was_sent_is_what_is_read(value):
    assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value


def test_instants_travel_in_utc():
    document = DocumentRef("d", "request_form", "ff", submitted_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert to_json(document)["submitted_at"] == "2026-01-02T00:00:00+00:00"
    assert from_json(DocumentRef, to_json(document)) == document


def test_a_field_with_a_default_may_be_left_out():
    data = to_json(RESULT)
    del data["removed"]
    assert from_json(JobResult, data) == RESULT


def changed(path, value):
    data = to_json(JOB)
    at = data
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "objection"),
    [
        (["pin"], "123456", "PrepareJob.pin: unknown field"),
        (["card", "module"], "/x.so", "PrepareJob.card.module: unknown field"),
        (["card"], None, "PrepareJob.card: an object"),
        (["card"], [], "PrepareJob.card: an object"),
        (["card", "kind"], "run_command", "PrepareJob.card.kind: not one of"),
        (["card", "kind"], 7, "PrepareJob.card.kind: text"),
        (["card", "code"], 7, "PrepareJob.card.code: text"),
        (["card", "code"], "a\0b", "control characters"),
        (["card", "code"], "\ud800", "control characters"),
        (["card", "code"], "x" * (LONGEST_TEXT + 1), "longer than"),
        (["card", "opens_visit"], 1, "true or false"),
        (["card", "hold_seconds"], True, "whole number"),
        (["card", "hold_seconds"], 1.5, "whole number"),
        (["card", "hold_seconds"], 1e300, "whole number"),
        (["card", "hold_seconds"], 2**60, "whole number"),
        (["debts"], {}, "PrepareJob.debts: a list"),
        (["debts"], [None], r"PrepareJob.debts\[0\]: an object"),
        (["debts"], [{}] * (MOST_ITEMS + 1), "more than"),
    ],
)
def test_what_the_type_does_not_say_is_refused_by_name(path, value, objection):
    with pytest.raises(Refused, match=objection):
        from_json(PrepareJob, changed(path, value))


def test_one_and_no_tenths_is_one():
    job = from_json(PrepareJob, changed(["card", "hold_seconds"], 30.0))

    assert repr(job.card.hold_seconds) == "30"


def test_a_missing_field_is_named():
    data = to_json(JOB)
    del data["card"]["code"], data["card"]["visit_id"]
    with pytest.raises(Refused) as refused:
        from_json(PrepareJob, data)
    assert refused.value.objections == [
        "PrepareJob.card.visit_id: missing",
        "PrepareJob.card.code: missing",
    ]


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01T00:00:00", 5])
def test_an_instant_needs_a_date_a_time_and_a_zone(text):
    data = {"id": "d", "kind": "request_form", "sha256": "f", "submitted_at": text}
    with pytest.raises(Refused, match="submitted_at"):
        from_json(DocumentRef, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused_and_nothing_else(data):
    for cls in (JobResult, PrepareJob, TokenReport):
        try:
            from_json(cls, data)
        except Refused:
            continue


@given(st.dictionaries(st.sampled_from([*to_json(RESULT), "pin"]), JSON))
def test_any_shape_of_a_result_is_read_or_refused(data):
    try:
        result = from_json(JobResult, data)
    except Refused:
        return
    assert from_json(JobResult, to_json(result)) == result
