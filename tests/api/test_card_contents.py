"""What is on a card, where its last inventory and the register do not tell the same."""

import json

import pytest

from api.card_contents import contents_of
from cardflow.db.tables import LONGEST_NAME, Card
from cardflow.decisions import utc_now
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.wire import to_json
from cardflow.x509 import facts_of_certificate
from tests.api.test_policy_preview import certificate
from tests.api.updates.conftest import a_certificate

FOREIGN = a_certificate("CN=somebody else's")
THEIR_KEY = facts_of_certificate(FOREIGN).spki_sha256


def card(*pems):
    found = tuple(FoundCertificate("f0", "", pem, True) for pem in pems)
    inventory = json.dumps(to_json(Inventory(certificates=found)))
    return Card(
        id="c", token_serial="s", policy_name="p", inventory=inventory, created_at=utc_now()
    )


@pytest.mark.parametrize(
    ("key", "named"), [("ours", "ours"), (THEIR_KEY, "")], ids=["ours", "theirs"]
)
def test_what_was_not_seen_is_named_by_its_key_unless_somebody_else_needs_that(key, named):
    here = card(FOREIGN)
    written = certificate(here, "logon", 20, spki_sha256=key)

    contents = contents_of(here, {written.sha256: written})

    assert [c.ref.certificate_sha256 for c in contents.missing] == [written.sha256]
    assert [c.ref.spki_sha256 for c in contents.missing] == [named]


def test_what_cannot_be_put_on_record_is_told_of_as_unreadable():
    here = card()
    long = FoundCertificate("f" * (LONGEST_NAME + 2), "", FOREIGN, True)
    here.inventory = json.dumps(to_json(Inventory(certificates=(long,))))

    contents = contents_of(here, {})

    assert (contents.certificates, contents.unreadable) == ((), 1)
