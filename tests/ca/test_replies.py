"""Whatever a CA sends back, it is what was asked for or it is objected to by name."""

import re
from datetime import UTC, datetime

import pytest

from cardflow.errors import Refused
from cardflow.x509 import certificate_objections, facts_of_certificate
from tests.ca.making import ALICE
from tests.ca.replies import PROFILE, REPLIES, Reply, ca_pem, the_csr

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_the_table_is_long_enough() -> None:
    assert len({reply.name for reply in REPLIES}) == len(REPLIES) >= 60
    assert all(reply.source for reply in REPLIES)


@pytest.mark.parametrize("reply", [pytest.param(each, id=each.name) for each in REPLIES])
def test_a_reply_is_what_was_asked_for_or_objected_to(reply: Reply) -> None:
    certificate = reply.make()
    found = certificate_objections(
        certificate,
        csr_pem=the_csr(),
        profile=PROFILE,
        subject=ALICE,
        issuer_chain_pem=[ca_pem()],
        now=NOW,
    )

    said = "; ".join(found)
    assert re.search(reply.objection, said) if reply.objection else not said, said


@pytest.mark.parametrize("reply", [pytest.param(each, id=each.name) for each in REPLIES])
def test_what_is_to_be_revoked_can_be_named_or_is_no_certificate(reply: Reply) -> None:
    assert re.fullmatch(
        "-?[0-9a-f]+|.*(PEM block|cannot be read|longer than).*", number_of(reply.make())
    )


def number_of(certificate: str) -> str:
    try:
        return facts_of_certificate(certificate).serial_number
    except Refused as refused:
        return str(refused)
