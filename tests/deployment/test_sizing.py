"""What docs/operations/sizing.md says of histories is what the recorded ones have."""

import gzip
import re

import pytest
from temporalio.client import WorkflowHistory

from tests.deployment.files import ROOT

HISTORIES = ROOT / "tests/replay/histories"
RECORDED = {
    "none": "without_forms_one_visit_does_it_all-0",
    "R": "a_request_form_goes_to_the_ca_without_precheck-0",
    "F": "a_certificate_form_is_decided_after_the_ca_issued-0",
    "RF": "both_forms_in_their_order_with_both_mails-0",
}
DOCUMENTED = {
    mode: (int(events), int(kilobytes))
    for mode, events, kilobytes in re.findall(
        r"^\| (none|R|F|RF) \| (\d+) \| (\d+) \|",
        (ROOT / "docs/operations/sizing.md").read_text(),
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("mode", RECORDED)
def test_a_recorded_history_is_as_large_as_is_documented_at_most(mode: str):
    text = gzip.decompress((HISTORIES / f"{RECORDED[mode]}.json.gz").read_bytes()).decode()
    events = WorkflowHistory.from_json(mode, text).events

    assert len(events) <= DOCUMENTED[mode][0]
    assert round(sum(event.ByteSize() for event in events) / 1000) <= DOCUMENTED[mode][1]
